"""Writes the reports of runs and evaluations: report.html in their folders."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from feedline.cli.names import short_name
from feedline.cli.recipes import configure
from feedline.cli.request import Request
from feedline.cli.seen import IMAGES, pixel_loader, seen
from feedline.pipeline.dataset import Dataset
from feedline.pipeline.errors import InputError
from feedline.pipeline.loader import Loader
from feedline.report.evaluation import evaluation_page, sections_of
from feedline.report.findings import findings_section
from feedline.report.page import Section
from feedline.report.peek import picture_of
from feedline.report.run import run_page
from feedline.training.config import Config
from feedline.training.predictions import Predictions
from feedline.training.saver import PREDICTIONS

REPORT = "report.html"
PEEK = "--mode peek --resume RUN --step N shows any other."


def report_run(request: Request, config: Config, out: Path, val: Loader, ended: str = "") -> Path:
    """Writes the report of a training run, and returns its path.

    Args:
        request: the command.
        config: of the run.
        out: the run's folder.
        val: the loader of what was evaluated.
        ended: why the run is not complete; empty if it is.
    """
    dataset = val.folder
    sections = [_as_seen(config, dataset)]
    if (out / PREDICTIONS).exists():
        sections += _sections(Predictions.load(out / PREDICTIONS), val)
    sections.append(findings_section(dataset))
    recipe = _recipe(request.recipe or config.recipe, dataset)
    run_page(out, sections, command=request.command, recipe=recipe, ended=ended).write(out / REPORT)
    return out / REPORT


def _as_seen(config: Config, dataset: Dataset) -> Section:
    """Images of the first batch of a run, beside their originals."""
    title = "Training images as seen"
    try:
        pictures = [picture_of(image) for image in seen(pixel_loader(config, dataset), 0, 0, IMAGES)]
    except InputError as error:
        return Section(title, f"They cannot be shown: {error}")
    text = f"Of the first batch: left the original with its window, right what the network gets. {PEEK}"
    return Section(title, text, pictures=pictures, pairs=True)


def report_evaluation(out: Path, content: Mapping[str, Any], loader: Loader, predictions: Predictions) -> Path:
    """Writes the report of an evaluation, and returns its path.

    Args:
        out: the folder of its results.
        content: of eval.json.
        loader: of what was evaluated.
        predictions: for its images.
    """
    evaluation_page(content, _sections(predictions, loader)).write(out / REPORT)
    return out / REPORT


def _sections(predictions: Predictions, loader: Loader) -> list[Section]:
    names = [short_name(info) for info in loader.folder.classes[: loader.classes]]
    return sections_of(predictions, loader.folder, names)


def _recipe(name: str, dataset: Dataset) -> dict[str, Any]:
    """The values of a recipe on a dataset, to compare a run's with."""
    return configure(name, {}, dataset).flat()
