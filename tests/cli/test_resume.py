"""A run goes on with the command that began it, and with no other."""

import dataclasses
import json
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from feedline import Dataset, Loader
from feedline.cli import same_command
from feedline.pipeline.errors import InputError
from feedline.pipeline.loader import Batch
from feedline.training import checkpoint
from feedline.training.config import Config
from feedline.training.evaluate import Evaluation, evaluate
from feedline.training.loop import Trainer
from feedline.training.precision import Precision
from feedline.training.reporter import Reporter
from tests.cli.commands import QUICK, refused, run, train
from tests.training.conftest import same

Stop = Callable[..., None]


@pytest.fixture
def stopped(monkeypatch: pytest.MonkeyPatch) -> Stop:
    """Runs a command and stops it, as SIGTERM does, in its first epoch."""
    iterate = Loader.__iter__

    def interrupted(self: Loader) -> Iterator[Batch]:
        for number, batch in enumerate(iterate(self)):
            if number == 3:
                signal.raise_signal(signal.SIGTERM)
            yield batch

    def stop(*argv: str) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(Loader, "__iter__", interrupted)
            assert train(*argv) == 128 + signal.SIGTERM

    return stop


@pytest.fixture
def command(dataset: Dataset) -> list[str]:
    return ["--mode", "train", "--data", str(dataset.root), *QUICK]


def weights(run: str) -> dict[str, torch.Tensor]:
    return checkpoint.load(Path(run) / "last.pt").model


def recipe(text: str = "") -> str:
    Path("my.toml").write_text(f"batch-size = 8\nimage-size = 16\nepochs = 2\nmax-lr = 0.003\namp = true\n{text}")
    return "my.toml"


def test_a_run_that_was_killed_before_its_report_gets_one(dataset: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("train", dataset, "--epochs", "1", "--out", "runs/a") == 0
    before = [Path("runs/a", name).read_bytes() for name in ("last.pt", "best.pt", "log.jsonl", "predictions.npz")]
    Path("runs/a/report.html").unlink()
    assert train("--mode", "train", "--resume", "runs/a") == 0
    assert Path("runs/a/report.html").exists()
    after = [Path("runs/a", name).read_bytes() for name in ("last.pt", "best.pt", "log.jsonl", "predictions.npz")]
    assert after == before
    assert "this run is complete" in refused(capsys, "--mode", "train", "--resume", "runs/a")


def test_a_resumed_run_keeps_its_settings(dataset: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("train", dataset, "--epochs", "1", "--out", "runs/a") == 0
    line = refused(capsys, "--mode", "train", "--resume", "runs/a")
    assert "this run is complete" in line
    assert "train on from its weights: a new run with --init runs/a/best.pt" in line
    line = refused(capsys, "--mode", "train", "--resume", "runs/a", "--certify", "pixels")
    assert "this run is complete" in line, "what is certified may change"
    line = refused(capsys, "--mode", "train", "--resume", "runs/a", "--compile-mode", "default")
    assert "--compile-mode default: has no effect without --compile" in line
    line = refused(capsys, "--mode", "train", "--data", str(dataset.root), *QUICK, "--out", "runs/a")
    assert "--out runs/a: holds a complete run; choose another --out" in line


def test_other_epochs_of_one_cycle_are_refused_with_the_reason(
    dataset: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("train", dataset, "--epochs", "1", "--out", "runs/a") == 0
    line = refused(capsys, "--mode", "train", "--resume", "runs/a", "--epochs", "5")
    assert "--epochs 5: the run was started with 1, over which its learning rate rises and falls" in line
    assert "Start a new run, with --init from the weights of this one" in line
    assert "one with --schedule trapezoid can get other epochs until it falls" in line


def test_a_stopped_run_goes_on_with_a_recipe_file_and_an_automatic_rate(
    dataset: Dataset, command: list[str], stopped: Stop, capsys: pytest.CaptureFixture[str]
) -> None:
    """The resolved rate is the run's, also when a later LR test would give another one."""
    mine = ["--mode", "train", "--data", str(dataset.root), "--split", "official", "--device", "cpu"]
    mine += ["--recipe", recipe(), "--max-lr", "auto", "--out", "runs/a"]
    lrfind = ["--mode", "lrfind", *mine[2:-4]]
    assert train(*lrfind) == 0
    stopped(*mine)
    rate = checkpoint.load(Path("runs/a/last.pt")).config.optim.max_lr
    assert train(*lrfind, "--end-lr", "0.01") == 0
    capsys.readouterr()

    line = refused(capsys, *mine)
    assert line.startswith("train.py: --out runs/a: holds a run already, which was stopped; resume it with: ")
    assert "python train.py --mode train --resume runs/a" in line
    assert train(*mine, "--resume", "runs/a") == 0
    assert "resuming runs/a at epoch 1, step 4 of 12" in capsys.readouterr().out
    assert checkpoint.load(Path("runs/a/last.pt")).config.optim.max_lr == rate
    assert train(*mine[:-4], "--max-lr", repr(rate), "--out", "runs/whole") == 0
    assert same(weights("runs/a"), weights("runs/whole"))


@pytest.mark.parametrize("end", [["--resume"], ["--resume", "runs/a/last.pt"], ["--resume", "runs/a", "--no-tta"]])
def test_spellings_of_the_same_command(command: list[str], stopped: Stop, end: list[str]) -> None:
    began = [*command, "--augment", "flip,pad-crop", "--no-tta", "--image-size", "16", "--out", "runs/a"]
    stopped(*began)
    again = [*command, "--augment", "pad-crop:4,flip", "--image-size", "16@0", "--max-lr", "3e-3", "--out", "./runs/a"]
    assert train(*again, *end) == 0


def test_the_rate_as_the_console_showed_it_is_the_runs(
    dataset: Dataset, command: list[str], stopped: Stop, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("lrfind", dataset) == 0
    stopped(*command, "--max-lr", "auto", "--out", "runs/a")
    rate = checkpoint.load(Path("runs/a/last.pt")).config.optim.max_lr
    line = refused(capsys, *command, "--max-lr", "0.5", "--resume", "runs/a")
    assert f"--max-lr 0.5: the run was started with {rate:.6g} (auto); a resumed run keeps its settings" in line
    assert train(*command, "--max-lr", f"{rate:.3g}", "--resume", "runs/a") == 0


@pytest.mark.parametrize(("began", "asked"), [("0.002", "auto"), ("0.00123456789", "0.00123457")])
def test_another_rate_is_refused_and_both_are_told_apart(
    command: list[str], stopped: Stop, capsys: pytest.CaptureFixture[str], began: str, asked: str
) -> None:
    """A rate that was given is not automatic; numbers that differ late are written in full."""
    stopped(*command, "--max-lr", began, "--out", "runs/a")
    line = refused(capsys, *command, "--max-lr", asked, "--resume", "runs/a")
    assert f"--max-lr {asked}: the run was started with {began}" in line


def test_a_recipe_that_was_changed_since(
    dataset: Dataset, stopped: Stop, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Compared by values: what changes nothing is taken, the rest is refused; a restart by torchrun only says it."""
    data = ["--mode", "train", "--data", str(dataset.root), "--split", "official", "--device", "cpu"]
    mine = [*data, "--recipe", recipe(), "--out", "runs/a"]
    stopped(*mine)
    recipe("momentum = 0.8\n")
    line = refused(capsys, *mine, "--resume", "runs/a")
    assert "--recipe my.toml: has momentum = 0.8, the run was started with 0.9 (the file was changed since, or" in line
    Path("part.toml").write_text("epochs = 2\n")
    line = refused(capsys, *data, "--recipe", "part.toml", "--resume", "runs/a")
    assert "--recipe part.toml: leaves out batch-size, which makes it 256, the run was started with 8" in line
    line = refused(capsys, *data, "--recipe", recipe("crop = 'pad'\n"), "--resume", "runs/a")
    assert "--recipe my.toml: has augment = pad-crop,flip, the run was started with auto-crop,flip" in line
    recipe("momentum = 0.8\n")
    line = refused(capsys, *data, "--recipe", "demo", "--resume", "runs/a")
    assert "--recipe demo: has batch-size = 50, the run was started with 8 (with recipe my)" in line
    with monkeypatch.context() as patch:
        patch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
        stopped(*mine)
    assert "my.toml was changed since the run began; the run keeps momentum = 0.9\n" in capsys.readouterr().out
    Path("other.toml").write_text(Path(recipe("log-every = 5\n# as before\nsplit = 'official'\n")).read_text())
    assert train(*data, "--recipe", "other.toml", "--resume", "runs/a") == 0
    last = checkpoint.load(Path("runs/a/last.pt"))
    assert (last.config.run.log_every, last.config.optim.momentum, last.config.recipe) == (5, 0.9, "my")


@pytest.mark.parametrize(("known", "asked_again"), [(True, True), (True, False), (False, True)])
def test_a_run_that_began_with_mixed_keeps_it(
    command: list[str], stopped: Stop, known: bool, asked_again: bool
) -> None:
    """It was the default before `auto` was; older checkpoints do not know what was asked for."""
    stopped(*command, "--out", "runs/a")
    last = Path("runs/a/last.pt")
    content = torch.load(last, weights_only=True)
    for config in (content["config"], *content["asked"].values()):
        assert config["decode"] == "auto"
        config["decode"] = "mixed"
    if not known:
        del content["asked"]
    torch.save(content, last)
    again = command if asked_again else ["--mode", "train"]
    assert train(*again, "--resume", "runs/a") == 0
    assert checkpoint.load(last).config.loader.decode == "mixed"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--no-flip"], "--no-flip: makes augment auto-crop, the run was started with auto-crop,flip"),
        (["--no-amp"], "--no-amp: the run was started with --amp; a resumed run keeps its settings"),
        (["--seed", "1"], "--seed 1: the run was started with 0"),
        (["--out", "runs/b"], "--out runs/b: a resumed run goes on in its own folder, runs/a; leave --out out"),
    ],
)
def test_what_would_be_another_run_names_what_was_written(
    command: list[str], stopped: Stop, capsys: pytest.CaptureFixture[str], flags: list[str], message: str
) -> None:
    stopped(*command, "--out", "runs/a")
    assert message in refused(capsys, "--mode", "train", "--resume", "runs/a", *flags)
    assert not Path("runs/b").exists()


def test_checkpoints_of_older_versions_are_resumed(
    dataset: Dataset, command: list[str], stopped: Stop, capsys: pytest.CaptureFixture[str]
) -> None:
    """They do not know what was asked for, nor where their dataset is: the name of the recipe has to do."""
    stopped(*command, "--out", "runs/a")
    last = Path("runs/a/last.pt")
    content = torch.load(last, weights_only=True)
    for name in ("asked", "dataset", "resolved"):
        del content[name]
    torch.save(content, last)
    assert "--recipe default: has batch-size = 256" in refused(
        capsys, "--mode", "train", "--recipe", "default", "--resume", "runs/a"
    )
    assert train(*command, "--resume", "runs/a") == 0


def test_a_run_is_resumed_where_its_dataset_is(
    dataset: Dataset, stopped: Stop, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """From another folder too, though the command named it relative to this one."""
    Path("data").symlink_to(dataset.root)
    out = Path("runs/a").absolute()
    stopped("--mode", "train", "--data", "data", *QUICK, "--out", str(out))
    Path("elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    assert train("--mode", "train", "--resume", str(out)) == 0
    monkeypatch.chdir("..")
    Path("data").unlink()
    line = refused(capsys, "--mode", "train", "--resume", str(out))
    assert (
        f"last.pt: its dataset {dataset.name} was at {Path('data').absolute()}, where there is none now; name" in line
    )


def test_other_threads_are_said(command: list[str], stopped: Stop, capsys: pytest.CaptureFixture[str]) -> None:
    before = torch.get_num_threads()
    try:
        stopped(*command, "--torch-threads", "1", "--out", "runs/a")
        assert train("--mode", "train", "--resume", "runs/a", "--torch-threads", "2") == 0
    finally:
        torch.set_num_threads(before)
    assert "2 torch threads, so far 1: sums are rounded differently" in capsys.readouterr().out


def test_another_precision_is_said(
    command: list[str], stopped: Stop, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a GPU without bf16, where a gradient scaler begins in the middle of the run."""
    stopped(*command, "--out", "runs/a")
    monkeypatch.setattr(Precision, "choose", lambda run, device: Precision(device, torch.float16))
    capsys.readouterr()
    assert train("--mode", "train", "--resume", "runs/a") == 0
    assert "fp16, so far bf16: numbers are rounded differently" in capsys.readouterr().out


def test_a_trapezoid_can_be_resumed_with_other_epochs_before_its_fall(
    dataset: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    shape = ["--schedule", "trapezoid", "--peak-epoch", "1", "--log-every", "1"]
    assert run("train", dataset, *shape, "--epochs", "2", "--cooldown", "0", "--out", "runs/a") == 0
    longer = ["--epochs", "4", "--cooldown", "0.5"]
    assert train("--mode", "train", "--resume", "runs/a", *longer) == 0
    assert run("train", dataset, *shape, *longer, "--out", "runs/b") == 0
    resumed, planned = (rates(Path("runs") / name) for name in "ab")
    assert resumed == planned
    assert len(planned) == 4 * 12
    assert planned[-1] < planned[24] == max(planned)
    line = refused(capsys, "--mode", "train", "--resume", "runs/a/last.pt", "--epochs", "5")
    assert "--epochs 5: the run was started with 4, and its learning rate has begun to fall" in line


def test_a_run_that_goes_on_after_its_end_is_not_complete(
    dataset: Dataset, command: list[str], stopped: Stop, capsys: pytest.CaptureFixture[str]
) -> None:
    flat = ["--schedule", "trapezoid", "--cooldown", "0", "--peak-epoch", "1"]
    assert run("train", dataset, *flat, "--epochs", "2", "--out", "runs/a") == 0
    stopped("--mode", "train", "--resume", "runs/a", "--epochs", "3")
    assert ">training<" not in Path("runs/a/report.html").read_text(), "the summary of the first end"
    assert "holds a run already, which was stopped" in refused(capsys, *command, "--out", "runs/a")


@pytest.mark.parametrize(
    ("flags", "epochs", "why"),
    [
        (["--eval-every", "0"], "2", "--epochs 2: the run was started with 4, and has done 2; give more"),
        (["--mixup", "0.2", "--mix-until", "0.5"], "3", None),
        (["--mixup", "0.2", "--mix-until", "0.4"], "3", None),
        (
            ["--mixup", "0.2", "--mix-until", "0.3"],
            "3",
            "and mixes in the first 0.3 of these (--mix-until): epochs that",
        ),
    ],
)
def test_other_epochs_leave_those_that_are_done_as_they_were(
    dataset: Dataset, capsys: pytest.CaptureFixture[str], flags: list[str], epochs: str, why: str | None
) -> None:
    flat = ["--schedule", "trapezoid", "--cooldown", "0", "--peak-epoch", "1", "--epochs", "4", *flags]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "_train_epoch", stopping_after(2))
        assert run("train", dataset, *flat, "--out", "runs/a") == 2
    command = ["--mode", "train", "--resume", "runs/a", "--epochs", epochs]
    if why is None:
        assert train(*command) == 0
    else:
        assert why in refused(capsys, *command)


def stopping_after(epochs: int) -> Callable[..., None]:
    train_epoch = Trainer._train_epoch

    def stopping(self: Trainer, reporter: Reporter) -> None:
        if self.state.position.epoch == epochs:
            raise InputError("the power is gone")
        train_epoch(self, reporter)

    return stopping


def rates(run: Path) -> list[float]:
    records = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [record["lr"] for record in records if "val_top1" not in record]


def test_weights_for_use_are_not_resumed(dataset: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    """best.pt starts other runs, and last.pt goes on."""
    assert run("train", dataset, "--out", "runs/a") == 0
    line = refused(capsys, "--mode", "train", "--resume", "runs/a/best.pt")
    assert re.search(
        r"--resume runs/a/best.pt: holds the weights of epoch \d only, for use; resume the run with --resume runs/a, "
        "or start a new run from them with --init runs/a/best.pt",
        line,
    )


def test_a_run_that_ended_early_is_resumed_with_more_patience(
    dataset: Dataset, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fifty(*args: Any, **options: Any) -> Evaluation:
        return dataclasses.replace(evaluate(*args, **options), top1=50.0)

    monkeypatch.setattr("feedline.training.loop.evaluate", fifty)
    flags = ["--epochs", "5", "--patience", "2", "--out", "runs/a"]
    assert run("train", dataset, *flags) == 0
    out = capsys.readouterr().out
    assert "patience 2: a run that ends early ends before its learning rate has fallen (onecycle, to the end of" in out
    end = "ended after epoch 3 of 5: 2 evaluations without a val top-1 above that of epoch 1 (patience 2)"
    assert f"{end}\n" in out
    assert "Ended early" in Path("runs/a/report.html").read_text()
    line = refused(capsys, "--mode", "train", "--resume", "runs/a")
    assert f"--resume runs/a: this run {end}; resume it with a larger --patience, or 0 for all its epochs" in line
    assert train("--mode", "train", "--resume", "runs/a", "--patience", "3") == 0
    assert "ended after epoch 4 of 5: 3 evaluations" in capsys.readouterr().out
    assert train("--mode", "train", "--resume", "runs/a", "--patience", "0") == 0
    assert "ended" not in capsys.readouterr().out
    assert "Ended early" not in Path("runs/a/report.html").read_text()
    assert "this run is complete" in refused(capsys, "--mode", "train", "--resume", "runs/a", "--patience", "1")


def test_an_early_end_costs_nothing_where_the_rate_does_not_fall(
    dataset: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    flat = ["--schedule", "trapezoid", "--cooldown", "0", "--patience", "2"]
    assert run("train", dataset, *flat, "--out", "runs/a") == 0
    assert "ends before its learning rate" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("damage", "ends"),
    [
        (lambda log: log.write_bytes(log.read_bytes() + b'{"step": 7, "x": "\xff\xfe"}\n'), None),
        (lambda log: log.write_bytes(log.read_bytes()[:-9]), None),
        (lambda log: log.unlink(), 0),
        (lambda log: log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[:1])), 4),
    ],
)
def test_a_damaged_log_is_no_reason_to_end(
    dataset: Dataset,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    damage: Callable[[Path], Any],
    ends: int | None,
) -> None:
    """What it lacks is said; a line that was cut off or cannot be read is left out. So is which checkpoint is taken."""
    assert run("train", dataset, "--log-every", "4", "--epochs", "2", "--out", "runs/a") == 0
    Path("runs/a/summary.json").unlink()
    damage(Path("runs/a/log.jsonl"))
    assert train("--mode", "train", "--resume", "runs/a/previous.pt") == 0
    assert "resuming runs/a from previous.pt, its last.pt from now on, at epoch 2, step 0" in capsys.readouterr().out
    assert any(f"log.jsonl ends at step {ends} of " in line for line in caplog.messages) is (ends is not None)
    assert all(json.loads(line) for line in Path("runs/a/log.jsonl").read_text().splitlines())


def test_a_log_that_is_a_folder_is_named(dataset: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("train", dataset, "--epochs", "2", "--out", "runs/a") == 0
    Path("runs/a/summary.json").unlink()
    Path("runs/a/log.jsonl").unlink()
    Path("runs/a/log.jsonl").mkdir()
    line = refused(capsys, "--mode", "train", "--resume", "runs/a/previous.pt")
    assert "runs/a/log.jsonl: is a folder, where the log of a run is written; move it away" in line


def test_what_cannot_be_resumed_is_told_from_what_can(dataset: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("train", dataset, "--epochs", "2", "--out", "runs/a") == 0
    line = refused(capsys, "--mode", "train", "--resume", "runs/a/report.html")
    assert "--resume runs/a/report.html: is no checkpoint; name the folder of a run, or a .pt file in it" in line
    Path("runs/a/last.pt").unlink()
    line = refused(capsys, "--mode", "train", "--resume", "runs/a")
    assert "last.pt is not there; the one before it is: resume it with --resume runs/a/previous.pt" in line


def test_a_new_run_takes_no_folder_with_a_checkpoint(
    command: list[str], stopped: Stop, capsys: pytest.CaptureFixture[str]
) -> None:
    stopped(*command, "--out", "runs/a")
    Path("runs/a/last.pt").rename("runs/a/previous.pt")
    assert "--resume runs/a/previous.pt (or" in refused(capsys, *command, "--out", "runs/a")
    Path("runs/a/previous.pt").rename("runs/a/best.pt")
    assert "--out runs/a: holds the best.pt of another run; ch" in refused(capsys, *command, "--out", "runs/a")
    Path("runs/a/best.pt").rename("runs/a/summary.json")
    assert "--out runs/a: holds a complete run; choose" in refused(capsys, *command, "--out", "runs/a")


@pytest.mark.parametrize("epochs", [10, 20, 30])
@pytest.mark.parametrize("cooldown", [0.8, 0.9])
def test_a_fall_begins_where_it_does_whatever_floats_say(epochs: int, cooldown: float) -> None:
    """5 x (1 - 0.8) is a little less than 1."""
    values = {"schedule": "trapezoid", "cooldown": cooldown, "pct_start": 0.01}
    before, now = (Config.build("x", {**values, "epochs": n}) for n in (round(1 / (1 - cooldown)), epochs))
    snapshot: Any = SimpleNamespace(config=before, position=SimpleNamespace(epoch=1, step=0))
    assert same_command._peak_goes_on(snapshot, now)
