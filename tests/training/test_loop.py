import csv
import json
import math
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional

from pipeline import Dataset, InputError
from tests.training.conftest import small_model
from training import checkpoint
from training.config import Config
from training.evaluate import Evaluation, evaluate, most_confused, per_class
from training.loop import Interrupted, Trainer
from training.meter import StallMeter
from training.precision import Precision
from training.step import TrainStep

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
            part.stopping.set()  # before the first step: every session does one
            part.fit()
        except Interrupted:
            state = checkpoint.load(part.out / "last.pt")
            continue
        break
    assert same(weights(part), weights(whole))


def test_saves_in_mid_epoch(config: Make, trainer: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    saved = []
    run = trainer(config(save_every=2, epochs=1))
    monkeypatch.setattr(run, "_save", lambda name, *_: saved.append((name, run.at.step)))
    run.fit()
    assert len(run.train) == 6
    assert saved == [("last.pt", 2), ("last.pt", 4), ("last.pt", 0), ("best.pt", 0)]


def test_a_run_leaves_what_it_promises(config: Make, trainer: Build, dataset: Dataset) -> None:
    run = trainer(config(epochs=2, tta=True))
    result = run.fit()
    assert sorted(p.name for p in run.out.iterdir()) == [
        "best.pt", "curves.png", "last.pt", "log.jsonl", "metrics.csv", "summary.json"
    ]  # fmt: skip
    summary = json.loads((run.out / "summary.json").read_text())
    assert summary["best"]["val_top1"] == result["best"]["val_top1"] >= summary["last"]["val_top1"]
    assert summary["images"] == {"train": 96, "val": 32}
    assert summary["dataset"]["fingerprint"] == dataset.fingerprint
    assert summary["config"]["epochs"] == 2
    assert 0 <= summary["stall"] < 1
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
    with pytest.raises(InputError, match=r"the loss is (nan|inf).* by step .*lower --max-lr"):
        trainer(config(max_lr=1e9, div_factor=1.0)).fit()


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
    def slow() -> Any:
        for _ in range(3):
            time.sleep(0.05)
            yield torch.zeros(1), torch.zeros(1)

    meter = StallMeter(torch.device("cpu"))
    for _ in meter.watch(slow()):
        time.sleep(0.02)
    assert 0.15 <= meter.seconds() < 0.2


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
