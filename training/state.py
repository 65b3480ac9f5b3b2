"""The state of a run: everything that training changes and that a resumed run needs."""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from feedline.pipeline.errors import InputError, first_line
from feedline.pipeline.loader import Loader
from feedline.training.best import value
from feedline.training.certificate import Certificate
from feedline.training.config import Config
from feedline.training.counts import Counts, EpochCounts
from feedline.training.evaluate import Evaluation
from feedline.training.generators import gpu_states, restore_gpu_states
from feedline.training.loss import weights_of_classes
from feedline.training.mixing import Mixing
from feedline.training.optim import WeightAverage, make_schedule
from feedline.training.ranks import ALONE, Ranks
from feedline.training.snapshot import RunPosition, Snapshot
from feedline.training.step import TrainStep


class TrainState:
    """Everything that training changes: the model, the optimizer, the schedule and so on.

    Args:
        config: `max_lr` a number.
        model: float [B, 3, height, width] to logits; moved to the loader's device.
        train: the loader of the train part.
        ranks: the processes that train this model.

    Attributes:
        step: does a training step; holds model, optimizer, scaler and precision.
        schedule: of the learning rate.
        average: the moving average of the weights, None if there is none.
        mixing: says how batches are mixed.
        counts: loss and accuracy of the current epoch.
        certificate: of the steps since the last log line.
        position: where the run stands.
        norms: statistics of batch norms that the evaluation just before used instead of those of training; None if
            there are none, or training went on.
        asked, resolved: what the command asked for and what the run made of it, as checkpoints keep them.
    """

    def __init__(self, config: Config, model: nn.Module, train: Loader, ranks: Ranks = ALONE) -> None:
        optim = config.optim
        if optim.max_lr == "auto":
            raise ValueError("max_lr must be a number here")
        self.config, self.train, self._ranks = config, train, ranks
        weights = weights_of_classes(optim, train)
        self.step = TrainStep(config, model, train.device, optim.max_lr, ranks, weights)
        self.schedule = make_schedule(optim, self.step.optimizer, len(train))
        self.average = WeightAverage(self.model, optim.ema) if optim.ema else None
        self.mixing = Mixing(config.mix, train, optim.epochs)
        self.counts = Counts(train.device, ranks)
        self.certificate = Certificate(train, ranks, pixels=config.run.certify == "pixels")
        self.position = RunPosition()
        self.norms: dict[str, torch.Tensor] | None = None
        self.asked: dict[str, Any] = {}
        self.resolved: dict[str, Any] = {}

    @property
    def model(self) -> nn.Module:
        return self.step.model

    @property
    def evaluated_model(self) -> nn.Module:
        """The average, if there is one."""
        return self.model if self.average is None else self.average.model

    def unify_norms(self) -> None:
        """Gives all ranks the buffers of rank 0, so that they evaluate one network, the one that is saved.

        Without `sync_bn` each rank counts statistics of its own; before a step DDP does the same. Every rank must call
        it.
        """
        if not self.config.run.sync_bn:
            self._ranks.share(self.evaluated_model.buffers())

    @property
    def lr(self) -> float:
        """The learning rate of the next step."""
        return float(self.step.optimizer.param_groups[0]["lr"])

    @property
    def global_step(self) -> int:
        """Steps since the start of the run."""
        return self.position.epoch * len(self.train) + self.position.step

    @property
    def epochs(self) -> float:
        """Epochs since the start of the run, with the share of the current one."""
        return self.position.epoch + self.position.step / len(self.train)

    @property
    def steady(self) -> tuple[int, float]:
        """Images trained on and the seconds that it took, without first steps (see `RunPosition`) and evaluation."""
        position = self.position
        images = (self.global_step - position.first_steps) * self.train.batch_size
        return images, position.train_seconds - position.first_seconds

    @property
    def images_per_s(self) -> float:
        """Images per second of training: the mean since the start, without first steps unless there are no others."""
        images, seconds = self.steady
        if not images:
            images, seconds = self.global_step * self.train.batch_size, self.position.train_seconds
        return images / seconds

    def finish_epoch(self, counted: EpochCounts, evaluation: Evaluation | None) -> bool:
        """Moves on to the next epoch and adds this one's row to the history, without val figures if it has none.

        Returns:
            Whether it is the best so far, by `best_by` of the configuration.
        """
        position = self.position
        position.epoch, position.step = position.epoch + 1, 0
        self.counts.clear()
        row: dict[str, Any] = {
            "epoch": position.epoch,
            "image_size": self.train.output(position.epoch - 1)[0],
            "train_loss": round(counted.loss, 5),
            "train_top1": None if counted.top1 is None else round(counted.top1, 3),
            "val_loss": None if evaluation is None else round(evaluation.loss, 5),
            "val_top1": None if evaluation is None else round(evaluation.top1, 3),
            "val_top5": None if evaluation is None or evaluation.top5 is None else round(evaluation.top5, 3),
            "lr": position.lrs[-1][1],
            "images_per_s": round(self.images_per_s, 1),
            "stall": round(position.stall, 4),
            "seconds": round(position.train_seconds + position.eval_seconds, 1),
        }
        if evaluation is not None and evaluation.uneven:
            row |= {"val_balanced": round(evaluation.balanced, 3), "val_macro_f1": round(evaluation.macro_f1, 3)}
        by = self.config.optim.best_by
        earlier = [value(before, by) for before in position.evaluated]
        position.history.append(row)
        return evaluation is not None and all(value(row, by) > before for before in earlier)

    def snapshot(self, val_top1: float | None = None) -> Snapshot:
        """The state now; tensors are not copied. Every rank must call it.

        Args:
            val_top1: of the evaluation just before.
        """
        sums, _ = self.counts.over_all_ranks()
        dataset = self.train.folder
        return Snapshot(
            fingerprint=dataset.fingerprint,
            classes=[c.folder for c in dataset.classes[: self.train.classes]],
            image_size=list(self.train.eval_output),
            config=self.config,
            model=self.model.state_dict(),
            average=None if self.average is None else self.average.model.state_dict(),
            average_updates=0 if self.average is None else self.average.updates,
            optimizer=self.step.optimizer.state_dict(),
            schedule=self.schedule.state_dict(),
            scaler=self.step.scaler.state_dict(),
            sums=sums,
            certificates=self.certificate.over_all_ranks(),
            position=self.position.copy(),
            rng=torch.get_rng_state(),
            rng_cuda=gpu_states(self.train.device, self._ranks),
            val_top1=val_top1,
            norms=self.norms,
            dataset={"name": dataset.name, "path": str(dataset.root)},
            asked=self.asked,
            resolved=self.resolved,
            words=[c.words for c in dataset.classes[: self.train.classes]],
        )

    def restore(self, snapshot: Snapshot, run: Path) -> None:
        """Continues from a snapshot.

        Args:
            snapshot: of a run with this configuration.
            run: its folder, for the message.

        Raises:
            InputError: if its parts do not fit this model and configuration.
        """
        try:
            self._restore(snapshot)
        except (RuntimeError, ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
            raise InputError(f"`resume={run}`: the checkpoint does not fit this model ({first_line(error)})") from error

    def _restore(self, snapshot: Snapshot) -> None:
        self.model.load_state_dict(snapshot.model)
        self.step.optimizer.load_state_dict(snapshot.optimizer)
        self.schedule.load_state_dict(snapshot.schedule)
        if snapshot.scaler:  # a run in bf16 had none
            self.step.scaler.load_state_dict(snapshot.scaler)
        if self.average is not None:
            if snapshot.average is None:
                raise ValueError("it holds no moving average of the weights")
            self.average.model.load_state_dict(snapshot.average)
            self.average.updates = snapshot.average_updates
        self.counts.restore(snapshot.sums)
        self.certificate.restore(snapshot.certificates)
        self.position = snapshot.position.copy()
        self.asked, self.resolved = snapshot.asked, snapshot.resolved
        torch.set_rng_state(snapshot.rng)
        restore_gpu_states(snapshot.rng_cuda, self.train.device, self._ranks)
