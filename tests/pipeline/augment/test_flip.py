import pytest

from feedline.pipeline.augment import AlternatingFlip, Flip
from tests.pipeline.augment.drawing import draw


def test_half_of_the_images_are_mirrored() -> None:
    flips = Flip().flips(draw(81 * 200, 64, 64))
    assert flips.dtype == bool
    assert abs(flips.mean() - 0.5) < 0.02


def test_epochs_and_seeds_mirror_different_images() -> None:
    base = Flip().flips(draw(1000, 8, 8)).tolist()
    assert Flip().flips(draw(1000, 8, 8)).tolist() == base
    for other in (draw(1000, 8, 8, seed=1), draw(1000, 8, 8, epoch=1)):
        agreeing = sum(a == b for a, b in zip(Flip().flips(other).tolist(), base, strict=True))
        assert 400 < agreeing < 600


@pytest.mark.parametrize("seed", [0, 1])
def test_alternating_flips_show_each_image_both_ways_in_turn(seed: int) -> None:
    epochs = [AlternatingFlip().flips(draw(1000, 8, 8, seed=seed, epoch=epoch)) for epoch in range(4)]
    assert epochs[0].tolist() == Flip().flips(draw(1000, 8, 8, seed=seed)).tolist()
    assert epochs[1].tolist() == (~epochs[0]).tolist() == epochs[3].tolist()
    assert epochs[2].tolist() == epochs[0].tolist()


def test_seeds_alternate_different_images() -> None:
    a, b = (AlternatingFlip().flips(draw(1000, 8, 8, seed=seed, epoch=5)) for seed in (0, 1))
    assert 400 < (a == b).sum() < 600
