import math
from typing import Any

import numpy as np
import pytest

from feedline.pipeline.augment import Augmentations, Center
from feedline.pipeline.plan import Mix, Plan
from feedline.pipeline.plan.mixing import beta_quantile

MANY = np.arange(20_000, dtype=np.int64)
U = np.linspace(0.0005, 0.9995, 1999)


def plan(**changes: Any) -> Plan:
    sizes = np.array([64, 64])
    return Plan(
        np.arange(1000, dtype=np.int64),
        lambda ids: np.broadcast_to(sizes, (len(ids), 2)),
        batch_size=48,
        augment=Augmentations((64, 64), Center()),
        shuffle=True,
        **changes,
    )


@pytest.mark.parametrize("alpha", [0.05, 0.2, 0.5, 1.0, 2.0, 10.0, 100.0])
def test_quantiles_have_the_moments_of_a_beta_distribution(alpha: float) -> None:
    u = (np.arange(200_000) + 0.5) / 200_000
    lam = beta_quantile(alpha, u)
    assert (np.diff(lam) >= 0).all()
    assert lam.min() >= 0
    assert lam.max() <= 1
    assert lam.mean() == pytest.approx(0.5, abs=1e-9)
    assert lam.var() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=1e-4)


def test_quantiles_where_there_is_a_formula() -> None:
    assert beta_quantile(1.0, U).tolist() == U.tolist(), "uniform"
    np.testing.assert_allclose(beta_quantile(0.5, U), np.sin(math.pi * U / 2) ** 2, atol=1e-7)
    lam = beta_quantile(2.0, U)
    np.testing.assert_allclose(3 * lam**2 - 2 * lam**3, U, atol=1e-7)


def test_mixup_blends_both_of_a_pair_alike_and_cuts_nothing() -> None:
    batch = Mix(mixup=0.2).batch(MANY, (32, 32), seed=1, epoch=2)
    assert len(batch.share) == 40_000
    assert batch.share[::2].tolist() == batch.share[1::2].tolist() == batch.blend[::2].tolist()
    assert batch.box[:, 2:].max() == 0
    assert batch.share.var() == pytest.approx(1 / 5.6, rel=0.03)
    assert ((batch.share >= 0) & (batch.share <= 1)).all()


def test_cutmix_cuts_boxes_whose_real_area_is_the_share() -> None:
    batch = Mix(cutmix=1.0).batch(MANY, (24, 40), seed=1, epoch=2)
    y, x, height, width = batch.box.astype(int).T
    assert min(y.min(), x.min(), height.min(), width.min()) == 0
    assert ((y + height <= 24) & (x + width <= 40)).all()
    np.testing.assert_allclose(batch.share, 1 - height * width / 960, atol=1e-6)
    assert (batch.blend == 1).all()
    assert batch.box[::2].tolist() == batch.box[1::2].tolist()
    # Before it is cut off at the border, a box has the shape of the image and a share that is uniform.
    whole = (y > 0) & (x > 0) & (y + height < 24) & (x + width < 40) & (height > 8)
    assert whole.sum() > 1000
    assert np.abs(width[whole] / height[whole] - 40 / 24).max() < 0.4
    assert 0.6 < batch.share.mean() < 0.75, "half of the area is asked for, a part of which is outside"


@pytest.mark.parametrize(("prob", "expected"), [(1.0, 0.5), (0.4, 0.2), (0.0, 0.0)])
def test_with_both_each_mixed_pair_takes_one(prob: float, expected: float) -> None:
    batch = Mix(mixup=1.0, cutmix=1.0, prob=prob).batch(MANY, (32, 32), seed=0, epoch=0)
    blended, cut = batch.blend < 1, batch.box[:, 2] > 0
    assert not (blended & cut).any()
    assert blended.mean() == pytest.approx(expected, abs=0.02)
    assert cut.mean() == pytest.approx(expected, abs=0.03), "some boxes are smaller than a pixel"
    assert (batch.share[~blended & ~cut] == 1).all()


def test_seeds_and_epochs_mix_differently_and_the_same_ones_alike() -> None:
    base = Mix(mixup=1.0).batch(MANY, (8, 8), seed=0, epoch=0).share.tolist()
    assert Mix(mixup=1.0).batch(MANY, (8, 8), seed=0, epoch=0).share.tolist() == base
    for seed, epoch in ((1, 0), (0, 1)):
        other = Mix(mixup=1.0).batch(MANY, (8, 8), seed=seed, epoch=epoch).share.tolist()
        assert sum(a == b for a, b in zip(other, base, strict=True)) < 10


def test_ranks_and_batches_have_their_share_of_the_same_pairs() -> None:
    mix, size = Mix(mixup=0.4, cutmix=1.0), (16, 16)
    seen = []
    for k in range(3):
        whole = plan().mixing(mix, 1, k, size)
        seen += whole.share.tolist()
        for world in (2, 4):
            parts = [plan(rank=rank, world_size=world).mixing(mix, 1, k, size) for rank in range(world)]
            for name in ("share", "blend", "box"):
                assert np.concatenate([getattr(p, name) for p in parts]).tolist() == getattr(whole, name).tolist()
    assert len(set(seen)) > 60, "every pair of an epoch is drawn anew"
