"""The loss of a training step, and the weights of classes in it."""

import numpy as np
import torch
from torch.nn import functional

from feedline.pipeline.loader import Loader
from feedline.training.config import OptimConfig
from feedline.training.mixing import Mixture, partners


class Loss:
    """The mean cross entropy of a batch, with label smoothing, mixed labels and weights of classes.

    With weights it is the sum of the images' losses times the weights of their classes, divided by the number of
    images, not by the sum of the weights as torch's is: so parts of a batch and ranks add up to the whole batch.

    Args:
        config: the label smoothing.
        weights: float32 [classes] on the device, with a mean of 1 over the train images; None if all count the same.
    """

    def __init__(self, config: OptimConfig, weights: torch.Tensor | None = None) -> None:
        self._smoothing, self._weights = config.label_smoothing, weights

    def __call__(self, logits: torch.Tensor, labels: torch.Tensor, mixture: Mixture | None) -> torch.Tensor:
        """The loss, a scalar.

        Args:
            logits: float32 [B, classes].
            labels: int64 [B].
            mixture: how the labels are mixed, if they are: share * loss(own label) + (1 - share) * loss(partner's).
        """
        if mixture is None and self._weights is None:
            return functional.cross_entropy(logits, labels, label_smoothing=self._smoothing)
        own = self._each(logits, labels)
        if mixture is None:
            return own.mean()
        return torch.lerp(self._each(logits, partners(labels)), own, mixture.share).mean()

    def _each(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """The weighted loss of each image to a label, [B]."""
        loss = functional.cross_entropy(logits, labels, label_smoothing=self._smoothing, reduction="none")
        return loss if self._weights is None else loss * self._weights[labels]


def weights_of_classes(config: OptimConfig, train: Loader) -> torch.Tensor | None:
    """The weights of a run's classes, float32 [classes] on the loader's device; None if all count the same.

    `balanced`: images / (classes * images of the class), over the classes with images, as scikit-learn has it.
    """
    if config.class_weights == "none":
        return None
    images = np.bincount(train.folder.labels[train.plan.ids], minlength=train.classes)
    weights = images.sum() / (np.count_nonzero(images) * np.maximum(images, 1))
    return torch.from_numpy(np.where(images > 0, weights, 0).astype(np.float32)).to(train.device)
