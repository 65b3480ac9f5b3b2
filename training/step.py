"""One training step, shared by training, the LR range test and the benchmark."""

import inspect
import weakref
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from feedline.model import share_draws
from feedline.pipeline.image_sizes import ImageSizes
from feedline.training.config import Config
from feedline.training.mixing import Mixture
from feedline.training.optim import make_optimizer
from feedline.training.precision import Precision
from feedline.training.ranks import ALONE, Ranks
from feedline.training.sync_norm import synchronised


class TrainStep:
    """Forward, backward, update. No device sync except GradScaler's inf check.

    Args:
        config: optimizer, loss and memory layout.
        model: float [B, 3, height, width] to logits; moved to the device here.
        device: where to train.
        lr: learning rate at the start.
        ranks: the ranks that train this model; gradients are averaged over them.

    Attributes:
        model, optimizer, scaler, precision: used by each step.
        updated: whether the last call changed the weights; the scaler skips steps whose gradients overflowed.
    """

    def __init__(self, config: Config, model: nn.Module, device: torch.device, lr: float, ranks: Ranks = ALONE) -> None:
        self.config = config.optim
        self.precision = Precision.choose(config.run, device)
        memory = torch.channels_last if config.run.channels_last else torch.contiguous_format
        if ranks.is_distributed and config.run.sync_bn:
            model = synchronised(model, device)
        share_draws(model, ranks.rank, ranks.world_size)
        self.model: nn.Module = model.to(device, memory_format=memory)  # type: ignore[call-overload]
        # A fused optimizer does not report which steps the scaler skipped.
        self.optimizer = make_optimizer(
            self.config, self.model, lr, fused=not self.precision.scales, matrix_dtype=self.precision.matrix_dtype
        )
        self.scaler = self.precision.scaler()
        self.criterion = nn.CrossEntropyLoss(label_smoothing=self.config.label_smoothing)
        self.updated = False
        self._forward: Any = self.model
        if ranks.is_distributed:
            # Synchronized norms have equal buffers on all ranks; without them, rank 0's are broadcast. Newer torch has
            # another name for the option and warns about the old one.
            parameters = inspect.signature(DistributedDataParallel).parameters
            option = "forward_sync_buffers" if "forward_sync_buffers" in parameters else "broadcast_buffers"
            options: dict[str, Any] = {option: not config.run.sync_bn, "gradient_as_bucket_view": True}
            ids = [device.index] if device.type == "cuda" else None
            self._forward = DistributedDataParallel(self.model, device_ids=ids, **options)
        if config.run.compile:
            # Once for each size of the input: code for dynamic shapes is slower.
            self._forward = torch.compile(self._forward, mode=config.run.compile_mode, dynamic=False)
            _allow_recompiles(config.loader.sizes)
        self._watch_optimizer()

    def _watch_optimizer(self) -> None:
        """Sets `updated` when the optimizer steps. A strong reference would form a cycle and keep the step alive."""
        reference = weakref.ref(self)

        def mark_updated(*_: Any) -> None:
            if (step := reference()) is not None:
                step.updated = True

        self.optimizer.register_step_post_hook(mark_updated)

    def __call__(
        self, images: torch.Tensor, labels: torch.Tensor, mixture: Mixture | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Trains on one batch.

        Args:
            images: float [B, 3, height, width] on the device.
            labels: int64 [B] on the device.
            mixture: how images and labels are mixed, if they are.

        Returns:
            The loss (a scalar) and the logits [B, classes], both detached.
        """
        with self.precision.autocast():
            logits = self._forward(images if mixture is None else mixture.images(images))
            loss = self._loss(logits.float(), labels, mixture)
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        if self.config.clip_grad:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip_grad)
        self.updated = False
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return loss.detach(), logits.detach()

    def _loss(self, logits: torch.Tensor, labels: torch.Tensor, mixture: Mixture | None) -> torch.Tensor:
        if mixture is None:
            loss: torch.Tensor = self.criterion(logits, labels)
            return loss
        return mixture.loss(logits, labels, self.config.label_smoothing)


def _allow_recompiles(sizes: ImageSizes | None) -> None:
    """Lets torch compile the network once for each size; after eight times it would run it without, silently."""
    needed = 8 + (len(sizes.starts) if sizes else 0)
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, needed)
