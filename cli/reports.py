"""Writes the reports of runs and evaluations: report.html in their folders, and pictures."""

import contextlib
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from feedline.cli.request import Request
from feedline.cli.seen import IMAGES, pixel_loader, seen, seen_of_val
from feedline.output import counted
from feedline.pipeline.dataset import Dataset
from feedline.pipeline.errors import InputError
from feedline.pipeline.loader import Loader
from feedline.report.confusion import save_confusions
from feedline.report.evaluation import evaluation_page, sections_of
from feedline.report.findings import findings_section
from feedline.report.page import Section
from feedline.report.peek import picture_of
from feedline.report.run import run_page
from feedline.report.sheet import save_sheet
from feedline.training.config import Config
from feedline.training.loop import Trainer
from feedline.training.predictions import Predictions
from feedline.training.saver import PREDICTIONS
from feedline.use.names import class_name

REPORT = "report.html"
TRAIN_BATCH, VAL_BATCH = "train_batch.png", "val_batch.png"
PEEK = "--mode peek --resume RUN --step N shows any other."


def report_run(request: Request, trainer: Trainer, recipe: Config | None, ended: str = "") -> Path:
    """Writes the report of a training run, and returns its path.

    Args:
        request: the command.
        trainer: of the run.
        recipe: what the settings are compared with; None if it is not known.
        ended: why the run is not complete; empty if it is.
    """
    config, out, dataset = trainer.config, trainer.out, trainer.val.folder
    sections = [_as_seen(config, dataset, out)]
    predictions = Predictions.load(out / PREDICTIONS) if (out / PREDICTIONS).exists() else None
    if predictions is not None:
        sections += sections_of(predictions, dataset, _names(trainer.val))
        with contextlib.suppress(InputError):  # an image can no longer be read
            _save_val_batch(out, config, dataset, predictions)
    sections.append(findings_section(dataset))
    values, rates = None if recipe is None else recipe.flat(), trainer.state.position.lrs
    page = run_page(out, sections, rates=rates, command=request.command, recipe=values, ended=ended)
    page.write(out / REPORT)
    return out / REPORT


def _as_seen(config: Config, dataset: Dataset, out: Path) -> Section:
    """Images of the first batch of a run, beside their originals, which are written to a file too."""
    title = "Training images as seen"
    try:
        pictures = [picture_of(image) for image in seen(pixel_loader(config, dataset), 0, 0, IMAGES)]
    except InputError as error:
        return Section(title, f"They cannot be shown: {error}")
    save_sheet(out / TRAIN_BATCH, pictures, f"{dataset.name}, the first training batch: {len(pictures)} of its images")
    text = f"Of the first batch: left the original with its window, right what the network gets. {PEEK}"
    return Section(title, text, pictures=pictures, pairs=True)


def _save_val_batch(out: Path, config: Config, dataset: Dataset, predictions: Predictions) -> None:
    """Writes some val images as the network gets them, and what it took them for."""
    loader, pictures = pixel_loader(config, dataset, "val"), []
    taken = dict(zip(predictions.ids.tolist(), predictions.top[:, 0].tolist(), strict=True))
    for image, shown in seen_of_val(loader, IMAGES):
        label = taken[image]
        note = "right" if label == dataset.labels[image] else f"taken for {class_name(dataset.classes[label])}"
        pictures.append(dataclasses.replace(picture_of(shown), note=note))
    title = f"{dataset.name}, {len(pictures)} of {counted(loader.images, 'image')} of val, and what they were taken for"
    save_sheet(out / VAL_BATCH, pictures, title)


def report_evaluation(out: Path, content: Mapping[str, Any], loader: Loader, predictions: Predictions) -> Path:
    """Writes the report of an evaluation, and returns its path.

    Args:
        out: the folder of its results.
        content: of eval.json.
        loader: of what was evaluated.
        predictions: for its images.
    """
    names = _names(loader)
    save_confusions(out, predictions.confusion(len(names)), names)
    evaluation_page(content, sections_of(predictions, loader.folder, names)).write(out / REPORT)
    return out / REPORT


def _names(loader: Loader) -> list[str]:
    return [class_name(info) for info in loader.folder.classes[: loader.classes]]
