"""What a command makes of a checkpoint that it uses."""

import sys
from pathlib import Path

from feedline.cli.build import shown
from feedline.cli.flags import given_values
from feedline.cli.request import Request
from feedline.cli.usage import check_effect
from feedline.pipeline.errors import InputError
from feedline.training.config import Config
from feedline.training.snapshot import Snapshot
from feedline.use.loading import Loaded, use_snapshot


def used(request: Request, path: Path, snapshot: Snapshot) -> tuple[Config, Loaded]:
    """The settings of the run with the flags of this command on top, and the network.

    Args:
        request: the command.
        path: of the checkpoint.
        snapshot: its content.

    Raises:
        InputError: if a flag has no effect, the network does not fit, or there are several ranks.
    """
    if request.ranks.is_distributed:
        raise InputError(f"--mode {request.mode} is one process; start it without torchrun")
    config = snapshot.config.replace(**given_values(request.flags))
    check_effect(config, request.flags)
    loaded = use_snapshot(snapshot, path, request.network, config)
    if snapshot.norms is not None and not _has_size_of_run(loaded, snapshot):
        print(
            f"{path}: at {shown(loaded.preprocess.size)} with norm statistics of {shown(snapshot.image_size)}, those "
            "of the run; --mode eval takes them again",
            file=sys.stderr,
        )
    return config, loaded


def as_evaluated(config: Config, loaded: Loaded, snapshot: Snapshot) -> bool:
    """Whether images are cropped and resized as in the evaluation of the run."""
    same_crop = config.loader.crop_fraction == snapshot.config.loader.crop_fraction
    return same_crop and _has_size_of_run(loaded, snapshot)


def _has_size_of_run(loaded: Loaded, snapshot: Snapshot) -> bool:
    return loaded.preprocess.size == tuple(snapshot.image_size)
