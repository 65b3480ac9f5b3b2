"""--mode lrfind: the LR range test."""

import dataclasses
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from feedline.cli.build import choose_device, make_loader, make_model, print_loader, training_side, with_stem
from feedline.cli.fitting import fitted
from feedline.cli.flags import as_words
from feedline.cli.initial import start_from
from feedline.cli.machine import set_up_host, warn_if_busy
from feedline.cli.reports import REPORT
from feedline.cli.request import Request
from feedline.cli.runs import lr_range_key
from feedline.console import aloud
from feedline.output import counted
from feedline.pipeline.dataset import Dataset
from feedline.pipeline.errors import InputError, as_flags
from feedline.pipeline.files import write_json
from feedline.pipeline.part import choose_ids
from feedline.program import command_line
from feedline.report.lr_range import range_page
from feedline.training import plots
from feedline.training.bench import endless
from feedline.training.config import Config
from feedline.training.loss import weights_of_classes
from feedline.training.lr_curve import SCALE
from feedline.training.lr_range import LRRange, Sweep, lr_range_test
from feedline.training.memory import memory_errors
from feedline.training.meter import hardware, versions
from feedline.training.precision import Precision

END_LR = {"sgd": 10.0, "adam": 0.1, "adamw": 0.1, "muon": 2.0}  # higher than any network trains with
FEWEST_IMAGES = 32
MEANING = {
    "scaled": f"{SCALE:g} times the valley, the rule that trained best in docs/lr-range.md",
    "minimum": "lowest loss (the rule of the assignment)",
    "steepest": "fastest fall of the loss in the decade before that",
    "valley": "middle of its longest fall",
}


def run(request: Request) -> int:
    """Runs the LR range test; writes lr_range.json, lr_range.png and report.html."""
    ranks, (config, dataset) = request.ranks, request.opened()
    _check_images(config, dataset)
    config = fitted(request, config, dataset)
    device, out = choose_device(config.run.device, ranks), ranks.on_first(request.folder)
    set_up_host(config.run, device)
    loader = make_loader(config.replace(image_size=config.loader.last_size), dataset, "train", device, ranks)
    config = with_stem(config, request, training_side(config, loader.output(0)))
    print_loader(loader, config)
    end = request.end_lr or END_LR[config.optim.optimizer]
    sweep = Sweep.plan(len(loader), start=request.start_lr or end / 1e5, end=end)
    try:
        warn_if_busy(device, ranks)
        with memory_errors(config, ranks):
            model = make_model(config, dataset, request.network)
            start_from(config, model, dataset)
            weights = weights_of_classes(config.optim, loader)
            test = lr_range_test(
                config, model, endless(loader), device, sweep, ranks, weights, END_LR[config.optim.optimizer]
            )
    finally:
        loader.close()
    if not ranks.is_first:
        return 0
    result = {
        **lr_range_key(config, dataset),
        **vars(test),
        "reason": _in_words(test.reason, config.loader.batch_size),
        "passes": round(len(test.lr) / len(loader), 2),
        "command": request.command,
        "images": loader.images,
        "precision": Precision.choose(config.run, device).name,
        "hardware": hardware(device),
        "versions": versions(),
        "config": config.flat(),
    }
    title = f"LR range test: {dataset.name} {config.loader.split}, recipe {config.recipe}, {config.optim.optimizer}"
    with aloud():
        _print_suggestions(test, len(loader))
        _write(out, result, title)
        print(f"report: {out / REPORT}  curve: {out / 'lr_range.png'}")
        _print_advice(test, request, result["reason"])
    max_lr = None if test.recommended is None else test.suggestions[test.recommended]
    request.results.update(out=out, max_lr=max_lr, **result)
    return 0


def _check_images(config: Config, dataset: Dataset) -> None:
    """Raises InputError if there are too few images: a hundred steps learn a handful by heart, at any rate."""
    images = len(choose_ids(dataset, dataclasses.replace(config.loader, part="train")))
    if images < FEWEST_IMAGES:
        raise InputError(
            f"{dataset.root}: {counted(images, 'image')} to train on, too few for an LR range test, which takes "
            f"{FEWEST_IMAGES}; train with the recipe's rate, or name one with `max_lr`"
        )


def _meaning(suggestions: Mapping[str, float]) -> dict[str, str]:
    """What each suggestion is, in words."""
    if not suggestions or suggestions["scaled"] > 0.99 * SCALE * suggestions["valley"]:
        return MEANING
    limited = f"a third of the last rate before the loss blew up, which is less than {SCALE:g} times the valley"
    return {**MEANING, "scaled": limited}


def _write(out: Path, result: dict[str, Any], title: str) -> None:
    write_json(out / "lr_range.json", result)
    plots.lr_range(out / "lr_range.png", result, title)
    range_page(result, title, _meaning(result["suggestions"])).write(out / REPORT)


def _print_suggestions(test: LRRange, batches: int) -> None:
    passes = len(test.lr) / batches
    over = f", {passes:.1f} passes over the images" if passes > 1 else ""
    print(
        f"{counted(len(test.lr), 'step')}{over}, LR {test.lr[0]:.2e} to {test.lr[-1]:.2e}; ended because {test.stopped}"
    )
    for name, lr in test.suggestions.items():
        mark = "->" if name == test.recommended else "  "
        print(f"{mark} {name:<9} {lr:<10.3g} {_meaning(test.suggestions)[name]}")


def _print_advice(test: LRRange, request: Request, reason: str | None) -> None:
    """Prints the command that trains with the result."""
    if test.recommended is None:
        print(f"no learning rate is recommended: {reason}")
        whose = "this" if "max_lr" in request.flags else "the recipe's"
        print(f"train with {whose} rate:\n  {_train_command(request)}")
    else:
        print("train with it:\n  " + _train_command(request, max_lr=f"{test.suggestions[test.recommended]:.3g}"))


def _in_words(reason: str | None, batch_size: int) -> str | None:
    """Why there is no recommendation, with flags as on the command line, and a larger batch as a number."""
    if reason is None:
        return None
    return as_flags(InputError(reason.replace("a larger `batch_size`", f"a larger `batch_size`, as {2 * batch_size}")))


def _train_command(request: Request, **more: Any) -> str:
    """The command that trains with the flags of this command, and more."""
    words = ["--mode", "train", *(["--recipe", request.recipe] if request.recipe else [])]
    return f"{command_line('train')} {shlex.join([*words, *as_words({**request.flags, **more})])}"
