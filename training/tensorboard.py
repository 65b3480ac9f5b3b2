"""`--tensorboard`: scalars, a grid of training images and hyperparameters, in RUN/tensorboard."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feedline.pipeline.errors import InputError

NAME = "feedline.training.tensorboard:TensorBoard"
FOLDER = "tensorboard"


class TensorBoard:
    """A logger, as `Logger` says.

    Raises:
        InputError: if the package tensorboard is not installed.
    """

    def __init__(self) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise InputError(
                "`tensorboard`: needs the package of this name: pip install 'feedline[tensorboard]', or tensorboard"
            ) from error
        self._kind, self._config = SummaryWriter, dict[str, Any]()

    def start(self, config: Mapping[str, Any], out: Path, step: int) -> None:
        self._config = dict(config)
        # TensorBoard drops what it has of these steps and later ones: of a session that was killed.
        purge = step + 1 if step else None
        self._writer = self._kind(str(out / FOLDER), purge_step=purge)

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        for name, value in metrics.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()  # before a checkpoint of these steps is saved

    def image(self, step: int, name: str, pixels: NDArray[np.uint8]) -> None:
        self._writer.add_image(name, pixels, step, dataformats="HWC")

    def end(self, summary: Mapping[str, Any]) -> None:
        if best := summary.get("best"):
            values = {key: v if isinstance(v, (bool, int, float)) else str(v) for key, v in self._config.items()}
            figures = {"hparam/top1": best["val_top1"], "hparam/images/s": summary["images_per_s"]}
            step = best["epoch"]
            self._writer.add_hparams(values, figures, run_name=".", global_step=step)
        self._writer.close()
