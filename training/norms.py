"""Batch norms' statistics, taken again for an evaluation.

Running means and variances fit the inputs and the weights that they were counted on. They are off for images of another
size (Touvron et al., "Fixing the train-test resolution discrepancy", NeurIPS 2019) and for an average of weights
(Izmailov et al., "Averaging weights leads to wider optima and better generalization", UAI 2018).
"""

import copy
from collections.abc import Callable

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from feedline.pipeline.loader import Loader
from feedline.progress import Progress
from feedline.training.precision import Precision
from feedline.training.ranks import ALONE, Ranks


@torch.no_grad()
def with_new_statistics(
    model: nn.Module,
    train: Loader,
    images: int,
    epoch: int,
    precision: Precision,
    *,
    ranks: Ranks = ALONE,
    after_batch: Callable[[], None] = lambda: None,
) -> nn.Module:
    """A copy of a model, in eval mode, whose batch norms have the mean statistics of the first batches of an epoch.

    The images are augmented as in training, at the size of evaluation. The model is unchanged.

    Args:
        model: images to logits.
        train: the loader of the train part.
        images: how many to take, over all ranks; rounded up to batches, and at most an epoch.
        epoch: its first images are taken.
        precision: as in training.
        ranks: each takes its share of every batch; all get the same statistics.
        after_batch: called after every batch, equally often on all ranks; an exception stops the work.
    """
    model = copy.deepcopy(model).eval()
    norms = _norms(model).values()
    for norm in norms:
        norm.train()
    train.set_epoch(epoch, output=train.eval_output)
    batches = min(-(-images // train.batch_size), len(train))
    progress = Progress(batches, 0, "norm statistics", unit="batch", quiet=not ranks.is_first)
    try:
        for number, (inputs, *_) in zip(range(1, batches + 1), train, strict=False):
            for norm in norms:
                norm.momentum = 1 / number  # the mean over the batches so far
            with precision.autocast():
                model(inputs)
            progress.update()
            after_batch()
    finally:
        progress.close()
        train.end_loop()
    for statistic in statistics(model).values():
        ranks.all_reduce(statistic).div_(ranks.world_size)
    return model.eval()


def statistics(model: nn.Module) -> dict[str, torch.Tensor]:
    """The running means and variances of a model's batch norms, as its state dict names them."""
    names = [f"{name}.{kind}" for name in _norms(model) for kind in ("running_mean", "running_var")]
    state = model.state_dict()
    return {name: state[name] for name in names}


def _norms(model: nn.Module) -> dict[str, _BatchNorm]:
    return {name: m for name, m in model.named_modules() if isinstance(m, _BatchNorm) and m.track_running_stats}
