"""A checkpoint as something to use: the network, what is done to images, and the classes."""

import contextlib
import inspect
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from feedline.model import resnet18
from feedline.pipeline.augment import Center, parse
from feedline.pipeline.dataset import ClassInfo, Dataset
from feedline.pipeline.errors import InputError
from feedline.pipeline.preprocess import Preprocess
from feedline.training import checkpoint
from feedline.training.config import Config
from feedline.training.network import Network, build_network
from feedline.training.snapshot import Snapshot

LONGEST = 120  # letters of a reason that names weights


class Loaded(NamedTuple):
    """What it takes to classify an image.

    Attributes:
        net: in eval mode, on the CPU: float32 [B, 3, height, width] to logits [B, classes].
        preprocess: images to what `net` takes, as the evaluation of the run did it.
        classes: in the order of the logits; as text each is its words.
    """

    net: nn.Module
    preprocess: Preprocess
    classes: list[ClassInfo]


def load(path: str | Path, *, network: Network = resnet18, crop_fraction: float | None = None) -> Loaded:
    """Reads a checkpoint to use it. Runs no code that the file may hold.

    ::

        net, preprocess, classes = load("runs/first/best.pt")
        print(classes[net(preprocess("cat.jpg")).argmax()])

    Args:
        path: of a checkpoint, or the folder of a run for its best.pt.
        network: builds the model, for runs of others than ResNet18: number of classes -> network.
        crop_fraction: side of the centre window / the largest that fits, instead of the run's.

    Returns:
        The network with the weights that the run evaluated (the average, where there is one), the preprocessing with
        the size, crop, mean and std of its evaluation, and the classes.

    Raises:
        InputError: if it cannot be read, does not fit the network, or does not say how images were cropped.
    """
    path = Path(path)
    path = path / checkpoint.BEST if path.is_dir() else path
    snapshot = checkpoint.load(path)
    return use_snapshot(snapshot, path, network, snapshot.config, crop_fraction)


def use_snapshot(
    snapshot: Snapshot, path: Path, network: Network, config: Config, crop_fraction: float | None = None
) -> Loaded:
    """As `load`, of a checkpoint that was read.

    Args:
        snapshot: its content.
        path: of the file, for messages.
        network: builds the model.
        config: of the run, or with what a command changed.
        crop_fraction: instead of the run's.
    """
    dataset = dataset_of(snapshot)
    words = snapshot.words or ([c.words for c in dataset.classes] if dataset else snapshot.classes)
    classes = [
        ClassInfo(i, folder, text) for i, (folder, text) in enumerate(zip(snapshot.classes, words, strict=False))
    ]
    net = build_network(network, len(classes), _model_options(config, network))
    load_weights(net, snapshot, path)
    memory = torch.channels_last if config.run.channels_last else torch.contiguous_format
    net = net.to(memory_format=memory).eval()
    height, width = snapshot.image_size
    options = config.loader
    size = (options.eval_size, options.eval_size) if options.eval_size else (int(height), int(width))
    fraction = crop_fraction or options.crop_fraction or _crop_fraction(snapshot, dataset, path)
    return Loaded(net, Preprocess(size, fraction, tuple(options.mean), tuple(options.std)), classes)


def load_weights(net: nn.Module, snapshot: Snapshot, path: Path) -> None:
    """Gives a network the weights that a run evaluated. Raises InputError if they are those of another network."""
    try:
        net.load_state_dict(snapshot.weights)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()[:LONGEST]  # the first lines only name the class
        raise InputError(
            f"{path}: its weights do not fit this network ({reason}); use the program that trained it, or in Python "
            "pass its own as network"
        ) from error


def _model_options(config: Config, network: Network) -> dict[str, object]:
    """The options of the network; checkpoints that name no stem are older than the other one."""
    options = config.model.changed()
    if "stem" not in options and "stem" in inspect.signature(network).parameters:
        options["stem"] = "small"
    return options


def dataset_of(snapshot: Snapshot) -> Dataset | None:
    """The dataset of a run, if it is still where it was; what newer checkpoints hold, older ones need it for."""
    for folder in places_of(snapshot):
        with contextlib.suppress(InputError):
            if (dataset := Dataset(folder)).fingerprint == snapshot.fingerprint:
                return dataset
    return None


def places_of(snapshot: Snapshot) -> list[str]:
    """Folders of datasets where that of a run may be: where it was for the run, and as its command named it."""
    folders = (snapshot.dataset.get("path"), snapshot.config.run.data)
    return [folder for folder in folders if folder and (Path(folder) / "dataset.json").exists()]


def _crop_fraction(snapshot: Snapshot, dataset: Dataset | None, path: Path) -> float:
    """What evaluation cut from images, where no option says it."""
    if "eval_crop" in snapshot.resolved:
        (crop,) = parse([snapshot.resolved["eval_crop"]])
        assert isinstance(crop, Center)
        return crop.fraction
    if dataset is None:
        raise InputError(
            f"{path}: was written by an older version, which did not keep what evaluation crops, and its dataset is no "
            "longer where it was; give `crop_fraction` (1 where all images had one size, else 0.875)"
        )
    return 0.875 if dataset.image_size is None else 1.0
