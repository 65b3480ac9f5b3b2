"""What convert and verify print with --json and --quiet."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from feedline import Dataset
from feedline.__main__ import main
from feedline.progress import Progress
from tests.pipeline.dataset.folders import flip_bit

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def copy(dataset: Dataset, tmp_path: Path) -> Path:
    """A dataset folder that a test may damage."""
    return Path(shutil.copytree(dataset.root, tmp_path / "copy"))


def said(capsys: Captured, *argv: object) -> tuple[int, str, str]:
    """Exit status, stdout and stderr of a command."""
    capsys.readouterr()
    status = main(list(map(str, argv)))
    return status, *capsys.readouterr()


def convert(capsys: Captured, source: Path, out: Path, *flags: str) -> tuple[int, str, str]:
    return said(capsys, "convert", "--source", source, "--out", out, "--workers", "1", *flags)


def test_convert_gives_what_dataset_json_has(tiny_source: Path, tmp_path: Path, capsys: Captured) -> None:
    for built in (True, False):  # the second time there is nothing to do
        status, out, err = convert(capsys, tiny_source, tmp_path / "d", "--json")
        assert (status, out.count("\n")) == (0, 1)
        result: dict[str, Any] = json.loads(out)
        written = json.loads((tmp_path / "d/dataset.json").read_text())
        assert result == {"out": str(tmp_path / "d"), "built": built, **written}
        assert ("images         128" in err) == built


def test_findings_leave_the_object_and_errors_nothing(tiny_source: Path, tmp_path: Path, capsys: Captured) -> None:
    source = Path(shutil.copytree(tiny_source, tmp_path / "source"))
    first, second, *_ = sorted(source.glob("train/*/images/*.JPEG"))
    shutil.copy(first, second)
    status, out, err = convert(capsys, source, tmp_path / "d", "--json", "--fail-on", "duplicates")
    assert (status, json.loads(out)["built"]) == (1, True)
    assert err.splitlines()[-1].startswith("build.py: --fail-on: ")
    status, out, err = convert(capsys, tmp_path / "nowhere", tmp_path / "e", "--json")
    assert (status, out, err.count("\n")) == (2, "", 1)


def test_quiet_converts_with_its_table_alone(tiny_source: Path, tmp_path: Path, capsys: Captured) -> None:
    _, loud, _ = convert(capsys, tiny_source, tmp_path / "d")
    status, out, _ = convert(capsys, tiny_source, tmp_path / "e", "--quiet")
    assert status == 0
    assert out.startswith("dataset  ")
    assert "train on it with:" in loud
    assert "train on it with:" not in out
    status, out, err = convert(capsys, tmp_path / "nowhere", tmp_path / "f", "--quiet")
    assert (status, out, err.count("\n")) == (2, "", 1)


def test_verify_lists_all_findings(copy: Path, dataset: Dataset, capsys: Captured) -> None:
    whole = {"folder": str(copy), "images": 128, "whole": True, "findings": []}
    status, out, err = said(capsys, "verify", copy, "--json", "--workers", "1")
    assert (status, json.loads(out), err) == (0, whole, "")
    for image in range(30):
        flip_bit(copy / dataset.path(image), -1)
    status, out, err = said(capsys, "verify", copy, "--json", "--workers", "1")
    result = json.loads(out)
    assert (status, result["whole"], len(result["findings"]), err) == (1, False, 30, "")
    assert result["findings"][0].keys() == {"what", "wrong"}
    assert said(capsys, "verify", copy / "nowhere", "--json")[:2] == (2, "")


def test_a_quiet_verify_says_what_it_found(dataset: Dataset, capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Progress, "LINE_EVERY", -1.0)
    flags = ("verify", dataset.root, "--workers", "1")
    (status, out, err), quiet = said(capsys, *flags), said(capsys, *flags, "--quiet")
    assert "128/128" in out + err
    assert (status, *quiet) == (0, 0, out.splitlines()[-1] + "\n", "")
