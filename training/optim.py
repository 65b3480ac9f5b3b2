"""Optimizer, learning rate schedule and moving average of the weights."""

import copy
from collections.abc import Iterable

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR

from feedline.training.config import OptimConfig
from feedline.training.muon import Muon


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Two groups: weights, with decay, and norms and biases (all with one dimension), without."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]


def muon_groups(config: OptimConfig, model: nn.Module, lr: float) -> list[dict[str, object]]:
    """The filters of all convolutions but the first, and what SGD trains: weights with decay, all others without.

    `lr_ratio` is the group's learning rate / that of the filters.
    """
    filters = [p for p in model.parameters() if p.requires_grad and p.ndim == 4][1:]
    taken = {id(p) for p in filters}
    first: dict[str, object] = {"params": filters, "weight_decay": config.weight_decay, "filters": True}
    rest = parameter_groups(model, config.weight_decay)
    for group in rest:
        group["params"] = [p for p in group["params"] if id(p) not in taken]  # type: ignore[attr-defined]
        group |= {"lr": lr * config.muon_sgd_ratio, "lr_ratio": config.muon_sgd_ratio}
    return [first | {"lr_ratio": 1.0, "momentum": config.muon_momentum}, *rest]


def make_optimizer(
    config: OptimConfig,
    model: nn.Module,
    lr: float,
    *,
    fused: bool,
    matrix_dtype: torch.dtype = torch.float32,
    graphs: bool = False,
) -> torch.optim.Optimizer:
    """Builds the optimizer.

    Args:
        config: kind, momentum, decay.
        model: the model to train.
        lr: learning rate at the start.
        fused: one kernel per step; False with a gradient scaler: a fused optimizer does not report skipped steps.
            Then a few kernels for all parameters together; torch would take some for each if it were told nothing.
        matrix_dtype: in which muon makes matrices orthogonal: bf16 or float32.
        graphs: whether muon may use a CUDA graph.
    """
    if config.optimizer == "muon":
        return Muon(
            muon_groups(config, model, lr),
            lr,
            config.momentum,
            steps=config.muon_steps,
            renorm=config.muon_renorm,
            dtype=matrix_dtype,
            fused=fused,
            graphs=graphs,
        )
    groups = parameter_groups(model, config.weight_decay)
    way = {"fused": True} if fused else {"foreach": True}
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=lr, momentum=config.momentum, nesterov=config.momentum > 0, **way)
    kind = torch.optim.Adam if config.optimizer == "adam" else torch.optim.AdamW
    return kind(groups, lr=lr, betas=(config.momentum, 0.999), **way)


def make_schedule(config: OptimConfig, optimizer: torch.optim.Optimizer, steps_per_epoch: int) -> LRScheduler:
    """Builds the schedule of the learning rate over all epochs, one step per batch.

    One cycle: Smith and Topin, "Super-convergence", 2018. Trapezoid: Haegele et al., "Scaling laws and compute-optimal
    training beyond fixed training durations", 2024. The peak is reached at the last batch of epoch `peak_epoch`.
    """
    if config.max_lr == "auto":
        raise ValueError("max_lr must be a number here")
    peaks = [config.max_lr * group.get("lr_ratio", 1.0) for group in optimizer.param_groups]
    total = config.epochs * steps_per_epoch
    if config.schedule == "trapezoid":
        for group, peak in zip(optimizer.param_groups, peaks, strict=True):
            group["initial_lr"] = peak
        return LambdaLR(optimizer, lambda step: trapezoid(config, step, total))
    total = max(total, 2)  # a single step would have the rate of the end
    return OneCycleLR(
        optimizer,
        max_lr=peaks,
        total_steps=total,
        pct_start=_rise(config.warmup, total),
        anneal_strategy=config.anneal,
        cycle_momentum=config.cycle_momentum,
        div_factor=config.div_factor,
        final_div_factor=config.final_div_factor,
    )


def _rise(share: float, total: int) -> float:
    """The share of a cycle that rises, so that some step is near the peak.

    torch divides by the steps of the rise - 1: a rise of a single step is made a little shorter, and is the peak.
    """
    share = min(share, 1 - 1 / total)
    return share * (1 - 1e-9) if abs(share * total - 1) < 1e-9 else share


def trapezoid(config: OptimConfig, step: int, total: int) -> float:
    """The learning rate of a step / the peak: a linear rise, the peak, a linear fall that would be 0 after the end.

    Args:
        config: how long the parts are.
        step: from 0.
        total: number of steps of the run.
    """
    last_of_rise = config.warmup * total - 1
    start, done = 1 / config.div_factor, step / last_of_rise if step < last_of_rise else 1.0
    left = (total - step) / (config.cooldown * total) if config.cooldown else 1.0
    return min(start + (1 - start) * done, max(left, 0.0))


class WeightAverage:
    """An exponential moving average of a model's weights and buffers.

    torch's AveragedModel does the same, but reads a counter from the device at every step, which is a GPU sync.

    Args:
        model: the model to average; it is copied.
        decay: weight of the old average in an update. Update n uses min(decay, (1 + n) / (10 + n)), so that the
            random initial weights fade quickly.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.decay = decay
        self.updates = 0
        pairs = list(zip(self._tensors(self.model), self._tensors(model), strict=True))
        self._floats = [(a, m) for a, m in pairs if a.is_floating_point()]
        self._counters = [(a, m) for a, m in pairs if not a.is_floating_point()]  # one a norm

    @staticmethod
    def _tensors(model: nn.Module) -> Iterable[torch.Tensor]:
        return [t.detach() for t in (*model.parameters(), *model.buffers())]

    def update(self) -> None:
        """Updates the average with the model's current weights."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        torch._foreach_lerp_([a for a, _ in self._floats], [m for _, m in self._floats], 1 - decay)
        if self._counters:
            torch._foreach_copy_([a for a, _ in self._counters], [m for _, m in self._counters])
