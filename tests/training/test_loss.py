import pytest
import torch
from torch.nn import functional

from feedline import Dataset
from feedline.cli.build import make_loader
from feedline.training.config import OptimConfig
from feedline.training.loss import Loss, weights_of_classes
from feedline.training.mixing import Mixture
from tests.training.conftest import Make

WEIGHTS = torch.tensor([0.5, 1.0, 2.0])


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_weights_of_classes_weigh_images(smoothing: float) -> None:
    """Parts of a batch add up to the whole, whatever classes are in them."""
    logits, labels = torch.randn(8, 3), torch.tensor([0, 0, 0, 1, 2, 2, 2, 2])
    loss = Loss(OptimConfig(label_smoothing=smoothing), WEIGHTS)
    each = functional.cross_entropy(logits, labels, label_smoothing=smoothing, reduction="none")
    whole = loss(logits, labels, None)
    torch.testing.assert_close(whole, (each * torch.tensor([0.5, 0.5, 0.5, 1, 2, 2, 2, 2])).mean())
    halves = loss(logits[:4], labels[:4], None), loss(logits[4:], labels[4:], None)
    torch.testing.assert_close(whole, sum(halves) / 2)


def test_both_labels_of_a_mixed_image_have_their_weight() -> None:
    logits, labels = torch.randn(2, 3), torch.tensor([0, 2])
    mixture = Mixture(torch.full((2,), 0.25), torch.full((2,), 0.25), torch.zeros(2, 4, dtype=torch.int32))
    own, other = (functional.cross_entropy(logits, to, reduction="none") for to in (labels, labels.flip(0)))
    wanted = (0.25 * own * WEIGHTS[labels] + 0.75 * other * WEIGHTS[labels.flip(0)]).mean()
    torch.testing.assert_close(Loss(OptimConfig(), WEIGHTS)(logits, labels, mixture), wanted)


def test_balanced_weights_give_each_class_the_same_share(dataset: Dataset, config: Make) -> None:
    loader = make_loader(config(batch_size=4), dataset, "train", torch.device("cpu"))
    loader.plan.ids = loader.plan.ids[20:60]  # 4, 24 and 12 images of three classes, none of the fourth
    weights = weights_of_classes(OptimConfig(class_weights="balanced"), loader)
    assert weights is not None
    labels = torch.from_numpy(dataset.labels[loader.plan.ids].astype("int64"))
    images = torch.bincount(labels, minlength=4)
    assert 0 in images.tolist()
    assert len(set(images.tolist())) > 2
    shares = weights * images
    assert shares[images > 0].tolist() == pytest.approx([40 / 3] * 3)
    assert shares.sum().item() == pytest.approx(40), "the mean over the images is 1"
    assert weights_of_classes(OptimConfig(), loader) is None
