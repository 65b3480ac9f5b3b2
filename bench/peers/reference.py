"""Images as Pillow and numpy make them, to find the contestants' images again: no loader of this project is used."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from feedline.pipeline.options import IMAGENET_MEAN, IMAGENET_STD

PADDING = 4

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Match:
    """The image and variant that is closest to a contestant's image.

    Attributes:
        image: its position in the reference; -1 if no image has the label.
        variant: (y, x, flip): where the window starts in the padded image, and whether it is mirrored then.
        largest, mean: the differences of the pixels, in levels of 255.
    """

    image: int
    variant: tuple[int, int, bool]
    largest: float
    mean: float


class Reference:
    """All images of a dataset, and what the work can make of them.

    Args:
        images: uint8 [n, size, size, 3].
        labels: int64 [n].
        augmented: by a zero-padded random crop and a flip, and normalised.
    """

    def __init__(self, images: NDArray[np.uint8], labels: NDArray[np.int64], *, augmented: bool) -> None:
        self.images, self.labels, self.augmented = images, labels, augmented
        self.size = images.shape[1]
        pad = PADDING if augmented else 0
        self.padded = np.pad(images, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
        starts, flips = range(2 * pad + 1), (False, True) if augmented else (False,)
        self.variants = [(y, x, flip) for flip in flips for y in starts for x in starts]
        self._grid = np.arange(self.size // 16, self.size, self.size // 8)
        self._probes: dict[int, NDArray[np.uint8]] = {}

    @classmethod
    def read(cls, data: Path, *, augmented: bool) -> "Reference":
        """Reads the train images of a dataset folder. A label is the position of the class in sorted order."""
        images, labels = [], []
        folders = sorted(path for path in (data / "train").iterdir() if path.is_dir())
        for label, folder in enumerate(folders):
            for path in sorted(folder.iterdir()):
                with Image.open(path) as image:
                    images.append(np.asarray(image.convert("RGB")))
                labels.append(label)
        return cls(np.stack(images), np.array(labels), augmented=augmented)

    def __len__(self) -> int:
        return len(self.images)

    def window(self, image: int, y: int, x: int, flip: bool) -> Floats:
        """An image as the work makes it, in levels of 255: [size, size, 3]."""
        cut = self.padded[image, y : y + self.size, x : x + self.size]
        return (cut[:, ::-1] if flip else cut).astype(np.float32)

    def find(self, outputs: Floats, label: int) -> list[Match]:
        """Finds images with this label again.

        Args:
            outputs: [m, size, size, 3], in levels of 255.
            label: of all of them.
        """
        ids = np.flatnonzero(self.labels == label)
        if len(ids) == 0:
            return [Match(-1, (0, 0, False), 255.0, 255.0)] * len(outputs)
        if label not in self._probes:
            self._probes[label] = self._probe(ids)
        probes = self._probes[label]
        found = []
        for output in outputs:
            wanted = output[self._grid[:, None], self._grid].reshape(-1)
            near = np.abs(probes - wanted).mean(1).argsort()[:3]
            found.append(min((self._match(output, ids, int(k)) for k in near), key=lambda match: match.mean))
        return found

    def _probe(self, ids: NDArray[np.int64]) -> NDArray[np.uint8]:
        """A few pixels of every variant of these images: [ids * variants, pixels * 3]."""
        padded, rows = self.padded[ids], []
        for y, x, flip in self.variants:
            columns = (self.size - 1 - self._grid if flip else self._grid) + x
            rows.append(padded[:, (self._grid + y)[:, None], columns].reshape(len(ids), -1))
        return np.stack(rows, 1).reshape(len(ids) * len(self.variants), -1)

    def _match(self, output: Floats, ids: NDArray[np.int64], k: int) -> Match:
        image, variant = int(ids[k // len(self.variants)]), self.variants[k % len(self.variants)]
        difference = np.abs(output - self.window(image, *variant))
        return Match(image, variant, float(difference.max()), float(difference.mean()))

    def mean_std(self) -> tuple[float, float]:
        """Of an epoch, over all windows: what batches have on average, normalised if the work normalises."""
        if not self.augmented:
            return float(self.images.mean()), float(self.images.std())
        # Each row and column of the padded image is in so many of the 9 windows.
        share = np.convolve(np.ones(self.size), np.ones(2 * PADDING + 1)) / (2 * PADDING + 1) / self.size
        weight = share[:, None, None] * share[None, :, None] / 3
        values = (self.padded / np.float32(255) - np.array(IMAGENET_MEAN, np.float32)) / np.array(
            IMAGENET_STD, np.float32
        )
        mean = float((values * weight).sum((1, 2, 3)).mean())
        return mean, float((np.square(values) * weight).sum((1, 2, 3)).mean() - mean**2) ** 0.5
