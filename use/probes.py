"""Probe images and their logits: whether an exported file answers as the network did."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from feedline.pipeline.errors import InputError, first_line
from feedline.use.loading import Loaded

FILE = "probes.npz"  # beside the exported files
COUNT = 16
# Of the largest |logit|, or of 1: sums in another order differ by about a millionth of it.
TOLERANCE = 1e-4

Answer: TypeAlias = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


@dataclass(frozen=True)
class Probes:
    """Images and what the network says of them.

    Attributes:
        images: uint8 [n, 3, height, width], cropped and resized.
        logits: float32 [n, classes].
        names: of the files.
    """

    images: NDArray[np.uint8]
    logits: NDArray[np.float32]
    names: list[str]

    @classmethod
    @torch.no_grad()
    def take(cls, loaded: Loaded, paths: Sequence[Path], names: list[str]) -> "Probes":
        """Asks a network. Raises InputError if an image cannot be read."""
        pixels = loaded.preprocess.pixels(paths)
        logits = loaded.net(loaded.preprocess(paths))
        return cls(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)), logits.float().numpy(), names)

    def save(self, folder: Path) -> None:
        """Writes the file of probes into a folder."""
        with (folder / FILE).open("wb") as file:
            np.savez_compressed(file, images=self.images, logits=self.logits, names=np.array(self.names))

    @classmethod
    def load(cls, folder: Path) -> "Probes":
        """Reads what `save` wrote. Raises InputError if it cannot be read."""
        path = folder / FILE
        try:
            with np.load(path, allow_pickle=False) as content:
                return cls(content["images"], content["logits"], content["names"].tolist())
        except FileNotFoundError as error:
            raise InputError(f"{path}: no such file; the probes must lie beside the exported file") from error
        except Exception as error:  # numpy raises whatever the bytes lead to
            raise InputError(f"{path}: not the probes of an export ({first_line(error)})") from error

    @property
    def tolerance(self) -> float:
        """The largest difference of a logit that is accepted."""
        return TOLERANCE * max(1.0, float(np.abs(self.logits).max()))

    def difference(self, answer: Answer) -> float:
        """The largest difference of a logit, with all images in a batch, and with the first alone; inf if one is nan.

        Raises:
            InputError: if the shape is another.
        """
        worst = 0.0
        for count in (len(self.images), 1):
            logits, wanted = answer(self.images[:count]), self.logits[:count]
            if logits.shape != wanted.shape:
                raise InputError(f"answers with logits {list(logits.shape)}, the network with {list(wanted.shape)}")
            gap = float(np.abs(logits - wanted).max())
            worst = max(worst, gap if np.isfinite(gap) else np.inf)
        return worst


def check(path: Path, probes: Probes, answer: Answer) -> tuple[bool, str]:
    """Whether an exported file answers as the network did, and a line that says so.

    Args:
        path: of the file.
        probes: of its folder.
        answer: asks the file: images to logits.

    Raises:
        InputError: if its answers have another shape.
    """
    try:
        gap = probes.difference(answer)
    except InputError as error:
        raise InputError(f"{path}: {error.message}") from error
    ok = gap <= probes.tolerance
    verdict = "answers as the network does" if ok else "answers otherwise than the network"
    images = f"{len(probes.images)} real images"
    return (
        ok,
        f"{path}: {verdict}: {images}, largest difference of a logit {gap:.2g} (tolerance {probes.tolerance:.2g})",
    )
