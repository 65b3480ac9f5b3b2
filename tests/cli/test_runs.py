from pathlib import Path

import pytest

from feedline import Dataset
from tests.cli.commands import QUICK, refused, run, train
from tests.conftest import convert


def test_a_checkpoint_of_another_dataset(
    dataset: Dataset, varied: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("train", dataset, "--epochs", "1", "--out", "runs/a") == 0
    other = convert(varied.root / "train", tmp_path / "other", "--packs", "")
    line = refused(capsys, "--mode", "eval", "--data", str(other.root), "--checkpoint", "runs/a/best.pt")
    assert "runs/a/best.pt: was trained on another dataset (4 classes" in line
    line = refused(capsys, "--mode", "eval", "--data", str(other.root))
    assert line.endswith(
        f"no run with a best.pt in runs for this dataset (runs/a/best.pt: it is of another dataset, {dataset.name}); "
        "train one with --mode train, or name it"
    )


def test_eval_takes_the_latest_readable_checkpoint(dataset: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("train", dataset, "--epochs", "1", "--out", "runs/a") == 0
    Path("runs/b").mkdir()
    Path("runs/b/best.pt").write_bytes(b"cut off")
    assert run("eval", dataset) == 0
    out = capsys.readouterr().out
    assert "runs/a/best.pt: top-1" in out
    assert "skipped runs/b/best.pt: it cannot be read\n" in out


def test_a_checkpoint_knows_its_dataset(
    dataset: Dataset, varied: Dataset, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Named by its file or by its run, and as the newest of all; from another folder too."""
    Path("data").symlink_to(dataset.root)
    assert train("--mode", "train", "--data", "data", *QUICK, "--out", "runs/a") == 0
    Path("elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    for name in ("../runs/a/best.pt", "../runs/a"):
        assert train("--mode", "eval", "--checkpoint", name, "--out", "e") == 0
        assert "on 32 images" in capsys.readouterr().out
    monkeypatch.chdir("..")
    assert train("--mode", "eval") == 0
    assert run("train", varied, "--split", "70-30", "--out", "runs/b") == 0
    capsys.readouterr()
    assert train("--mode", "eval") == 0
    assert "runs/b/best.pt: top-1" in capsys.readouterr().out
    assert train("--mode", "eval", "--data", "data") == 0
    out = capsys.readouterr().out
    assert f"skipped runs/b/best.pt: it is of another dataset, {varied.name}\n" in out
    assert "runs/a/best.pt: top-1" in out
    Path("data").unlink()
    line = refused(capsys, "--mode", "eval", "--checkpoint", "runs/a/best.pt")
    assert "runs/a/best.pt: its dataset" in line
    assert line.endswith(f"was at {Path('data').absolute()}, where there is none now; name it with --data")


def test_the_latest_run_is_found_from_elsewhere(dataset: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    """It is in runs/, or beside the results."""
    assert run("train", dataset, "--epochs", "1", "--out", "runs/a") == 0
    assert train("--mode", "eval", "--out", "e") == 0
    assert train("--mode", "peek", "--resume", "--out", "deep/p") == 0
    assert "runs/a/best.pt: top-1" in capsys.readouterr().out
    assert run("train", dataset, "--epochs", "1", "--out", "deep/b") == 0
    assert train("--mode", "eval", "--out", "deep/e") == 0
    assert "deep/b/best.pt: top-1" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--mode train --resume none", "--resume none: no such run; there are runs/one, runs/two"),
        ("--mode train --resume two", "--resume two: no such run; there are runs/two, runs/one"),
        ("--mode peek --resume runs/on", "--resume runs/on: no such run; there are runs/one, runs/two"),
        ("--mode eval --checkpoint runs/twoo", "--checkpoint runs/twoo: no such run; there is runs/two"),
        ("--mode predict --checkpoint two x.png", "--checkpoint two: no such run; there is runs/two"),
        (
            "--mode train --resume runs/four",
            "--resume runs/four: nothing was saved there yet; begin it again, with --out runs/four",
        ),
        (
            "--mode train --resume runs/five",
            "--resume runs/five: a complete run without its checkpoints: there is nothing to go on from",
        ),
        ("--mode train --resume " + "x" * 300, f"{'x' * 300}: File name too long"),
        ("--mode eval --checkpoint " + "x" * 300, f"{'x' * 300}: File name too long"),
        ("--mode train --resume runs", "--resume runs: a folder without last.pt; there are runs/one, runs/two"),
        (
            "--mode train --resume runs/two/lst.pt",
            "--resume runs/two/lst.pt: no such checkpoint; there are runs/two/last.pt, runs/two/best.pt",
        ),
    ],
)
def test_a_run_that_is_not_there(capsys: pytest.CaptureFixture[str], words: str, message: str) -> None:
    """The line names those that are, first the one that is spelt most like it."""
    for file in (
        "one/last.pt",
        "two/last.pt",
        "two/best.pt",
        "three/notes.txt",
        "four/run.json",
        "five/run.json",
        "five/summary.json",
    ):
        (Path("runs") / file).parent.mkdir(parents=True, exist_ok=True)
        (Path("runs") / file).touch()
    assert refused(capsys, *words.split()) == f"train.py: {message}"
