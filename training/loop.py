"""The training loop."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from feedline.pipeline.errors import InputError
from feedline.pipeline.loader import Batch, Loader
from feedline.training import checkpoint, plots
from feedline.training.config import Config
from feedline.training.counts import Counted, Counts
from feedline.training.evaluate import Evaluation, evaluate
from feedline.training.meter import StallMeter, hardware, peak_memory, versions
from feedline.training.optim import WeightAverage, make_schedule
from feedline.training.ranks import ALONE, Agreement, Ranks
from feedline.training.report import Log, Progress, write_csv, write_json
from feedline.training.step import TrainStep
from feedline.training.stopping import Interrupted, Stopping


@dataclass
class Position:
    """Where a run stands, and what it counted on the way; saved with every checkpoint.

    Attributes:
        epoch: epochs finished.
        step: steps done in the epoch under way.
        train_seconds, stall_seconds, eval_seconds: spent, over all sessions of the run.
        history: a row a finished epoch, as in metrics.csv.
        lrs: (epoch, learning rate) at log steps.
    """

    epoch: int = 0
    step: int = 0
    train_seconds: float = 0.0
    stall_seconds: float = 0.0
    eval_seconds: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)
    lrs: list[tuple[float, float]] = field(default_factory=list)


class Trainer:
    """Trains a model and leaves a run folder.

    Args:
        config: the whole configuration; `max_lr` a number.
        model: float [B, 3, height, width] to logits; moved to the device here.
        train, val: loaders.
        out: the run folder; log.jsonl, metrics.csv, curves.png, summary.json, last.pt, previous.pt and best.pt appear
            in it. Only rank 0 writes.
        resume: a checkpoint's content, to go on from.
        ranks: who trains along.
        clock: seconds, by which `save_every` in minutes is counted.
    """

    def __init__(
        self,
        config: Config,
        model: nn.Module,
        train: Loader,
        val: Loader,
        out: Path,
        resume: dict[str, Any] | None = None,
        ranks: Ranks = ALONE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.config, self.train, self.val, self.out, self.ranks = config, train, val, out, ranks
        self.device = train.device
        optim = config.optim
        assert optim.max_lr != "auto"
        self.step = TrainStep(config, model, self.device, optim.max_lr, ranks)
        self.model, self.precision = self.step.model, self.step.precision
        self.schedule = make_schedule(optim, self.step.optimizer, len(train))
        self.average = WeightAverage(self.model, optim.ema) if optim.ema else None
        self.counts = Counts(self.device, ranks)
        self.at = Position()
        if resume is not None:
            self._restore(resume)
        self.stopping, self._agreement = Stopping(), Agreement(ranks)
        self._clock, self._saved = clock, clock()

    def fit(self) -> dict[str, Any]:
        """Trains to the end.

        Returns:
            The summary, as in summary.json.

        Raises:
            Interrupted: if `stopping` was set; the state is in last.pt.
            InputError: if the loss is no longer finite, or an image can no longer be read; then too the state before
                that is saved.
        """
        log = Log(self.out / "log.jsonl", self._is_older() if self._global_step() else None, write=self.ranks.first)
        self._write_history()  # an interruption may have come between the checkpoint and this
        try:
            while self.at.epoch < self.config.optim.epochs:
                self._train_epoch(log)
                self._finish_epoch(log)
        finally:
            log.close()
            self.train.close()
        return self._summarise()

    def _is_older(self) -> Callable[[Mapping[str, Any]], bool]:
        """Whether a log record is older than the state that was restored.

        The step alone does not say it: a run stopped in the evaluation after an epoch's last step writes that epoch's
        row at the same step when it goes on.
        """
        step, epoch = self._global_step(), self.at.epoch
        return lambda record: record["step"] <= step and ("val_top1" not in record or record["epoch"] <= epoch)

    def _global_step(self) -> int:
        return self.at.epoch * len(self.train) + self.at.step

    def _train_epoch(self, log: Log) -> None:
        """The steps of an epoch that are left. No synchronisation with the device but on log steps."""
        at, optim, run = self.at, self.config.optim, self.config.run
        self.model.train()
        self.train.set_epoch(at.epoch, first=at.step)
        title = f"epoch {at.epoch + 1}/{optim.epochs}"
        progress = Progress(len(self.train), at.step, title, quiet=not self.ranks.first)
        meter = StallMeter(self.device)
        clock = _Clock(at, meter)
        for images, labels in self._batches(meter):
            lr = self.step.optimizer.param_groups[0]["lr"]
            loss, logits = self.step(images, labels)
            if self.step.taken:
                self.schedule.step()
                if self.average is not None:
                    self.average.update()
            at.step += 1
            self.counts.add(loss, logits, labels, at.step)
            progress.step()
            if at.step % run.log_every == 0 or at.step == len(self.train):
                clock.stop()
                progress.show(self._log_step(log, lr))
            stop, save = self._agreement.ask(self.stopping.is_set(), self._minutes_are_over())
            save = save or bool(run.save_steps and at.step % run.save_steps == 0)
            if stop or (save and at.step < len(self.train)):
                clock.stop()
                self._check(self.counts.read(), lr)
                if stop:
                    progress.close()
                    self._stop()
                self._save(checkpoint.LAST)
        clock.stop()
        progress.close()

    def _minutes_are_over(self) -> bool:
        minutes = self.config.run.save_minutes
        return bool(minutes) and self.ranks.first and self._clock() - self._saved >= 60 * minutes

    def _batches(self, meter: StallMeter) -> Iterator[Batch]:
        try:
            yield from meter.watch(self.train)
        except InputError as error:
            raise self._unreadable(error) from error

    def _unreadable(self, error: InputError) -> InputError:
        """Saves what was trained before an image that cannot be read, where that needs no other rank."""
        if self.ranks.several or not self._global_step() or self.counts.read().first_bad is not None:
            return error
        self._save(checkpoint.LAST)
        return InputError(f"{error}; the {self._global_step()} steps before are saved, then --resume {self.out}")

    def _log_step(self, log: Log, lr: float) -> str:
        """Writes a log line; the one place in an epoch that waits for the device."""
        at, counted = self.at, self.counts.read()
        self._check(counted, lr)
        at.lrs.append((at.epoch + at.step / len(self.train), lr))
        record = {
            "step": self._global_step(),
            "epoch": at.epoch + at.step / len(self.train),
            "loss": counted.loss,
            "top1": counted.top1,
            "lr": lr,
            "images_per_s": self._speed(),
            "stall": at.stall_seconds / at.train_seconds,
        }
        log.write(record)
        return (
            f"loss {record['loss']:.3f}  top-1 {record['top1']:.1f} %  LR {lr:.2e}  "
            f"{record['images_per_s']:,.0f} images/s  stall {100 * record['stall']:.1f} %"
        )

    def _check(self, counted: Counted, lr: float) -> None:
        """Stops a run whose loss is no longer finite, before anything of it is saved.

        A gradient scaler leaves such steps out and halves its scale; a scale below 1 says that it is not the scale.
        """
        scale = self.step.scaler.get_scale() if self.precision.scales else 0.0
        if scale >= 1 or (counted.first_bad is None and not self.precision.scales):
            return
        at = self.at
        bad = counted.first_bad or at.step
        what = "loss is not finite" if counted.first_bad else "gradients overflow at every scale"
        step, ids = at.epoch * len(self.train) + bad, self.train.plan.global_ids(at.epoch, bad - 1).tolist()
        if self.ranks.first:
            found = {"step": step, "epoch": at.epoch, "batch": bad - 1, "lr": lr, "images": ids}
            write_json(self.out / "nonfinite.json", found)
        more = f" and {len(ids) - 5} more, see {self.out / 'nonfinite.json'}" if len(ids) > 5 else ""
        raise InputError(
            f"the {what} at step {step} (epoch {at.epoch + 1}, LR {lr:.3g}, images "
            f"{', '.join(map(str, ids[:5]))}{more}); lower --max-lr, or find one with --mode lrfind"
        )

    def _speed(self) -> float:
        """Images trained a second, over the whole run, evaluation left out."""
        return self._global_step() * self.train.batch_size / self.at.train_seconds

    def _finish_epoch(self, log: Log) -> None:
        at, counted = self.at, self.counts.read()
        started = time.perf_counter()
        found = self._evaluate()
        at.eval_seconds += time.perf_counter() - started
        at.epoch, at.step = at.epoch + 1, 0
        self.counts.clear()
        row = {
            "epoch": at.epoch,
            "train_loss": round(counted.loss, 5),
            "train_top1": round(counted.top1, 3),
            "val_loss": round(found.loss, 5),
            "val_top1": round(found.top1, 3),
            "val_top5": round(found.top5, 3),
            "lr": at.lrs[-1][1],
            "images_per_s": round(self._speed(), 1),
            "stall": round(at.stall_seconds / at.train_seconds, 4),
            "seconds": round(at.train_seconds + at.eval_seconds, 1),
        }
        best = not at.history or row["val_top1"] > max(r["val_top1"] for r in at.history)
        at.history.append(row)
        log.write({"step": self._global_step(), **row})
        print(
            f"epoch {at.epoch:>3}/{self.config.optim.epochs}  train loss {row['train_loss']:.3f} top-1 "
            f"{row['train_top1']:5.2f} %  val loss {row['val_loss']:.3f} top-1 {row['val_top1']:5.2f} % top-5 "
            f"{row['val_top5']:5.2f} %  {row['images_per_s']:,.0f} images/s  stall {100 * row['stall']:.1f} %"
            + ("  best" if best else ""),
            flush=True,
        )
        if best:
            self._save(checkpoint.BEST, found)
        self._save(checkpoint.LAST)
        self._write_history()

    def _evaluate(self) -> Evaluation:
        model = self.model if self.average is None else self.average.model
        try:
            return evaluate(
                model,
                self.val,
                self.precision,
                tta=self.config.run.tta,
                ranks=self.ranks,
                after_batch=self._stop_if_asked,
            )
        except InputError as error:
            raise self._unreadable(error) from error

    def _write_history(self) -> None:
        if self.ranks.first and self.at.history:
            write_csv(self.out / "metrics.csv", self.at.history)
            plots.curves(self.out / "curves.png", self.at.history, self.at.lrs, self._title())

    def _title(self) -> str:
        data = self.train.dataset
        return f"{data.name}, {self.train.split}, {self.train.images:,} train images: recipe {self.config.recipe}"

    def _stop_if_asked(self) -> None:
        if self._agreement.ask(self.stopping.is_set(), False)[0]:
            self._stop()

    def _stop(self) -> None:
        self._save(checkpoint.LAST)
        raise Interrupted

    def _save(self, name: str, found: Evaluation | None = None) -> None:
        """Writes a checkpoint; `last.pt` leaves the one before it as `previous.pt`. Every rank must call it."""
        self._saved = self._clock()
        sums, _ = self.counts.over_all_ranks()
        if not self.ranks.first:
            return
        state: dict[str, Any] = {
            "fingerprint": self.train.dataset.fingerprint,
            "classes": [c.folder for c in self.train.dataset.classes[: self.config.data.classes]],
            "image_size": list(self.train.spec.output),
            "recipe": self.config.recipe,
            "config": {k: list(v) if isinstance(v, tuple) else v for k, v in self.config.flat().items()},
            "model": self.model.state_dict(),
            "average": None if self.average is None else self.average.model.state_dict(),
            "average_updates": 0 if self.average is None else self.average.updates,
            "optimizer": self.step.optimizer.state_dict(),
            "schedule": _plain(self.schedule.state_dict()),
            "scaler": self.step.scaler.state_dict(),
            "sums": sums,
            "position": {k: _plain(v) for k, v in vars(self.at).items()},
            "rng": torch.get_rng_state(),
            "rng_cuda": torch.cuda.get_rng_state_all() if self.device.type == "cuda" else [],
            "val_top1": None if found is None else found.top1,
        }
        keep = self.out / checkpoint.PREVIOUS if name == checkpoint.LAST else None
        checkpoint.save(self.out / name, state, keep)

    def _restore(self, state: dict[str, Any]) -> None:
        """Takes over a checkpoint. Raises InputError if its parts do not fit this model and configuration."""
        try:
            self.model.load_state_dict(state["model"])
            self.step.optimizer.load_state_dict(state["optimizer"])
            self.schedule.load_state_dict(state["schedule"])
            self.step.scaler.load_state_dict(state["scaler"])
            if self.average is not None:
                self.average.model.load_state_dict(state["average"])
                self.average.updates = state["average_updates"]
            self.counts.restore(state["sums"])
            position = state["position"]
            self.at = Position(**{**position, "lrs": [(epoch, lr) for epoch, lr in position["lrs"]]})
            torch.set_rng_state(state["rng"])
            if self.device.type == "cuda" and len(state["rng_cuda"]) == torch.cuda.device_count():
                torch.cuda.set_rng_state_all(state["rng_cuda"])
        except (RuntimeError, ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
            reason = str(error).strip().splitlines()
            raise InputError(
                f"--resume {self.out}: the checkpoint does not fit this model ({reason[0] if reason else error!r})"
            ) from error

    def _summarise(self) -> dict[str, Any]:
        at, dataset = self.at, self.train.dataset
        best = max(at.history, key=lambda row: row["val_top1"])
        last = at.history[-1]
        keep = ("epoch", "val_top1", "val_top5", "val_loss", "train_top1", "train_loss")
        target = self.config.run.target
        reached = next((row for row in at.history if target is not None and row["val_top1"] >= target), None)
        summary = {
            "best": {key: best[key] for key in keep},
            "last": {key: last[key] for key in keep},
            "target": target,
            "target_reached": None if reached is None else {key: reached[key] for key in ("epoch", "seconds")},
            "images": {"train": self.train.images, "val": self.val.images},
            "images_per_s": round(self._speed(), 1),
            "stall": round(at.stall_seconds / at.train_seconds, 4),
            "seconds": {"train": round(at.train_seconds, 1), "eval": round(at.eval_seconds, 1)},
            "precision": self.precision.name,
            "ranks": self.ranks.world_size,
            "store": self.train.store_name,
            "engine": self.train.engine_name,
            "memory": peak_memory(self.device),
            "hardware": hardware(self.device),
            "versions": versions(),
            "dataset": {"name": dataset.name, "fingerprint": dataset.fingerprint},
            "recipe": self.config.recipe,
            "config": self.config.flat(),
        }
        if self.ranks.first:
            write_json(self.out / "summary.json", summary)
        return summary


class _Clock:
    """Adds the time since the last stop, and the stall within it, to a position."""

    def __init__(self, at: Position, meter: StallMeter) -> None:
        self._at, self._meter = at, meter
        self._last, self._stalled = time.perf_counter(), 0.0

    def stop(self) -> None:
        now, stalled = time.perf_counter(), self._meter.seconds()
        self._at.train_seconds += now - self._last
        self._at.stall_seconds += stalled - self._stalled
        self._last, self._stalled = now, stalled


def _plain(value: Any) -> Any:
    """Only what `torch.load(weights_only=True)` reads: numbers, strings, lists and dicts."""
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return value if isinstance(value, (int, float, str, bool, type(None))) else None
