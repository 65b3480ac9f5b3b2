"""When a run ends: after all its epochs, or before, where it no longer gets better."""

from typing import Literal

from feedline.output import counted
from feedline.training.best import NAMES, of
from feedline.training.config import Config
from feedline.training.snapshot import RunPosition

Ended = Literal["epochs", "patience"]


def ended(config: Config, position: RunPosition) -> Ended | None:
    """Why a run is at its end; None if it is not. A function of the checkpoint, so a resumed run ends where it would.

    Args:
        config: of the run.
        position: where it stands.
    """
    if position.epoch >= config.optim.epochs:
        return "epochs"
    patience = config.run.patience
    waited = position.step == 0 and position.since_best(config.optim.best_by) >= patience
    return "patience" if patience and waited else None


def in_words(config: Config, position: RunPosition) -> str:
    """How a run ended, as `after epoch 7 of 50: ...`. It must be at its end."""
    epochs = config.optim.epochs
    if ended(config, position) == "epochs":
        return "after its one epoch" if epochs == 1 else f"after all {epochs} epochs"
    by = config.optim.best_by
    evaluations, best = counted(position.since_best(by), "evaluation"), position.best_epoch(by)
    return (
        f"after epoch {position.epoch} of {epochs}: {evaluations} without a {NAMES[of(position.evaluated[-1], by)]} "
        f"above that of epoch {best} (patience {config.run.patience})"
    )


def of_early_end(config: Config) -> str | None:
    """What an early end would mean for the learning rate; None where it means nothing."""
    optim, patience = config.optim, config.run.patience
    if not patience or (optim.schedule == "trapezoid" and not optim.cooldown):
        return None
    return (
        f"patience {patience}: a run that ends early ends before its learning rate has fallen ({optim.schedule}, to "
        f"the end of epoch {optim.epochs}), where most of the accuracy is won; fewer epochs are mostly better"
    )
