"""--mode summary: the layer table."""

import logging
from pathlib import Path

from feedline.cli.build import training_side, with_stem
from feedline.cli.request import Request
from feedline.model import layer_table
from feedline.output import counted
from feedline.pipeline.dataset import Dataset
from feedline.pipeline.errors import InputError
from feedline.pipeline.resolve import PHOTO, input_size
from feedline.training.network import build_network

logger = logging.getLogger(__name__)

SIDE = 64  # of Tiny ImageNet's images


def run(request: Request) -> int:
    """Prints the layer table, for the dataset's classes and size, or Tiny ImageNet's if there is no dataset."""
    config = request.config()
    classes, size, usual = config.loader.classes or 200, config.loader.last_size, PHOTO
    if (Path(config.run.data) / "dataset.json").exists():
        config, dataset = request.opened()
        if (config.loader.classes or 0) > len(dataset.classes):
            raise InputError(f"`classes={classes}`: {config.run.data} has {counted(len(dataset.classes), 'class')}")
        classes = config.loader.classes or len(dataset.classes)
        size = size or input_size(dataset.image_size)[0]
    elif "data" in request.flags:
        Dataset(config.run.data)  # raises: this was asked for
    elif config.loader.classes is None or size is None:
        usual = SIDE
        logger.info("no dataset at %s: where nothing else is said as for Tiny ImageNet, 200 classes of %dx%d",
                    config.run.data, SIDE, SIDE)  # fmt: skip
    side = size or usual
    config = with_stem(config, request, training_side(config, (side, side)))
    print(layer_table(build_network(request.network, classes, config.model.changed()), (3, side, side)))
    return 0
