import copy
import csv

import pytest
import torch
from torch import nn

from feedline import Dataset, InputError
from feedline.cli.build import make_loader
from feedline.training import checkpoint
from feedline.training.config import Config
from feedline.training.evaluate import evaluate
from feedline.training.norms import statistics, with_new_statistics
from feedline.training.precision import Precision
from feedline.training.snapshot import Snapshot
from tests.training.conftest import Build, Make, fit_until, same, small_model, weights

CPU = torch.device("cpu")


def renewed(c: Config, dataset: Dataset, model: nn.Module, images: int, epoch: int = 0) -> nn.Module:
    train = make_loader(c, dataset, "train", CPU)
    return with_new_statistics(model, train, images, epoch, Precision.choose(c.run, CPU))


def test_the_statistics_are_those_of_the_images(config: Make, dataset: Dataset) -> None:
    """Of the first batches of an epoch, at the size of evaluation. The model is as before."""
    c = config(image_size="16@0,24@1", eval_size=32)
    model = small_model().train()
    before = copy.deepcopy(model.state_dict())
    new = renewed(c, dataset, model, images=40, epoch=1)
    assert same(model.state_dict(), before)
    assert model.training
    assert not any(module.training for module in new.modules())
    train = make_loader(c.replace(image_size=32), dataset, "train", CPU)
    train.set_epoch(1)
    batches = [images for _, (images, _) in zip(range(3), train, strict=False)]
    means, variances = [], []
    with torch.no_grad():
        for batch in batches:
            assert batch.shape == (16, 3, 32, 32)
            maps = model[0](batch)  # type: ignore[index]
            means.append(maps.mean((0, 2, 3)))
            variances.append(maps.var((0, 2, 3)))
    torch.testing.assert_close(statistics(new)["1.running_mean"], torch.stack(means).mean(0))
    torch.testing.assert_close(statistics(new)["1.running_var"], torch.stack(variances).mean(0))
    assert same({k: v for k, v in new.state_dict().items() if k in dict(model.named_parameters())},
                dict(model.named_parameters()))  # fmt: skip


def test_more_images_than_an_epoch_has(config: Make, dataset: Dataset) -> None:
    model = small_model()
    every, most = (statistics(renewed(config(), dataset, model, images=n)) for n in (96, 10_000))
    assert same(every, most)
    assert not same(every, statistics(renewed(config(), dataset, model, images=16)))


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_training_does_not_notice(config: Make, trainer: Build, ema: float) -> None:
    """Weights and buffers of training stay the same to the bit, also at another size, also in mid-epoch resumes."""
    options = {"image_size": "16@0,24@1", "eval_size": 32, "ema": ema, "log_every": 1}
    plain = trainer(config(**options), "plain")
    plain.fit()
    c = config(norm_images=48, **options)
    whole = trainer(c, "whole")
    whole.fit()
    assert same(weights(whole), weights(plain))
    rows = [[row["val_loss"] for row in run.state.position.history] for run in (plain, whole)]
    assert all(a != b for a, b in zip(*rows, strict=True)), "but the evaluations do"
    part = fit_until(trainer, c, "part", 9)
    rest = trainer(c, "part", checkpoint.load_last(part.out))
    rest.fit()
    assert same(weights(rest), weights(whole))
    assert [row["val_loss"] for row in rest.state.position.history] == rows[1]


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_a_checkpoint_repeats_the_number_of_its_evaluation(
    config: Make, trainer: Build, dataset: Dataset, ema: float
) -> None:
    c = config(image_size=16, eval_size=32, ema=ema, norm_images=48)
    run = trainer(c)
    run.fit()
    rows = {int(row["epoch"]): row for row in csv.DictReader((run.out / "metrics.csv").open())}
    for name in ("best.pt", "last.pt"):
        snapshot = checkpoint.load(run.out / name)
        model = small_model()
        model.load_state_dict(snapshot.weights)
        again = evaluate(model, make_loader(c, dataset, "val", CPU), Precision.choose(c.run, CPU))
        assert again.loss == pytest.approx(float(rows[snapshot.position.epoch]["val_loss"]), abs=1e-5)
        trained = snapshot.average or snapshot.model
        assert not same(trained, snapshot.weights), "a resumed run goes on with the statistics of training"
    assert same(checkpoint.load(run.out / "last.pt").model, dict(run.state.model.state_dict()))


def test_a_checkpoint_in_mid_epoch_has_the_statistics_of_training(config: Make, trainer: Build) -> None:
    part = fit_until(trainer, config(norm_images=16, log_every=1), "part", 8)
    snapshot = checkpoint.load_last(part.out)
    assert snapshot.position.step == 2
    assert same(snapshot.weights, snapshot.model)


def test_an_old_checkpoint_has_none(config: Make, trainer: Build) -> None:
    run = trainer(config(epochs=1))
    run.fit()
    content = torch.load(run.out / "best.pt", weights_only=True)
    del content["norms"], content["config"]["norm_images"], content["config"]["eval_every"]
    assert Snapshot.from_dict(content).norms is None


def test_a_negative_number_is_refused() -> None:
    with pytest.raises(InputError, match="norm_images=-1: must be at least 0"):
        Config.build("x", {"norm_images": -1})
