"""--mode lrfind: the LR range test; and where --max-lr auto finds its result."""

import json
import shlex
from pathlib import Path
from typing import Any

from feedline.pipeline.dataset import Dataset
from feedline.pipeline.errors import InputError
from feedline.training import plots
from feedline.training.config import Config
from feedline.training.lr_range import LRRange, Sweep, lr_range_test
from feedline.training.meter import hardware, versions
from feedline.training.modes.common import Request, choose_device, make_loader, make_model, memory_errors, say_feed
from feedline.training.precision import Precision
from feedline.training.report import write_json

ENDS = {"sgd": 10.0, "adam": 0.1, "adamw": 0.1}  # beyond what any network trains with


def run(request: Request) -> int:
    """Runs the LR range test; writes lr_range.json and lr_range.png."""
    ranks, config = request.ranks, request.config()
    device, dataset = choose_device(config.run.device, ranks), Dataset(config.data.data)
    loader = make_loader(config, dataset, "train", device, ranks)
    say_feed(loader, config)
    end = request.end_lr or ENDS[config.optim.optimizer]
    sweep = Sweep.plan(len(loader), start=request.start_lr or end / 1e5, end=end)
    try:
        with memory_errors(config, ranks):
            found = lr_range_test(config, make_model(config, dataset), loader, device, sweep, ranks)
    finally:
        loader.close()
    if not ranks.first:
        return 0
    out = request.folder()
    result = {
        **_lr_identity(config, dataset),
        **vars(found),
        "command": request.command,
        "images": loader.images,
        "precision": Precision.choose(config.run, device).name,
        "hardware": hardware(device),
        "versions": versions(),
        "config": config.flat(),
    }
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / "lr_range.json", result)
    title = f"LR range test: {dataset.name} {config.data.split}, recipe {config.recipe}, {config.optim.optimizer}"
    plots.lr_range(out / "lr_range.png", result, title)
    _say_lr_range(found, out)
    print("train with it:\n  " + _train_command(request, found.suggestions[found.recommended]))
    return 0


def _lr_identity(config: Config, dataset: Dataset) -> dict[str, Any]:
    """What a learning rate was found for."""
    return {
        "dataset": dataset.fingerprint,
        "recipe": config.recipe,
        "optimizer": config.optim.optimizer,
        "batch_size": config.data.batch_size,
        "classes": config.data.classes,
        "image_size": config.data.image_size,
    }


def _say_lr_range(found: LRRange, out: Path) -> None:
    print(f"{len(found.lr)} steps, LR {found.lr[0]:.2e} to {found.lr[-1]:.2e}; ended because {found.stopped}")
    meaning = {
        "minimum": "least loss (the rule of the assignment); often too high for a long run",
        "steepest": "fastest fall of the loss in the decade before that",
        "valley": "middle of its longest fall; the careful choice",
    }
    for name, lr in found.suggestions.items():
        mark = "->" if name == found.recommended else "  "
        print(f"{mark} {name:<9} {lr:<10.3g} {meaning[name]}")
    print(f"curve: {out / 'lr_range.png'}")


def _train_command(request: Request, lr: float) -> str:
    words = ["python", "train.py", "--mode", "train"]
    if request.recipe:
        words += ["--recipe", request.recipe]
    for name, value in {**request.flags, "max_lr": f"{lr:.3g}"}.items():
        flag = "--" + name.replace("_", "-")
        if isinstance(value, bool):
            words.append(flag if value else "--no-" + flag[2:])
        else:
            words += [flag, str(value)]
    return shlex.join(words)


def resolve_max_lr(config: Config, dataset: Dataset, runs: Path) -> Config:
    """Puts the last LR range test's recommendation for `--max-lr auto`.

    Raises:
        InputError: if there was none for this dataset and recipe.
    """
    if config.optim.max_lr != "auto":
        return config
    wanted = _lr_identity(config, dataset)
    for path in sorted(runs.glob("*/lr_range.json"), key=lambda p: p.stat().st_mtime, reverse=True):
        try:
            result = json.loads(path.read_text(encoding="utf-8"))
            if all(result.get(key) == value for key, value in wanted.items()):
                lr = float(result["suggestions"][result["recommended"]])
                print(f"max LR {lr:.3g}, {result['recommended']} of {path}")
                return config.replace(max_lr=lr)
        except (ValueError, KeyError, TypeError, AttributeError):
            continue  # not ours, or cut off; the next one may do
    raise InputError(
        f"--max-lr auto: no LR range test for this dataset, recipe {config.recipe}, {config.optim.optimizer} and "
        f"batches of {config.data.batch_size} in {runs}; run --mode lrfind with the same flags first"
    )
