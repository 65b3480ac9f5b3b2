"""feedline compare: did two runs see the same images, with the same windows and augmentations, at every step?"""

import argparse
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from feedline.pipeline.errors import FeedlineError, InputError, as_flags
from feedline.program import command_line, short_name
from feedline.training.recorded import RecordedRun, read_run

# The settings that decide what a step is fed.
STREAM = ("dataset", "split", "classes", "fraction", "batch_size", "seed", "image_size", "augment", "shuffle")
BLOCKS = ("shuffle_block", "shuffle_group")  # with shuffle=blocks
MIXING = ("mixup", "cutmix", "mix_prob", "mix_until", "epochs")  # if anything is mixed
# Those that decide its pixels, to the bit, as well.
PIXELS = ("store", "engine", "decode", "mean", "std", "device", "precision", "kernels", "torch", "dali")

Row = tuple[str, str, str]


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog=command_line("compare"),
        description="Compares two training runs: says whether they saw the same images in the same order, with the "
        "same windows and augmentations, or the first step at which they did not; then the settings in which they "
        "differ, and their results. Runs may be unfinished, and differ in ranks, store, engine and machine.",
        epilog="exit status: 0 if all that both logged is the same, 1 if something differs, 2 if a run cannot be read",
    )
    p.add_argument("runs", nargs=2, metavar="RUN", help="a run folder, or its log.jsonl")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command.

    Returns:
        The exit status: 0 if what both logged is the same, 1 if it differs, 2 after an error that was printed in one
        line.
    """
    args = parser().parse_args(argv)
    try:
        a, b = (read_run(name) for name in args.runs)
        same = _report_stream(a, b)
    except FeedlineError as error:
        print(f"{short_name('compare')}: {as_flags(error)}", file=sys.stderr)
        return 2
    _report_settings(a, b)
    _report_results(a, b)
    return 0 if same else 1


def _report_stream(a: RecordedRun, b: RecordedRun) -> bool:
    """Prints whether both saw the same; returns whether they did.

    Raises:
        InputError: if that cannot be said.
    """
    versions = [run.about.get("certificate") for run in (a, b)]
    if None not in versions and versions[0] != versions[1]:
        raise InputError(f"{a.name} and {b.name}: their certificates are of versions {versions[0]} and {versions[1]}")
    sizes = [run.config.get("batch_size") for run in (a, b)]
    if None not in sizes and sizes[0] != sizes[1]:
        print(f"different batches: of {sizes[0]} and {sizes[1]} images; steps can only be compared at one batch size")
        return False
    shared = a.stream.keys() & b.stream.keys()
    if not shared:
        raise InputError(f"{a.name} and {b.name}: there is no step that both logged with a certificate")
    if step := _first_difference(shared, a.stream, b.stream):
        print(f"different stream: {_where(a, shared, step)}\n{_why(a, b, _deciding(a, b), 'the stream')}")
        return False
    print(f"same stream: images, order, windows and augmentations agree in all {_steps(shared)} that both logged")
    return _report_pixels(a, b)


def _report_pixels(a: RecordedRun, b: RecordedRun) -> bool:
    """The same for pixels, if both certified them."""
    shared = a.pixels.keys() & b.pixels.keys()
    if not shared:
        return True
    if step := _first_difference(shared, a.pixels, b.pixels):
        print(f"different pixels or labels: {_where(a, shared, step)}\n{_why(a, b, PIXELS, 'pixels, to the bit,')}")
        return False
    print(f"same pixels and labels, to the bit, in all {_steps(shared)} for which both certified them")
    return True


def _first_difference(shared: Iterable[int], a: Mapping[int, str], b: Mapping[int, str]) -> int | None:
    return min((step for step in shared if a[step] != b[step]), default=None)


def _where(run: RecordedRun, shared: Iterable[int], step: int) -> str:
    """Names the first step that differs."""
    epoch, batch = run.position(step)
    before = sum(earlier < step for earlier in shared)
    agree = f"; the {before:,} before it agree" if before else ""
    return f"step {step:,} (epoch {epoch}, batch {batch} of {run.batches}) is the first that differs{agree}"


def _why(a: RecordedRun, b: RecordedRun, keys: Iterable[str], what: str) -> str:
    """What can be said about the reason."""
    if unknown := [run.name for run in (a, b) if not run.about]:
        return f"the settings of {' and '.join(unknown)} are not known: there is no run.json beside the log"
    rows = {name: (left, right) for name, left, right in _differences(_settings(a), _settings(b))}
    reasons = [f"{_spelled(name)} {rows[name][0]} and {rows[name][1]}" for name in keys if name in rows]
    if reasons:
        return f"why: {'; '.join(reasons)}"
    return f"no setting that decides {what} differs"


def _deciding(a: RecordedRun, b: RecordedRun) -> list[str]:
    """The settings that decide the stream of these runs."""
    configs = (a.config, b.config)
    blocks = all(config.get("shuffle") == "blocks" for config in configs)
    mixed = any(config.get("mixup") or config.get("cutmix") for config in configs)
    return [*STREAM, *(BLOCKS if blocks else ()), *(MIXING if mixed else ())]


def _report_settings(a: RecordedRun, b: RecordedRun) -> None:
    """Prints the settings that differ."""
    if not a.about or not b.about:
        return
    rows = [(_spelled(name), left, right) for name, left, right in _differences(_settings(a), _settings(b))]
    if rows:
        _print_table(("settings", a.name, b.name), rows)
    else:
        print("no setting differs")


def _settings(run: RecordedRun) -> dict[str, Any]:
    """The configuration of a run, with what it used where that says auto, and its surroundings."""
    about, hardware = run.about, run.about.get("hardware", {})
    dataset = about.get("dataset", {})
    used = {name: about.get(name) for name in ("recipe", "ranks", "store", "engine", "precision")}
    return {
        "dataset": f"{dataset.get('name')} {str(dataset.get('fingerprint'))[:12]}",
        **run.config,
        **used,
        "device": hardware.get("device"),
        "machine": hardware.get("gpu", hardware.get("cpu")),
        **about.get("versions", {}),
    }


def _differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[Row]:
    names = [name for name in {**a, **b} if a.get(name) != b.get(name)]
    return [(name, _text(a.get(name)), _text(b.get(name))) for name in names]


def _report_results(a: RecordedRun, b: RecordedRun) -> None:
    """Prints the results side by side, or which run is not finished."""
    if a.results and b.results:
        left, right = _figures(a.results), _figures(b.results)
        _print_table(("results", a.name, b.name), [(name, left[name], right[name]) for name in left])
        return
    for run in (a, b):
        if run.about and not run.results:
            print(f"{run.name} is not finished: step {run.steps:,} of {run.about.get('steps', 0):,} is logged")


def _figures(results: Mapping[str, Any]) -> dict[str, str]:
    best, last = results["best"], results["last"]
    return {
        "best val top-1": f"{best['val_top1']:.2f} %, epoch {best['epoch']}",
        "last val top-1": f"{last['val_top1']:.2f} %, epoch {last['epoch']}",
        "images/s": f"{results['images_per_s']:,.0f}",
    }


def _print_table(head: Row, rows: Iterable[Row]) -> None:
    table = [head, *rows]
    first, second = (max(len(row[column]) for row in table) for column in (0, 1))
    print()
    for name, left, right in table:
        print(f"{name:<{first}}  {left:<{second}}  {right}")


def _steps(steps: Iterable[int]) -> str:
    count = len(list(steps))
    return f"{count:,} step{'s' if count > 1 else ''}"


def _spelled(name: str) -> str:
    """A key as recipes spell it."""
    return name.replace("_", "-")


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(map(str, value)) or "none"
    return "none" if value is None else str(value)
