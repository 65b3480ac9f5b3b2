"""Loss and accuracy of the current epoch, summed on the device. Only `read` waits for the device."""

import math
from dataclasses import dataclass

import torch
from torch.distributed import ReduceOp

from feedline.training.ranks import Ranks


@dataclass(frozen=True)
class EpochCounts:
    """The current epoch so far, over all ranks.

    Attributes:
        loss: mean over the images whose loss was finite (nan if there are none).
        top1: in percent, over all images.
        images: number of images trained on.
        first_bad: the first step of the epoch whose loss was not finite, counted from 1; None if there is none.
    """

    loss: float
    top1: float
    images: int
    first_bad: int | None


class Counts:
    """This rank's sums over the current epoch.

    Attributes:
        sums: float64 [4] on the device: loss, hits, images whose loss was finite, images.
        first_bad: float64 scalar on the device: infinity while all losses are finite.
    """

    def __init__(self, device: torch.device, ranks: Ranks) -> None:
        self.sums = torch.zeros(4, dtype=torch.float64, device=device)
        self.first_bad = torch.full((), math.inf, dtype=torch.float64, device=device)
        self._ranks = ranks

    def add(self, loss: torch.Tensor, logits: torch.Tensor, labels: torch.Tensor, step: int) -> None:
        """Adds one step: its mean loss, logits [B, classes], labels [B] and its number in the epoch, from 1."""
        images, finite = len(labels), loss.isfinite()
        hits = (logits.argmax(1) == labels).sum()
        kept = torch.where(finite, loss, 0.0)
        self.sums += torch.stack([kept * images, hits, finite * images, torch.full_like(kept, images)])
        self.first_bad.clamp_(max=torch.where(finite, math.inf, step).to(torch.float64))

    def over_all_ranks(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns `sums` and `first_bad` over all ranks, as copies. Every rank must call it."""
        return self._ranks.all_reduce(self.sums.clone()), self._ranks.all_reduce(self.first_bad.clone(), ReduceOp.MIN)

    def read(self) -> EpochCounts:
        """Returns the results so far. Waits for the device. Every rank must call it."""
        sums, first_bad = self.over_all_ranks()
        loss, hits, finite, images, bad = [*sums.tolist(), first_bad.item()]
        return EpochCounts(
            loss=loss / finite if finite else math.nan,
            top1=100 * hits / max(images, 1),
            images=round(images),
            first_bad=None if math.isinf(bad) else round(bad),
        )

    def clear(self) -> None:
        """Starts a new epoch."""
        self.sums.zero_()
        self.first_bad.fill_(math.inf)

    def restore(self, sums: torch.Tensor) -> None:
        """Restores a checkpoint's sums over all ranks: rank 0 gets them, the others start at 0."""
        self.clear()
        if self._ranks.is_first:
            self.sums.copy_(sums)
