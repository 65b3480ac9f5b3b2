import csv
import json
import math
import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional

from feedline.pipeline import Dataset, InputError
from feedline.pipeline.dataset import PARTS
from feedline.pipeline.loader import Batch
from feedline.training import checkpoint
from feedline.training.config import Config
from feedline.training.evaluate import Evaluation, evaluate, most_confused, per_class
from feedline.training.loop import Trainer
from feedline.training.meter import StallMeter
from feedline.training.modes.common import make_loader
from feedline.training.precision import Precision
from feedline.training.report import Log
from feedline.training.step import TrainStep
from feedline.training.stopping import Interrupted
from tests.training.conftest import small_model

Build = Callable[..., Trainer]
Make = Callable[..., Config]


def weights(trainer: Trainer) -> dict[str, torch.Tensor]:
    state = dict(trainer.model.state_dict())
    if trainer.average is not None:
        state |= {f"average.{k}": v for k, v in trainer.average.model.state_dict().items()}
    return state


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def fit_until(trainer: Trainer, step: int) -> None:
    """Trains and is asked to stop at a global step; needs `log_every=1`."""
    log_step = trainer._log_step

    def counted(*args: Any) -> str:
        if trainer._global_step() == step:
            trainer.stopping.set()
        return log_step(*args)

    trainer._log_step = counted  # type: ignore[method-assign, assignment]
    with pytest.raises(Interrupted):
        trainer.fit()


KINDS: dict[str, dict[str, Any]] = {
    "sgd": {"optimizer": "sgd", "ema": 0.9},
    "adam": {"optimizer": "adam", "cycle_momentum": True, "clip_grad": 1.0},
    "adamw-bf16": {"optimizer": "adamw", "amp": True, "ema": 0.9, "label_smoothing": 0.1},
}


@pytest.mark.parametrize("engine", ["dali", "torch"])
@pytest.mark.parametrize("kind", KINDS)
def test_two_runs_give_the_same_bits(config: Make, trainer: Build, kind: str, engine: str) -> None:
    c = config(engine=engine, **KINDS[kind])
    a, b = trainer(c, "a"), trainer(c, "b")
    a.fit()
    b.fit()
    assert same(weights(a), weights(b))


@pytest.mark.parametrize("kind", KINDS)
def test_resuming_gives_the_bits_of_a_run_that_was_not_interrupted(config: Make, trainer: Build, kind: str) -> None:
    c = config(log_every=1, **KINDS[kind])
    whole = trainer(c, "whole")
    whole.fit()
    steps = 3 * len(whole.train)
    for stop in sorted(random.Random(kind).sample(range(1, steps), 4)):
        out = f"stopped-{stop}"
        fit_until(trainer(c, out), stop)
        state = checkpoint.load(whole.out.parent / out / "last.pt")
        rest = trainer(c, out, state)
        assert rest.at.epoch * len(rest.train) + rest.at.step == stop
        rest.fit()
        assert same(weights(rest), weights(whole))
        lines = [
            [json.loads(line) for line in (run.out / "log.jsonl").read_text().splitlines()] for run in (rest, whole)
        ]
        for mine, theirs in zip(*lines, strict=True):
            assert {k: v for k, v in mine.items() if k in ("step", "loss", "top1", "lr", "val_top1")} == {
                k: v for k, v in theirs.items() if k in ("step", "loss", "top1", "lr", "val_top1")
            }


def test_a_run_may_be_stopped_again_and_again(config: Make, trainer: Build) -> None:
    c = config(ema=0.9)
    whole = trainer(c, "whole")
    whole.fit()
    state = None
    for _ in range(100):
        part = trainer(c, "part", state)
        try:
            if part.at.step < len(part.train):  # else the evaluation is left: it must come to its end at once
                part.stopping.set()  # before the first step: every session does one
            part.fit()
        except Interrupted:
            state = checkpoint.load(part.out / "last.pt")
            continue
        break
    assert same(weights(part), weights(whole))


def test_a_row_that_was_logged_before_its_checkpoint_is_not_logged_twice(config: Make, trainer: Build) -> None:
    """Stopped in the evaluation, gone on with, killed between the epoch's row and its checkpoint."""
    run = trainer(config(epochs=2))
    run._stop_if_asked = run._stop  # type: ignore[method-assign]
    with pytest.raises(Interrupted):
        run.fit()
    state = checkpoint.load(run.out / "last.pt")
    assert state["position"]["step"] == len(run.train)
    killed = trainer(config(epochs=2), "run", state)
    killed._save = lambda *_: (_ for _ in ()).throw(KeyboardInterrupt)  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        killed.fit()
    trainer(config(epochs=2), "run", state).fit()
    steps = [json.loads(line)["step"] for line in (run.out / "log.jsonl").read_text().splitlines()]
    assert steps == [2, 4, 6, 6, 8, 10, 12, 12]


def test_saves_in_mid_epoch(config: Make, trainer: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    saved = []
    run = trainer(config(save_every=2, epochs=1))
    monkeypatch.setattr(run, "_save", lambda name, *_: saved.append((name, run.at.step)))
    run.fit()
    assert len(run.train) == 6
    assert saved == [("last.pt", 2), ("last.pt", 4), ("best.pt", 0), ("last.pt", 0)]


@pytest.mark.parametrize(("seconds", "steps"), [(1, []), (50, [3]), (60, [2, 4]), (1000, [1, 2, 3, 4, 5])])
def test_saves_by_the_clock(
    config: Make, trainer: Build, monkeypatch: pytest.MonkeyPatch, seconds: int, steps: list[int]
) -> None:
    """Every two minutes of a clock that goes on by so many seconds a step; and at the end of the epoch."""
    now, saved = [0.0], []
    run = trainer(config(save_every="2m", epochs=1), clock=lambda: now[0])
    call, save = TrainStep.__call__, run._save

    def timed(self: TrainStep, *batch: torch.Tensor) -> Any:
        now[0] += seconds
        return call(self, *batch)

    def noted(name: str, *more: Any) -> None:
        saved.append((name, run.at.step))
        save(name, *more)

    monkeypatch.setattr(TrainStep, "__call__", timed)
    monkeypatch.setattr(run, "_save", noted)
    run.fit()
    assert len(run.train) == 6
    assert saved == [*(("last.pt", step) for step in steps), ("best.pt", 0), ("last.pt", 0)]


def test_a_run_leaves_what_it_promises(config: Make, trainer: Build, dataset: Dataset) -> None:
    run = trainer(config(epochs=2, tta=True))
    result = run.fit()
    assert sorted(p.name for p in run.out.iterdir()) == [
        "best.pt", "curves.png", "last.pt", "log.jsonl", "metrics.csv", "previous.pt", "summary.json"
    ]  # fmt: skip
    summary = json.loads((run.out / "summary.json").read_text())
    assert summary["best"]["val_top1"] == result["best"]["val_top1"] >= summary["last"]["val_top1"]
    assert summary["images"] == {"train": 96, "val": 32}
    assert summary["dataset"]["fingerprint"] == dataset.fingerprint
    assert summary["config"]["epochs"] == 2
    assert 0 <= summary["stall"] <= 1
    assert summary["images_per_s"] > 0
    assert summary["memory"]["host_mib"] > 100
    rows = list(csv.DictReader((run.out / "metrics.csv").open()))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    steps = [json.loads(line)["step"] for line in (run.out / "log.jsonl").read_text().splitlines()]
    assert steps == [2, 4, 6, 6, 8, 10, 12, 12]
    assert (run.out / "curves.png").read_bytes()[:4] == b"\x89PNG"


def test_it_learns(config: Make, trainer: Build) -> None:
    result = trainer(config(epochs=12, optimizer="adamw", max_lr=0.02, image_size=32, padding=2)).fit()
    assert result["best"]["val_top1"] > 40, "chance is 25 %"
    assert result["last"]["train_loss"] < 1.35, "chance is 1.39"


def test_a_loss_that_is_not_finite_stops_the_run(config: Make, trainer: Build) -> None:
    """The line names the step and its images; nothing of what came after is saved."""
    run = trainer(config(max_lr=1e9, div_factor=1.0, log_every=6, save_every=1))
    with pytest.raises(
        InputError, match=r"the loss is not finite at step \d \(epoch 1, LR 1e\+09.*lower --max-lr"
    ) as e:
        run.fit()
    found = json.loads((run.out / "nonfinite.json").read_text())
    assert f"at step {found['step']} " in str(e.value)
    assert found["images"] == run.train.plan.batch(0, found["batch"]).ids.tolist()
    last = checkpoint.load(run.out / "last.pt")
    assert last["position"]["step"] == found["step"] - 1


def test_a_batch_that_is_not_finite_is_named(config: Make, trainer: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    run = trainer(config(log_every=6))
    call, steps = run.step.__call__, []

    def poisoned(images: torch.Tensor, labels: torch.Tensor) -> Any:
        steps.append(1)
        return call(images * math.nan if len(steps) == 8 else images, labels)

    monkeypatch.setattr(type(run.step), "__call__", lambda _, *batch: poisoned(*batch))
    with pytest.raises(InputError, match=r"not finite at step 8 \(epoch 2"):
        run.fit()
    assert json.loads((run.out / "nonfinite.json").read_text())["images"] == run.train.plan.batch(1, 1).ids.tolist()


def test_a_scaler_leaves_out_what_is_not_finite_until_its_scale_is_used_up(
    config: Make, trainer: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    c = config(amp=True, amp_dtype="fp16", epochs=4)
    run = trainer(c, "one")
    call, bad = type(run.step).__call__, {3}

    def poisoned(self: TrainStep, images: torch.Tensor, labels: torch.Tensor) -> Any:
        bad_now = run._global_step() + 1 in bad
        return call(self, images * math.nan if bad_now else images, labels)

    monkeypatch.setattr(type(run.step), "__call__", poisoned)
    run.step.scaler = torch.amp.GradScaler("cpu", init_scale=64.0)
    result = run.fit()
    assert math.isfinite(result["last"]["train_loss"])
    assert run.schedule.last_epoch == 4 * 6 - 1
    bad.update(range(1, 100))
    run = trainer(c, "all")
    run.step.scaler = torch.amp.GradScaler("cpu", init_scale=64.0)
    with pytest.raises(InputError, match=r"the loss is not finite at step 7 "):
        run.fit()


@pytest.mark.parametrize("store", ["files", "jpeg", "raw"])
def test_an_image_that_is_lost_in_mid_run_costs_nothing(
    config: Make, trainer: Build, dataset: Dataset, tmp_path: Path, store: str
) -> None:
    """A named error; what was trained is saved; with the image back in its place the end is the same."""
    whole = trainer(config(store=store), "whole")
    whole.fit()
    copy = Path(shutil.copytree(dataset.root, tmp_path / "copy"))
    c = config(store=store, data=str(copy))
    damaged = copy / dataset.path(5) if store == "files" else next((copy / "packs" / store).glob("*.bin"))

    def build(state: dict[str, Any] | None) -> Trainer:
        device = torch.device("cpu")
        train, val = (make_loader(c, Dataset(copy), part, device) for part in PARTS)
        return Trainer(c, small_model(), train, val, tmp_path / "run", state)

    run = build(None)
    write = Log.write

    def lose(self: Log, record: Any) -> None:
        write(self, record)
        if run._global_step() == 4 and damaged.exists():
            if store == "files":
                damaged.rename(tmp_path / "aside")
            else:
                shutil.copy(damaged, tmp_path / "aside")
                os.truncate(damaged, 100)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Log, "write", lose)
        with pytest.raises(InputError, match=r"steps before are saved, then --resume") as caught:
            run.fit()
    assert str(damaged) in str(caught.value) or str(damaged.parent) in str(caught.value)
    shutil.copy(tmp_path / "aside", damaged)
    rest = build(checkpoint.load_last(tmp_path / "run"))
    assert rest._global_step() >= 4
    rest.fit()
    assert same(weights(rest), weights(whole))


def test_the_checkpoint_before_is_offered(config: Make, trainer: Build) -> None:
    run = trainer(config(epochs=2))
    run.fit()
    last, previous = run.out / "last.pt", run.out / "previous.pt"
    assert checkpoint.load(previous)["position"]["epoch"] == 1
    whole = last.read_bytes()
    weight = whole.index(checkpoint.load(last)["model"]["8.weight"].numpy().tobytes())
    flipped = whole[: weight + 9] + bytes([whole[weight + 9] ^ 1]) + whole[weight + 10 :]
    for damage in (whole[:-100], whole[:5000], b"", flipped):
        last.write_bytes(damage)
        with pytest.raises(InputError, match=r"the one before it is whole \(epoch 2, step 0\).*--resume .*previous.pt"):
            checkpoint.load_last(run.out)
    previous.write_bytes(b"")
    with pytest.raises(InputError, match="not a checkpoint that can be read") as caught:
        checkpoint.load_last(run.out)
    assert "the one before" not in str(caught.value)


@pytest.mark.parametrize(("amp_dtype", "scales"), [("bf16", False), ("fp16", True)])
def test_mixed_precision_policies(config: Make, amp_dtype: str, scales: bool) -> None:
    precision = Precision.choose(config(amp=True, amp_dtype=amp_dtype).run, torch.device("cpu"))
    assert precision.scales is scales is precision.scaler().is_enabled()
    with precision.autocast():
        assert torch.nn.Linear(2, 2)(torch.ones(1, 2)).dtype == precision.dtype
    plain = Precision.choose(config().run, torch.device("cpu"))
    with plain.autocast():
        assert torch.nn.Linear(2, 2)(torch.ones(1, 2)).dtype == torch.float32


def test_the_schedule_does_not_move_on_a_step_that_the_scaler_left_out(config: Make, trainer: Build) -> None:
    run = trainer(config(epochs=6, amp=True, amp_dtype="fp16"))
    run.step.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**40)  # the first steps overflow
    before = {k: v.clone() for k, v in run.model.named_parameters()}
    images, labels = next(iter(run.train))
    run.step(images, labels)
    assert not run.step.taken
    assert all(torch.equal(before[k], v) for k, v in run.model.named_parameters())
    run.train.close()
    run.fit()
    assert 0 < run.schedule.last_epoch < 6 * len(run.train)


def test_evaluation_counts_every_image_once(dataset: Dataset, config: Make, trainer: Build) -> None:
    run = trainer(config())
    model = small_model().eval()
    found = evaluate(model, run.val, run.precision)
    images = torch.cat([images for images, _ in run.val])
    labels = torch.cat([labels for _, labels in run.val])
    with torch.no_grad():
        logits = model(images)
    assert found.images == len(labels) == 32
    assert found.top1 == pytest.approx(100 * (logits.argmax(1) == labels).double().mean().item())
    assert found.top5 == 100
    assert found.loss == pytest.approx(functional.cross_entropy(logits, labels).item(), rel=1e-5)
    assert found.confusion.sum() == 32
    assert found.confusion[1, 2] == ((labels == 1) & (logits.argmax(1) == 2)).sum()
    mirrored = evaluate(model, run.val, run.precision, tta=True)
    with torch.no_grad():
        both = (logits + model(images.flip(3))) / 2
    assert mirrored.loss == pytest.approx(functional.cross_entropy(both, labels).item(), rel=1e-5)


def test_what_is_made_of_a_confusion_matrix() -> None:
    found = Evaluation(9, 0.0, 0.0, 0.0, torch.tensor([[2, 1, 0], [3, 1, 1], [0, 0, 0]]))
    assert per_class(found)[:2] == pytest.approx([200 / 3, 20])
    assert math.isnan(per_class(found)[2])
    assert most_confused(found) == [(1, 0, 3), (0, 1, 1), (1, 2, 1)]


def test_stall_is_the_time_spent_waiting() -> None:
    now = [0.0]

    def slow() -> Iterator[Batch]:
        for wait in (1, 2, 4):
            now[0] += wait
            yield torch.zeros(1), torch.zeros(1)

    meter = StallMeter(torch.device("cpu"), clock=lambda: now[0])
    for _ in meter.watch(slow()):
        now[0] += 100
    assert meter.seconds() == 7
    assert now == [307]


@pytest.mark.parametrize(
    "content", [b"", b"text", b"PK\x03\x04 cut off", None], ids=["empty", "text", "cut zip", "foreign"]
)
def test_what_is_no_checkpoint_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "last.pt"
    if content is None:
        torch.save({"state_dict": {}}, path)
    else:
        path.write_bytes(content)
    with pytest.raises(InputError, match="not a checkpoint") as caught:
        checkpoint.load(path)
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="no such checkpoint"):
        checkpoint.load(tmp_path / "nothing.pt")


def test_a_checkpoint_that_would_run_code_is_not_run(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return Path.touch, (tmp_path / "pwned",)

    torch.save({"format": checkpoint.FORMAT, "evil": Evil()}, tmp_path / "evil.pt")
    with pytest.raises(InputError, match="not a checkpoint that can be read"):
        checkpoint.load(tmp_path / "evil.pt")
    assert not (tmp_path / "pwned").exists()


@pytest.mark.gpu
@pytest.mark.parametrize("amp_dtype", ["bf16", "fp16"])
@pytest.mark.parametrize("store", ["jpeg", "raw", "resident"])
def test_training_on_the_gpu(config: Make, trainer: Build, amp_dtype: str, store: str) -> None:
    c = config(device="cuda", amp=True, amp_dtype=amp_dtype, store=store, epochs=4, ema=0.9)
    result = trainer(c, f"{store}-{amp_dtype}").fit()
    assert math.isfinite(result["last"]["train_loss"])
    assert result["memory"]["gpu_mib"] > 0


@pytest.mark.gpu
def test_resuming_on_the_gpu(config: Make, trainer: Build) -> None:
    c = config(device="cuda", ema=0.9, log_every=1)
    whole = trainer(c, "whole")
    whole.fit()
    fit_until(trainer(c, "part"), 5)
    rest = trainer(c, "part", checkpoint.load(whole.out.parent / "part/last.pt"))
    rest.fit()
    for key, value in weights(whole).items():
        torch.testing.assert_close(weights(rest)[key], value, atol=1e-3, rtol=1e-2)


@pytest.mark.gpu
def test_compiled_training_on_the_gpu(config: Make) -> None:
    step = TrainStep(config(device="cuda", compile=True), small_model(), torch.device("cuda"), 0.01)
    plain = TrainStep(config(device="cuda"), small_model(), torch.device("cuda"), 0.01)
    images = torch.randn(16, 3, 16, 16, device="cuda").to(memory_format=torch.channels_last)
    labels = torch.arange(16, device="cuda") % 4
    for _ in range(3):
        a, _ = step(images, labels)
        b, _ = plain(images, labels)
        torch.testing.assert_close(a, b, atol=1e-3, rtol=1e-3)
