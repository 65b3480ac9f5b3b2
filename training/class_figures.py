"""Figures that a confusion matrix gives: by class, and over the classes."""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

UNEVEN = 1.05  # the largest class / the smallest; above it top-1 says little of small classes

Confusion: TypeAlias = NDArray[np.int64]  # [classes, classes]: images by class (row) and predicted class (column)


def per_class(confusion: Confusion) -> list[float | None]:
    """Top-1 of each class, in percent; None where a class has no image."""
    totals = confusion.sum(axis=1).tolist()
    hits = confusion.diagonal().tolist()
    return [100 * hit / total if total else None for hit, total in zip(hits, totals, strict=True)]


def balanced_accuracy(confusion: Confusion) -> float:
    """The mean of the classes' top-1, in percent, over the classes with images."""
    known = [top1 for top1 in per_class(confusion) if top1 is not None]
    return sum(known) / len(known)


def macro_f1(confusion: Confusion) -> float:
    """The mean of the classes' F1, in percent, over the classes with images.

    F1 of a class is 2 hits / (its images + images taken for it), the harmonic mean of precision and recall.
    """
    totals = confusion.sum(axis=1)
    f1 = 2 * confusion.diagonal() / np.maximum(totals + confusion.sum(axis=0), 1)
    return float(100 * f1[totals > 0].mean())


def differ_in_size(confusion: Confusion) -> bool:
    """Whether classes have so different numbers of images that top-1 alone misleads."""
    totals = confusion.sum(axis=1)
    known = totals[totals > 0]
    return bool(known.max() > UNEVEN * known.min())


def most_confused(confusion: Confusion, limit: int) -> list[tuple[int, int, int]]:
    """The (class, predicted class, images) with the most wrong predictions, largest first, then in label order."""
    wrong = confusion - np.diag(confusion.diagonal())
    cells = np.flatnonzero(wrong)
    cells = cells[np.argsort(-wrong.flat[cells], kind="stable")][:limit]
    labels, predicted = np.divmod(cells, len(wrong))
    return list(zip(labels.tolist(), predicted.tolist(), wrong[labels, predicted].tolist(), strict=True))
