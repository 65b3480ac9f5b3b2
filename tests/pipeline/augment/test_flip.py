from feedline.pipeline.augment import Flip
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
