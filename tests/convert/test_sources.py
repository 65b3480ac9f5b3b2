"""Every kind of source."""

import hashlib
import shutil
import tarfile
from functools import partial
from pathlib import Path

import pytest

from feedline import Dataset, InputError
from feedline.convert import sources
from feedline.convert.sample import draw_sample
from feedline.convert.sources import default_name, open_source
from tests.conftest import convert
from tests.convert.helpers import file_digests, refusal, zipped
from tests.convert.records import test_parquet
from tests.convert.server import serve


def test_every_kind_of_source_gives_the_same_dataset(tiny_source: Path, dataset: Dataset, tmp_path: Path) -> None:
    archive = zipped(tiny_source.parent, tmp_path / "tiny.zip")  # everything inside tiny/, as in the official download
    from_zip = convert(archive, tmp_path / "from-zip")
    with serve(archive.read_bytes(), "tiny.zip") as server:
        server.break_after = [10_000]
        checked = f"{server.url}#md5={hashlib.md5(archive.read_bytes()).hexdigest()}"
        from_url = convert(checked, tmp_path / "from-url")
    digests = [file_digests(built) for built in (dataset, from_zip, from_url)]
    for files in digests:
        del files["doctor.json"]  # has names as they are in the source
    assert digests[0] == digests[1] == digests[2]
    assert from_zip.fingerprint == dataset.fingerprint
    assert from_url.fingerprint == dataset.fingerprint
    assert from_url.meta["source"]["md5"] == from_zip.meta["source"]["md5"]


def test_the_sample_is_drawn_and_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "draw_sample", partial(draw_sample, train=2, val=1))
    with open_source("sample", tmp_path, tmp_path / "out") as listing:
        assert (listing.name, listing.origin) == ("sample", {"folder": "sample"})
        assert (len(listing.classes), len(listing.items)) == (10, 30)
        assert listing.tree.read(listing.items[0].name)
    with pytest.raises(FileNotFoundError):
        listing.tree.read(listing.items[0].name)
    assert list(tmp_path.iterdir()) == []


def packed(source: Path, suffix: str, folder: Path) -> bytes:
    """The bytes of an archive, or a Parquet file, of images in two classes."""
    path = folder / f"whole{suffix}"
    if suffix == ".parquet":
        test_parquet.table(path, test_parquet.images(8), ["a", "b"] * 4)
    elif suffix == ".zip":
        zipped(source, path)
    else:
        with tarfile.open(path, "w:gz" if suffix == ".tar.gz" else "w") as archive:
            archive.add(source, "images")
    return path.read_bytes()


MESSAGES = [
    b'{"error": "try later"}',
    b"<?xml version='1.0'?><Error>SlowDown</Error>",
    b"<html>busy</html>",
    b"busy",
    b"",
]


@pytest.mark.parametrize("broken", ["half", *MESSAGES])
@pytest.mark.parametrize("suffix", [".zip", ".tar", ".tar.gz", ".parquet", ""])
def test_a_broken_download_without_a_checksum_is_downloaded_again(
    tmp_path: Path, source: Path, suffix: str, broken: str | bytes
) -> None:
    whole = packed(source, suffix or ".zip", tmp_path)
    with serve(whole, f"images{suffix}") as server:
        server.content = whole[: len(whole) // 2] if isinstance(broken, str) else broken
        server.headers = {"Content-Type": "application/octet-stream"}
        with (
            pytest.raises(InputError, match=r"; it was deleted, try again$"),
            open_source(server.url, tmp_path / "d", tmp_path / "out"),
        ):
            pass
        assert list((tmp_path / "d").iterdir()) == []
        server.content = whole
        with open_source(server.url, tmp_path / "d", tmp_path / "out") as listing:
            assert len(listing.classes) == 2


def test_a_whole_download_that_is_refused_is_kept(tmp_path: Path, source: Path) -> None:
    shutil.rmtree(source / "b")
    with serve(zipped(source, tmp_path / "x.zip").read_bytes()) as server:
        for _ in range(2):
            with (
                pytest.raises(InputError, match="one class"),
                open_source(server.url, tmp_path / "d", tmp_path / "out"),
            ):
                pass
        assert len(server.asked) == len(list((tmp_path / "d").iterdir())) == 1


def test_a_broken_file_with_the_right_checksum_is_kept(tmp_path: Path) -> None:
    with serve(b"PK, but no zip") as server:
        url = f"{server.url}#md5={hashlib.md5(server.content).hexdigest()}"
        with pytest.raises(InputError, match="not a readable zip"), open_source(url, tmp_path / "d", tmp_path / "out"):
            pass
    assert len(list((tmp_path / "d").iterdir())) == 1


def test_a_wrong_md5_leaves_no_dataset(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serve(b"something else") as server:
        line = refusal(capsys, f"{server.url}#md5={'0' * 32}", tmp_path / "out")
    assert "expected 000" in line
    assert not (tmp_path / "out").exists()


def test_a_source_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught, open_source("/nowhere", tmp_path, tmp_path / "out"):
        pass
    assert caught.value.message.startswith("`source=/nowhere`: no such file or folder; give tiny-imagenet, sample")


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("tiny-imagenet", "tiny-imagenet"),
        ("sample", "sample"),
        ("http://host/some%20birds.zip?x=1", "some birds"),
        ("/data/birds.zip", "birds"),
        ("/data/birds.v2/", "birds.v2"),
    ],
)
def test_names(source: str, name: str) -> None:
    assert default_name(source) == name


def test_a_whole_download_of_a_kind_that_is_not_read_is_kept(tmp_path: Path) -> None:
    """It may be unpacked by hand."""
    with serve(b"\x04\x22\x4d\x18" + bytes(range(256)), "photos.tar.lz4") as server:
        with (
            pytest.raises(InputError, match="no kind of file that is read"),
            open_source(server.url, tmp_path / "d", tmp_path / "out"),
        ):
            pass
        assert len(list((tmp_path / "d").iterdir())) == 1
