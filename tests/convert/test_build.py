"""The command: its output, its exit status, and the files it leaves."""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np
import pytest

from feedline import Dataset
from feedline.convert import build, builder
from tests.conftest import convert
from tests.convert.helpers import file_digests, refusal


@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_same_input_gives_the_same_bytes(tiny_source: Path, dataset: Dataset, tmp_path: Path, workers: str) -> None:
    again = convert(tiny_source, tmp_path / "again", "--workers", workers)
    assert file_digests(again) == file_digests(dataset)
    assert (again.root / "dataset.json").read_bytes() == (dataset.root / "dataset.json").read_bytes()


def test_a_second_run_does_nothing_and_prints_so(
    tiny_source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = convert(tiny_source, tmp_path / "out", "--packs", "jpeg")
    before = {p: p.stat().st_mtime_ns for p in first.root.rglob("*")}
    convert(tiny_source, tmp_path / "out", "--packs", "jpeg")
    assert "nothing to do" in capsys.readouterr().out
    assert {p: p.stat().st_mtime_ns for p in first.root.rglob("*")} == before
    line = refusal(capsys, tiny_source, first.root, "--packs", "raw")
    assert "was built with packs ['jpeg'], now ['raw'] is asked for; add --force" in line
    convert(tiny_source, tmp_path / "out", "--packs", "raw", "--force")
    assert list(Dataset(first.root).packs) == ["raw"]
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_an_interrupted_build_keeps_the_old_folder(
    tiny_source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = file_digests(convert(tiny_source, tmp_path / "out", "--packs", ""))
    monkeypatch.setattr(builder, "write_meta", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
    argv = ["--source", str(tiny_source), "--out", str(tmp_path / "out"), "--force", "--workers", "1"]
    assert build.main(argv) == 130
    assert capsys.readouterr().err == "build.py: interrupted; nothing was left behind\n"
    assert file_digests(Dataset(tmp_path / "out")) == before
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--source", "/nowhere/at/all"], "--source /nowhere/at/all: no such file or folder"),
        (["--packs", "tar"], "--packs tar: choose from jpeg, raw"),
        (["--packs", "jpg"], "--packs jpg: choose from jpeg, raw; did you mean jpeg?"),
        (["--packs", "none, raw"], "--packs none,raw: none stands alone; leave it out, or the others"),
        (["--near-duplicates", "atuo"], "--near-duplicates atuo: choose from auto, on, off; did you mean auto?"),
        (["--fail-on", "leaks,conflict"], "--fail-on conflict: choose from leaks, conflicts, "),
        (["--source", "smaple"], "--source smaple: no such file or folder; did you mean sample?"),
        (["--source", "{source}s"], "--source {source}s: no such file or folder; did you mean {source}?"),
        (["--source", "/dev/null"], "--source /dev/null: neither a file nor a folder; give tiny-imagenet, sample"),
        (["--val-fraction", "1.5"], "--val-fraction 1.5: must be at least 0 and below 1"),
        (["--val-fraction", "nan"], "--val-fraction nan: must be at least 0 and below 1"),
        (["--workers", "0"], "--workers 0: must be at least 1"),
        (["--max-size", "7"], "--max-size 7: must be at least 8 pixels"),
    ],
)
def test_wrong_input_is_one_clear_line(
    tiny_source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], argv: list[str], message: str
) -> None:
    place = str(tiny_source)
    line = refusal(capsys, tiny_source, tmp_path / "out", *(word.replace("{source}", place) for word in argv))
    assert line.startswith(f"build.py: {message.replace('{source}', place)}")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--sorce", "x"], "--sorce: there is no such flag; did you mean --source?"),
        (["--Label_Column=x"], "--Label_Column: there is no such flag; did you mean --label-column?"),
        (["-force"], "-force: there is no such flag; did you mean --force?"),
        (["--qqq"], "--qqq: there is no such flag; see --help"),
        (["photos"], "photos: is not the value of a flag; did you mean --source photos?"),
        (["--seed", "x"], "--seed: invalid int value: 'x'; --help lists the flags"),
    ],
)
def test_a_misspelt_flag_is_named_with_the_one_that_was_meant(
    capsys: pytest.CaptureFixture[str], argv: list[str], message: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        build.main(argv)
    assert ended.value.code == 2
    assert capsys.readouterr().err == f"build.py: {message}\n"


@pytest.mark.parametrize("text", ["none", "", " none,"])
def test_a_dataset_without_packs(source: Path, tmp_path: Path, text: str) -> None:
    assert convert(source, tmp_path / "out", "--packs", text).packs == {}


def test_a_folder_that_is_not_a_dataset_is_never_replaced(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").write_text("years of work")
    for force in ([], ["--force"]):
        line = refusal(capsys, source, tmp_path / "mine", *force)
        assert "already exists and is not a dataset; choose another --out" in line
    assert (tmp_path / "mine/thesis.txt").exists()


@pytest.mark.skipif("TINY_IMAGENET" not in os.environ, reason="TINY_IMAGENET does not name the unpacked dataset")
def test_the_real_tiny_imagenet(tmp_path: Path) -> None:
    dataset = convert(Path(os.environ["TINY_IMAGENET"]), tmp_path / "tin", "--workers", "2")
    assert dataset.splits == {
        "official": {"train": 100_000, "val": 10_000},
        "70-30": {"train": 77_000, "val": 33_000},
    }
    np.testing.assert_allclose(dataset.mean, (0.4802, 0.4481, 0.3975), atol=5e-5)
    np.testing.assert_allclose(dataset.std, (0.2764, 0.2689, 0.2816), atol=5e-5)
    findings = dict(dataset.meta["findings"])
    # Boxes and three files of labels; test images too, unless they were left out when it was unpacked.
    assert findings.pop("ignored") in (203, 10_203)
    assert findings == {
        "left_out": 0,
        "gray": 1989,
        "duplicate_groups": 27,
        "conflicting_groups": 27,
        "crossing_groups": {"official": 7},
    }


def test_the_command_runs_in_a_bare_checkout(tmp_path: Path) -> None:
    """Without an installation, from any folder. -S leaves out the editable one; PYTHONPATH gives numpy and the like."""
    script = Path(__file__).parents[2] / "convert/build.py"
    env = {**os.environ, "PYTHONPATH": sysconfig.get_paths()["purelib"]}
    shown = subprocess.run(
        [sys.executable, "-S", str(script), "--help"],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert shown.returncode == 0, shown.stderr
    assert "--max-size" in shown.stdout
