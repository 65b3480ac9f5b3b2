"""Evaluation: every image of a val part, exactly once."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from feedline.pipeline.loader import Loader
from feedline.training.precision import Precision
from feedline.training.ranks import ALONE, Ranks
from feedline.training.views import Views, mean_logits


@dataclass(frozen=True)
class Evaluation:
    """The result of an evaluation.

    Attributes:
        images: number of images.
        loss: mean cross entropy, without label smoothing.
        top1, top5: in percent; with fewer than five classes, top5 is 100.
        confusion: int64 [classes, classes]: number of images by class (row) and predicted class (column).
    """

    images: int
    loss: float
    top1: float
    top5: float
    confusion: torch.Tensor


@torch.no_grad()
def evaluate(
    model: nn.Module,
    loader: Loader,
    precision: Precision,
    *,
    views: Views | None = None,
    ranks: Ranks = ALONE,
    after_batch: Callable[[], None] = lambda: None,
) -> Evaluation:
    """Evaluates a model on every image of a loader. Each rank takes its share; all get the result.

    Args:
        model: images to logits; its train or eval mode is left unchanged.
        loader: a loader of a val part.
        precision: as in training.
        views: average the logits over these views of each image; None for the image alone.
        ranks: the ranks that share the work.
        after_batch: called after every global batch, equally often on all ranks; an exception stops the evaluation.
    """
    was_training = model.training
    model.eval()
    classes = loader.classes
    # Sums stay on the device until the end. In float64 the order of summation hardly matters.
    loss = torch.zeros(1, dtype=torch.float64, device=loader.device)
    hits = torch.zeros(3, dtype=torch.int64, device=loader.device)  # top-1, top-5, images
    confusion = torch.zeros(classes * classes, dtype=torch.int64, device=loader.device)
    try:
        for batch, labels in loader:
            with precision.autocast():
                logits = mean_logits(model, batch, views)
            logits = logits.float()
            loss += functional.cross_entropy(logits, labels, reduction="sum")
            ranked = logits.topk(min(5, classes), dim=1).indices
            correct = ranked == labels[:, None]
            hits += torch.stack([correct[:, 0].sum(), correct.sum(), torch.full_like(labels[0], len(labels))])
            confusion += torch.bincount(labels * classes + ranked[:, 0], minlength=classes * classes)
            after_batch()
        for _ in range(loader.batches - len(loader)):  # batches that are too short for this rank to get a share
            after_batch()
    finally:
        model.train(was_training)
        loader.close()
    for sums in (loss, hits, confusion):
        ranks.all_reduce(sums)
    top1, top5, images = hits.tolist()
    return Evaluation(
        images=images,
        loss=loss.item() / images,
        top1=100 * top1 / images,
        top5=100 * top5 / images,
        confusion=confusion.view(classes, classes).cpu(),
    )


def per_class(evaluation: Evaluation) -> list[float]:
    """Top-1 of each class, in percent; nan where a class has no image."""
    totals = evaluation.confusion.sum(1)
    return (100 * evaluation.confusion.diagonal().double() / totals).tolist()


def most_confused(evaluation: Evaluation, limit: int = 10) -> list[tuple[int, int, int]]:
    """The (class, predicted class, images) with the most wrong predictions, largest first."""
    wrong = evaluation.confusion.clone()
    wrong.fill_diagonal_(0)
    counts, indices = wrong.flatten().topk(min(limit, wrong.numel()))
    classes = len(wrong)
    return [(i // classes, i % classes, n) for n, i in zip(counts.tolist(), indices.tolist(), strict=True) if n]
