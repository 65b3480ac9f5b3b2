"""--mode summary: the layer table."""

from pathlib import Path

from feedline.model import layer_table, resnet18
from feedline.pipeline.dataset import Dataset
from feedline.training.modes.common import Request


def run(request: Request) -> int:
    """Prints the layer table, for the dataset's classes where there is one, else Tiny ImageNet's 200."""
    config = request.config()
    classes, size = config.data.classes or 200, config.data.image_size
    if (Path(config.data.data) / "dataset.json").exists():
        dataset = Dataset(config.data.data)
        classes = config.data.classes or len(dataset.classes)
        size = size or (dataset.image_size or (224,))[0]
    elif "data" in request.flags:
        Dataset(config.data.data)  # says what is wrong
    print(layer_table(resnet18(classes), (3, size or 224, size or 224)))
    return 0
