"""The report of an evaluation."""

from collections.abc import Mapping, Sequence
from typing import Any

from feedline.output import counted
from feedline.pipeline.dataset import Dataset
from feedline.report.page import Page, Section
from feedline.report.pictures import pictures_of
from feedline.report.predictions import prediction_sections
from feedline.report.settings import settings_section
from feedline.training.predictions import Predictions


def evaluation_page(about: Mapping[str, Any], sections: Sequence[Section]) -> Page:
    """The page of an evaluation.

    Args:
        about: the content of eval.json.
        sections: on the predictions.
    """
    dataset = about["dataset"]
    figures = [(f"top-1 on {counted(about['images'], 'image')}", f"{about['top1']:.2f} %")]
    more = {"top-5": "top5", "balanced": "balanced", "macro F1": "macro_f1"}
    figures += [(name, f"{about[key]:.2f} %") for name, key in more.items() if about.get(key) is not None]
    figures.append(("loss", f"{about['loss']:.4f}"))
    part = "test" if about.get("part") == "test" else about["split"]
    return Page(
        title=f"{dataset['name']}, {part}",
        subtitle=f"checkpoint {about['checkpoint']}",
        figures=figures,
        sections=[*sections, settings_section(about)],
    )


def sections_of(predictions: Predictions, dataset: Dataset, names: Sequence[str]) -> list[Section]:
    """The sections on the predictions for the images of a dataset, whose classes are called `names`."""
    return prediction_sections(predictions, names, pictures_of(dataset))
