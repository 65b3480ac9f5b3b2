"""What an engine is."""

from collections.abc import Generator, Iterable
from dataclasses import dataclass
from typing import Literal, Protocol

import torch

from feedline.pipeline.plan import PlanBatch
from feedline.pipeline.plan.edits import EditPart

EngineName = Literal["dali", "torch"]
ENGINES: tuple[EngineName, ...] = ("dali", "torch")


@dataclass(frozen=True)
class EngineSpec:
    """The settings of an engine.

    Attributes:
        output: (height, width) of a batch in pixels.
        window: (height, width) of all windows in pixels, None if they vary.
        inside: every window is inside its image.
        whole_images: every window is the whole image, and nothing is mirrored or edited.
        edits: the parts of each edit of a plan batch.
        batch_size: maximum number of images in a batch of this process.
        views: windows of each image.
        mean, std: per channel RGB, in 0..1.
        dtype: of a batch: float32 or float16, or uint8 for pixels that are not normalised.
        device: where batches go.
        threads: worker threads on the host.
        decode: `cpu`, or on a GPU `mixed` (it takes part).
        prefetch: batches made ahead.
    """

    output: tuple[int, int]
    window: tuple[int, int] | None
    inside: bool
    whole_images: bool
    edits: tuple[tuple[EditPart, ...], ...]
    batch_size: int
    views: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    dtype: torch.dtype
    device: torch.device
    threads: int
    decode: Literal["cpu", "mixed"]
    prefetch: int

    @property
    def resize(self) -> bool:
        """Whether some windows do not have the size of the output."""
        return self.window != self.output


EngineBatches = Generator[tuple[PlanBatch, torch.Tensor], None, None]


class Engine(Protocol):
    """Turns plan batches into batches.

    Attributes:
        threaded: makes batches in background threads.
        ahead: the most batches that are made before they are asked for.
    """

    threaded: bool
    ahead: int

    def run(self, batches: Iterable[PlanBatch]) -> EngineBatches:
        """Yields each plan batch with its images.

        Images are [V * B, 3, height, width] in channels-last memory, one for each row of the plan batch, on the device,
        normalised unless uint8. The generator may be closed at any batch and the engine run again.

        Raises:
            InputError: if an image cannot be read or decoded.
        """

    def close(self) -> None:
        """Ends the threads that wait for the next run. The engine may be run again."""
