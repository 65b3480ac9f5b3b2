"""Runs on the disk: their checkpoints and the results of LR range tests."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from feedline.output import listed, setting
from feedline.pipeline.dataset import Dataset
from feedline.pipeline.errors import InputError, alike
from feedline.training import checkpoint
from feedline.training.config import Config
from feedline.training.snapshot import Snapshot

RUNS = Path("runs")  # the folder of those that no flag names
SHOWN = 3  # checkpoints that a message names
SHOWN_RUNS = 5


def latest_checkpoint(runs: Sequence[Path], name: str) -> Path:
    """The newest checkpoint of that name. Raises InputError if there is none.

    Args:
        runs: the folders that hold the runs.
        name: `last.pt` or `best.pt`.
    """
    path = next(_newest_first(runs, name), None)
    if path is None:
        raise no_such_run(runs, name)
    return path


def newest_of(
    runs: Sequence[Path], name: str, fingerprint: str | None
) -> tuple[tuple[Path, Snapshot] | None, list[str]]:
    """The newest checkpoint that can be read, and newer ones that were skipped, each with the reason.

    Args:
        runs: the folders that hold the runs.
        name: `last.pt` or `best.pt`.
        fingerprint: of the dataset that it must be of; None for any.
    """
    skipped = []
    for path in _newest_first(runs, name):
        try:
            snapshot = checkpoint.load(path)
        except InputError:
            skipped.append(f"{path}: it cannot be read")
            continue
        if fingerprint in (None, snapshot.fingerprint):
            return (path, snapshot), skipped
        skipped.append(f"{path}: it is of another dataset{_called(snapshot)}")
    return None, skipped


def _called(snapshot: Snapshot) -> str:
    return f", {snapshot.dataset['name']}" if "name" in snapshot.dataset else ""


def no_such_run(runs: Sequence[Path], name: str, skipped: Sequence[str] = ()) -> InputError:
    """The error that there is no checkpoint, with what there is instead."""
    there = f" for this dataset ({listed(skipped, SHOWN, '; ')})" if skipped else ""
    return InputError(f"no run with a {name} in {_listed(runs)}{there}; train one with --mode train, or name it")


def named_checkpoint(flag: str, named: Path, name: str) -> Path:
    """The checkpoint that a flag names: a file, or one in the folder of a run.

    Args:
        flag: its key, for the message.
        named: the file or folder.
        name: `last.pt` or `best.pt`.

    Raises:
        InputError: if there is none; the message lists what there is.
    """
    path = named if named.suffix == ".pt" and not named.is_dir() else named / name
    path = named if named.is_file() else path
    if path.exists():
        return path
    if name == checkpoint.LAST and (before := named / checkpoint.PREVIOUS).exists():
        raise InputError(
            f"`{flag}={named}`: {name} is not there; the one before it is: resume it with `resume={before}`"
        )
    if name == checkpoint.LAST and (named / "summary.json").exists() and not any(named.glob("*.pt")):
        raise InputError(f"`{flag}={named}`: a complete run without its checkpoints: there is nothing to go on from")
    if name == checkpoint.LAST and (named / "run.json").exists() and not any(named.glob("*.pt")):
        raise InputError(f"`{flag}={named}`: nothing was saved there yet; begin it again, with `out={named}`")
    files = sorted(named.parent.glob("*.pt")) if named.suffix == ".pt" else []
    near = files or sorted({found.parent for folder in (named.parent, RUNS) for found in folder.glob(f"*/{name}")})
    what = f"a folder without {name}" if named.is_dir() else f"no such {'checkpoint' if path == named else 'run'}"
    there = f"there {'is' if len(near) == 1 else 'are'} {', '.join(alike(named.name, near)[:SHOWN_RUNS])}"
    raise InputError(f"`{flag}={named}`: {what}; {there if near else f'runs save theirs as runs/<run>/{name}'}")


def _newest_first(runs: Sequence[Path], name: str) -> Iterator[Path]:
    found = (path for folder in runs for path in folder.glob(f"*/{name}"))
    yield from sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)


def _listed(runs: Sequence[Path]) -> str:
    return " or ".join(map(str, runs))


# The settings that the best learning rate depends on.
OF_RATE = (
    *("optimizer", "momentum", "weight_decay", "label_smoothing", "clip_grad", "class_weights", "accumulate", "init"),
    *("split", "classes", "fraction", "batch_size", "image_size", "augment", "mixup", "cutmix", "mix_prob"),
    *("stem", "drop_path", "zero_init", "dirac_init", "norm_eps", "head_bias"),
)

HIGHEST_RATE = 1e6  # in a file of a test; more is damage
OF_MUON = ("muon_sgd_ratio", "muon_momentum", "muon_steps", "muon_renorm")


def lr_range_key(config: Config, dataset: Dataset) -> dict[str, Any]:
    """What the result of an LR range test holds for."""
    values = config.flat()
    names = OF_RATE + (OF_MUON if config.optim.optimizer == "muon" else ())
    return {"dataset": dataset.fingerprint, "recipe": config.recipe} | {
        name: list(value) if isinstance(value := values[name], tuple) else value for name in names
    }


def tested_max_lr(config: Config, dataset: Dataset, runs: Sequence[Path]) -> tuple[float, Path]:
    """The recommendation of the last LR range test, and its file.

    Args:
        config: to train with, with its stem.
        dataset: to train on.
        runs: the folders that hold the tests.

    Raises:
        InputError: if there was no test with this dataset, recipe and batch size, or the last one recommends no rate.
    """
    key, near = lr_range_key(config, dataset), ""
    for path in _newest_first(runs, "lr_range.json"):
        if (found := _read_test(path)) is None:
            print(f"skipped {path}: it cannot be read")
            continue
        result, lr, why = found
        if any(result.get(name) != value for name, value in key.items()):
            near = near or _what_differs(path, result, key)
            continue
        if lr is None:
            raise InputError(
                f"`max_lr=auto`: the LR range test in {path.parent} recommends no rate ({why}); leave `max_lr` to the "
                "recipe, give a number, or test again with other flags"
            )
        print(f"max LR {lr:.3g}, {why} of {path}")
        return lr, path
    raise InputError(
        f"`max_lr=auto`: no LR range test for this dataset, recipe {config.recipe}, {config.optim.optimizer} and "
        f"batches of {config.loader.batch_size} in {_listed(runs)}{near}; run --mode lrfind with the same flags first"
    )


def _what_differs(path: Path, result: Mapping[str, Any], key: Mapping[str, Any]) -> str:
    """What sets a test of the same dataset apart, for a message; empty if it is none."""
    if result.get("dataset") != key["dataset"]:
        return ""
    pairs = [(name, result.get(name), value) for name, value in key.items() if result.get(name) != value]
    told = ", ".join(f"`{name}={setting(was)}`, not `{name}={setting(now)}`" for name, was, now in pairs)
    return f" (the test in {path.parent} has {told})" if told else ""


def _read_test(path: Path) -> tuple[dict[str, Any], float | None, str] | None:
    """What a test was done with, the rate that it recommends, and the rule's name; or None and why there is no rate.

    Returns None for a file that cannot be read, or is another program's.
    """
    try:
        result = dict(json.loads(path.read_text(encoding="utf-8")))
        result = {**result.get("config", {}), **result}  # what later versions compare
        rule = result["recommended"]
        if rule is None:
            return result, None, str(result["reason"])
        lr = float(result["suggestions"][rule])
        return (result, lr, str(rule)) if 0 < lr <= HIGHEST_RATE else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
