"""What a model predicted for each image of an evaluation."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from feedline.pipeline.dataset import Dataset
from feedline.pipeline.errors import InputError, first_line
from feedline.pipeline.files import replacing
from feedline.pipeline.loader import Loader
from feedline.pipeline.streams import to_device
from feedline.training.ranks import Ranks
from feedline.training.records import write_csv

KEPT = 5  # classes of each image: the k of top-k


@dataclass(frozen=True)
class Predictions:
    """The predictions of an evaluation, an image a row, in the order of the part.

    Attributes:
        ids: int64 [n], image ids.
        labels: int64 [n].
        top: int64 [n, k], the k = 5 (or all) classes with the highest logits, highest first.
        probabilities: float32 [n, k], theirs.
    """

    ids: NDArray[np.int64]
    labels: NDArray[np.int64]
    top: NDArray[np.int64]
    probabilities: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def correct(self) -> NDArray[np.bool_]:
        """bool [n]."""
        return np.asarray(self.top[:, 0] == self.labels)

    def confusion(self, classes: int) -> NDArray[np.int64]:
        """int64 [classes, classes]: images by class (row) and predicted class (column)."""
        counts = np.bincount(self.labels * classes + self.top[:, 0], minlength=classes * classes)
        return counts.reshape(classes, classes)

    def save(self, path: Path) -> None:
        """Writes a .npz file, whole or not at all."""
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, **vars(self))

    @classmethod
    def load(cls, path: Path) -> "Predictions":
        """Reads a file that `save` wrote. Raises InputError if it is none."""
        try:
            with np.load(path, allow_pickle=False) as content:
                return cls(**{name: content[name] for name in ("ids", "labels", "top", "probabilities")})
        except Exception as error:  # numpy raises whatever the bytes lead to
            raise InputError(f"{path}: not the predictions of an evaluation ({first_line(error)})") from error


class Collector:
    """Collects the predictions for the images of a loader, on its device, without waiting for it.

    Args:
        loader: of the part that is evaluated.
    """

    def __init__(self, loader: Loader) -> None:
        self._ids, folder, k = loader.dataset.ids, loader.folder, min(KEPT, loader.classes)
        self._labels = folder.labels[self._ids].astype(np.int64)
        self._rows = np.zeros(folder.count, dtype=np.int64)  # of each image of the dataset, in the part
        self._rows[self._ids] = np.arange(len(self._ids))
        self._top = torch.zeros(len(self._ids), k, dtype=torch.int64, device=loader.device)
        self._probabilities = torch.zeros(len(self._ids), k, device=loader.device)

    def add(self, ids: NDArray[np.int64], logits: torch.Tensor) -> None:
        """Adds a batch: its image ids, int64 [B], and float32 logits [B, classes]."""
        rows = to_device(self._rows[ids], logits.device)
        top = logits.topk(self._top.shape[1], dim=1).indices  # of probabilities: rounding makes some of them equal
        self._top.index_copy_(0, rows, top)
        self._probabilities.index_copy_(0, rows, logits.softmax(1).gather(1, top))

    def finish(self, ranks: Ranks) -> Predictions:
        """The predictions of all ranks. Every rank must call it."""
        for tensor in (self._top, self._probabilities):  # a rank has zeros for the images of the others
            ranks.all_reduce(tensor)
        return Predictions(
            np.array(self._ids), self._labels, self._top.cpu().numpy(), self._probabilities.cpu().numpy()
        )


def write_predictions(path: Path, folder: Dataset, predictions: Predictions) -> None:
    """Writes a CSV file with a line for each image: id, path, class, whether it is right, and the top classes.

    Args:
        path: of the file.
        folder: the dataset of the images.
        predictions: of an evaluation.
    """
    names = [c.folder for c in folder.classes]
    rows = []
    for image, label, top, shares in zip(
        predictions.ids.tolist(),
        predictions.labels.tolist(),
        predictions.top.tolist(),
        predictions.probabilities.tolist(),
        strict=True,
    ):
        row = {"id": image, "path": folder.path(image), "class": names[label], "correct": int(top[0] == label)}
        for rank, (predicted, share) in enumerate(zip(top, shares, strict=True), 1):
            row |= {f"top{rank}": names[predicted], f"probability{rank}": f"{share:.6f}"}
        rows.append(row)
    write_csv(path, rows)
