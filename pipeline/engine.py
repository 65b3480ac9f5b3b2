"""What an engine is, and which one to take."""

import logging
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from typing import Literal, Protocol

import torch

from feedline.pipeline.errors import InputError
from feedline.pipeline.plan import PlanBatch
from feedline.pipeline.stores import Store

logger = logging.getLogger(__name__)

EngineName = Literal["dali", "torch"]
ENGINES: tuple[EngineName, ...] = ("dali", "torch")


@dataclass(frozen=True)
class EngineSpec:
    """What every engine is told.

    Attributes:
        output: (height, width) of a batch in pixels.
        window: (height, width) of all windows in pixels, None if they vary.
        inside: no window reaches outside its image.
        whole: every image is taken whole, and not mirrored.
        batch_size: the most images in a batch of this process.
        mean, std: per channel RGB, in 0..1.
        dtype: of a batch: float32 or float16, or uint8 for pixels that are not normalised.
        device: where batches go.
        threads: worker threads on the host.
        decode: `cpu`, or `mixed` (the GPU takes part).
        prefetch: batches made ahead.
    """

    output: tuple[int, int]
    window: tuple[int, int] | None
    inside: bool
    whole: bool
    batch_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    dtype: torch.dtype
    device: torch.device
    threads: int
    decode: Literal["cpu", "mixed"]
    prefetch: int

    @property
    def resize(self) -> bool:
        """Whether some windows are not of the output's size."""
        return self.window != self.output


class Engine(Protocol):
    """Attributes: `threaded` (batches are made in threads of its own while the caller does something else)."""

    threaded: bool

    def run(self, batches: Iterable[PlanBatch]) -> Generator[torch.Tensor, None, None]:
        """Yields a batch [B, 3, height, width] for each plan batch: channels-last, on the device, normalised.

        It may be closed at any batch and run again.
        """

    def close(self) -> None:
        """Ends threads of its own that are waiting for the next run. It may be run again."""


def dali_problem() -> str | None:
    """Why DALI cannot be imported here, None if it can."""
    try:
        import feedline.pipeline.dali_engine  # noqa: F401
    except ImportError as error:
        return str(error)
    return None


def choose_engine(device: torch.device) -> EngineName:
    """What `--engine auto` takes.

    On a GPU DALI, which decodes, crops and normalises there; if it cannot be imported torch, said in one line. On a CPU
    torch, which measured faster from every store (results/README.md).
    """
    if device.type == "cpu":
        return "torch"
    if problem := dali_problem():
        logger.warning("engine: torch, because DALI cannot be imported (%s)", problem)
        return "torch"
    return "dali"


def make_engine(name: EngineName, store: Store, spec: EngineSpec) -> Engine:
    """Builds an engine for a store.

    Raises:
        InputError: if there is no such engine, or DALI cannot be imported.
    """
    if name == "torch":
        from feedline.pipeline.torch_engine import TorchEngine

        return TorchEngine(store, spec)
    if name == "dali":
        if problem := dali_problem():
            raise InputError(f"--engine dali: DALI cannot be imported ({problem}); use --engine torch")
        from feedline.pipeline.dali_engine import DaliEngine

        return DaliEngine(store, spec)
    raise InputError(f"--engine {name}: choose one of auto, {', '.join(ENGINES)}")
