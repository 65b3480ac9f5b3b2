"""Every kind of source."""

import hashlib
from functools import partial
from pathlib import Path

import pytest

from feedline import Dataset, InputError
from feedline.convert import sources
from feedline.convert.sample import draw_sample
from feedline.convert.sources import default_name, open_source
from tests.conftest import convert
from tests.convert.helpers import file_digests, refusal, zipped
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
    with open_source("sample", tmp_path) as listing:
        assert (listing.name, listing.origin) == ("sample", {"folder": "sample"})
        assert (len(listing.classes), len(listing.items)) == (10, 30)
        assert listing.tree.read(listing.items[0].name)
    with pytest.raises(FileNotFoundError):
        listing.tree.read(listing.items[0].name)
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_md5_leaves_no_dataset(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serve(b"something else") as server:
        line = refusal(capsys, f"{server.url}#md5={'0' * 32}", tmp_path / "out")
    assert "expected 000" in line
    assert not (tmp_path / "out").exists()


def test_a_source_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught, open_source("/nowhere", tmp_path):
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
