"""`--fail-on`: exit status 1 if a dataset has findings that CI must not let pass."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from feedline import Dataset
from feedline.convert import build
from feedline.convert.gate import FINDINGS
from tests.convert.helpers import refusal, save_noise


def status(source: Path, out: Path, *flags: str) -> int:
    return build.main(["--source", str(source), "--out", str(out), "--workers", "1", *flags])


@pytest.mark.parametrize(
    ("names", "line"),
    [
        ("leaks", "leaks: 1 (groups of duplicates across a split)"),
        ("conflicts", "conflicts: 1 (groups of identical images with different labels)"),
        ("duplicates", "duplicates: 2 (groups of identical images)"),
        ("damaged", "damaged: 3 (images that do not decode)"),
        ("left-out", "left-out: 4 (images that are not used)"),
        (
            "damaged, leaks,damaged",
            "damaged: 3 (images that do not decode), leaks: 1 (groups of duplicates across a split)",
        ),
    ],
)
def test_findings_end_with_status_1_and_a_dataset(
    unusual: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], names: str, line: str
) -> None:
    out = tmp_path / "out"
    for _ in range(2):  # built, then complete already
        assert status(unusual, out, "--packs", "", "--fail-on", names) == 1
        assert capsys.readouterr().err == f"build.py: --fail-on: {line}; see {out / 'doctor.json'}\n"
    assert Dataset(out).count == 27
    assert json.loads((out / "doctor.json").read_text())["duplicates"]
    assert [path.name for path in tmp_path.iterdir() if path != unusual] == ["out"]


def test_what_is_not_named_passes(unusual: Path, tmp_path: Path) -> None:
    assert status(unusual, tmp_path / "out", "--fail-on", "warnings,empty-classes,missing-classes") == 0
    assert status(unusual, tmp_path / "out", "--fail-on", "all") == 1


def test_a_clean_source_passes_everything(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert status(source, tmp_path / "out", "--fail-on", "all") == 0
    assert status(source, tmp_path / "out", "--fail-on", "all") == 0
    assert capsys.readouterr().err == ""


def test_label_files_are_not_ignored_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "source"
    for i in range(12):
        save_noise(source / f"{i}.png", i)
    lines = [f"{i}.png,{'ab'[i % 2]}" for i in range(12)]
    (source / "metadata.csv").write_text("\n".join(["file_name,label", *lines, ""]))
    assert status(source, tmp_path / "out", "--fail-on", "ignored") == 0
    (source / "notes.txt").write_text("text")
    assert status(source, tmp_path / "other", "--fail-on", "ignored") == 1
    assert "ignored: 1 (files that are not taken)" in capsys.readouterr().err


def test_classes(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_noise(source / "single/1.png", 1)
    (source / "text").mkdir()
    (source / "text/1.jpg").write_text("no image")
    assert status(source, tmp_path / "out", "--fail-on", "empty-classes,missing-classes") == 1
    line = "empty-classes: 1 (classes without images), missing-classes: 1 (classes missing from a part)"
    assert line in capsys.readouterr().err


def test_torn_groups(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for i, name in enumerate(
        ("train/a/p1_0", "train/a/p2_0", "train/b/p3_0", "train/b/p4_0", "val/a/p1_1", "val/b/p9_1")
    ):
        save_noise(tmp_path / "source" / f"{name}.png", i)
    assert status(tmp_path / "source", tmp_path / "out", "--group", r"p\d", "--fail-on", "groups") == 1
    assert "groups: 1 (groups across a split)" in capsys.readouterr().err
    line = refusal(capsys, tmp_path / "source", tmp_path / "other", "--fail-on", "groups")
    assert line == "build.py: --fail-on groups: needs --group, which says what belongs together"


@pytest.mark.parametrize(
    ("names", "message"),
    [("leaks,leeks", "--fail-on leeks: choose from leaks, "), ("", "--fail-on: is empty; choose from")],
)
def test_unknown_names(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], names: str, message: str
) -> None:
    line = refusal(capsys, source, tmp_path / "out", "--fail-on", names)
    assert message in line
    assert all(name in line for name in [*FINDINGS, "all"])


def test_a_report_that_cannot_tell(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert status(source, out) == 0
    report: dict[str, Any] = json.loads((out / "doctor.json").read_text())
    del report["missing_classes"]
    (out / "doctor.json").write_text(json.dumps(report))
    assert status(source, out, "--fail-on", "leaks") == 0
    capsys.readouterr()
    line = refusal(capsys, source, out, "--fail-on", "all")
    assert (
        "an older program wrote it, which did not look for 'missing_classes'; --force builds the dataset again" in line
    )
    wrong: tuple[Any, ...] = ([{}], ["x"], 5)
    for damaged in wrong:
        (out / "doctor.json").write_text(json.dumps(report | {"left_out": damaged}))
        assert "doctor.json: is damaged; --force builds the dataset again" in refusal(capsys, source, out, "--strict")
    (out / "doctor.json").unlink()
    assert "doctor.json: cannot be read" in refusal(capsys, source, out, "--fail-on", "leaks")
    shutil.rmtree(out)
