"""When a run ends: after all its epochs, or before, where its val top-1 no longer gets better."""

from typing import Literal

from feedline.training.config import Config
from feedline.training.snapshot import Position

Ended = Literal["epochs", "patience"]


def ended(config: Config, position: Position) -> Ended | None:
    """Why a run is at its end; None if it is not. A function of the checkpoint, so a resumed run ends where it would.

    Args:
        config: of the run.
        position: where it stands.
    """
    if position.epoch >= config.optim.epochs:
        return "epochs"
    patience = config.run.patience
    return "patience" if patience and position.step == 0 and position.since_best >= patience else None


def in_words(config: Config, position: Position) -> str:
    """How a run ended, as `after epoch 7 of 50: ...`. It must be at its end."""
    epochs = config.optim.epochs
    if ended(config, position) == "epochs":
        return f"after all {epochs} epochs"
    count, best = position.since_best, position.best_epoch
    evaluations = f"{count} evaluation{'s' * (count > 1)}"
    return (
        f"after epoch {position.epoch} of {epochs}: {evaluations} without a val top-1 above that of epoch {best} "
        f"(patience {config.run.patience})"
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
