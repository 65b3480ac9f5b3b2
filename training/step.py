"""One training step, shared by training, the LR range test and the benchmark."""

import inspect
import weakref
from contextlib import nullcontext
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from feedline.model import share_draws
from feedline.pipeline.errors import InputError
from feedline.pipeline.image_sizes import ImageSizes
from feedline.training.compiling import check_possible, mode
from feedline.training.config import Config
from feedline.training.loss import Loss
from feedline.training.mixing import Mixture
from feedline.training.optim import make_optimizer
from feedline.training.precision import Precision
from feedline.training.ranks import ALONE, Ranks
from feedline.training.sync_norm import synchronised


class TrainStep:
    """Forward, backward, update. No device sync except GradScaler's inf check.

    Args:
        config: optimizer, loss and memory layout; compiled if `compiled` is True.
        model: float [B, 3, height, width] to logits; moved to the device here.
        device: where to train.
        lr: learning rate at the start.
        ranks: the ranks that train this model; gradients are averaged over them.
        class_weights: of the classes in the loss, see `Loss`.

    Raises:
        InputError: if a rank's batch cannot be taken in so many parts, or torch cannot compile here.

    Attributes:
        model, optimizer, scaler, precision: used by each step.
        updated: whether the last call changed the weights; the scaler skips steps whose gradients overflowed.
    """

    def __init__(
        self,
        config: Config,
        model: nn.Module,
        device: torch.device,
        lr: float,
        ranks: Ranks = ALONE,
        class_weights: torch.Tensor | None = None,
    ) -> None:
        self.config = config.optim
        _check_parts(config, ranks)
        self._compiles = bool(config.run.compiled)
        if self._compiles:
            check_possible(device)
        self.precision = Precision.choose(config.run, device)
        memory = torch.channels_last if config.run.channels_last else torch.contiguous_format
        if ranks.is_distributed and config.run.sync_bn:
            model = synchronised(model, device)
        share_draws(model, ranks.rank, ranks.world_size)
        self.model: nn.Module = model.to(device, memory_format=memory)  # type: ignore[call-overload]
        # A fused optimizer does not report which steps the scaler skipped.
        self.optimizer = make_optimizer(
            self.config,
            self.model,
            lr,
            fused=not self.precision.scales,
            matrix_dtype=self.precision.matrix_dtype,
            graphs=mode(config, device, ranks) != "default",
        )
        self.scaler = self.precision.scaler()
        # The scaler skips steps whose gradients overflowed, but not what their forward passes did to norm statistics.
        buffers = self.model.buffers() if self.precision.scales else ()
        self._statistics = [buffer for buffer in buffers if buffer.is_floating_point()]
        self._loss = Loss(self.config, class_weights)
        self.updated = False
        self._forward: Any = self.model
        self._parallel: DistributedDataParallel | None = None
        if ranks.is_distributed:
            # Synchronized norms have equal buffers on all ranks; without them, rank 0's are broadcast. Newer torch has
            # another name for the option and warns about the old one.
            parameters = inspect.signature(DistributedDataParallel).parameters
            option = "forward_sync_buffers" if "forward_sync_buffers" in parameters else "broadcast_buffers"
            options: dict[str, Any] = {option: not config.run.sync_bn, "gradient_as_bucket_view": True}
            ids = [device.index] if device.type == "cuda" else None
            self._forward = self._parallel = DistributedDataParallel(self.model, device_ids=ids, **options)
        if self._compiles:
            # Once for each size of the input: code for dynamic shapes is slower.
            self._forward = torch.compile(self._forward, mode=mode(config, device, ranks), dynamic=False)
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
        before = torch._foreach_mul(self._statistics, 1) if self._statistics else ()
        if self.config.accumulate == 1:
            self.optimizer.zero_grad(set_to_none=True)
            loss, logits = self._backward(images, labels, mixture, 1)
        else:
            self._clear_gradients()
            loss, logits = self._accumulate(images, labels, mixture)
        if self.config.clip_grad:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip_grad)
        self.updated = False
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if before and not self.updated:
            torch._foreach_copy_(self._statistics, before)
        return loss, logits

    def _clear_gradients(self) -> None:
        """Before the parts of a batch. Compiled code may be a CUDA graph, whose next run uses its memory again.

        Gradients that are added up over its runs need memory of their own, which the first part would not give them.
        """
        self.optimizer.zero_grad(set_to_none=not self._compiles)
        if self._compiles:
            for parameter in self.model.parameters():
                if parameter.requires_grad and parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)

    def _backward(
        self, images: torch.Tensor, labels: torch.Tensor, mixture: Mixture | None, parts: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Adds the gradients of one of `parts` equal parts of a batch; returns its loss and logits."""
        with self.precision.autocast():
            logits = self._forward(images if mixture is None else mixture.images(images))
            loss = self._loss(logits.float(), labels, mixture)
        self.scaler.scale(loss if parts == 1 else loss / parts).backward()
        return loss.detach(), logits.detach()

    def _accumulate(
        self, images: torch.Tensor, labels: torch.Tensor, mixture: Mixture | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Adds the gradients of a batch part by part. Ranks exchange them once, behind the last part."""
        count = self.config.accumulate
        mixtures = [None] * count if mixture is None else mixture.parts(count)
        done = []
        for k, part in enumerate(zip(images.chunk(count), labels.chunk(count), mixtures, strict=True)):
            with nullcontext() if self._parallel is None or k == count - 1 else self._parallel.no_sync():
                loss, part_logits = self._backward(*part, count)
                done.append((loss, part_logits.clone() if self._compiles else part_logits))
        losses, logits = zip(*done, strict=True)
        return torch.stack(losses).mean(), torch.cat(logits)


def _check_parts(config: Config, ranks: Ranks) -> None:
    """Checks that a rank's batch falls into equal parts, of whole pairs if images are mixed."""
    count, images = config.optim.accumulate, config.loader.batch_size // ranks.world_size
    pairs = 2 if config.mix.mixup or config.mix.cutmix else 1
    if count > 1 and images % (count * pairs):
        raise InputError(
            f"`accumulate={count}`: a batch of {images} images does not fall into {count} equal parts"
            f"{' of whole pairs' if pairs == 2 else ''}; make `batch_size` a multiple of "
            f"{count * pairs * ranks.world_size}"
        )


def _allow_recompiles(sizes: ImageSizes | None) -> None:
    """Lets torch compile the network once for each size; after eight times it would run it without, silently."""
    needed = 8 + (len(sizes.starts) if sizes else 0)
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, needed)
