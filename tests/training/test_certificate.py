"""The certificates in a run's log: what was fed at every step."""

import dataclasses
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from feedline.pipeline.engines.torch_cpu import TorchCpuEngine
from feedline.pipeline.engines.types import EngineBatches
from feedline.pipeline.plan import PlanBatch
from feedline.pipeline.plan.certificate import certify
from feedline.training import certificate, checkpoint
from feedline.training.certificate import PixelHash
from feedline.training.loop import Trainer
from feedline.training.snapshot import Snapshot
from feedline.training.step import TrainStep
from feedline.training.stopping import Interrupted
from tests.pipeline.loading import all_differ
from tests.training.conftest import Build, Make, same, weights

MIXED = {"mixup": 0.4, "cutmix": 1.0, "mix_prob": 0.8}
CPU = torch.device("cpu")


def certificates(run: Path, kind: str = "stream") -> dict[int, str]:
    """Those of a log by step; no step has two."""
    found: dict[int, str] = {}
    for line in (run / "log.jsonl").read_text().splitlines():
        record = json.loads(line)
        words = record.get(kind, [])
        steps = range(record["step"] - len(words) + 1, record["step"] + 1)
        assert not found.keys() & set(steps)
        found |= dict(zip(steps, words, strict=True))
    return found


def stream_of(build: Build, config: Any, out: str = "run") -> list[str]:
    run = build(config, out)
    run.fit()
    return list(certificates(run.out).values())


@pytest.mark.parametrize("mixing", [{}, {**MIXED, "mix_until": 0.5}])
def test_the_log_has_the_certificate_of_every_step(config: Make, trainer: Build, mixing: dict[str, Any]) -> None:
    """Of the images, windows and flips that the plan has for it, and of how they were mixed."""
    run = trainer(config(epochs=2, log_every=4, **mixing))
    run.fit()
    plan, fingerprint, expected = run.train.plan, run.train.folder.fingerprint, []
    for epoch in range(2):
        for k in range(6):
            mix = run.state.mixing.of(epoch, k, torch.empty(16, 3, 16, 16))
            assert (mix is not None) == (bool(mixing) and epoch == 0)
            number = certify(plan.batch(epoch, k), plan.slots(k), dataset=fingerprint, size=(16, 16), mix=mix)
            expected.append(f"{number:016x}")
    assert certificates(run.out) == dict(enumerate(expected, 1))
    assert not certificates(run.out, "pixels")


@pytest.mark.parametrize("engine", ["torch", "dali"])
@pytest.mark.parametrize("store", ["files", "jpeg", "raw"])
def test_stores_engines_and_threads_feed_the_same(config: Make, trainer: Build, store: str, engine: str) -> None:
    options: dict[str, Any] = {"epochs": 1, "certify": "pixels", "augment": ("pad-crop:2", "flip", "erasing:p=0.5")}
    expected = trainer(config(store="raw", engine="torch", threads=1, **options), "a")
    actual = trainer(config(store=store, engine=engine, threads=2, **options), "b")
    for run in (expected, actual):
        run.fit()
    assert certificates(actual.out) == certificates(expected.out)
    if engine == "torch":
        assert certificates(actual.out, "pixels") == certificates(expected.out, "pixels")


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"augment": ("pad-crop:4",)},
        {"augment": ("pad-crop:4", "flip", "erasing:p=0.01")},
        {"image_size": 24},
        {"classes": 3},
        {"shuffle": "blocks", "shuffle_block": 4, "shuffle_group": 2},
        {"mixup": 0.2},
        {"batch_size": 8},
    ],
)
def test_what_changes_the_stream_changes_every_certificate(
    config: Make, trainer: Build, change: dict[str, Any]
) -> None:
    a, b = stream_of(trainer, config(epochs=1), "a"), stream_of(trainer, config(epochs=1, **change), "b")
    assert not set(a) & set(b)
    assert all_differ([*a, *b])


@pytest.mark.parametrize("change", [{"max_lr": 0.5}, {"log_every": 5}, {"ema": 0.9}, {"amp": True}])
def test_other_settings_do_not(config: Make, trainer: Build, change: dict[str, Any]) -> None:
    assert stream_of(trainer, config(epochs=1), "a") == stream_of(trainer, config(epochs=1, **change), "b")


def test_what_the_engine_handed_out_is_certified_not_what_was_planned(
    config: Make, trainer: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = stream_of(trainer, config(epochs=1), "a")
    run = TorchCpuEngine.run

    def mirrors_one(self: TorchCpuEngine, batches: Iterable[PlanBatch]) -> EngineBatches:
        for number, (batch, images) in enumerate(run(self, batches)):
            flip = batch.flip.copy()
            flip[5] ^= number == 2
            yield dataclasses.replace(batch, flip=flip), images

    monkeypatch.setattr(TorchCpuEngine, "run", mirrors_one)
    actual = stream_of(trainer, config(epochs=1), "b")
    assert [a == b for a, b in zip(actual, expected, strict=True)] == [True, True, False, True, True, True]


def disturbed(monkeypatch: pytest.MonkeyPatch, step: int, act: Callable[[], None]) -> None:
    """Does something before a step of the next run."""
    call, done = TrainStep.__call__, [0]

    def counted(self: TrainStep, *batch: Any) -> Any:
        done[0] += 1
        if done[0] == step:
            act()
        return call(self, *batch)

    monkeypatch.setattr(TrainStep, "__call__", counted)


def stopped(build: Build, monkeypatch: pytest.MonkeyPatch, config: Any, out: str, step: int) -> Trainer:
    """A run that is stopped after a step, between two log lines or on one."""
    run = build(config, out)
    with monkeypatch.context() as patch:
        disturbed(patch, step, run.stopping.set)
        with pytest.raises(Interrupted):
            run.fit()
    return run


def test_a_run_that_is_stopped_anywhere_and_resumed_has_the_same_certificates(
    config: Make, trainer: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    c = config(epochs=2, log_every=4, certify="pixels", **MIXED)
    whole = trainer(c, "whole")
    whole.fit()
    for step in (1, 4, 5, 6, 9):  # lines are logged at 4, 6, 10 and 12
        run = stopped(trainer, monkeypatch, c, f"run-{step}", step)
        snapshot = checkpoint.load(run.out / "last.pt")
        rest = trainer(config(epochs=2, log_every=5, certify="pixels", **MIXED), f"run-{step}", snapshot)
        rest.fit()
        for kind in ("stream", "pixels"):
            assert list(certificates(rest.out, kind)) == list(range(1, 13))
            assert certificates(rest.out, kind) == certificates(whole.out, kind)


def test_a_run_that_is_killed_after_a_save_has_the_same_certificates(
    config: Make, trainer: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Steps that were logged, lost and done again are in the log once."""
    c = config(epochs=2, log_every=2, save_every=3)
    whole = stream_of(trainer, c, "whole")

    def kill() -> None:
        raise KeyboardInterrupt

    run = trainer(c, "killed")
    with monkeypatch.context() as patch:
        disturbed(patch, 6, kill)
        with pytest.raises(KeyboardInterrupt):
            run.fit()
    assert list(certificates(run.out)) == [1, 2, 3, 4], "the checkpoint is of step 3"
    trainer(c, "killed", checkpoint.load(run.out / "last.pt")).fit()
    assert certificates(run.out) == dict(enumerate(whole, 1))


def test_a_checkpoint_of_an_older_version_is_resumed(
    config: Make, trainer: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    c = config(epochs=2, log_every=4)
    whole = trainer(c, "whole")
    whole.fit()
    run = stopped(trainer, monkeypatch, c, "old", 5)
    content = checkpoint.load(run.out / "last.pt").to_dict()
    del content["certificates"]
    log = run.out / "log.jsonl"
    records = [json.loads(line) for line in log.read_text().splitlines()]
    log.write_text("".join(json.dumps({k: v for k, v in r.items() if k != "stream"}) + "\n" for r in records))
    rest = trainer(c, "old", Snapshot.from_dict(content))
    rest.fit()
    assert certificates(run.out) == {k: v for k, v in certificates(whole.out).items() if k > 5}
    assert same(weights(rest), weights(whole))


@pytest.mark.parametrize(("first", "then", "steps"), [("stream", "pixels", range(6, 13)), ("pixels", "stream", [])])
def test_pixels_may_be_certified_from_some_step_on(
    config: Make,
    trainer: Build,
    monkeypatch: pytest.MonkeyPatch,
    first: str,
    then: str,
    steps: Iterable[int],
) -> None:
    whole = trainer(config(epochs=2, certify="pixels"), "whole")
    whole.fit()
    run = stopped(trainer, monkeypatch, config(epochs=2, log_every=6, certify=first), "run", 5)
    trainer(config(epochs=2, log_every=6, certify=then), "run", checkpoint.load(run.out / "last.pt")).fit()
    expected = certificates(whole.out, "pixels")
    assert certificates(run.out, "pixels") == {step: expected[step] for step in steps}
    assert certificates(run.out) == certificates(whole.out)


def test_certifying_pixels_does_not_change_training(config: Make, trainer: Build) -> None:
    runs = [trainer(config(epochs=1, certify=kind), kind) for kind in ("stream", "pixels")]
    for run in runs:
        run.fit()
    assert same(weights(runs[0]), weights(runs[1]))


def test_a_step_takes_twenty_bytes_of_the_log(config: Make, trainer: Build) -> None:
    run = trainer(config(epochs=1, log_every=100))
    run.fit()
    line = (run.out / "log.jsonl").read_text().splitlines()[0]
    rest = {name: value for name, value in json.loads(line).items() if name != "stream"}
    assert len(line) - len(json.dumps(rest)) <= 6 * 20 + len(', "stream": []')


def batch(dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, torch.Tensor, Any]:
    torch.manual_seed(1)
    images = torch.randint(0, 256, (8, 3, 6, 5)).to(memory_format=torch.channels_last)
    return images.to(dtype), torch.arange(8) % 3, np.arange(16, 24)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.uint8])
def test_any_change_of_pixels_labels_or_order_is_noticed(dtype: torch.dtype) -> None:
    images, labels, slots = batch(dtype)
    pixel, backwards = images.clone(), images.flip(0)
    pixel[3, 1, 2, 4] += 1
    other = labels.clone()
    other[7] += 1
    pixels = PixelHash(CPU)
    found = [
        int(pixels(*changed))
        for changed in (
            (images, labels, slots),
            (pixel, labels, slots),
            (backwards, labels.flip(0), slots),
            (images, other, slots),
            (images, labels, slots + 8),
            (images.flip(3), labels, slots),
            (images.flip(1), labels, slots),
        )
    ]
    assert all_differ(found)
    assert int(pixels(backwards, labels.flip(0), slots[::-1].copy())) == found[0], "each keeps its slot"


def test_signs_and_last_bits_are_pixels_too() -> None:
    images, labels, slots = batch()
    images -= 100.5
    last, signs = images.clone(), images.clone()
    last[0, 0, 0, 0] = torch.nextafter(images[0, 0, 0, 0], torch.tensor(1e9))
    signs[1, :, 2:4] *= -1
    pixels = PixelHash(CPU)
    assert all_differ([int(pixels(changed, labels, slots)) for changed in (images, last, signs)])


def test_the_hashes_of_shares_add_up() -> None:
    """In whatever memory format they are."""
    images, labels, slots = batch()
    expected = int(PixelHash(CPU)(images, labels, slots))
    parts = [slice(0, 3), slice(3, 8)]
    shares = [int(PixelHash(CPU)(images[p].contiguous(), labels[p], slots[p])) for p in parts]
    assert sum(shares) % 2**64 == expected % 2**64


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.uint8])
def test_pixels_are_hashed_on_the_gpu_as_on_the_cpu(monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype) -> None:
    """Whatever part of a batch is hashed at once."""
    images, labels, slots = batch(dtype)
    expected, cuda = int(PixelHash(CPU)(images, labels, slots)), torch.device("cuda")
    assert int(PixelHash(cuda)(images.to(cuda), labels.to(cuda), slots)) == expected
    monkeypatch.setattr(certificate, "BLOCK", 3 * images[0].numel())
    assert int(PixelHash(cuda)(images.to(cuda), labels.to(cuda), slots)) == expected


@pytest.mark.gpu
def test_certifying_pixels_on_the_gpu(config: Make, trainer: Build) -> None:
    runs = [trainer(config(device="cuda", amp=True, epochs=1, certify="pixels"), out) for out in ("a", "b")]
    for run in runs:
        run.fit()
    for kind in ("stream", "pixels"):
        assert list(certificates(runs[0].out, kind)) == list(range(1, 7))
        assert certificates(runs[0].out, kind) == certificates(runs[1].out, kind)
