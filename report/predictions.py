"""What a report says of the predictions of an evaluation: confusions, classes, the most wrong images, calibration."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from feedline.report import charts
from feedline.report.page import Picture, Section, Table
from feedline.training.class_figures import Confusion, most_confused, per_class
from feedline.training.predictions import Predictions

LISTED = 10  # classes and pairs in a table
SHOWN = 24  # pictures


def prediction_sections(
    predictions: Predictions, names: Sequence[str], picture: Callable[[int, str, str], Picture]
) -> list[Section]:
    """The sections on an evaluation.

    Args:
        predictions: of the evaluation.
        names: of the classes, in label order.
        picture: makes one of an image id, a caption and a note.
    """
    counts = predictions.confusion(len(names))
    return [
        _confusions(predictions, counts, names, picture),
        _classes(counts, names),
        _most_wrong(predictions, names, picture),
        _calibration(predictions),
    ]


def _confusions(
    predictions: Predictions,
    counts: Confusion,
    names: Sequence[str],
    picture: Callable[[int, str, str], Picture],
) -> Section:
    pairs, totals = most_confused(counts, LISTED), counts.sum(axis=1)
    rows = [(names[a], names[b], images, f"{100 * images / totals[a]:.1f} %") for a, b, images in pairs]
    pictures = []
    for a, b, _ in pairs[: SHOWN // 4]:
        chosen = np.flatnonzero((predictions.labels == a) & (predictions.top[:, 0] == b))
        surest = chosen[np.argsort(-predictions.probabilities[chosen, 0], kind="stable")][:2]
        pictures += [picture(int(predictions.ids[i]), names[a], f"taken for {names[b]}") for i in surest.tolist()]
    return Section(
        "Confusions",
        "Classes that are taken for each other stand side by side; colour is the share of the class, in percent"
        + (", numbers are images." if len(names) <= charts.FEW else "."),
        charts=[charts.matrix("confusions", counts, names)] if len(names) > 1 else [],
        tables=[Table(("class", "taken for", "images", "of the class"), rows)] if rows else [],
        pictures=pictures,
    )


def _classes(counts: Confusion, names: Sequence[str]) -> Section:
    totals = counts.sum(axis=1).tolist()
    ranked = sorted((top1, label) for label, top1 in enumerate(per_class(counts)) if top1 is not None)

    def table(first: str, order: Sequence[tuple[float, int]]) -> Table:
        return Table((first, "top-1", "images"), [(names[i], f"{top1:.1f} %", totals[i]) for top1, i in order])

    if len(ranked) <= 2 * LISTED:
        return Section("Classes", tables=[table("class", ranked)])
    return Section("Classes", tables=[table("hardest", ranked[:LISTED]), table("easiest", ranked[: -LISTED - 1 : -1])])


def _most_wrong(predictions: Predictions, names: Sequence[str], picture: Callable[[int, str, str], Picture]) -> Section:
    wrong = np.flatnonzero(~predictions.correct)
    surest = wrong[np.argsort(-predictions.probabilities[wrong, 0], kind="stable")][:SHOWN].tolist()
    pictures = [
        picture(
            int(predictions.ids[i]),
            names[predictions.labels[i]],
            f"{names[predictions.top[i, 0]]} {100 * predictions.probabilities[i, 0]:.0f} %",
        )
        for i in surest
    ]
    text = "The wrong predictions that the model was surest of: the class, and what it was taken for."
    return Section("Most wrong", text if pictures else "No image was taken for another class.", pictures=pictures)


def _calibration(predictions: Predictions) -> Section:
    confidence = predictions.probabilities[:, 0].astype(np.float64)
    error = expected_calibration_error(confidence, predictions.correct)
    return Section(
        "Calibration",
        f"Of images that the model is 80 % sure of, 80 % should be right. Expected calibration error {error:.1f} %, "
        f"mean confidence {100 * confidence.mean():.1f} %. Numbers are images.",
        charts=[charts.calibration("calibration", confidence, predictions.correct)],
    )


def expected_calibration_error(confidence: NDArray[np.float64], correct: NDArray[np.bool_], bins: int = 15) -> float:
    """Mean gap between confidence and accuracy over equal bins of confidence, in percent.

    As in Guo et al., On Calibration of Modern Neural Networks, 2017.

    Args:
        confidence: float64 [n], probability of the predicted class.
        correct: bool [n].
        bins: number of bins.
    """
    numbers = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = np.abs(np.bincount(numbers, weights=confidence - correct, minlength=bins))
    return float(100 * gaps.sum() / len(confidence))
