"""Writes the reports of runs and evaluations: report.html in their folders."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from feedline.cli.names import short_name
from feedline.cli.recipes import configure
from feedline.cli.request import Request
from feedline.pipeline.dataset import Dataset
from feedline.pipeline.loader import Loader
from feedline.report.evaluation import evaluation_page, sections_of
from feedline.report.page import Section
from feedline.report.run import run_page
from feedline.training.predictions import Predictions
from feedline.training.saver import PREDICTIONS

REPORT = "report.html"


def report_run(request: Request, recipe: str, out: Path, val: Loader) -> Path:
    """Writes the report of a training run, and returns its path.

    Args:
        request: the command.
        recipe: of the run.
        out: the run's folder.
        val: the loader of what was evaluated.
    """
    sections: list[Section] = []
    if (out / PREDICTIONS).exists():
        sections = _sections(Predictions.load(out / PREDICTIONS), val)
    page = run_page(out, sections, command=request.command, recipe=_recipe(request.recipe or recipe, val.folder))
    page.write(out / REPORT)
    return out / REPORT


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
