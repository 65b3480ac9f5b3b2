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
        top1: in percent, over all images; None in an epoch with mixed labels, of which an image has two.
        images: number of images trained on.
        first_bad: the first step of the epoch whose loss was not finite, counted from 1; None if there is none.
    """

    loss: float
    top1: float | None
    images: int
    first_bad: int | None


class Counts:
    """This rank's sums over the current epoch.

    Attributes:
        sums: float64 [4] on the device: loss, hits (nan with mixed labels), images whose loss was finite, images.
        first_bad: float64 scalar on the device: infinity while all losses are finite.
    """

    def __init__(self, device: torch.device, ranks: Ranks) -> None:
        self.sums = torch.zeros(4, dtype=torch.float64, device=device)
        self.first_bad = torch.full((), math.inf, dtype=torch.float64, device=device)
        self._ranks = ranks

    def add(self, loss: torch.Tensor, logits: torch.Tensor, labels: torch.Tensor | None, step: int) -> None:
        """Adds one step.

        Args:
            loss: the mean over its images.
            logits: [B, classes].
            labels: int64 [B]; None if they are mixed, so that nothing can be said about hits.
            step: its number in the epoch, from 1.
        """
        images, finite = len(logits), loss.isfinite()
        kept = torch.where(finite, loss, 0.0)
        hits = torch.full_like(kept, math.nan) if labels is None else (logits.argmax(1) == labels).sum()
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
            top1=None if math.isnan(hits) else 100 * hits / max(images, 1),
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
