"""`--init`: a model starts from weights that a file holds."""

from pathlib import Path

from torch import nn

from feedline.cli.overlap import trained_on
from feedline.console import aloud
from feedline.output import counted
from feedline.pipeline.dataset import Dataset
from feedline.pipeline.loader import Loader
from feedline.training.config import Config
from feedline.training.initial import Initial


def start_from(config: Config, model: nn.Module, dataset: Dataset, val: Loader | None = None) -> None:
    """Loads the weights that `init` names, if it does, and prints which.

    Args:
        config: of the run.
        model: with random weights.
        dataset: to train on.
        val: what the run evaluates, on rank 0; it is said how many of its images those weights were trained on.

    Raises:
        InputError: if the file cannot be read, or its weights are those of another network.
    """
    if config.run.init is None:
        return
    initial = Initial.read(Path(config.run.init))
    classes = [c.folder for c in dataset.classes[: config.loader.classes]]
    print(f"started from {initial.path}: {initial.load(model, classes)}", flush=True)
    snapshot = initial.snapshot
    if val is None or snapshot is None or snapshot.fingerprint != dataset.fingerprint:
        return
    if known := trained_on(val, snapshot):
        with aloud():
            print(
                f"warning: {initial.path} was trained on {known:,} of the "
                f"{counted(val.images, 'val image', 'val images')} of this run: its "
                "accuracy is not that on new images",
                flush=True,
            )
