"""What a run left in its folder, read without torch: its log with the certificates, its settings and results."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from feedline.pipeline.errors import InputError, first_line
from feedline.training.best import Measure, measure, of, value

MOST = 10**15  # steps, epochs, and steps in an epoch: more are damage
WORD = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True)
class RecordedRun:
    """A run, finished or not.

    Attributes:
        name: as it was given.
        stream, pixels: certificates by step, counted from 1; steps of older versions have none.
        log: the steps that it logged, in order, each with `step` and `epoch`.
        epochs: the epochs that it finished, in order, with the numbers that metrics.csv has.
        batches: steps in an epoch.
        steps: the last step in the log.
        about: what run.json says, or summary.json of older versions; empty if there is neither.
        results: `best` and `last` (epoch and val top-1 in percent) and `images_per_s`, as summary.json has them; None
            if the run is not finished.
    """

    name: str
    stream: Mapping[int, str]
    pixels: Mapping[int, str]
    log: Sequence[Mapping[str, Any]]
    epochs: Sequence[Mapping[str, Any]]
    batches: int
    steps: int
    about: Mapping[str, Any]
    results: Mapping[str, Any] | None

    @property
    def config(self) -> Mapping[str, Any]:
        """The keys of its configuration; empty if they are not known."""
        config: Mapping[str, Any] = self.about.get("config", {})
        return config

    @property
    def best_by(self) -> Measure:
        """By what its best epoch was chosen."""
        return of(self.best, measure(self.config.get("class_weights", "")))

    @property
    def best(self) -> Mapping[str, Any]:
        """The best of its epochs; empty if none was evaluated."""
        by = measure(self.config.get("class_weights", ""))
        return max((row for row in self.epochs if "val_top1" in row), key=lambda row: value(row, by), default={})

    def position(self, step: int) -> tuple[int, int]:
        """The epoch of a step, and its batch there; both counted from 1."""
        epoch, batch = divmod(step - 1, self.batches)
        return epoch + 1, batch + 1


def read_run(name: str) -> RecordedRun:
    """Reads a run.

    Args:
        name: a run folder, or a log.jsonl.

    Raises:
        InputError: if there is no such run, or a file of it is damaged.
    """
    path = Path(name)
    log = path / "log.jsonl" if path.is_dir() else path
    if not log.exists():
        what = "holds no log.jsonl" if path.is_dir() else "no such run"
        raise InputError(f"{name}: {what}; name the folder of a training run, or its log.jsonl")
    records = list(_records(log))
    if not records:
        raise InputError(f"{name}: no step is logged yet")
    certificates = {kind: _certificates(log, records, kind) for kind in ("stream", "pixels")}
    about, results = _about(log, records[-1][1]) if log.name == "log.jsonl" else ({}, {})
    step, epochs = records[-1][1]["step"], records[-1][1]["epoch"]
    ordered = list({(record["step"], "val_top1" in record): record for _, record in records}.values())
    return RecordedRun(
        name=name,
        log=[record for record in ordered if "val_top1" not in record],
        epochs=[_numbers(record) for record in ordered if "val_top1" in record],
        batches=max(round(step / epochs), 1),
        steps=step,
        about=about,
        results=results or None,
        **certificates,
    )


def _about(log: Path, last: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the files beside a log say of the run, and its results if the last record of the log is the run's last."""
    known = ("config", "dataset", "hardware", "versions")
    if about := _read_json(log.with_name("run.json"), known):
        summary = _summary(log.with_name("summary.json"), ())
        # One that is resumed with less patience may end at once, behind an epoch whose row says nothing of it.
        ended = "ended" in last or summary.get("last", {}).get("epoch") == last["epoch"]
        return about, summary if last["step"] == about.get("steps") or ended else {}
    summary = _summary(log.with_name("summary.json"), known)
    return summary, summary


def _summary(path: Path, objects: tuple[str, ...]) -> dict[str, Any]:
    """The results of a run, with the figures that all have. Raises InputError if they are damaged."""
    summary = _read_json(path, ("best", "last", *objects))
    if summary:
        best, last = summary["best"], summary["last"]
        figures = (best.get("val_top1"), best.get("epoch"), last.get("epoch"), summary.get("images_per_s"))
        if not all(isinstance(figure, (int, float)) for figure in figures) or "val_top1" not in last:
            raise InputError(f"{path}: not what a training run writes (it lacks figures)")
    return summary


def _records(log: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The records of a log with the numbers of their lines. A last line that is cut off is left out."""
    try:
        lines = [line for line in enumerate(log.read_text(encoding="utf-8").split("\n"), 1) if line[1].strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{log}: cannot be read ({first_line(error)})") from error
    for number, line in lines:
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            if number == lines[-1][0]:  # a run that was killed, or is writing it now
                return
            raise InputError(f"{log}: line {number} is damaged ({first_line(error)})") from error
        if not _is_record(record):
            raise InputError(f"{log}: line {number} is no record of a training run (step or epoch missing or wrong)")
        yield number, record


def _is_record(record: Any) -> bool:
    if not isinstance(record, dict):
        return False
    step, epoch = record.get("step"), record.get("epoch")
    if isinstance(step, bool) or not isinstance(step, int) or not isinstance(epoch, (int, float)):
        return False
    return 0 < step < MOST and 0 < epoch < MOST and step / epoch < MOST


def _numbers(record: Mapping[str, Any]) -> dict[str, float]:
    return {key: value for key, value in record.items() if isinstance(value, (int, float))}


def _certificates(log: Path, records: list[tuple[int, dict[str, Any]]], kind: str) -> dict[int, str]:
    """The certificates of one kind by step. Of a step that was logged twice the later one counts."""
    found: dict[int, str] = {}
    for number, record in records:
        words, step = record.get(kind, []), record["step"]
        if not isinstance(words, list) or len(words) > step:
            raise InputError(f"{log}: line {number} is damaged ({kind} is no list of certificates up to step {step})")
        for word in words:
            if not isinstance(word, str) or not WORD.fullmatch(word):
                raise InputError(f"{log}: line {number} is damaged ({kind} holds {word!r}, no 16 hexadecimal digits)")
        found.update(zip(range(step - len(words) + 1, step + 1), words, strict=True))
    return found


def _read_json(path: Path, objects: tuple[str, ...]) -> dict[str, Any]:
    """The content of a JSON file of a run, which has these objects in it; empty if there is no such file."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({first_line(error)})") from error
    for name in objects:
        if not isinstance(content, dict) or not isinstance(content.get(name), dict):
            raise InputError(f"{path}: not what a training run writes (it lacks {name})")
    return dict(content)
