"""Did two runs see the same images, with the same windows and augmentations, at every step? If not, where and why?"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from feedline.cli.compare_settings import differences, settings
from feedline.output import counted, spelled
from feedline.pipeline.errors import InputError
from feedline.training.recorded import RecordedRun

# The settings that decide what a step is fed.
STREAM = ("dataset", "split", "classes", "fraction", "batch_size", "seed", "image_size", "augment", "shuffle")
BLOCKS = ("shuffle_block", "shuffle_group")  # with shuffle=blocks
MIXING = ("mixup", "cutmix", "mix_prob", "mix_until", "epochs")  # if anything is mixed
# Those that decide its pixels, to the bit, as well.
PIXELS = ("store", "engine", "decode", "mean", "std", "device", "precision", "kernels", "torch", "dali")


@dataclass(frozen=True)
class Verdict:
    """What two runs saw.

    Attributes:
        same: all that both certified.
        lines: what is the same, or what differs first and why.
    """

    same: bool
    lines: tuple[str, ...]


def compare_streams(a: RecordedRun, b: RecordedRun) -> Verdict:
    """Compares what two runs saw, and their pixels, if both certified them.

    Raises:
        InputError: if that cannot be said.
    """
    for run in (a, b):
        if not run.stream:
            raise InputError(f"{run.name}: its log holds no certificate of the stream: an older version wrote it")
    versions = [run.about.get("certificate") for run in (a, b)]
    if None not in versions and versions[0] != versions[1]:
        raise InputError(f"{a.name} and {b.name}: their certificates are of versions {versions[0]} and {versions[1]}")
    sizes = [run.config.get("batch_size") for run in (a, b)]
    if None not in sizes and sizes[0] != sizes[1]:
        where = f"of {sizes[0]} and {sizes[1]} images; steps can only be compared at one batch size"
        return Verdict(False, (f"different batches: {where}",))
    shared = a.stream.keys() & b.stream.keys()
    if not shared:
        raise InputError(f"{a.name} and {b.name}: there is no step that both logged with a certificate")
    if step := _first_difference(shared, a.stream, b.stream):
        why = _why(a, b, _deciding(a, b), "the stream")
        return Verdict(False, (f"different stream: {_where(a, shared, step)}", why))
    steps = "the one step" if len(shared) == 1 else f"all {len(shared):,} steps"
    same = f"same stream: images, order, windows and augmentations agree in {steps} that both logged"
    pixels = _compare_pixels(a, b)
    return Verdict(pixels.same, (same, *pixels.lines))


def unlogged(run: RecordedRun) -> str:
    """What to say of steps up to the last one that a log has no certificate of; empty if it has all."""
    missing = run.steps - len(run.stream)
    first = next((wanted for wanted, step in enumerate(sorted(run.stream), 1) if step != wanted), len(run.stream) + 1)
    which = f"step {first:,}" if missing == 1 else f"{missing:,} steps, the first of them step {first:,}"
    return f"{run.name}: its log has no certificate of {which}" if missing > 0 else ""


def _compare_pixels(a: RecordedRun, b: RecordedRun) -> Verdict:
    shared = a.pixels.keys() & b.pixels.keys()
    if not shared:
        return Verdict(True, ())
    if step := _first_difference(shared, a.pixels, b.pixels):
        why = _why(a, b, PIXELS, "pixels, to the bit,")
        return Verdict(False, (f"different pixels or labels: {_where(a, shared, step)}", why))
    return Verdict(
        True,
        (f"same pixels and labels, to the bit, in all {counted(len(shared), 'step')} for which both certified them",),
    )


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
    rows = {name: (left, right) for name, left, right in differences([settings(a), settings(b)])}
    reasons = [f"{spelled(name)} {rows[name][0]} and {rows[name][1]}" for name in keys if name in rows]
    if reasons:
        return f"why: {'; '.join(reasons)}"
    return f"no setting that decides {what} differs"


def _deciding(a: RecordedRun, b: RecordedRun) -> list[str]:
    """The settings that decide the stream of these runs."""
    configs = (a.config, b.config)
    blocks = all(config.get("shuffle") == "blocks" for config in configs)
    mixed = any(config.get("mixup") or config.get("cutmix") for config in configs)
    return [*STREAM, *(BLOCKS if blocks else ()), *(MIXING if mixed else ())]
