"""Figures that a confusion matrix gives: by class, and over the classes."""

import torch

UNEVEN = 1.05  # the largest class / the smallest; above it top-1 says little of small classes


def per_class(confusion: torch.Tensor) -> list[float | None]:
    """Top-1 of each class, in percent; None where a class has no image.

    Args:
        confusion: int64 [classes, classes]: images by class (row) and predicted class (column).
    """
    totals = confusion.sum(1).tolist()
    hits = confusion.diagonal().tolist()
    return [100 * hit / total if total else None for hit, total in zip(hits, totals, strict=True)]


def balanced_accuracy(confusion: torch.Tensor) -> float:
    """The mean of the classes' top-1, in percent, over the classes with images."""
    known = [top1 for top1 in per_class(confusion) if top1 is not None]
    return sum(known) / len(known)


def macro_f1(confusion: torch.Tensor) -> float:
    """The mean of the classes' F1, in percent, over the classes with images.

    F1 of a class is 2 hits / (its images + images taken for it), the harmonic mean of precision and recall.
    """
    totals, hits = confusion.sum(1).double(), confusion.diagonal().double()
    f1 = 2 * hits / (totals + confusion.sum(0))
    return 100 * f1[totals > 0].mean().item()


def differ_in_size(confusion: torch.Tensor) -> bool:
    """Whether classes have so different numbers of images that top-1 alone misleads."""
    totals = confusion.sum(1)
    known = totals[totals > 0]
    return bool(known.max() > UNEVEN * known.min())
