"""--mode train: starts a run or resumes one."""

import contextlib
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from feedline.cli.build import choose_device, make_loader, make_model, print_loader, training_side, with_stem
from feedline.cli.copied import commands_after
from feedline.cli.initial import start_from
from feedline.cli.logging_to import load_loggers, start_loggers
from feedline.cli.machine import set_up_host, warn_if_busy
from feedline.cli.reports import REPORT, report_run
from feedline.cli.request import Request
from feedline.cli.resume import Start, choose_start, resume_command
from feedline.cli.unlearned import unlearned
from feedline.console import aloud
from feedline.output import counted, speed
from feedline.pipeline.dataset import Dataset
from feedline.pipeline.errors import DivergedError, FeedlineError, as_flags
from feedline.pipeline.files import replacing
from feedline.report.run import USED_TEST
from feedline.training import checkpoint, compiling, precision
from feedline.training.best import NAMES, value
from feedline.training.ending import of_early_end
from feedline.training.loggers import Loggers
from feedline.training.loop import Trainer
from feedline.training.memory import memory_errors
from feedline.training.resolved import as_older_versions, changes, resolved
from feedline.training.saver import PREDICTIONS
from feedline.training.space import check_space, disk_errors
from feedline.training.stopping import Interrupted, over, stop_on_signal
from feedline.use.outputs import writing_to


def run(request: Request) -> int:
    """Trains to the end, or until the run is asked to stop."""
    ranks = request.ranks
    start = ranks.on_first(lambda: choose_start(request))
    dataset = Dataset(start.config.run.data)
    if start.snapshot is not None:
        start.snapshot.check_dataset(dataset, start.out)
    device = choose_device(start.config.run.device, ranks)
    set_up_host(start.config.run, device)
    loggers = Loggers()
    with memory_errors(start.config, ranks, resumed=start.snapshot is not None), disk_errors(start.out):
        ranks.on_first(lambda: load_loggers(loggers, start.config))
        trainer = _trainer(request, start, dataset, device, loggers)
        _introduce(start, trainer)
        ranks.on_first(lambda: start_loggers(loggers, trainer.config, dataset, start.out, trainer.state.global_step))
        stop = stop_on_signal(trainer.stopping, patient=ranks.is_distributed)
        warn_if_busy(device, ranks)
        try:
            with stop, loggers.running():
                summary = trainer.fit()
                loggers.end(summary)
        except Interrupted:
            resume = resume_command(start.out)
            with aloud():
                print(f"stopped and saved; resume it with:\n  {resume}", flush=True)
            _report_unfinished(request, start, trainer, f"Stopped; resume it with {resume}")
            return 128 + trainer.stopping.signum
        except DivergedError as error:
            over(patient=ranks.is_distributed)
            _report_unfinished(request, start, trainer, str(as_flags(error)))
            raise
    if ranks.is_first:
        report = report_run(request, trainer, start.asked.recipe)
        with aloud():
            _print_summary(summary, start.out, report)
        print(commands_after(start.out, trainer.config.run.data, trainer.val))
        request.results.update(out=start.out, report=report, **summary)
    return 0


def _trainer(request: Request, start: Start, dataset: Dataset, device: torch.device, loggers: Loggers) -> Trainer:
    """Loaders, network and trainer of a run; its folder holds nothing of an earlier one."""
    ranks, config = request.ranks, start.config
    train = make_loader(config, dataset, "train", device, ranks)
    if start.snapshot is not None and not start.snapshot.resolved:
        config = as_older_versions(config, train.image_size, resume=True)
        train = make_loader(config, dataset, "train", device, ranks)
    val = make_loader(config, dataset, "val", device, ranks)
    side = training_side(config, train.output(0)) if start.snapshot is None else None
    config = with_stem(config, request, side)
    model = make_model(config, dataset, request.network)
    if start.snapshot is None:
        start_from(config, model, dataset, val if ranks.is_first else None)
    trainer = Trainer(config, model, train, val, start.out, start.snapshot, ranks, on_record=loggers.record)
    ranks.on_first(lambda: check_space(trainer.state, start.out))
    if start.snapshot is None:
        ranks.on_first(lambda: _clear(start.out))
    return trainer


def _introduce(start: Start, trainer: Trainer) -> None:
    """Prints what is trained on, and what there is to say before."""
    config = trainer.config
    notes = [
        *start.notes,
        *_settle(start, trainer),
        *filter(None, [of_early_end(config), compiling.on_cpu(config, trainer.train.device)]),
    ]
    print_loader(trainer.train, config)
    if trainer.ranks.is_first and (warning := unlearned(trainer.train, trainer.val)):
        with aloud():
            print(warning, flush=True)
    for note in notes:
        print(note, flush=True)
    _prepare_resumed(start, trainer)


def _clear(out: Path) -> None:
    """Removes what an earlier run, whose checkpoints are gone, left for the report."""
    with writing_to(out):
        for name in ("summary.json", REPORT, "metrics.csv", PREDICTIONS, USED_TEST):
            (out / name).unlink(missing_ok=True)


def _report_unfinished(request: Request, start: Start, trainer: Trainer, why: str) -> None:
    """Writes the report of a run that is not complete. It is less than why the run ended: its errors are not raised."""
    if trainer.ranks.is_first:
        with contextlib.suppress(FeedlineError, OSError):
            report_run(request, trainer, start.asked.recipe, why)


def _settle(start: Start, trainer: Trainer) -> list[str]:
    """Gives the run's checkpoints what was asked for and what it came to; returns what to say of changes."""
    state, now = trainer.state, resolved(trainer.train)
    said = changes(state.resolved, now)
    if start.snapshot is not None:
        said += compiling.change(start.snapshot.config, trainer.config)
        said += precision.change(bool(start.snapshot.scaler), state.step.precision)
    state.asked, state.resolved = start.asked.to_dict(), {**now, **state.resolved}
    if start.lr_test is not None:
        state.resolved["max_lr_from"] = str(start.lr_test)
        if trainer.ranks.is_first:
            with replacing(start.out / USED_TEST) as temporary:
                shutil.copyfile(start.lr_test, temporary)
    return said


def _prepare_resumed(start: Start, trainer: Trainer) -> None:
    """Prints where a resumed run continues, and makes its checkpoint the last one. An earlier end no longer holds."""
    if start.snapshot is None:
        return
    if trainer.ranks.is_first:
        for name in ("summary.json", REPORT):
            (start.out / name).unlink(missing_ok=True)
    if trainer.ranks.is_first and start.earlier is not None:
        checkpoint.put_back(start.earlier)
    position = trainer.state.position
    back = f" from {start.earlier.name}, its {checkpoint.LAST} from now on," if start.earlier is not None else ""
    print(
        f"resuming {start.out}{back} at epoch {position.epoch + 1}, step {position.step} of {len(trainer.train)}",
        flush=True,
    )


def _print_summary(summary: Mapping[str, Any], out: Path, report: Path) -> None:
    best, target, reached = summary["best"], summary["target"], summary["target_reached"]
    if summary["ended"]["by"] == "patience":
        print(f"ended {summary['ended']['text']}")
    if target is not None and reached:
        print(f"reached {target} % top-1 in epoch {reached['epoch']}, after {_duration(reached['seconds'])}")
    elif target is not None:
        print(f"did not reach the target of {target} % top-1")
    if skipped := summary["epochs"]["skipped"]:
        evaluated = summary["epochs"]["evaluated"]
        print(
            f"evaluated after {len(evaluated)} of {counted(len(evaluated) + len(skipped), 'epoch')}: "
            f"{_listed(evaluated)}"
        )
    names = {"top-1": "val_top1", "top-5": "val_top5", "balanced": "val_balanced", "macro F1": "val_macro_f1"}
    by = summary["best_by"]
    names = {name: key for name, key in names.items() if key != by}
    more = ", ".join(f"{name} {best[key]:.2f} %" for name, key in names.items() if best.get(key) is not None)
    print(
        f"best {NAMES[by]} {value(best, by):.2f} %{f' ({more})' if more else ''} in epoch {best['epoch']}; "
        f"{speed(summary['images_per_s'])} images/s, stall {100 * summary['stall']:.1f} %\n"
        f"report: {report}  curves: {out / 'curves.png'}  summary: {out / 'summary.json'}  weights: {out / 'best.pt'}"
    )


def _duration(seconds: float) -> str:
    """Seconds with two digits at least; never 0."""
    return f"{seconds:,.0f} s" if seconds >= 10 else f"{max(seconds, 0.1):.1f} s"


def _listed(epochs: Sequence[int]) -> str:
    """Epochs as `4, 8, 10`, a long list with its middle left out."""
    shown = [str(epoch) for epoch in epochs]
    return ", ".join(shown if len(shown) <= 8 else [*shown[:3], "...", *shown[-2:]])
