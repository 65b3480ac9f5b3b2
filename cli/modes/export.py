"""--mode export: a network for other programs, tried on real images."""

import dataclasses
import math
import time
from pathlib import Path

import numpy as np
import torch

import feedline
from feedline.cli.locate import find_checkpoint
from feedline.cli.machine import set_up_host
from feedline.cli.recipes import configure
from feedline.cli.request import Request
from feedline.cli.runs import RUNS
from feedline.cli.using import as_evaluated, used
from feedline.console import aloud
from feedline.output import one_line, setting, spelled
from feedline.pipeline.dataset import Dataset
from feedline.pipeline.errors import InputError
from feedline.pipeline.part import choose_ids, choose_split
from feedline.training.class_figures import per_class
from feedline.training.config import Config
from feedline.training.predictions import Predictions
from feedline.training.saver import PREDICTIONS
from feedline.training.snapshot import Snapshot
from feedline.use import timm_form
from feedline.use.card import Card
from feedline.use.exporting import check_folder, export
from feedline.use.forms import FORMS, chosen_forms
from feedline.use.inputs import image_files
from feedline.use.loading import Loaded, dataset_of
from feedline.use.names import class_name
from feedline.use.probes import COUNT, Probes

PerClass = list[tuple[str, int, float | None]]


def run(request: Request) -> int:
    """Writes the forms, the probes and README.md, if each form answers as the network does."""
    forms = chosen_forms(request.to or ",".join(FORMS))
    path, snapshot = find_checkpoint(request)
    config, loaded = used(request, path, snapshot)
    if request.to is None and not timm_form.suits(loaded):
        forms.remove("timm")
        print("not exported for timm, which has ResNet18 and not this network", flush=True)
    if "timm" in forms:
        timm_form.check_suits(loaded)
    set_up_host(config.run, torch.device("cpu"))
    if not as_evaluated(config, loaded, snapshot):
        snapshot = dataclasses.replace(snapshot, val_top1=None)
    out = Path(request.out) if request.out else RUNS / f"export-{time.strftime('%Y%m%d-%H%M%S')}"
    check_folder(out)
    probes = _probes(request, path, snapshot, config, loaded)
    about = {
        "feedline": feedline.__version__,
        "dataset": snapshot.dataset.get("name", ""),
        "fingerprint": snapshot.fingerprint,
        "epoch": snapshot.position.epoch,
        "val_top1": snapshot.val_top1,
        "val_views": snapshot.config.run.views,
    }
    card = Card(
        title=f"{snapshot.dataset.get('name', 'a dataset')}: {type(loaded.net).__name__}",
        loaded=loaded,
        snapshot=snapshot,
        forms=forms,
        probes=probes,
        version=feedline.__version__,
        recipe=_changed(snapshot),
        per_class=_per_class(path, loaded, snapshot),
    )
    export(out, loaded, forms, probes, about, card.write, say=lambda line: print(one_line(line), flush=True))
    with aloud():
        print(f"{path}: exported to {out}, with README.md")
    request.results.update(checkpoint=path, out=out, forms=list(forms))
    return 0


def _probes(request: Request, path: Path, snapshot: Snapshot, config: Config, loaded: Loaded) -> Probes:
    """Images from the folder that was named, or val images of the run's dataset, from all over the part."""
    if request.probes is not None:
        names = list(image_files([request.probes]))
        if not names:
            raise InputError(f"`probes={request.probes}`: names no image; name a folder of images, or a file")
        chosen = [Path(names[i]) for i in _spread(len(names))]
        return Probes.take(loaded, chosen, [p.name for p in chosen])
    dataset = Dataset(str(request.flags["data"])) if "data" in request.flags else dataset_of(snapshot)
    if dataset is None:
        raise InputError(
            f"{path}: its dataset is no longer where it was; name it with `data`, or a folder of images with `probes`"
        )
    options = dataclasses.replace(config.loader, part="val", split=choose_split(dataset, config.loader.split))
    ids = choose_ids(dataset, options)
    ids = ids[_spread(len(ids))]
    return Probes.take(loaded, [dataset.root / dataset.path(i) for i in ids.tolist()], [dataset.path(i) for i in ids])


def _spread(count: int) -> list[int]:
    """Positions of the probes among so many images."""
    positions: list[int] = np.unique(np.linspace(0, count - 1, COUNT).astype(int)).tolist()
    return positions


def _changed(snapshot: Snapshot) -> dict[str, str]:
    """What differs from the default recipe, without paths and what only this machine has."""
    default, flat = configure("default", {}).flat(), snapshot.config.flat()
    machine = ("data", "device", "threads", "torch_threads", "init", "tensorboard", "logger")
    return {
        spelled(name): setting(value)
        for name, value in flat.items()
        if name not in machine and value != default.get(name)
    }


def _per_class(path: Path, loaded: Loaded, snapshot: Snapshot) -> PerClass:
    """What the run's own evaluation says, if that of the checkpoint lies beside it."""
    file = path.parent / PREDICTIONS
    if snapshot.val_top1 is None or not file.exists():
        return []
    predictions = Predictions.load(file)
    if not math.isclose(100 * predictions.correct.mean(), snapshot.val_top1, abs_tol=1e-3):  # of another epoch
        return []
    counts = predictions.confusion(len(loaded.classes))
    return list(zip(map(class_name, loaded.classes), counts.sum(axis=1).tolist(), per_class(counts), strict=True))
