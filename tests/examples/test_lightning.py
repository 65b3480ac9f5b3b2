"""A run with Lightning, stopped anywhere, goes on as if it had not been stopped."""

import csv
from pathlib import Path
from typing import Any

import pytest
import torch

from feedline import Dataset, Loader
from tests.examples.examples import FOLDER, load, needs, run

pytestmark = needs("lightning")

EPOCHS = 3
BATCH = 20  # 4 batches of the 89 train images
Weights = dict[str, torch.Tensor]
Steps = list[tuple[list[int], float]]  # ids and loss of each


def same(a: Weights, b: Weights) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def weights(checkpoint: Path) -> Weights:
    state: Weights = torch.load(checkpoint, weights_only=True)["state_dict"]
    return state


def logged(folder: Path) -> dict[int, str]:
    """The loss of each step, with all digits."""
    with (folder / "metrics.csv").open() as file:
        return {int(row["step"]): row["train_loss"] for row in csv.DictReader(file) if row["train_loss"]}


def test_the_example_resumes_in_mid_epoch(dataset: Dataset, tmp_path: Path) -> None:
    command = [FOLDER / "lightning_fit.py", "--data", dataset.root, "--batch-size", str(BATCH), "--save-every", "6"]
    run(*command, "--out", "whole", cwd=tmp_path)
    run(*command, "--out", "parts", "--max-steps", "7", cwd=tmp_path)  # the checkpoint is behind step 6
    run(*command, "--out", "parts", "--resume", "parts/last.ckpt", cwd=tmp_path)
    whole, stopped, resumed = (
        logged(tmp_path / name / "lightning_logs" / version)
        for name, version in (("whole", "version_0"), ("parts", "version_0"), ("parts", "version_1"))
    )
    assert list(whole) == list(range(4 * EPOCHS))
    assert list(stopped) == list(range(7))
    assert list(resumed) == list(range(6, 4 * EPOCHS))
    assert {**stopped, **resumed} == whole
    assert same(weights(tmp_path / "whole/end.ckpt"), weights(tmp_path / "parts/end.ckpt"))


def fit(dataset: Dataset, out: Path, resume: Path | None = None) -> tuple[Steps, Weights]:
    """Trains a small model, with a checkpoint at each step: `out/step=1.ckpt` and so on."""
    import lightning as L
    from lightning.pytorch.callbacks import ModelCheckpoint

    steps: Steps = []

    class Record(L.Callback):
        def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, index: int) -> None:
            assert train.planned is not None
            steps.append((train.planned.ids.tolist(), outputs["loss"].item()))

    L.seed_everything(0)
    train = Loader(dataset, part="train", batch_size=BATCH, threads=1)
    val = Loader(dataset, part="val", batch_size=BATCH, threads=1)
    model = load("lightning_fit").Classifier(4)
    model.model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 64 * 64, 4))
    trainer = L.Trainer(
        max_epochs=EPOCHS,
        accelerator="cpu",
        callbacks=[ModelCheckpoint(out, filename="{step}", every_n_train_steps=1, save_top_k=-1), Record()],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(model, train, val, ckpt_path=resume)
    return steps, model.state_dict()


@pytest.fixture(scope="module")
def whole(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Steps, Weights]:
    """A run without a stop: its checkpoints, its steps, its end."""
    out = tmp_path_factory.mktemp("whole")
    return out, *fit(dataset, out)


def test_each_epoch_has_its_own_batches(dataset: Dataset, whole: tuple[Path, Steps, Weights]) -> None:
    """Those of a plain loop over the loader."""
    plain = []
    loader = Loader(dataset, part="train", batch_size=BATCH, threads=1, with_ids=True)
    for _ in range(EPOCHS):
        plain += [ids.tolist() for _, _, ids in loader]
    assert [ids for ids, _ in whole[1]] == plain


@pytest.mark.parametrize("stop", range(1, 4 * EPOCHS))
def test_a_run_resumes_at_every_step(
    dataset: Dataset, whole: tuple[Path, Steps, Weights], stop: int, tmp_path: Path
) -> None:
    checkpoints, steps, end = whole
    resumed, its_end = fit(dataset, tmp_path, resume=checkpoints / f"step={stop}.ckpt")
    assert resumed == steps[stop:]
    assert same(its_end, end)
