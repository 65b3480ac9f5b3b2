"""--mode eval: a checkpoint on a split."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from feedline.cli.build import choose_device, make_loader, make_model, print_loader, shown, with_stem
from feedline.cli.eval_report import report
from feedline.cli.flags import given_values
from feedline.cli.locate import find_checkpoint, run_data
from feedline.cli.machine import set_up_host
from feedline.cli.overlap import trained_on, warn_of_overlap
from feedline.cli.request import Request
from feedline.cli.usage import check_effect
from feedline.console import aloud
from feedline.output import counted
from feedline.pipeline.dataset import Dataset
from feedline.pipeline.errors import InputError
from feedline.pipeline.loader import Loader
from feedline.pipeline.part import choose_split
from feedline.training.config import Config
from feedline.training.evaluate import evaluate
from feedline.training.memory import memory_errors
from feedline.training.norms import with_new_statistics
from feedline.training.precision import Precision
from feedline.training.ranks import Ranks
from feedline.training.resolved import as_older_versions
from feedline.training.snapshot import Snapshot
from feedline.use.loading import load_weights


def run(request: Request) -> int:
    """Evaluates a checkpoint; writes eval.json and per_class.csv."""
    ranks = request.ranks
    out, (path, snapshot) = ranks.on_first(lambda: (request.folder(), find_checkpoint(request)))
    config = _config(snapshot, request, path)
    dataset = Dataset(config.run.data)
    asked, count = config.loader.classes, len(snapshot.classes)
    if asked not in (None, count):
        raise InputError(f"`classes={asked}`: {path} has {counted(count, 'class')}; leave `classes` out")
    other = _is_another(dataset, snapshot, path)
    config = config.replace(split=choose_split(dataset, config.loader.split))
    config = with_stem(config, request, None)
    device = choose_device(config.run.device, ranks)
    set_up_host(config.run, device)
    model = make_model(config, dataset, request.network)
    load_weights(model, snapshot if config.run.norm_images else dataclasses.replace(snapshot, norms=None), path)
    memory = torch.channels_last if config.run.channels_last else torch.contiguous_format
    with memory_errors(config, ranks, trains=False):
        model = model.to(device, memory_format=memory)  # type: ignore[call-overload]
        loader = make_loader(config, dataset, request.part, device, ranks)
        if not snapshot.resolved:
            config = as_older_versions(config, loader.image_size, resume=False)
            loader = make_loader(config, dataset, request.part, device, ranks)
        print_loader(loader, config, _trained(snapshot))
        known = None if other else trained_on(loader, snapshot)
        if known:
            warn_of_overlap(known, loader, snapshot)
        if snapshot.resolved and (note := _other_images(snapshot, loader)):
            print(note, flush=True)
        resized = loader.output(0) != tuple(snapshot.image_size)
        if resized:
            print(f"evaluated at {shown(loader.output(0))}, in training at {shown(snapshot.image_size)}", flush=True)
        precision = Precision.choose(config.run, device)
        changed = resized or config.run.norm_images != snapshot.config.run.norm_images or snapshot.norms is None
        if config.run.norm_images and changed:
            model = _with_new_statistics(model, config, dataset, snapshot, precision, ranks)
        evaluation = evaluate(model, loader, precision, views=config.run.views, ranks=ranks)
    if ranks.is_first:
        with aloud():
            content = report(out, config, loader, path, evaluation, known)
        request.results.update(out=out, **content)
    return 0


def _config(snapshot: Snapshot, request: Request, path: Path) -> Config:
    """The settings of the run; the flags of this command override them, another `image_size` the run's `eval_size`."""
    given = given_values(request.flags)
    config = snapshot.config.replace(**{"data": request.flags.get("data") or run_data(snapshot, path), **given})
    check_effect(config, request.flags)
    if config.loader.image_size != snapshot.config.loader.image_size and "eval_size" not in given:
        return config.replace(eval_size=None)
    return config


def _is_another(dataset: Dataset, snapshot: Snapshot, path: Path) -> bool:
    """Whether this is another dataset than the run's, with the same classes, which is said; others are refused."""
    if dataset.fingerprint == snapshot.fingerprint:
        return False
    if [c.folder for c in dataset.classes[: snapshot.config.loader.classes]] != snapshot.classes:
        snapshot.check_dataset(dataset, path)
    print(
        f"{dataset.root} is not the dataset of the run ({snapshot.dataset.get('name', 'unknown')}), but has the same "
        f"{counted(len(snapshot.classes), 'class')}; whether it has images that the run trained on is not known",
        flush=True,
    )
    return True


def _trained(snapshot: Snapshot) -> Sequence[int] | None:
    """(height, width) of the last inputs of a run, in pixels; None if its checkpoint does not say."""
    options = snapshot.config.loader
    if options.last_size is not None:
        return options.last_size, options.last_size
    return snapshot.image_size if options.eval_size is None else None


def _other_images(snapshot: Snapshot, loader: Loader) -> str | None:
    """What to say where stored images, or what is cut from them, are others than in the run; None if they are not."""
    before, now = snapshot.resolved, loader.geometry
    names = [name for name in ("images", "eval_crop") if name in before and before[name] != now[name]]
    if not names:
        return None
    here, there = (f"{v['eval_crop']} of images of {_size(v['images'])}" for v in (now, {**now, **before}))
    return f"evaluated on {here}, in training on {there} (store {before.get('store')})"


def _size(size: Sequence[int] | None) -> str:
    return "several sizes" if size is None else shown(size)


def _with_new_statistics(
    model: nn.Module, config: Config, dataset: Dataset, snapshot: Snapshot, precision: Precision, ranks: Ranks
) -> nn.Module:
    """The norms of a checkpoint hold for the size and the number of images of its run."""
    train = make_loader(config, dataset, "train", next(model.parameters()).device, ranks)
    epoch, images = max(snapshot.position.epoch - 1, 0), min(config.run.norm_images, len(train) * train.batch_size)
    print(f"norm statistics of {counted(images, 'train image', 'train images')}", flush=True)
    try:
        return with_new_statistics(model, train, images, epoch, precision, ranks=ranks)
    finally:
        train.close()
