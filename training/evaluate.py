"""Evaluation: every image of a val part, exactly once."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from feedline.pipeline.loader import Loader
from feedline.progress import Progress
from feedline.training.class_figures import Confusion, balanced_accuracy, differ_in_size, macro_f1
from feedline.training.precision import Precision
from feedline.training.predictions import KEPT, Collector, Predictions
from feedline.training.ranks import ALONE, Ranks
from feedline.training.views import Views, mean_logits


@dataclass(frozen=True)
class Evaluation:
    """The result of an evaluation.

    Attributes:
        images: number of images.
        loss: mean cross entropy, without label smoothing.
        top1, top5: in percent; top5 is None with five classes or fewer, where it would be 100 whatever is predicted.
        confusion: int64 [classes, classes]: images by class (row) and predicted class (column).
        predictions: for each image.
    """

    images: int
    loss: float
    top1: float
    top5: float | None
    confusion: Confusion
    predictions: Predictions

    @property
    def uneven(self) -> bool:
        """Whether the classes differ in size, so that `balanced` and `macro_f1` say more than top-1."""
        return differ_in_size(self.confusion)

    @property
    def balanced(self) -> float:
        """Balanced accuracy: the mean of the classes' top-1, in percent."""
        return balanced_accuracy(self.confusion)

    @property
    def macro_f1(self) -> float:
        """The mean of the classes' F1, in percent."""
        return macro_f1(self.confusion)


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
    # Stays on the device until the end. In float64 the order of summation hardly matters.
    loss = torch.zeros(1, dtype=torch.float64, device=loader.device)
    collector = Collector(loader)
    progress = Progress(loader.batches, 0, "evaluating", unit="batch", quiet=not ranks.is_first)
    try:
        for batch, labels in loader:
            with precision.autocast():
                logits = mean_logits(model, batch, views)
            loss += functional.cross_entropy(logits, labels, reduction="sum")
            assert loader.planned is not None
            collector.add(loader.planned.ids, logits)
            progress.update()
            after_batch()
        for _ in range(loader.batches - len(loader)):  # batches that are too short for this rank to get a share
            after_batch()
    finally:
        progress.close()
        model.train(was_training)
        loader.close()
    ranks.all_reduce(loss)
    predictions = collector.finish(ranks)
    images, hits = len(predictions), predictions.top == predictions.labels[:, None]
    return Evaluation(
        images=images,
        loss=loss.item() / images,
        top1=100 * int(hits[:, 0].sum()) / images,
        top5=100 * int(hits.sum()) / images if loader.classes > KEPT else None,
        confusion=predictions.confusion(loader.classes),
        predictions=predictions,
    )
