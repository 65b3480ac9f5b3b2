"""The curve of an LR range test: smoothed, judged, and the learning rates that it suggests."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from feedline.output import counted

BLEW_UP = "the loss blew up"  # why a test ended
SMOOTHED_OVER = 30  # the loss is averaged over 1/30 of the steps on either side
RECOMMENDED = "scaled"
SCALE = 35.0  # `scaled` / `valley`: what trained best, with SGD and Adam: docs/lr-range.md
# `scaled` is at most a third of the last rate before the loss blew up. In the study that changes nothing; on 288 images
# in batches of 16 it was 4 times too high without.
BELOW_BLOW_UP = 3.0
FEWEST = 12  # losses of which a curve is read
# A fall of the smoothed loss counts from 3 standard errors on. Of curves that are noise alone one in 20 falls by that;
# the falls that real networks had in 90 tests of 60 steps and more were of 1.6 to 140, 3 of them below 3
# (results/lr-range).
SURE = 3.0
SMALLEST_FALL = 0.01  # of the loss


def no_recommendation(
    losses: Sequence[float], smoothed: Sequence[float], steps: int, stopped: str, *, low: bool = False
) -> str | None:
    """Why a curve gives no learning rate, and what to do; None if it gives one.

    Args:
        losses: of each step that was done.
        smoothed: the same, smoothed.
        steps: that were planned.
        stopped: why the test ended.
        low: its last rate is far below that of the usual test.
    """
    if len(losses) < FEWEST:
        return (
            f"{counted(len(losses), 'step')} {'is' if len(losses) == 1 else 'are'} too few ({stopped}); "
            "lower `start_lr`"
        )
    loss = np.asarray(smoothed)
    minimum = int(loss.argmin())
    if minimum < max(steps / 10, 2):
        return "the loss rises from the first rates on; lower `start_lr`, or use a larger `batch_size`"
    before = losses[: minimum // 2]
    fall = float(np.mean(before)) - loss[minimum]
    if fall < SMALLEST_FALL * np.mean(before):
        if stopped.startswith(BLEW_UP):  # higher rates would not be reached
            return "the loss hardly falls before it blows up; check the labels, or use a larger `batch_size`"
        return "the loss hardly falls at any rate; check the labels, or raise `end_lr`"
    if fall < SURE * _error(losses[: minimum + 1], len(before), steps):
        more = "raise `end_lr`, or " if low and not stopped.startswith(BLEW_UP) else ""
        return f"the loss falls by no more than its noise; {more}use a larger `batch_size`"
    if int(np.gradient(loss)[: minimum + 1].argmin()) < steps / 20:
        return "the loss falls fastest at the first rates; lower `start_lr`"
    return None


def none_below(lrs: Sequence[float], smoothed: Sequence[float], usual_end: float) -> str | None:
    """Why the rates of a test that did not blow up were too low for a recommendation; None if they were not.

    Args:
        lrs: of the steps.
        smoothed: the smoothed loss at each.
        usual_end: the last rate of most tests.
    """
    last = int(np.argmin(smoothed)) == len(smoothed) - 1
    if last and lrs[-1] < usual_end / 1.1:
        return "the loss still falls at the last rate; raise `end_lr`"
    if SCALE * suggest(lrs, smoothed)["valley"] > lrs[-1]:
        return "the rate to recommend would be above the last one; raise `end_lr`, and lower `start_lr`"
    return None


def _error(losses: Sequence[float], before: int, steps: int) -> float:
    """The standard error of the mean of so many losses minus a smoothed one.

    Noise is taken from the differences of neighbours, which a trend hardly changes.
    """
    deviation = 1.4826 * float(np.median(np.abs(np.diff(losses)))) / 2**0.5  # of the normal distribution
    smoothed_from = 2 * np.pi**0.5 * _width(steps)  # losses in a Gaussian average
    return deviation * float(1 / before + 1 / smoothed_from) ** 0.5


def smoothed_over(losses: Sequence[float], steps: int) -> list[float]:
    """The losses of a test of so many steps, smoothed."""
    return smooth(losses, _width(steps))


def _width(steps: int) -> float:
    return max(steps / SMOOTHED_OVER, 1.5)


def smooth(losses: Sequence[float], width: float) -> list[float]:
    """A Gaussian average over `width` steps on either side. Unlike a moving average it does not lag behind."""
    index = np.arange(len(losses))
    weights = np.exp(-0.5 * ((index[:, None] - index) / width) ** 2)
    averaged: list[float] = ((weights @ np.asarray(losses)) / weights.sum(axis=1)).tolist()
    return averaged


def shown_losses(result: Mapping[str, Any]) -> tuple[float, float]:
    """The losses between which the curve of a test is drawn.

    Where a rate is recommended the fall fills the picture, up to the start or to that rate. Else the noise does, and
    where it blew up, up to twice the first loss: they may be why not.

    Args:
        result: the content of lr_range.json.
    """
    losses, smoothed, rule = result["loss"], result["smoothed"], result["recommended"]
    if rule is None:
        low, high = min(losses), max(min(max(losses), 2 * smoothed[0]), smoothed[0])
    else:
        low, high = min(smoothed), max(smoothed[0], smoothed[nearest(result["lr"], result["suggestions"][rule])])
    fall = max(high - low, 0.05 * abs(high))  # 0 if no learning rate helped
    return low - 0.15 * fall, high + (0.15 if rule is None else 0.6) * fall


def nearest(lrs: Sequence[float], lr: float) -> int:
    """The step of a test whose rate is nearest to one."""
    return min(range(len(lrs)), key=lambda i: abs(lrs[i] - lr))


def suggest(lrs: Sequence[float], smoothed: Sequence[float], *, blew_up: bool = False) -> dict[str, float]:
    """The learning rates that a curve suggests, by name (see `LRRange`).

    Args:
        lrs: learning rates that grow by a constant factor.
        smoothed: the smoothed loss at each.
        blew_up: the loss blew up behind the last of them.
    """
    loss = np.asarray(smoothed)
    minimum = int(loss.argmin())
    # Far below the minimum the curve is nearly flat: there the steepest slope would be noise.
    first = min(int(np.searchsorted(lrs, lrs[minimum] / 10)), max(minimum - 1, 0))
    slopes = np.gradient(loss)[first : minimum + 1]
    steepest, valley = first + int(slopes.argmin()), _valley(loss[: minimum + 1])
    scaled = min(SCALE * lrs[valley], lrs[-1] / (BELOW_BLOW_UP if blew_up else 1))  # what follows is not known
    return {"scaled": scaled, "minimum": lrs[minimum], "steepest": lrs[steepest], "valley": lrs[valley]}


def _valley(loss: "np.ndarray[Any, np.dtype[np.float64]]") -> int:
    """The middle index of the longest decreasing subsequence, as in fastai's `valley`."""
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
