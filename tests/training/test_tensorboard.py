"""--tensorboard: what TensorBoard reads of a run."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from feedline import Dataset
from feedline.training import checkpoint
from feedline.training.loggers import Loggers
from feedline.training.tensorboard import NAME
from tests.cli.commands import refused, run
from tests.training.conftest import Build, Make


@pytest.fixture(autouse=True)
def in_a_new_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def read(out: str) -> Any:
    """What TensorBoard shows of a run."""
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason="tensorboard is not installed"
    )
    events = accumulator.EventAccumulator(f"{out}/tensorboard")
    return events.Reload()


def points(out: str, name: str) -> list[int]:
    return [event.step for event in read(out).Scalars(name)]


def needs_tensorboard() -> None:
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")


def test_scalars_images_and_settings(dataset: Dataset) -> None:
    needs_tensorboard()
    assert run("train", dataset, "--tensorboard", "--log-every", "4", "--out", "runs/a") == 0
    events = read("runs/a")
    log = [json.loads(line) for line in Path("runs/a/log.jsonl").read_text().splitlines()]
    steps = [record for record in log if "val_top1" not in record]
    names = {"loss/train": "loss", "top1/train": "top1", "lr": "lr", "images/s": "images_per_s_last", "stall": "stall"}
    for name, key in names.items():
        shown = [(event.step, event.value) for event in events.Scalars(name)]
        assert shown == [(r["step"], pytest.approx(r[key], rel=1e-6)) for r in steps]
    best = json.loads(Path("runs/a/summary.json").read_text())["best"]["val_top1"]
    assert [event.step for event in events.Scalars("top1/val")] == [12, 24]
    assert max(event.value for event in events.Scalars("top1/val")) == pytest.approx(best)
    assert [event.value for event in events.Scalars("hparam/top1")] == [pytest.approx(best)]
    assert [event.step for event in events.Images("images/train")] == [0]
    assert b"batch_size" in b"".join(path.read_bytes() for path in Path("runs/a/tensorboard").iterdir())


def test_a_run_that_was_killed_and_resumed_has_each_step_once(config: Make, trainer: Build, tmp_path: Path) -> None:
    """Killed in epoch 2, three steps behind its checkpoint."""
    needs_tensorboard()
    c = config(epochs=3, log_every=1)

    def fit(resume: Any = None, kill: int = -1) -> None:
        loggers = Loggers()
        loggers.load([NAME])

        def on_record(record: Mapping[str, Any]) -> None:
            loggers.record(record)
            if record["step"] == kill:
                raise KeyboardInterrupt

        built = trainer(c, "run", resume, on_record=on_record)
        loggers.start(c.flat(), built.out, built.state.global_step)
        summary = built.fit()
        loggers.end(summary)

    with pytest.raises(KeyboardInterrupt):
        fit(kill=9)
    fit(checkpoint.load_last(tmp_path / "run"))
    out = str(tmp_path / "run")
    assert points(out, "loss/train") == list(range(1, 19))
    assert points(out, "top1/val") == [6, 12, 18]


def test_without_the_package_a_line_says_what_to_install(
    dataset: Dataset, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    monkeypatch.delitem(sys.modules, "torch.utils.tensorboard", raising=False)
    flags = ["--mode", "train", "--data", str(dataset.root), "--recipe", "demo", "--image-size", "16"]
    line = refused(capsys, *flags, "--tensorboard", "--out", "runs/a")
    assert line.endswith(
        "--tensorboard: needs the package of this name: pip install 'feedline[tensorboard]', or tensorboard"
    )


def test_a_run_without_it_imports_none_of_it(dataset: Dataset) -> None:
    code = (
        "import sys\nfrom tests.small_train import main\n"
        "status = main()\n"
        "assert not {'tensorboard', 'torch.utils.tensorboard'} & set(sys.modules)\n"
        "sys.exit(status)"
    )
    flags = ["--mode", "train", "--data", str(dataset.root), "--recipe", "demo", "--image-size", "16", "--epochs", "1"]
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code, *flags, "--device", "cpu", "--out", str(Path("runs/a").absolute())],
        cwd=root, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert not Path("runs/a/tensorboard").exists()
