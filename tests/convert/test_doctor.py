"""The doctor lists unusual images."""

import json
from pathlib import Path

import pytest

from tests.conftest import convert
from tests.convert.helpers import refusal


def test_the_doctor_lists_every_finding(unusual: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dataset = convert(unusual, tmp_path / "out")
    report = json.loads((dataset.root / "doctor.json").read_text())
    reasons = {entry["path"]: entry["reason"] for entry in report["left_out"]}
    assert sorted(reasons) == ["train/a/cut.jpg", "train/a/text.jpg", "train/b/empty.png", "train/stray.png"]
    assert reasons["train/stray.png"] == "not in a class folder"
    assert all(reason.startswith("does not decode") for path, reason in reasons.items() if "stray" not in path)
    assert report["gray"] == ["train/a/gray.jpg"]
    assert [(d["paths"], d["labels"], d["crosses"]) for d in report["duplicates"]] == [
        (["train/a/1.png", "train/b/same_as_a1.png"], [0, 1], []),
        (["train/b/2.png", "val/b/same_as_b2.png"], [1, 1], ["official"]),
    ]
    assert dataset.meta["findings"] == {
        "left_out": 4,
        "gray": 1,
        "duplicate_groups": 2,
        "conflicting_groups": 1,
        "crossing_groups": {"official": 1},
        "ignored": 1,
    }
    assert dataset.count == 27
    assert not (dataset.root / "train/a/cut.jpg").exists()
    out = capsys.readouterr().out
    assert "train/a/cut.jpg: does not decode" in out
    assert "2 groups of identical images, 1 with different labels, 1 across official" in out


def test_strict_stops_at_an_image_that_does_not_decode(
    unusual: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = refusal(capsys, unusual, tmp_path / "out", "--strict")
    assert "train/stray.png: not in a class folder (--strict)" in line
    (unusual / "train/stray.png").unlink()
    line = refusal(capsys, unusual, tmp_path / "out", "--strict")
    assert "train/a/cut.jpg: does not decode" in line
    assert "convert without --strict to leave it out" in line
    assert not (tmp_path / "out").exists()
