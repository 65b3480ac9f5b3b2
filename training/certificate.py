"""The certificate of a run: 64 bits for each step, which any run that is fed the same repeats."""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from feedline.pipeline.loader import Loader
from feedline.pipeline.plan import MixBatch
from feedline.pipeline.plan.certificate import ROUNDS, certify, scramble
from feedline.pipeline.streams import to_device
from feedline.training.ranks import Ranks

BLOCK = 1 << 22  # values hashed at once on a GPU: their products take 32 MiB
BITS = {torch.float32: torch.int32, torch.float16: torch.int16, torch.uint8: torch.uint8}


class Certificate:
    """Certifies the steps since the last log line, over all ranks.

    Args:
        train: the loader of the train part.
        ranks: the processes of the run.
        pixels: certify the pixels and labels of each batch too; otherwise only its plan.
    """

    def __init__(self, train: Loader, ranks: Ranks, *, pixels: bool) -> None:
        self._train, self._ranks = train, ranks
        self._pixels = PixelHash(train.device) if pixels else None
        self._stream: list[int] = []  # this rank's shares, a number for each step
        self._hashes: list[torch.Tensor] = []

    def add(self, k: int, images: torch.Tensor, labels: torch.Tensor, mix: MixBatch | None) -> None:
        """Certifies the batch that the loader handed out last. Does not wait for the device.

        Args:
            k: its number in the epoch.
            images: [B, 3, height, width], this rank's.
            labels: int64 [B].
            mix: how it will be mixed.
        """
        planned, slots = self._train.planned, self._train.plan.slots(k)
        if planned is None:  # other people's batches, as in bench.torchvision_accuracy, are not certified
            return
        size = images.shape[2], images.shape[3]
        self._stream.append(certify(planned, slots, dataset=self._train.folder.fingerprint, size=size, mix=mix))
        if self._pixels is not None:
            self._hashes.append(self._pixels(images, labels, slots))

    def read(self) -> dict[str, list[str]]:
        """The certificates of the steps since the last call, of 16 hexadecimal digits each, and starts anew.

        Every rank must call it. Waits for the device if pixels are certified.

        Returns:
            `stream`, and `pixels` if they are certified; the last certificate is that of the last step. Steps that an
            older version did, or one that did not certify pixels, have none.
        """
        words = {name: numbers.numpy().view(np.uint64).tolist() for name, numbers in self.over_all_ranks().items()}
        self._stream, self._hashes = [], []
        return {name: [f"{word:016x}" for word in numbers] for name, numbers in words.items()}

    def over_all_ranks(self) -> dict[str, torch.Tensor]:
        """The certificates since the last log line, int64 on the host, by name. Every rank must call it."""
        certificates = {"stream": torch.from_numpy(np.array(self._stream, dtype=np.uint64).view(np.int64))}
        if self._pixels is not None:
            certificates["pixels"] = torch.stack(self._hashes).cpu() if self._hashes else torch.empty(0).long()
        numbers = torch.cat(list(certificates.values()))
        if len(numbers):
            self._ranks.all_reduce(numbers)
        return dict(zip(certificates, numbers.split([len(n) for n in certificates.values()]), strict=True))

    def restore(self, certificates: Mapping[str, torch.Tensor]) -> None:
        """Restores those of a checkpoint, over all ranks: rank 0 gets them, the others start at 0."""
        ours = {name: numbers if self._ranks.is_first else numbers * 0 for name, numbers in certificates.items()}
        self._stream = ours["stream"].numpy().view(np.uint64).tolist() if "stream" in ours else []
        self._hashes = []
        if self._pixels is not None and "pixels" in ours:
            self._hashes = list(ours["pixels"].to(self._train.device))


class PixelHash:
    """Hashes batches on their device: the bits of all values, with their places, labels and slots.

    As the hash of the plan it is a sum over the images, modulo 2^64.

    Args:
        device: of the batches.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._weights = torch.empty(0, dtype=torch.int64)
        self._label, self._slot = (int(word) | 1 for word in _numbers(2))

    def __call__(self, images: torch.Tensor, labels: torch.Tensor, slots: NDArray[np.int64]) -> torch.Tensor:
        """The hash of a batch, int64 scalar on the device. Does not wait for the device.

        Args:
            images: float32, float16 or uint8 [B, 3, height, width].
            labels: int64 [B].
            slots: int64 [B], the places of the images in the order of the epoch.
        """
        values = images.permute(0, 2, 3, 1).flatten(1)  # no copy: batches are channels-last
        bits = values.view(BITS[values.dtype])
        sums = _weighted_sums(bits, self._weights_of(bits.shape[1]))
        sums += labels * self._label + to_device(slots, self._device) * self._slot
        return _scramble(sums).sum()

    def _weights_of(self, values: int) -> torch.Tensor:
        """An odd random number for each value of an image, int64 [values]: a changed value changes the sum."""
        if len(self._weights) != values:
            self._weights = torch.from_numpy(_numbers(values + 2)[2:] | 1).to(self._device)
        return self._weights


def _weighted_sums(bits: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """The sum of the values of each image times their weights, modulo 2^64: int64 [B]."""
    if bits.device.type == "cpu":  # 2 ms for 256 images of 64x64 on a core; torch takes 30, as it stores the products
        return torch.from_numpy(np.einsum("ij,j->i", bits.numpy(), weights.numpy()))
    return torch.cat([(part * weights).sum(1) for part in bits.split(max(BLOCK // bits.shape[1], 1))])


def _numbers(count: int) -> NDArray[np.int64]:
    """Random numbers, the same everywhere: int64 [count]."""
    return scramble(np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)).view(np.int64)


def _scramble(words: torch.Tensor) -> torch.Tensor:
    """`scramble` for int64 tensors: their right shift repeats the sign, and factors have one."""
    for shift, factor in ROUNDS:
        shifted = (words >> shift) & ((1 << (64 - shift)) - 1)
        words = (words ^ shifted) * (factor if factor < 1 << 63 else factor - (1 << 64))
    return words
