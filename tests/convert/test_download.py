import hashlib
import socket
from pathlib import Path

import pytest

from feedline import InputError
from feedline.convert.download import Remote, download
from tests.convert.server import serve

CONTENT = bytes(range(256)) * 20000


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def test_a_file_is_downloaded_and_checked(tmp_path: Path) -> None:
    with serve(CONTENT) as server:
        path = download(Remote(server.url, len(CONTENT), "md5", md5(CONTENT)), tmp_path)
        assert path == tmp_path / "images.zip"
        assert path.read_bytes() == CONTENT
        assert list(tmp_path.iterdir()) == [path]
        assert download(Remote(server.url), tmp_path) == path
        assert len(server.asked) == 1, "an existing file is not downloaded again"


def test_an_interrupted_transfer_is_resumed(tmp_path: Path) -> None:
    with serve(CONTENT) as server:
        server.break_after = [1_000_000, 2_000_000]
        path = download(Remote(server.url, digest=md5(CONTENT)), tmp_path, wait=0)
        assert path.read_bytes() == CONTENT
        assert server.asked == [None, "bytes=1000000-", "bytes=3000000-"]


def test_a_download_is_resumed_by_the_next_run(tmp_path: Path) -> None:
    (tmp_path / "images.zip.part").write_bytes(CONTENT[:4321])
    with serve(CONTENT) as server:
        path = download(Remote(server.url, digest=md5(CONTENT)), tmp_path)
        assert server.asked == ["bytes=4321-"]
        assert path.read_bytes() == CONTENT


def test_without_range_support_the_download_starts_again(tmp_path: Path) -> None:
    (tmp_path / "images.zip.part").write_bytes(b"x" * 4321)
    with serve(CONTENT) as server:
        server.ranges = False
        assert download(Remote(server.url, digest=md5(CONTENT)), tmp_path).read_bytes() == CONTENT


def test_a_complete_part_is_only_checked(tmp_path: Path) -> None:
    (tmp_path / "images.zip.part").write_bytes(CONTENT)
    with serve(CONTENT) as server:
        assert download(Remote(server.url, digest=md5(CONTENT)), tmp_path).read_bytes() == CONTENT


def test_a_file_with_a_wrong_md5_is_refused_and_deleted(tmp_path: Path) -> None:
    with serve(CONTENT) as server, pytest.raises(InputError, match=f"md5 {md5(CONTENT)}, expected 0000"):
        download(Remote(server.url, digest="0" * 32), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_size_is_refused(tmp_path: Path) -> None:
    with serve(CONTENT) as server, pytest.raises(InputError, match="5,120,000 bytes, expected 17"):
        download(Remote(server.url, size=17), tmp_path)


def test_after_too_many_interruptions_the_part_is_kept(tmp_path: Path) -> None:
    with serve(CONTENT) as server:
        server.break_after = [1000] + [0] * 10
        with pytest.raises(InputError, match="resume from 1,000 bytes"):
            download(Remote(server.url), tmp_path, tries=3, wait=0)
        assert len(server.asked) == 4
    assert (tmp_path / "images.zip.part").read_bytes() == CONTENT[:1000]


def test_a_missing_file_fails_at_once(tmp_path: Path) -> None:
    with serve(CONTENT) as server:
        server.status = 404
        with pytest.raises(InputError, match="the server says 404"):
            download(Remote(server.url), tmp_path)
        assert len(server.asked) == 1


def test_no_server_is_one_clear_line(tmp_path: Path) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))  # a bound port without a listener
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/images.zip"
        with pytest.raises(InputError, match="Connection refused; run the same command again"):
            download(Remote(url), tmp_path, tries=2, wait=0)


def test_urls_carry_their_checksum() -> None:
    remote = Remote.parse("http://host/a%20b.zip?x=1#sha256=ABCD")
    assert (remote.algorithm, remote.digest, remote.filename) == ("sha256", "abcd", "a b.zip")
    assert Remote.parse("http://host/a.zip").digest is None
    with pytest.raises(InputError, match="unknown checksum 'sha0'"):
        Remote.parse("http://host/a.zip#sha0=ab")


def test_a_server_that_hangs_times_out(tmp_path: Path) -> None:
    with serve(b"x" * 1000) as server:
        server.hang_after = 400
        with pytest.raises(InputError, match=r"timed out; run the same command again to resume from"):
            download(Remote(server.url), tmp_path, tries=2, timeout=0.2, wait=0)


def test_a_content_length_that_is_too_small_is_detected(tmp_path: Path) -> None:
    with serve(b"x" * 1000) as server:
        server.claim = 500
        with pytest.raises(InputError, match=r"500 bytes, expected 1,000"):
            download(Remote(server.url, size=1000), tmp_path, tries=2, wait=0)
    assert list(tmp_path.iterdir()) == []


def test_a_content_length_that_is_too_large_is_detected(tmp_path: Path) -> None:
    with serve(b"x" * 1000) as server:
        server.claim = 2000
        with pytest.raises(InputError, match=r"1,000 bytes, expected 1,500"):
            download(Remote(server.url, size=1500), tmp_path, tries=2, wait=0)
        assert download(Remote(server.url, size=1000), tmp_path, tries=2, wait=0).read_bytes() == b"x" * 1000
