"""The LR range test: how high may the learning rate go?

Smith, "Cyclical learning rates for training neural networks", WACV 2017: train with a learning rate that grows from
step to step and look at the loss.
"""

import copy
import math
import random
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.optim.lr_scheduler import StepLR

from feedline.pipeline.errors import InputError
from feedline.pipeline.loader import Batch
from feedline.training.config import Config
from feedline.training.ranks import ALONE, Ranks
from feedline.training.report import Progress
from feedline.training.step import TrainStep

GAMMA = 1.069  # the assignment's factor (StepLR with step_size 1)
SMOOTHED_OVER = 30  # the loss is averaged over a thirtieth of the steps to either side
RECOMMENDED = "steepest"
BLOWN_UP = 1.5  # times the loss of the first steps: no need to go on


@dataclass(frozen=True)
class LRRange:
    """The curve and what it suggests.

    Attributes:
        lr, loss, smoothed: one value a step.
        suggestions: `minimum` (where the smoothed loss is least: the assignment's rule), `steepest` (where it falls
            fastest in the decade before that) and `valley` (the middle of its longest fall).
        recommended: the suggestion to take.
        stopped: why the test ended.
    """

    lr: list[float]
    loss: list[float]
    smoothed: list[float]
    suggestions: dict[str, float]
    recommended: str
    stopped: str


@contextmanager
def unchanged(model: nn.Module, *others: Any) -> Iterator[None]:
    """Puts back every weight, buffer, gradient, mode, random state, and the state of the other objects, afterwards.

    Args:
        model: any module.
        others: objects with `state_dict` and `load_state_dict`: optimizers, schedulers, scalers.
    """
    tensors = {name: t.detach().clone() for name, t in (*model.named_parameters(), *model.named_buffers())}
    grads = {name: None if p.grad is None else p.grad.clone() for name, p in model.named_parameters()}
    modes = [(module, module.training) for module in model.modules()]
    states = [(other, copy.deepcopy(other.state_dict())) for other in others]
    generators = (random.getstate(), np.random.get_state(), torch.get_rng_state())  # noqa: NPY002
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    try:
        yield
    finally:
        with torch.no_grad():
            for name, tensor in (*model.named_parameters(), *model.named_buffers()):
                tensor.copy_(tensors[name])
        for name, parameter in model.named_parameters():
            parameter.grad = grads[name]
        for module, mode in modes:
            module.training = mode
        for other, state in states:
            other.load_state_dict(state)
        random.setstate(generators[0])
        np.random.set_state(generators[1])  # noqa: NPY002
        torch.set_rng_state(generators[2])
        if cuda:
            torch.cuda.set_rng_state_all(cuda)


@dataclass(frozen=True)
class Sweep:
    """Learning rates to go through: `start`, times `factor` each step, `steps` of them."""

    start: float
    factor: float
    steps: int

    @classmethod
    def plan(cls, batches: int, *, start: float, end: float) -> "Sweep":
        """From `start` to `end` by 1.069 a step; by more where one epoch has too few batches for that."""
        if not 0 < start < end:
            raise InputError(f"--start-lr {start:g}: must lie between 0 and --end-lr {end:g}")
        needed = math.ceil(math.log(end / start) / math.log(GAMMA)) + 1
        if batches >= needed:
            return cls(start, GAMMA, needed)
        return cls(start, (end / start) ** (1 / max(batches - 1, 1)), batches)


def lr_range_test(
    config: Config,
    model: nn.Module,
    batches: Iterable[Batch],
    device: torch.device,
    sweep: Sweep,
    ranks: Ranks = ALONE,
) -> LRRange:
    """Runs the test and leaves the model as it was.

    Args:
        config: optimizer, loss and precision, as in training.
        model: moved to the device.
        batches: the test ends with them, if not before.
        device: of the batches.
        sweep: the learning rates.
        ranks: who trains along; all see the same losses.

    Raises:
        InputError: if there were too few steps to see anything.
    """
    lrs: list[float] = []
    losses: list[float] = []
    average, stopped = 0.0, "the steps were done"
    progress = Progress(sweep.steps, 0, "LR range test", quiet=not ranks.first)
    with unchanged(model):
        step = TrainStep(config, model.train(), device, sweep.start, ranks)
        schedule = StepLR(step.optimizer, step_size=1, gamma=sweep.factor)
        for _, (images, labels) in zip(range(sweep.steps), batches, strict=False):
            loss, _ = step(images, labels)
            # The loss decides whether to go on, so this loop waits for every step; it is the one that may.
            value = ranks.sum_(loss.clone()).item() / ranks.world_size
            average = 0.8 * average + 0.2 * value if losses else value
            if not math.isfinite(value) or average > BLOWN_UP * np.mean(losses[:5] or value):
                stopped = f"the loss blew up ({value:.3g} at LR {schedule.get_last_lr()[0]:.3g})"
                break
            lrs.append(float(schedule.get_last_lr()[0]))
            losses.append(value)
            schedule.step()
            progress.step()
            progress.show(f"LR {lrs[-1]:.2e}  loss {value:.3f}")
    progress.close()
    if len(lrs) < 12:
        raise InputError(f"LR range test: {len(lrs)} steps are too few ({stopped}); use a smaller --batch-size")
    smoothed = smooth(losses, sweep.steps / SMOOTHED_OVER)
    return LRRange(lrs, losses, smoothed, suggest(lrs, smoothed), RECOMMENDED, stopped)


def smooth(losses: Sequence[float], width: float) -> list[float]:
    """A Gaussian average of `width` steps to either side; unlike a moving average it does not lag behind the curve."""
    place = np.arange(len(losses))
    weights = np.exp(-0.5 * ((place[:, None] - place) / max(width, 1.5)) ** 2)
    averaged: list[float] = ((weights @ np.asarray(losses)) / weights.sum(axis=1)).tolist()
    return averaged


def suggest(lrs: Sequence[float], smoothed: Sequence[float]) -> dict[str, float]:
    """The learning rates that a curve suggests.

    Args:
        lrs: rising by a constant factor.
        smoothed: the loss at each.
    """
    loss = np.asarray(smoothed)
    least = int(loss.argmin())
    # Far below the minimum the curve is nearly flat and its steepest place is where the noise is.
    first = min(int(np.searchsorted(lrs, lrs[least] / 10)), max(least - 1, 0))
    slopes = np.gradient(loss)[first : least + 1]
    steepest, valley = first + int(slopes.argmin()), _valley(loss[: least + 1])
    return {"minimum": lrs[least], "steepest": lrs[steepest], "valley": lrs[valley]}


def _valley(loss: "np.ndarray[Any, np.dtype[np.float64]]") -> int:
    """The middle of the longest falling subsequence, as fastai's `valley`."""
    n = len(loss)
    longest = np.ones(n, dtype=int)
    first = np.arange(n)
    for i in range(1, n):
        higher = np.flatnonzero(loss[:i] > loss[i])
        if len(higher):
            j = higher[longest[higher].argmax()]
            longest[i], first[i] = longest[j] + 1, first[j]
    end = int(longest.argmax())
    return (int(first[end]) + end) // 2
