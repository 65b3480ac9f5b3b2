"""The plan of a batch."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feedline.pipeline.plan.edits import Edit


@dataclass(frozen=True, slots=True)
class PlanBatch:
    """The images of a batch, with their windows and flips.

    With V views each image has V windows, flips and edits: rows 0 to B-1 are the first view of all images, the next B
    the second, and so on.

    Attributes:
        ids: int64 [B], image ids.
        window: int32 [V * B, 4], (y, x, height, width) in pixels; it may reach outside the image.
        flip: bool [V * B].
        edits: of the pixels of the V * B windows, in order; none where no augmentation asks for one.
    """

    ids: NDArray[np.int64]
    window: NDArray[np.int32]
    flip: NDArray[np.bool_]
    edits: tuple[Edit, ...] = ()

    def __len__(self) -> int:
        """The number of images, B."""
        return len(self.ids)

    @property
    def rows(self) -> int:
        """The number of windows, V * B."""
        return len(self.flip)

    @property
    def views(self) -> int:
        """The number of windows of each image, V."""
        return len(self.flip) // max(len(self.ids), 1)

    @property
    def row_ids(self) -> NDArray[np.int64]:
        """int64 [V * B], the image of each window."""
        return self.ids if self.rows == len(self.ids) else np.tile(self.ids, self.views)

    def __getitem__(self, part: slice) -> "PlanBatch":
        """Some of the images, with all their views."""
        if self.rows != len(self.ids):
            return join_views([view[part] for view in self.each_view()])
        edits = tuple(edit[part] for edit in self.edits)
        return PlanBatch(self.ids[part], self.window[part], self.flip[part], edits)

    def each_view(self) -> "list[PlanBatch]":
        """One batch for each view, of all images."""
        if self.rows == len(self.ids):
            return [self]
        parts = [slice(first, first + len(self.ids)) for first in range(0, self.rows, len(self.ids))]
        return [
            PlanBatch(self.ids, self.window[part], self.flip[part], tuple(edit[part] for edit in self.edits))
            for part in parts
        ]


def join_views(views: "list[PlanBatch]") -> PlanBatch:
    """The opposite of `each_view`."""
    if len(views) == 1:
        return views[0]
    # Windows that are the same for all images are one row that is repeated; concatenated they need not be contiguous.
    window = np.ascontiguousarray(np.concatenate([v.window for v in views]))
    flip = np.concatenate([v.flip for v in views])
    edits = tuple(_join(same) for same in zip(*(v.edits for v in views), strict=True))
    return PlanBatch(views[0].ids, window, flip, edits)


def _join(edits: tuple[Edit, ...]) -> Edit:
    """The same edit of several views."""
    parts: dict[Any, Any] = {name: np.concatenate([edit.parts[name] for edit in edits]) for name in edits[0].parts}
    return Edit(**parts)
