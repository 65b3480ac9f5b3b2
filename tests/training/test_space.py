import errno
import shutil
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from feedline import Dataset
from feedline.training import checkpoint
from feedline.training.space import checkpoint_bytes
from tests.cli.commands import QUICK, refused, run, train
from tests.training.conftest import Build, Make

Usage = namedtuple("Usage", "total used free")


@pytest.fixture(autouse=True)
def in_a_new_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("changes", [{}, {"ema": 0.9}, {"optimizer": "adamw"}, {"optimizer": "muon"}, {"momentum": 0}])
def test_the_estimate_is_what_a_checkpoint_takes(
    config: Make, trainer: Build, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
) -> None:
    """But for the few KiB that do not grow with the network."""
    monkeypatch.setattr("tests.training.conftest.small_model", large_model)
    run = trainer(config(epochs=1, **changes))
    run.fit()
    size = (run.out / "last.pt").stat().st_size
    assert 0 < size - checkpoint_bytes(run.state) < 30_000


def large_model() -> nn.Module:
    """3 MB of weights, half of them in filters."""
    return nn.Sequential(
        *(nn.Conv2d(3, 200, 3, 2, 1), nn.Conv2d(200, 200, 3, 2, 1), nn.BatchNorm2d(200)),
        *(nn.Flatten(), nn.Linear(200 * 4 * 4, 100), nn.Linear(100, 4)),
    )


def test_a_disk_without_room_for_the_checkpoints_is_refused_at_the_start(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**9, 10**9, 1000))
    line = refused(capsys, "--mode", "train", "--data", str(dataset.root), *QUICK, "--out", "runs/a")
    assert line.startswith("train.py: --out runs/a: 0 MiB are free there, and the checkpoints of this run take ")
    assert not Path("runs").exists()


@pytest.mark.parametrize("hidden", [False, True])
def test_a_disk_that_is_full_later_leaves_what_was_saved(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], hidden: bool
) -> None:
    """Torch raises another error while it handles the file's. The run is resumed when there is room again."""
    assert run("train", dataset, "--out", "runs/whole") == 0
    save, saves = torch.save, [0]

    def full(content: Any, file: Any) -> None:
        saves[0] += 1
        if saves[0] < 3:  # best and last of the first epoch
            save(content, file)
            return
        file.write(b"half")
        try:
            raise OSError(errno.ENOSPC, "No space left on device")
        except OSError:
            if hidden:
                raise RuntimeError("unexpected pos 704 vs 598")  # noqa: B904
            raise

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", full)
        line = refused(capsys, "--mode", "train", "--data", str(dataset.root), *QUICK, "--out", "runs/a")
    assert line.replace("best.pt", "last.pt") == (
        "train.py: runs/a/last.pt: cannot be written (No space left on device); what was saved before stays: make "
        "room, and resume it with --resume runs/a"
    )
    assert not list(Path("runs/a").glob("*.tmp"))
    assert checkpoint.load(Path("runs/a/last.pt")).position.epoch == 1
    assert train("--mode", "train", "--resume", "runs/a") == 0
    weights = [checkpoint.load(Path("runs") / name / "last.pt").model for name in ("a", "whole")]
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[1])


@pytest.mark.parametrize("mode", ["train", "lrfind", "bench"])
def test_one_value_a_channel_is_one_line(dataset: Dataset, capsys: pytest.CaptureFixture[str], mode: str) -> None:
    def network(classes: int) -> torch.nn.Module:
        return torch.nn.Sequential(
            torch.nn.AdaptiveAvgPool2d(1), torch.nn.BatchNorm2d(3), torch.nn.Flatten(), torch.nn.Linear(3, classes)
        )

    flags = ["--data", str(dataset.root), "--image-size", "8", "--batch-size", "1", "--device", "cpu"]
    line = refused(capsys, "--mode", mode, *flags, network=network)
    assert "--batch-size 1: a batch norm has one value a channel, which has no variance; use --batch-size 2" in line
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("mode", "file", "kept", "said"),
    [
        ("eval", "eval.json", [], "runs/a/best.pt: top-1 "),
        ("eval", "report.html", ["eval.json", "per_class.csv", "predictions.csv"], "runs/a/best.pt: top-1 "),
        ("lrfind", "lr_range.json", [], "-> scaled "),
        ("bench", "bench.json", [], "images/s, "),
    ],
)
def test_what_was_measured_is_said_before_a_full_disk_is(
    dataset: Dataset,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    mode: str,
    file: str,
    kept: list[str],
    said: str,
) -> None:
    argv = {"eval": ["--checkpoint", "runs/a"], "lrfind": ["--batch-size", "8"], "bench": ["--rounds", "1"]}[mode]
    if mode == "eval":
        assert run("train", dataset, "--epochs", "1", "--out", "runs/a") == 0
    write = Path.write_text

    def full(self: Path, text: str, **options: Any) -> int:
        if not self.name.startswith(file):
            return write(self, text, **options)
        write(self, text[:10], **options)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    argv += ["--seconds", "0.05"] if mode == "bench" else []
    capsys.readouterr()
    assert run(mode, dataset, *argv, "--out", "r/x") == 2
    shown = capsys.readouterr()
    assert said in shown.out
    assert shown.err.splitlines()[-1] == f"train.py: r/x/{file}: cannot be written (No space left on device)"
    assert {path.name for path in Path("r/x").glob("*")} >= set(kept)
    assert not list(Path().rglob("*.tmp"))
    assert Path("r/x").exists() == bool(kept)
