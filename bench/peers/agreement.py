"""Do a contestant's pixels agree with those that Pillow and numpy make of the same images?

Every image of two epochs is found again in the reference: for `train`, among all 81 windows of the padded image and
their mirror images. So crop, flip and normalisation are compared value by value, whatever was drawn.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from bench.peers.reference import PADDING, Floats, Match, Reference
from feedline.pipeline.options import IMAGENET_MEAN, IMAGENET_STD

TOLERANCE = 2.0  # levels of 255: decoders round differently
LOST = 24.0  # mean difference in levels above which an image counts as another image


@dataclass
class Agreement:
    """What a comparison found.

    Attributes:
        images: compared.
        largest: the largest difference of a value, in levels of 255.
        mean: the mean absolute difference, in levels.
        order: how often the images came: `every image once`, or otherwise.
        output: dtype and memory layout of a batch.
        problem: why this is not the same work, or empty.
        skipped: why it was not compared, or empty.
    """

    images: int = 0
    largest: float = 0.0
    mean: float = 0.0
    order: str = ""
    output: str = ""
    problem: str = ""
    skipped: str = ""

    @property
    def agrees(self) -> bool:
        return not self.problem and not self.skipped and self.largest <= TOLERANCE

    @property
    def differs(self) -> bool:
        return not self.agrees and not self.skipped

    @property
    def verdict(self) -> str:
        """For a table: `same`, or what differs."""
        if self.skipped:
            return f"not compared: {self.skipped}"
        if self.problem:
            return self.problem
        return "same" if self.agrees else f"differ: {self.largest:.0f} levels, {self.mean:.1f} on average"

    def summary(self) -> dict[str, Any]:
        return {**asdict(self), "largest": round(self.largest, 2), "mean": round(self.mean, 3), "agrees": self.agrees}


def compare(batches: Iterator[Any], reference: Reference, *, replaces: bool = False) -> Agreement:
    """Compares two epochs of a contestant with the reference.

    Args:
        batches: (images, labels) without end: normalised floats [B, 3, H, W] if the reference is augmented, otherwise
            uint8 [B, H, W, 3].
        reference: all images of the dataset that the batches are of.
        replaces: images are drawn with replacement.
    """
    result, matches, moments = Agreement(), [], []
    while result.images < 2 * len(reference):
        images, labels = next(batches)[:2]
        images = torch.as_tensor(images)
        result.output = result.output or describe(images)
        moments.append([float(images.float().mean()), float(images.float().square().mean())])
        levels = _levels(images, normalised=reference.augmented)
        if levels.shape[1:] != reference.images.shape[1:]:
            result.problem = f"images of {'x'.join(map(str, levels.shape[1:]))}"
            return result
        matches += _find(levels, torch.as_tensor(labels).reshape(-1).numpy(), reference)
        result.images += len(levels)
    result.largest = max(match.largest for match in matches)
    result.mean = float(np.mean([match.mean for match in matches]))
    result.order, result.problem = _order(matches, reference, replaces)
    result.problem = result.problem or _draws(matches, reference) or _statistics(moments, reference, replaces)
    return result


def _find(levels: Floats, labels: Any, reference: Reference) -> list[Match]:
    matches: dict[int, Match] = {}
    for label in np.unique(labels):
        which = np.flatnonzero(labels == label)
        matches.update(zip(which.tolist(), reference.find(levels[which], int(label)), strict=True))
    return [matches[i] for i in range(len(labels))]


def _order(matches: list[Match], reference: Reference, replaces: bool) -> tuple[str, str]:
    """How often the images came, and what is wrong with that."""
    if lost := sum(match.mean > LOST for match in matches):
        return "", f"{lost} of {len(matches)} images are none of the images with their label"
    count = len(reference)
    first = np.bincount([match.image for match in matches[:count]], minlength=count)
    both = np.bincount([match.image for match in matches], minlength=count)
    if replaces:
        return "with replacement", ""
    if (first == 1).all():
        return "every image once", ""
    if both.min() >= 1 and both.max() <= 3:
        return "every image once, epochs overlap", ""
    return "", f"{(both == 0).sum()} of {count} images did not come in two epochs"


def _draws(matches: list[Match], reference: Reference) -> str:
    """Half of the images must be flipped, and the windows spread evenly: within five standard deviations."""
    if not reference.augmented:
        return ""
    slack = 5 / len(matches) ** 0.5
    flipped = float(np.mean([match.variant[2] for match in matches]))
    if abs(flipped - 0.5) > 0.5 * slack:
        return f"{flipped:.0%} of the images are flipped"
    starts = np.mean([match.variant[:2] for match in matches], axis=0)
    if (abs(starts - PADDING) > 2.6 * slack).any():
        return f"windows start at {starts[0]:.1f}, {starts[1]:.1f} on average: {PADDING}, {PADDING} expected"
    return ""


def _statistics(moments: list[list[float]], reference: Reference, replaces: bool) -> str:
    """The mean and standard deviation of everything that came must be those of the reference."""
    mean, square = np.mean(moments, axis=0).tolist()
    std = max(square - mean**2, 0.0) ** 0.5
    expected_mean, expected_std = reference.mean_std()
    slack = 0.02 * expected_std * max(1.0, (1024 / len(reference)) ** 0.5) * (5 if replaces else 1)
    if abs(mean - expected_mean) > slack or abs(std - expected_std) > slack:
        return f"mean {mean:.3f} and std {std:.3f}: {expected_mean:.3f} and {expected_std:.3f} expected"
    return ""


def _levels(images: torch.Tensor, *, normalised: bool) -> Floats:
    """A batch as float32 [B, H, W, 3] in levels of 255."""
    levels = (images.permute(0, 2, 3, 1) if _is_nchw(images) else images).float().numpy()
    if not normalised:
        return levels.copy()
    return (levels * np.array(IMAGENET_STD, np.float32) + np.array(IMAGENET_MEAN, np.float32)) * np.float32(255)


def _is_nchw(images: torch.Tensor) -> bool:
    return images.ndim == 4 and images.shape[1] == 3


def describe(images: torch.Tensor) -> str:
    """E.g. `float32 NCHW, channels last`."""
    dtype = str(images.dtype).removeprefix("torch.")
    if not _is_nchw(images):
        return f"{dtype} NHWC"
    last = not images.is_contiguous() and images.is_contiguous(memory_format=torch.channels_last)
    return f"{dtype} NCHW{', channels last' if last else ''}"
