import csv
import json

import pytest
import torch
from torch.nn import functional

from feedline import Dataset, InputError
from feedline.cli.build import make_loader
from feedline.training import checkpoint
from feedline.training.config import Config, OptimConfig
from feedline.training.loss import Loss
from feedline.training.mixing import MixConfig, Mixing, Mixture, partners
from feedline.training.ranks import Ranks
from feedline.training.step import TrainStep
from tests.training.conftest import Build, Make, fit_until, same, small_model, weights

NOTHING = [0, 0, 0, 0]


def mixture(share: list[float], blend: list[float], box: list[list[int]]) -> Mixture:
    return Mixture(torch.tensor(share), torch.tensor(blend), torch.tensor(box, dtype=torch.int32))


def batch(count: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    return torch.randn(count, 3, 6, 8).to(memory_format=torch.channels_last), torch.arange(count) % 3


def test_partners_change_places() -> None:
    assert partners(torch.arange(6)).tolist() == [1, 0, 3, 2, 5, 4]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_images_are_blended_and_pasted(dtype: torch.dtype) -> None:
    images = batch(6)[0].to(dtype)
    mixed = mixture(
        [0.25, 0.25, 1, 1, 0.75, 0.75], [0.25, 0.25, 1, 1, 1, 1], [NOTHING] * 4 + [[1, 2, 3, 4]] * 2
    ).images(images)
    assert mixed.dtype == dtype
    assert mixed.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(mixed[0], 0.25 * images[0] + 0.75 * images[1], atol=2e-3, rtol=2e-3)
    torch.testing.assert_close(mixed[1], 0.25 * images[1] + 0.75 * images[0], atol=2e-3, rtol=2e-3)
    assert torch.equal(mixed[2:4], images[2:4]), "these are left as they are"
    wanted = images[4:].clone()
    wanted[:, :, 1:4, 2:6] = images[4:, :, 1:4, 2:6].flip(0)
    assert torch.equal(mixed[4:], wanted)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_is_that_of_both_labels(smoothing: float) -> None:
    logits, labels = torch.randn(4, 3), torch.tensor([0, 2, 1, 1])
    share = torch.tensor([0.3, 0.3, 1, 1])
    own, other = functional.one_hot(labels, 3).float(), functional.one_hot(labels[[1, 0, 3, 2]], 3).float()
    target = share[:, None] * own + (1 - share[:, None]) * other
    wanted = functional.cross_entropy(logits, target, label_smoothing=smoothing)
    mixed = Mixture(share, share, torch.zeros(4, 4, dtype=torch.int32))
    torch.testing.assert_close(Loss(OptimConfig(label_smoothing=smoothing))(logits, labels, mixed), wanted)


def test_a_step_trains_on_the_mixed_batch(config: Make) -> None:
    images, labels = batch()
    mixed = mixture([0.4] * 4, [0.4] * 4, [NOTHING] * 4)
    step = TrainStep(config(label_smoothing=0.1), small_model(), torch.device("cpu"), 0.01)
    loss, logits = step(images, labels, mixed)
    plain = small_model().train()(mixed.images(images))
    torch.testing.assert_close(logits, plain.detach())
    torch.testing.assert_close(loss, Loss(OptimConfig(label_smoothing=0.1))(plain, labels, mixed).detach())


MIXED = {"mixup": 0.4, "cutmix": 1.0, "mix_prob": 0.8}


def test_training_accuracy_is_not_claimed_where_labels_are_mixed(config: Make, trainer: Build) -> None:
    run = trainer(config(epochs=3, mix_until=0.5, **MIXED))
    summary = run.fit()
    rows = list(csv.DictReader((run.out / "metrics.csv").open()))
    assert [row["train_top1"] == "" for row in rows] == [True, True, False], "an epoch is mixed as a whole"
    assert all(float(row["train_loss"]) > 0 for row in rows)
    lines = [json.loads(line) for line in (run.out / "log.jsonl").read_text().splitlines()]
    assert [line["top1"] is None for line in lines if "top1" in line] == [True] * 6 + [False] * 3
    assert summary["last"]["train_top1"] is not None
    last = trainer(config(epochs=1, **MIXED), "mixed").fit()["last"]
    assert last["train_top1"] is None


@pytest.mark.parametrize(
    ("share", "epochs", "mixed"), [(0.55, 100, 55), (0.14, 50, 7), (0.5, 3, 2), (0.0, 5, 0), (1.0, 7, 7), (0.34, 3, 2)]
)
def test_an_epoch_is_mixed_if_it_begins_in_the_share(share: float, epochs: int, mixed: int) -> None:
    assert MixConfig(cutmix=1.0, mix_until=share).mixed(epochs) == mixed


def test_lines_show_no_training_accuracy_where_labels_are_mixed(
    config: Make, trainer: Build, capsys: pytest.CaptureFixture[str]
) -> None:
    trainer(config(epochs=2, mix_until=0.5, **MIXED)).fit()
    first, second = (line for line in capsys.readouterr().out.splitlines() if line.startswith("epoch"))
    assert first.count("top-1") == 1
    assert second.count("top-1") == 2


def test_a_mixed_run_is_resumed_to_the_bit(config: Make, trainer: Build) -> None:
    c = config(log_every=1, epochs=2, **MIXED)
    whole, plain = trainer(c, "whole"), trainer(config(log_every=1, epochs=2), "plain")
    whole.fit()
    plain.fit()
    assert not same(weights(whole), weights(plain))
    for stop in (3, 6, 8):
        fit_until(trainer, c, f"stopped-{stop}", stop)
        rest = trainer(c, f"stopped-{stop}", checkpoint.load(whole.out.parent / f"stopped-{stop}/last.pt"))
        rest.fit()
        assert same(weights(rest), weights(whole))
        rows = [r["train_top1"] for r in rest.state.position.history]
        assert rows == [None, None]


def test_boxes_and_edits_fit_the_size_of_each_epoch(config: Make, trainer: Build) -> None:
    """A box that was drawn for another size would reach outside, or be cut off and miss its share."""
    c = config(epochs=2, image_size="16@0,24@1", augment=("trivial-augment", "erasing:p=1"), log_every=1, **MIXED)
    whole = trainer(c, "whole")
    whole.fit()
    fit_until(trainer, c, "part", 8)
    rest = trainer(c, "part", checkpoint.load(whole.out.parent / "part/last.pt"))
    rest.fit()
    assert same(weights(rest), weights(whole))
    images = next(iter(whole.train))[0]
    boxes = whole.train.plan.batch(1, 0).edits[1].parts["erase"]
    assert images.shape[2:] == (24, 24)
    assert 16 < (boxes[:, :2] + boxes[:, 2:]).max() <= 24
    whole.train.close()
    mixed = whole.state.mixing.of(1, 0, images)
    assert mixed is not None
    assert 16 < (mixed.box[:, :2] + mixed.box[:, 2:]).max() <= 24


def test_a_batch_without_pairs_is_refused(config: Make, trainer: Build, dataset: Dataset) -> None:
    with pytest.raises(InputError, match=r"^batch_size=15: mixup and cutmix pair the images .* a multiple of 2$"):
        trainer(config(batch_size=15, mixup=0.2))
    trainer(config(batch_size=15))
    c = config(batch_size=18, mixup=0.2)
    loader = make_loader(c, dataset, "train", torch.device("cpu"), Ranks(1, 2, 1, 2))
    with pytest.raises(InputError, match="a multiple of 4"):
        Mixing(c.mix, loader, 3)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"mixup": -1.0}, "mixup=-1.0: must be 0, or from 0.01 to 100"),
        ({"cutmix": 1000.0}, "cutmix=1000.0: must be 0, or"),
        ({"mix_prob": 1.5}, "mix_prob=1.5: must be from 0 to 1"),
        ({"mix_until": float("nan")}, "mix_until=nan: must be from 0 to 1"),
    ],
)
def test_wrong_values_are_refused(values: dict[str, float], message: str) -> None:
    with pytest.raises(InputError) as caught:
        Config.build("x", values)
    assert str(caught.value).startswith(message)


@pytest.mark.gpu
def test_mixing_on_the_gpu(config: Make, trainer: Build) -> None:
    result = trainer(config(device="cuda", amp=True, epochs=2, **MIXED)).fit()
    assert result["last"]["train_top1"] is None
