"""Predictions for files, at the speed of evaluation."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeAlias

import torch
from torch import nn

from feedline.pipeline.errors import InputError
from feedline.pipeline.preprocess import Preprocess, read_pixels
from feedline.training.precision import Precision
from feedline.training.views import Views, mean_logits

CHUNK = 16  # images that a thread prepares in one go


@dataclass(frozen=True)
class Prediction:
    """What a network says of a file.

    Attributes:
        path: as named.
        top: labels, the most probable first.
        probabilities: theirs.
    """

    path: str
    top: list[int]
    probabilities: list[float]


@dataclass(frozen=True)
class Unread:
    """A file that is no image, and why, in a line that names it."""

    path: str
    why: str


# Files with their images, float32 [n, 3, height, width]; and those that could not be read.
_Chunk: TypeAlias = tuple[list[str], torch.Tensor, list[Unread]]


class Predictor:
    """Classifies files: threads decode and preprocess, batches go through the network.

    Args:
        net: images to logits, in eval mode, on its device.
        preprocess: of the network.
        precision: in which it runs.
        views: average the logits over these views; None for the image alone.
        top: classes of each image.
        batch_size: images in a batch.
        threads: that decode.
    """

    def __init__(
        self,
        net: nn.Module,
        preprocess: Preprocess,
        precision: Precision,
        *,
        views: Views | None = None,
        top: int = 5,
        batch_size: int = 256,
        threads: int = 1,
    ) -> None:
        self._net, self._preprocess, self._precision, self._views = net, preprocess, precision, views
        self._top, self._batch_size, self._threads = top, batch_size, threads

    def __call__(self, paths: Iterable[str]) -> Iterator[Prediction | Unread]:
        """Yields one result for each file; predictions are in the files' order."""
        waiting: list[tuple[list[str], torch.Tensor]] = []
        for names, images, unread in self._chunks(iter(paths)):
            yield from unread
            waiting.append((names, images))
            while sum(len(n) for n, _ in waiting) >= self._batch_size:
                batch, waiting = self._take(waiting)
                yield from self._predict(*batch)
        if any(names for names, _ in waiting):
            yield from self._predict(*self._take(waiting)[0])

    def _chunks(self, paths: Iterator[str]) -> Iterator[_Chunk]:
        """Files prepared side by side, in their order; about two batches ahead."""
        size = min(CHUNK, self._batch_size)
        ahead = max(2 * self._threads, -(-2 * self._batch_size // size))
        running: deque[Future[_Chunk]] = deque()
        with ThreadPoolExecutor(self._threads, thread_name_prefix="predict") as pool:
            try:
                while True:
                    while len(running) < ahead and (names := list(islice(paths, size))):
                        running.append(pool.submit(self._prepare, names))
                    if not running:
                        return
                    yield running.popleft().result()
            finally:
                for future in running:
                    future.cancel()

    def _prepare(self, paths: Sequence[str]) -> _Chunk:
        """Runs in a thread."""
        names, decoded, unread = [], [], []
        for path in paths:
            try:
                decoded.append(read_pixels(path))
            except InputError as error:
                unread.append(Unread(path, error.message))
            except ValueError as error:  # no name of a file: it has a NUL byte
                unread.append(Unread(path, f"{path}: cannot be read ({error})"))
            else:
                names.append(path)
        return names, self._preprocess.batch(decoded), unread

    def _take(self, waiting: list[tuple[list[str], torch.Tensor]]) -> tuple[Any, list[tuple[list[str], torch.Tensor]]]:
        """The first batch of what is waiting, and the rest."""
        names = [name for part, _ in waiting for name in part]
        images = torch.cat([images.permute(0, 2, 3, 1) for _, images in waiting]).permute(0, 3, 1, 2)
        size = self._batch_size
        rest = [(names[size:], images[size:])] if len(names) > size else []
        return (names[:size], images[:size]), rest

    @torch.no_grad()
    def _predict(self, names: Sequence[str], images: torch.Tensor) -> Iterator[Prediction]:
        images = images.to(self._precision.device, non_blocking=True)
        with self._precision.autocast():
            logits = mean_logits(self._net, images, self._views)
        shares, top = logits.softmax(1).topk(min(self._top, logits.shape[1]), dim=1)
        for name, labels, probabilities in zip(names, top.tolist(), shares.tolist(), strict=True):
            yield Prediction(name, labels, probabilities)
