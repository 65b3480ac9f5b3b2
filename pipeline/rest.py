"""What a batch holds beside its images: labels or targets, and ids."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from feedline.pipeline.plan import PlanBatch
from feedline.pipeline.streams import to_device


@dataclass(frozen=True)
class Rest:
    """What a batch holds beside its images.

    Attributes:
        labels: int32 [N], of all images of the dataset.
        targets: [N, ...] instead of the labels; None for the labels.
        with_ids: whether image ids belong to a batch.
        device: where all of it goes.
    """

    labels: NDArray[np.int32]
    targets: Any
    with_ids: bool
    device: torch.device

    def of(self, batch: PlanBatch) -> tuple[torch.Tensor, ...]:
        """Labels int64 [B] or targets [B, ...], then the ids, int64 [B], if asked for."""
        ids = batch.ids
        chosen = self.labels.take(ids).astype(np.int64) if self.targets is None else self.targets[ids]
        arrays = (chosen, ids.copy()) if self.with_ids else (chosen,)
        return tuple(to_device(array, self.device) for array in arrays)
