"""Numbers that are not finite: which step and which images, and that no such weights are saved."""

import math
from pathlib import Path

import torch

from feedline.output import listed
from feedline.pipeline.errors import DivergedError
from feedline.pipeline.files import write_json
from feedline.training.counts import EpochCounts
from feedline.training.state import TrainState

SHOWN = 5  # images in the message; all are in the file


def check_finite(state: TrainState, counted: EpochCounts, lr: float, report: Path | None) -> None:
    """Stops a run whose loss is no longer finite.

    A gradient scaler skips such steps and halves its scale. Only a scale below 1 shows that the scale is not the cause.

    Args:
        state: of the run.
        counted: the current epoch so far.
        lr: of the last step.
        report: the file for step, learning rate and image ids; None to write none.

    Raises:
        DivergedError: if the loss is not finite.
    """
    scales = state.step.precision.scales
    scale = state.step.scaler.get_scale() if scales else 0.0
    if scale >= 1 or (counted.first_bad is None and not scales):
        return
    epoch, bad = state.position.epoch, counted.first_bad or state.position.step
    step = epoch * len(state.train) + bad
    ids = state.train.plan.global_ids(epoch, bad - 1).tolist()
    what = "loss is not finite" if counted.first_bad else "gradients overflow at every scale"
    images = listed([str(image) for image in ids], SHOWN)
    if report is not None:
        write_json(report, {"step": step, "epoch": epoch, "batch": bad - 1, "lr": lr, "images": ids})
        if len(ids) > SHOWN:
            images += f", see {report}"
    raise DivergedError(
        f"the {what} at step {step} (epoch {epoch + 1}, LR {lr:.3g}, images {images}); lower `max_lr`, or find "
        f"one with --mode lrfind; --mode peek --step {step} with the same flags shows these images"
    )


def check_evaluation(state: TrainState, val_loss: float) -> None:
    """Stops a run whose weights give no numbers in evaluation, though the loss of its last step was finite.

    Raises:
        DivergedError: if the val loss is not finite.
    """
    if not math.isfinite(val_loss):
        raise _blown_up(state, "the val loss is not finite")


def check_weights(state: TrainState) -> None:
    """Stops a run whose weights or norm statistics are not finite, before they are saved. Waits for the device.

    Raises:
        DivergedError: if they are not.
    """
    saved = [*state.model.parameters(), *state.model.buffers()]
    finite = [tensor.detach().isfinite().all() for tensor in saved if tensor.is_floating_point()]
    if finite and not torch.stack(finite).all():
        raise _blown_up(state, "weights or norm statistics are not finite")


def _blown_up(state: TrainState, what: str) -> DivergedError:
    epoch = state.position.epoch + (state.position.step > 0)
    return DivergedError(
        f"{what} after step {state.global_step} (epoch {epoch}); this step is not saved, what was saved before it "
        "stays. Lower `max_lr`, or find one with --mode lrfind"
    )
