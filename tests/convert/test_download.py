import hashlib
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from feedline import InputError
from feedline.convert.download import download
from feedline.convert.remote import Remote
from tests.convert.server import Served, serve

CONTENT = bytes(range(256)) * 20000


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def test_a_file_is_downloaded_and_checked(tmp_path: Path) -> None:
    with serve(CONTENT) as server:
        path = download(Remote(server.url, len(CONTENT), "md5", md5(CONTENT)), tmp_path)
        assert path.name.endswith("-images.zip")
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


def interrupt(server: Served, folder: Path, count: int, digest: str | None = None) -> Path:
    """Leaves a download after `count` bytes, as a run does that is ended. Returns the incomplete file."""
    server.break_after = [count, 0]
    with pytest.raises(InputError, match=f"resume from {count:,} bytes"):
        download(Remote(server.url, digest=digest), folder, tries=1, wait=0)
    server.break_after.clear()
    server.asked.clear()
    server.if_range.clear()
    return next(folder.glob("*.part"))


@pytest.mark.parametrize("headers", [{"ETag": '"1"'}, {"Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT"}])
def test_a_download_is_resumed_by_the_next_run(tmp_path: Path, headers: dict[str, str]) -> None:
    with serve(CONTENT) as server:
        server.headers = headers
        interrupt(server, tmp_path, 4321)
        assert download(Remote(server.url), tmp_path).read_bytes() == CONTENT
        assert server.asked == ["bytes=4321-"]
        assert server.if_range == list(headers.values())
        assert len(list(tmp_path.iterdir())) == 1


def test_a_file_that_changed_on_the_server_is_not_continued(tmp_path: Path) -> None:
    with serve(CONTENT) as server:
        server.headers = {"ETag": '"1"'}
        interrupt(server, tmp_path, 4321)
        server.content, server.headers = CONTENT[::-1], {"ETag": '"2"'}
        assert download(Remote(server.url), tmp_path).read_bytes() == CONTENT[::-1]


@pytest.mark.parametrize("etag", [{}, {"ETag": 'W/"1"'}])
def test_without_a_validator_or_checksum_nothing_is_continued(tmp_path: Path, etag: dict[str, str]) -> None:
    with serve(CONTENT) as server:
        server.headers = etag
        interrupt(server, tmp_path, 4321)
        assert download(Remote(server.url), tmp_path).read_bytes() == CONTENT
        assert server.asked == [None]


def test_a_checksum_is_as_good_as_a_validator(tmp_path: Path) -> None:
    with serve(CONTENT) as server:
        interrupt(server, tmp_path, 4321, md5(CONTENT))
        assert download(Remote(server.url, digest=md5(CONTENT)), tmp_path).read_bytes() == CONTENT
        assert server.asked == ["bytes=4321-"]


def test_a_part_of_another_origin_is_not_continued(tmp_path: Path) -> None:
    with serve(CONTENT) as server:
        server.headers = {"ETag": '"1"'}
        part = interrupt(server, tmp_path, 4321)
        part.with_name(part.name + ".json").unlink()
        assert download(Remote(server.url), tmp_path).read_bytes() == CONTENT
        assert server.asked == [None]


def test_files_of_one_name_on_two_servers_are_two(tmp_path: Path) -> None:
    with serve(CONTENT) as one, serve(CONTENT[::-1]) as other:
        assert download(Remote(one.url), tmp_path).read_bytes() == CONTENT
        assert download(Remote(other.url), tmp_path).read_bytes() == CONTENT[::-1]
        assert download(Remote(f"{one.url}?version=2"), tmp_path).read_bytes() == CONTENT
    assert len(list(tmp_path.iterdir())) == 3


def test_a_download_of_before_is_used_if_its_checksum_is_known(tmp_path: Path) -> None:
    (tmp_path / "images.zip").write_bytes(CONTENT)
    with serve(CONTENT[::-1]) as server:
        assert download(Remote(server.url, digest=md5(CONTENT)), tmp_path) == tmp_path / "images.zip"
        assert server.asked == []
        assert download(Remote(server.url), tmp_path).read_bytes() == CONTENT[::-1]


def test_a_range_that_was_not_asked_for_is_not_appended(tmp_path: Path) -> None:
    with serve(CONTENT) as server:
        server.headers = {"ETag": '"1"'}
        interrupt(server, tmp_path, 4321)
        server.shift = 1
        assert download(Remote(server.url), tmp_path, wait=0).read_bytes() == CONTENT
        assert server.asked == ["bytes=4321-", None]


def test_a_file_that_became_shorter_starts_again(tmp_path: Path) -> None:
    with serve(CONTENT) as server:
        interrupt(server, tmp_path, 4321, md5(CONTENT[:1000]))
        server.content = CONTENT[:1000]
        path = download(Remote(server.url, digest=md5(CONTENT[:1000])), tmp_path, wait=0)
        assert path.read_bytes() == CONTENT[:1000]


def test_without_range_support_the_download_starts_again(tmp_path: Path) -> None:
    with serve(CONTENT) as server:
        server.headers = {"ETag": '"1"'}
        interrupt(server, tmp_path, 4321)
        server.ranges = False
        assert download(Remote(server.url, digest=md5(CONTENT)), tmp_path).read_bytes() == CONTENT


def test_a_complete_part_is_only_checked(tmp_path: Path) -> None:
    with serve(CONTENT) as server:
        part = interrupt(server, tmp_path, 4321, md5(CONTENT))
        part.write_bytes(CONTENT)
        assert download(Remote(server.url, digest=md5(CONTENT)), tmp_path).read_bytes() == CONTENT
        assert server.asked == [f"bytes={len(CONTENT)}-"]


def test_two_builds_do_not_write_one_file(tmp_path: Path) -> None:
    with serve(CONTENT) as server, ThreadPoolExecutor(3) as pool:
        server.break_after = [1_000_000]
        remote = Remote(server.url, digest=md5(CONTENT))
        paths = list(pool.map(lambda _: download(remote, tmp_path, wait=0), range(3)))
        assert {path.read_bytes() for path in paths} == {CONTENT}
        assert len(server.asked) == 2
    assert len(list(tmp_path.iterdir())) == 1


def test_a_server_that_is_busy_is_asked_again(tmp_path: Path) -> None:
    with serve(CONTENT) as server:
        server.status = 503
        with pytest.raises(InputError, match="Service Unavailable; run the same command again"):
            download(Remote(server.url), tmp_path, tries=3, wait=0)
        assert len(server.asked) == 3


def test_a_page_is_no_file(tmp_path: Path) -> None:
    with serve(b"<html>Please sign in") as server:
        server.headers = {"Content-Type": "text/html; charset=utf-8"}
        with pytest.raises(InputError, match="the server sent a web page, not a file; open the address in a browser"):
            download(Remote(server.url), tmp_path)
        assert len(server.asked) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("file:///tmp/a%20b.zip", "give the path itself: /tmp/a b.zip"),
        ("ftp://host/a.zip", "only http:// and https:// are downloaded"),
        ("s3://bucket/a.zip", "only http:// and https:// are downloaded"),
        ("http://[::1/a.zip", "is no URL (Invalid IPv6 URL)"),
        ("http:///a.zip", "only http:// and https:// are downloaded"),
        ("http://host/a-{000..009}.tar", "several files are not downloaded; get them, and give their pattern"),
        ("http://me:secret@host/a.zip", "a URL with a name or a password is not taken"),
        ("http://host/a.zip#md5:0123", "#md5:0123 is no checksum; write #md5=... or #sha256=..."),
        ("http://host/a.zip#", "# is no checksum"),
        ("http://host/a.zip#files", "#files is no checksum"),
        ("http://host/a.zip#md5=", "'' is not the 32 hexadecimal digits of md5"),
        ("http://host/a.zip#md5=xyz", "'xyz' is not the 32 hexadecimal digits of md5"),
        ("http://host/a.zip#sha0=ab", "unknown checksum 'sha0'"),
        ("http://host/a.zip#shake_128=ab", "unknown checksum 'shake_128'"),
    ],
)
def test_odd_urls_are_refused(url: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        Remote.parse(url)
    assert message in str(caught.value)
    assert "secret" not in str(caught.value)


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
    assert next(tmp_path.glob("*.part")).read_bytes() == CONTENT[:1000]


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
    remote = Remote.parse(f"http://host/a%20b.zip?x=1#SHA256={'AB' * 32}")
    assert (remote.algorithm, remote.digest, remote.filename) == ("sha256", "ab" * 32, "a b.zip")
    assert Remote.parse("http://host/a.zip").digest is None
    assert Remote.parse("http://host/ä b.zip").url == "http://host/%C3%A4%20b.zip"


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
