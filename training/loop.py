"""The training loop."""

import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from torch import nn

from feedline.output import counted
from feedline.pipeline.errors import InputError
from feedline.pipeline.loader import Batch, Loader
from feedline.training.compiling import searching_convolutions, with_compile
from feedline.training.config import Config
from feedline.training.divergence import check_evaluation, check_finite, check_weights
from feedline.training.ending import ended
from feedline.training.evaluate import Evaluation, evaluate
from feedline.training.meter import LapTimer, StallMeter
from feedline.training.mixing import Mixture
from feedline.training.norms import statistics, with_new_statistics
from feedline.training.ranks import ALONE, Agreement, Ranks
from feedline.training.reporter import Record, Reporter
from feedline.training.saver import Saver
from feedline.training.snapshot import Snapshot
from feedline.training.state import TrainState
from feedline.training.stopping import Interrupted, Stopping, over

DRAWN_RATES = 200  # of the learning rate in curves.png


class Trainer:
    """Trains a model and leaves a run folder.

    Args:
        config: the whole configuration; `max_lr` a number.
        model: float [B, 3, height, width] to logits; moved to the device here.
        train, val: loaders.
        out: the run folder; run.json, log.jsonl, metrics.csv, curves.png, summary.json, last.pt, previous.pt,
            best.pt and its predictions.npz appear in it. Only rank 0 writes.
        resume: the checkpoint to continue from.
        ranks: the processes that train this model.
        clock: returns seconds; says when `save_every` minutes are over.
        on_record: called with each record of log.jsonl after it is written, on every rank.

    Attributes:
        config: with `compile` as True or False, and how.
        state: what training changes.
        stopping: set it to stop the run after the current step.
    """

    def __init__(
        self,
        config: Config,
        model: nn.Module,
        train: Loader,
        val: Loader,
        out: Path,
        resume: Snapshot | None = None,
        ranks: Ranks = ALONE,
        *,
        clock: Callable[[], float] = time.monotonic,
        on_record: Callable[[Record], None] = lambda _: None,
    ) -> None:
        config = with_compile(config, train, None if resume is None else resume.config, ranks)
        self.config, self.train, self.val, self.out, self.ranks = config, train, val, out, ranks
        self.state = TrainState(config, model, train, ranks)
        if resume is not None:
            self.state.restore(resume, out)
        self.stopping, self._agreement = Stopping(), Agreement(ranks)
        self._saver = Saver(config.run, self.state, out, ranks, clock)
        self._on_record = on_record
        self._sizes: set[tuple[int, ...]] = set()  # of images that this session trained on

    def fit(self) -> dict[str, Any]:
        """Trains to the end: of all epochs, or of the patience.

        Returns:
            The summary, as in summary.json.

        Raises:
            Interrupted: if `stopping` was set; the state is in last.pt.
            DivergedError: if the loss, weights or val loss are not finite; nothing after the last checkpoint is saved.
            InputError: if an image can no longer be read; the state before it is saved.
        """
        reporter = Reporter(self.state, self.val, self.out, self.ranks, self._on_record)
        try:
            self._train(reporter)
        finally:
            try:
                reporter.close()
            finally:
                self.train.close()
        return reporter.summarise()

    def _train(self, reporter: Reporter) -> None:
        """Trains, and returns when all is written: from then on a signal has nothing to stop."""
        patient = self.ranks.is_distributed
        try:
            with self._saver, searching_convolutions(self.config, self.train):
                while not ended(self.config, self.state.position):
                    self._train_epoch(reporter)
                    self._finish_epoch(reporter)
        except Interrupted:
            over(asked=True, patient=patient)
            raise
        note = "the training is done and saved; its report is being written, a second signal ends that"
        over(note, asked=self.stopping.is_set(), patient=patient)

    def _train_epoch(self, reporter: Reporter) -> None:
        """Does the remaining steps of an epoch. Waits for the device only to log and to save."""
        state, step, position = self.state, self.state.step, self.state.position
        state.model.train()
        state.norms = None
        self.train.set_epoch(position.epoch, first=position.step)
        reporter.start_epoch()
        meter = StallMeter(self.train.device)
        timer = LapTimer(meter)
        every = math.ceil(len(self.train) * self.config.optim.epochs / DRAWN_RATES)
        for images, labels in self._batches(meter, timer):
            lr = state.lr
            if state.global_step % every == 0 or position.step == len(self.train) - 1:
                position.lrs.append((state.epochs, lr))
            mix = state.mixing.of(position.epoch, position.step, images)
            state.certificate.add(position.step, images, labels, mix)
            mixture = None if mix is None else Mixture.on(self.train.device, mix)
            loss, logits = step(images, labels, mixture)
            if step.updated:
                state.schedule.step()
                if state.average is not None:
                    state.average.update()
            position.step += 1
            state.counts.add(loss, logits, labels if mixture is None else None, position.step)
            reporter.step()
            if images.shape[2:] not in self._sizes:  # torch compiled for this size, and chose its algorithms
                self._sizes.add(images.shape[2:])
                position.add_first(*timer.lap())
            is_last = position.step == len(self.train)
            if is_last or position.step % self.config.run.log_every == 0:
                position.add_time(*timer.lap())
                self._log(reporter, lr)
            stop, save = self._agreement.ask(self.stopping.is_set(), self._saver.minutes_are_over())
            if stop or ((save or self._saver.step_is_due()) and not is_last):
                position.add_time(*timer.lap())
                check_finite(state, state.counts.read(), lr, self._divergence)
                check_weights(state)
                self._save_last()
                if stop:
                    raise Interrupted
        position.add_time(*timer.lap())
        reporter.end_epoch()

    def _log(self, reporter: Reporter, lr: float) -> None:
        counted = self.state.counts.read()
        check_finite(self.state, counted, lr, self._divergence)
        reporter.log(counted, lr, self.state.certificate.read())

    @property
    def _divergence(self) -> Path | None:
        """The file that describes a loss that is not finite."""
        return self.out / "nonfinite.json" if self.ranks.is_first else None

    def _finish_epoch(self, reporter: Reporter) -> None:
        """Evaluates, if it is time to, reports and saves."""
        counted = self.state.counts.read()
        evaluation = self._evaluate() if self.config.evaluates(self.state.position.epoch + 1) else None
        check_weights(self.state)
        best = self.state.finish_epoch(counted, evaluation)
        reporter.log_epoch()
        if best and evaluation is not None:
            self._saver.save_best(evaluation)
        self._save_last()
        reporter.print_epoch(best)
        reporter.write_history()

    def _save_last(self) -> None:
        self._saver.save_last()
        self._agreement.saved()

    def _evaluate(self) -> Evaluation:
        self.state.unify_norms()
        started = time.perf_counter()
        try:
            evaluation = evaluate(
                self._evaluated_model(),
                self.val,
                self.state.step.precision,
                views=self.config.run.views,
                ranks=self.ranks,
                after_batch=self._stop_if_requested,
            )
        except InputError as error:
            raise self._save_before(error) from error
        self.state.position.eval_seconds += time.perf_counter() - started
        check_evaluation(self.state, evaluation.loss)
        return evaluation

    def _evaluated_model(self) -> nn.Module:
        """The model to evaluate, with norm statistics of its own if `norm_images` says so."""
        state, images = self.state, self.config.run.norm_images
        if not images:
            return state.evaluated_model
        model = with_new_statistics(
            state.evaluated_model,
            self.train,
            images,
            state.position.epoch,
            state.step.precision,
            ranks=self.ranks,
            after_batch=self._stop_if_requested,
        )
        state.norms = statistics(model)
        return model

    def _stop_if_requested(self) -> None:
        stop, _ = self._agreement.ask(self.stopping.is_set(), False)
        if stop:
            check_weights(self.state)
            self._save_last()
            raise Interrupted

    def _batches(self, meter: StallMeter, timer: LapTimer) -> Iterator[Batch]:
        try:
            yield from meter.watch(self.train)
        except InputError as error:
            self.state.position.add_time(*timer.lap())
            raise self._save_before(error) from error

    def _save_before(self, error: InputError) -> InputError:
        """Saves the steps before an image that cannot be read; with several ranks the others may be elsewhere."""
        steps = self.state.global_step
        if self.ranks.is_distributed or not steps or self.state.counts.read().first_bad is not None:
            return error
        if self.state.position.step:  # else they are saved, with what the evaluation behind them left
            check_weights(self.state)
            self._save_last()
        return InputError(
            f"{error.message}; the {counted(steps, 'step')} before it {'is' if steps == 1 else 'are'} saved, resume "
            f"with `resume={self.out}`"
        )
