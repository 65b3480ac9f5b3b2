"""MixUp and CutMix: what a run mixes, and how images and losses are mixed on the device."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from feedline.pipeline.engines.edits import inside
from feedline.pipeline.errors import InputError
from feedline.pipeline.loader import Loader
from feedline.pipeline.options import key, require
from feedline.pipeline.plan import Mix, MixBatch
from feedline.pipeline.streams import to_device

ROUNDING = 1e-9  # 0.55 of 100 epochs is a little more than 55


@dataclass(frozen=True)
class MixConfig:
    """Mixing of training images and their labels. Training accuracy is not reported for epochs with mixed labels."""

    mixup: float = key(
        0.0, "blend pairs of train images and labels (MixUp), with shares from Beta(alpha, alpha), e.g. 0.2; 0 for none"
    )
    cutmix: float = key(
        0.0, "paste a box of another image into each train image (CutMix), with areas from Beta(alpha, alpha), e.g. 1; "
        "0 for none; with --mixup too each pair takes one of the two at random"
    )  # fmt: skip
    mix_prob: float = key(1.0, "share of the pairs that are mixed")
    mix_until: float = key(1.0, "share of the epochs after which nothing is mixed any more")

    def __post_init__(self) -> None:
        for name in ("mixup", "cutmix"):
            value = getattr(self, name)
            require(value == 0 or 0.01 <= value <= 100, name, value, "0, or from 0.01 to 100")
        for name in ("mix_prob", "mix_until"):
            require(0 <= getattr(self, name) <= 1, name, getattr(self, name), "from 0 to 1")

    def mixed(self, epochs: int) -> int:
        """How many of a run's epochs are mixed: those that begin in its first `mix_until`."""
        return math.ceil(self.mix_until * epochs - ROUNDING) if (self.mixup or self.cutmix) and self.mix_prob else 0


class Mixing:
    """Says how the batches of a run are mixed.

    Args:
        config: what to mix.
        train: the loader of the train part.
        epochs: of the run.

    Raises:
        InputError: if images cannot be paired within the batch of a rank.
    """

    def __init__(self, config: MixConfig, train: Loader, epochs: int) -> None:
        self._mix = Mix(config.mixup, config.cutmix, config.mix_prob)
        self._epochs = config.mixed(epochs)
        self._plan = train.plan
        if self._epochs and train.batch_size % (2 * self._plan.world_size):
            raise InputError(
                f"`batch_size={train.batch_size}`: mixup and cutmix pair the images of a batch; make it a multiple of "
                f"{2 * self._plan.world_size}"
            )

    def of(self, epoch: int, k: int, images: torch.Tensor) -> MixBatch | None:
        """How batch `k` of an epoch is mixed; None in an epoch without mixing, in which no label is mixed.

        Args:
            epoch: from 0; mixed if it starts in the first `mix_until` of the run.
            k: the number of the batch.
            images: [B, 3, height, width], this rank's.
        """
        if epoch >= self._epochs:
            return None
        return self._plan.mixing(self._mix, epoch, k, (images.shape[2], images.shape[3]))


@dataclass(frozen=True, eq=False)
class Mixture:
    """How a batch is mixed, on the device; see `MixBatch`.

    Attributes:
        share, blend: float32 [B].
        box: int32 [B, 4].
    """

    share: torch.Tensor
    blend: torch.Tensor
    box: torch.Tensor

    @classmethod
    def on(cls, device: torch.device, batch: MixBatch) -> "Mixture":
        """Copies to a device; a GPU is not waited for."""
        return cls(*(to_device(array, device) for array in (batch.share, batch.blend, batch.box)))

    def images(self, images: torch.Tensor) -> torch.Tensor:
        """Mixed images: float [B, 3, height, width], in the memory format of `images`."""
        pasted = inside(self.box, images.shape[2], images.shape[3])[:, None]
        own = self.blend[:, None, None, None].to(images.dtype).masked_fill(pasted, 0)
        return torch.lerp(partners(images), images, own)

    def parts(self, count: int) -> "Sequence[Mixture]":
        """The mixtures of `count` parts of the batch, each of whole pairs."""
        arrays = (array.chunk(count) for array in (self.share, self.blend, self.box))
        return [Mixture(*part) for part in zip(*arrays, strict=True)]


def partners(values: torch.Tensor) -> torch.Tensor:
    """The other of its pair for each in a batch, [B, ...]: slots 2j and 2j + 1 change places."""
    return values.unflatten(0, (-1, 2)).flip(1).flatten(0, 1)
