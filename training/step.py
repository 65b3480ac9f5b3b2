"""One training step: what training, the LR range test and the benchmark all do with a batch."""

import inspect
import weakref
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from feedline.training.config import Config
from feedline.training.optim import make_optimizer
from feedline.training.precision import Precision
from feedline.training.ranks import ALONE, Ranks
from feedline.training.sync_norm import synchronised


class TrainStep:
    """Forward, backward, update. Nothing in it waits for the device, but for what an fp16 scaler must know.

    Args:
        config: optimizer, loss and memory layout.
        model: float [B, 3, height, width] to logits; moved to the device here.
        device: where to train.
        lr: learning rate at the start.
        ranks: who trains along; gradients are the mean over all of them.

    Attributes:
        model: the model, with `optimizer`, `scaler` and `precision` beside it.
        taken: whether the last call changed the weights; a scaler leaves out steps whose gradients overflowed.
    """

    def __init__(self, config: Config, model: nn.Module, device: torch.device, lr: float, ranks: Ranks = ALONE) -> None:
        self.config = config.optim
        self.precision = Precision.choose(config.run, device)
        memory = torch.channels_last if config.run.channels_last else torch.contiguous_format
        if ranks.several and config.run.sync_bn:
            model = synchronised(model, device)
        self.model: nn.Module = model.to(device, memory_format=memory)  # type: ignore[call-overload]
        # A fused optimizer does not show which steps the scaler left out.
        self.optimizer = make_optimizer(self.config, self.model, lr, fused=not self.precision.scales)
        self.scaler = self.precision.scaler()
        self.criterion = nn.CrossEntropyLoss(label_smoothing=self.config.label_smoothing)
        self.taken = False
        self._forward: Any = self.model
        if ranks.several:
            # Synchronous norms keep their buffers alike by themselves; others follow rank 0's. Newer torch has another
            # name for that and warns of this one.
            known = inspect.signature(DistributedDataParallel).parameters
            follow = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"
            options: dict[str, Any] = {follow: not config.run.sync_bn, "gradient_as_bucket_view": True}
            ids = [device.index] if device.type == "cuda" else None
            self._forward = DistributedDataParallel(self.model, device_ids=ids, **options)
        if config.run.compile:
            self._forward = torch.compile(self._forward, mode=config.run.compile_mode)
        self._note_steps()

    def _note_steps(self) -> None:
        """Sets `taken` when the optimizer steps; without a cycle of references, which would keep the step alive."""
        itself = weakref.ref(self)

        def note(*_: Any) -> None:
            if (step := itself()) is not None:
                step.taken = True

        self.optimizer.register_step_post_hook(note)

    def __call__(self, images: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Trains on a batch; returns its loss (a scalar) and logits [B, classes], both detached."""
        with self.precision.autocast():
            logits = self._forward(images)
            loss = self.criterion(logits.float(), labels)
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        if self.config.clip_grad:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip_grad)
        self.taken = False
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return loss.detach(), logits.detach()
