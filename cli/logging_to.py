"""The loggers of a training run, as the flags name them."""

from pathlib import Path

import numpy as np
import torch
from torchvision.utils import make_grid

from feedline.cli.seen import IMAGES, pixel_loader, seen
from feedline.pipeline.dataset import Dataset
from feedline.pipeline.errors import InputError
from feedline.training import tensorboard
from feedline.training.config import Config
from feedline.training.loggers import Loggers
from feedline.training.snapshot import as_lists


def load_loggers(loggers: Loggers, config: Config) -> None:
    """Imports what `--tensorboard` and `--logger` name. Raises InputError if something is wrong with them."""
    loggers.load([*([tensorboard.NAME] if config.run.tensorboard else []), *config.run.logger])


def start_loggers(loggers: Loggers, config: Config, dataset: Dataset, out: Path, step: int) -> None:
    """Starts them, a new run with a grid of its first training images.

    Args:
        loggers: of the run.
        config: of the run.
        dataset: of the run.
        out: its folder.
        step: steps done.

    Raises:
        InputError: if one cannot start.
    """
    loggers.start({"recipe": config.recipe, **as_lists(config.flat())}, out, step)
    if step or not loggers.take_images:
        return
    try:
        rows = [image.result for image in seen(pixel_loader(config, dataset), 0, 0, IMAGES)]
    except InputError:  # training will say so
        return
    grid = make_grid(torch.from_numpy(np.stack(rows)).permute(0, 3, 1, 2), nrow=4)
    loggers.image(0, "images/train", grid.permute(1, 2, 0).contiguous().numpy())
