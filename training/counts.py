"""What an epoch counts on the device: nothing here waits for it but `read`."""

import math
from dataclasses import dataclass

import torch

from feedline.training.ranks import Ranks


@dataclass(frozen=True)
class Counted:
    """What the epoch under way came to so far, over all ranks.

    Attributes:
        loss: mean over the images whose loss was finite (nan if there is none).
        top1: in percent, over all images.
        images: how many were trained on.
        first_bad: the first step of the epoch whose loss was not finite, counted from 1; None if there is none.
    """

    loss: float
    top1: float
    images: int
    first_bad: int | None


class Counts:
    """Sums over the epoch under way, of this rank.

    Attributes:
        sums: float64 [4] on the device: loss, hits, images whose loss was finite, images.
        first_bad: float64 scalar on the device: infinite while all losses are finite.
    """

    def __init__(self, device: torch.device, ranks: Ranks) -> None:
        self.sums = torch.zeros(4, dtype=torch.float64, device=device)
        self.first_bad = torch.full((), math.inf, dtype=torch.float64, device=device)
        self._ranks = ranks

    def add(self, loss: torch.Tensor, logits: torch.Tensor, labels: torch.Tensor, step: int) -> None:
        """Counts a step: its mean loss, logits [B, classes] and labels [B]."""
        images, finite = len(labels), loss.isfinite()
        hits = (logits.argmax(1) == labels).sum()
        kept = torch.where(finite, loss, 0.0)
        self.sums += torch.stack([kept * images, hits, finite * images, torch.full_like(kept, images)])
        self.first_bad.clamp_(max=torch.where(finite, math.inf, step).to(torch.float64))

    def over_all_ranks(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Copies of `sums` and `first_bad` over all ranks. Every rank must call it."""
        return self._ranks.sum_(self.sums.clone()), self._ranks.min_(self.first_bad.clone())

    def read(self) -> Counted:
        """Waits for the device. Every rank must call it."""
        sums, first_bad = self.over_all_ranks()
        loss, hits, finite, images, bad = [*sums.tolist(), first_bad.item()]
        return Counted(
            loss=loss / finite if finite else math.nan,
            top1=100 * hits / max(images, 1),
            images=round(images),
            first_bad=None if math.isinf(bad) else round(bad),
        )

    def clear(self) -> None:
        self.sums.zero_()
        self.first_bad.fill_(math.inf)

    def restore(self, sums: torch.Tensor) -> None:
        """Goes on from the sums over all ranks of a checkpoint: rank 0 takes them, the others begin at 0."""
        self.clear()
        if self._ranks.first:
            self.sums.copy_(sums)
