"""--mode peek: a batch as the network gets it, of the settings or of any step of a run."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from feedline.cli.build import shown
from feedline.cli.fitting import fitted
from feedline.cli.locate import run_data
from feedline.cli.names import short_name
from feedline.cli.request import Request
from feedline.cli.runs import latest_checkpoint
from feedline.pipeline.dataset import Dataset
from feedline.pipeline.dataset.decode import DecodeError, decode
from feedline.pipeline.errors import InputError
from feedline.pipeline.loader import Loader
from feedline.pipeline.plan import PlanBatch
from feedline.pipeline.plan.edits import NOTHING
from feedline.report.page import Page, Section
from feedline.report.peek import Seen, picture_of, save_grid
from feedline.training import checkpoint
from feedline.training.config import Config

IMAGES = 16


def run(request: Request) -> int:
    """Writes peek.png and peek.html: the first images of a batch, each beside its original."""
    config, dataset = _settings(request)
    loader = _loader(config, dataset)
    steps, total = len(loader), len(loader) * config.optim.epochs
    step = 1 if request.step is None else request.step
    if not 1 <= step <= total:
        raise InputError(f"`step={step}`: the run has the steps 1 to {total:,}, {steps:,} an epoch")
    out = request.folder()
    epoch, position = divmod(step - 1, steps)
    batch = list(seen(loader, epoch, position, IMAGES))
    title = f"{dataset.name} {loader.split}, step {step:,} (epoch {epoch + 1}, step {position + 1} of {steps:,})"
    note = f"{shown(loader.output(epoch))}, augment {','.join(config.loader.augment) or 'none'}, seed {config.run.seed}"
    out.mkdir(parents=True, exist_ok=True)
    save_grid(out / "peek.png", batch, f"{title}: {note}")
    text = "Left the original with its window, right what the network gets, before normalising."
    if config.mix.mixup or config.mix.cutmix:
        text += " Pairs of these are mixed in the step, which is not shown."
    page = Page(title, note, sections=[Section("Images", text, pictures=list(map(picture_of, batch)))])
    page.write(out / "peek.html")
    print(f"{title}\n{note}\npicture: {out / 'peek.png'}  page: {out / 'peek.html'}")
    return 0


def seen(loader: Loader, epoch: int, position: int, images: int) -> Iterator[Seen]:
    """The first images of a batch.

    Args:
        loader: gives uint8.
        epoch: counted from 0.
        position: of the batch in the epoch, from 0.
        images: how many at most.
    """
    loader.set_epoch(epoch, first=position)
    pixels, labels = next(iter(loader))
    batch = loader.planned
    assert batch is not None
    loader.close()
    rows = pixels.permute(0, 2, 3, 1).numpy()
    for i in range(min(images, len(batch))):
        path = loader.folder.path(int(batch.ids[i]))
        y, x, height, width = batch.window[i].tolist()
        yield Seen(
            original=_original(loader.folder, path),
            window=(y, x, height, width),
            result=np.ascontiguousarray(rows[i]),
            name=short_name(loader.folder.classes[int(labels[i])]),
            done=_done(batch, i),
            path=path,
        )


def _settings(request: Request) -> tuple[Config, Dataset]:
    """Those of the run that is named, or of the recipe and flags."""
    if request.resume is None:
        config, dataset = request.opened()
        return fitted(request, config, dataset), dataset
    latest = request.resume == "latest" and not Path("latest").exists()
    path = latest_checkpoint(request.runs(), checkpoint.LAST) if latest else Path(request.resume)
    path = path / checkpoint.LAST if path.is_dir() else path
    snapshot = checkpoint.load(path)
    config = snapshot.config.replace(data=str(request.flags.get("data") or run_data(snapshot, path)))
    dataset = Dataset(config.run.data)
    snapshot.check_dataset(dataset, path)
    return config, dataset


def _loader(config: Config, dataset: Dataset) -> Loader:
    """The loader of a run's train part, for pixels that are not normalised."""
    options = dataclasses.replace(
        config.loader, part="train", device="cpu", engine="torch", seed=config.run.seed, dtype=torch.uint8, store="auto"
    )
    return Loader(dataset, **vars(options))


def _original(dataset: Dataset, path: str) -> "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]":
    try:
        return decode((dataset.root / path).read_bytes()).pixels
    except (OSError, DecodeError) as error:
        raise InputError(f"{dataset.root / path}: {error}") from error


def _done(batch: PlanBatch, row: int) -> str:
    """What was done to the window of an image, by name."""
    names = ["flip"] if batch.flip[row] else []
    for edit in batch.edits:
        names += [name for name, array in edit.parts.items() if (array[row] != NOTHING[name]).any()]
    return ", ".join(names)
