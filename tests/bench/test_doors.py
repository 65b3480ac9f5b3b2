import json
from pathlib import Path

import pytest

from bench import doors
from feedline import Dataset, InputError, Loader
from tests.conftest import convert


def test_each_option_is_compared_with_the_plain_loader(
    dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    speeds = {f"{store}, {door}": 100.0 for store in doors.STORES for door in doors.DOORS}
    speeds |= {"jpeg, views=2": 80.0, "raw, plain": 400.0, "raw, with_ids": 200.0}
    monkeypatch.setattr(doors, "in_checkout", lambda *_: speeds)
    assert doors.main(["--data", str(dataset.root), "--out", str(tmp_path / "a/b"), "--rounds", "3"]) == 0
    rows = {
        (row["store"], row["option"]): row for row in json.loads((tmp_path / "a/b/doors.json").read_text())["results"]
    }
    assert len(rows) == 2 * len(doors.DOORS)
    assert rows["jpeg", "views=2"]["time"] == 1.25
    assert (rows["raw", "with_ids"]["time"], rows["raw", "with_ids"]["images_per_s"]) == (2.0, 200)
    assert "1.25x" in capsys.readouterr().out


@pytest.mark.parametrize("door", doors.DOORS)
def test_each_option_can_be_measured(dataset: Dataset, door: str) -> None:
    loader = Loader(dataset, split="official", batch_size=16, **doors.DOORS[door][0](dataset))
    assert doors.images_per_s(loader, 0.01) > 0


def test_no_dataset_is_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert doors.main(["--data", str(tmp_path / "none")]) == 2
    assert capsys.readouterr().err.startswith("bench.doors: no dataset at")


def test_what_cannot_be_measured_is_a_line(
    dataset: Dataset, tiny_source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = convert(tiny_source, tmp_path / "raw", "--packs", "raw")
    assert doors.main(["--data", str(raw.root)]) == 2
    assert "has no jpeg pack; build it with --packs raw,jpeg" in capsys.readouterr().err
    with pytest.raises(InputError, match="is no checkout"):
        doors.in_checkout(tmp_path / "nowhere", dataset.root, ["plain"], 0.01)
    with pytest.raises(InputError, match="the measurement failed with exit status 1"):
        doors.in_checkout(tmp_path, dataset.root, ["plain"], 0.01)
