import numpy as np
import pytest

from feedline.pipeline.augment import RandAugment, TrivialAugment
from feedline.pipeline.augment.operations import OPERATIONS, edit
from feedline.pipeline.plan.edits import NOTHING, Edit
from tests.pipeline.augment.drawing import draw

SIZE = (20, 40)


def single(operation: str, share: float, sign: int = 1) -> Edit:
    """An operation of RandAugment for one image."""
    index = np.array([OPERATIONS.index(operation)])
    return edit(index, np.array([share]), np.array([sign]), RandAugment.MOST, SIZE)


def changed(done: Edit) -> dict[str, np.ndarray]:
    """For each part, which images it changes: bool [B]."""
    return {name: (array != NOTHING[name]).reshape(len(array), -1).any(axis=1) for name, array in done.parts.items()}


def source(done: Edit, x: float, y: float) -> list[float]:
    """The point of the image that a point of the result comes from."""
    return [round(float(v), 4) for v in done.parts["warp"][0] @ [x, y, 1]]


def test_operations_are_about_the_centre() -> None:
    assert source(single("shear-x", 1), 20, 10) == [20, 10]
    assert source(single("shear-x", 1), 20, 20) == [23, 10 + 10]
    assert source(single("shear-y", 0.5, -1), 30, 10) == [30, 8.5]
    assert source(single("rotate", 1), 20, 10) == [20, 10]
    turned = source(single("rotate", 1), 30, 10)
    assert np.hypot(turned[0] - 20, turned[1] - 10) == pytest.approx(10, abs=1e-3)
    assert np.degrees(np.arctan2(abs(turned[1] - 10), turned[0] - 20)) == pytest.approx(30, abs=0.01)
    assert source(single("translate-x", 331 / 1500), 0, 0) == [4, 0]
    assert source(single("translate-y", 331 / 1500, -1), 0, 0) == [0, -2]


def test_levels_are_solarized_and_posterized_more_with_strength() -> None:
    assert [int(single("solarize", s).parts["solarize"][0]) for s in (0, 0.5, 1)] == [255, 128, 0]
    assert [int(single("posterize", s).parts["posterize"][0]) for s in (0, 0.5, 1)] == [0xFF, 0xFC, 0xF0]


def test_an_operation_is_one_part_and_identity_is_none() -> None:
    for operation in OPERATIONS:
        parts = [name for name, images in changed(single(operation, 0.7)).items() if images.any()]
        assert len(parts) == (operation != "identity")


def test_each_operation_of_trivial_augment_is_as_likely_and_strengths_vary() -> None:
    (done,) = TrivialAugment().edits(draw(22_000, 8, 8), SIZE)
    images = changed(done)
    shares = {name: chosen.mean() * len(OPERATIONS) for name, chosen in images.items()}
    # Of 31 strengths the weakest changes nothing, or posterizes too little for a bit.
    assert shares["warp"] == pytest.approx(5, abs=0.3)
    assert shares["color"] == pytest.approx(3, abs=0.25)
    assert shares["solarize"] == pytest.approx(1, abs=0.1)
    assert shares["posterize"] == pytest.approx(1, abs=0.15)
    assert np.sum(list(images.values()), axis=0).max() == 1
    assert len(np.unique(done.parts["solarize"])) == 32
    moved = done.parts["warp"][:, 0, 2] - 20 + done.parts["warp"][:, 0, :2] @ [20, 10]
    assert moved.max() == pytest.approx(40 / 7, rel=1e-4)
    assert moved.min() == pytest.approx(-40 / 7, rel=1e-4)


def test_rand_augment_does_different_operations_in_turn() -> None:
    edits = RandAugment(n=3, m=15).edits(draw(5000, 8, 8), SIZE)
    assert len(edits) == 3
    warped = [changed(done)["warp"] for done in edits]
    for a, b in ((0, 1), (1, 2), (0, 2)):
        both = (warped[a] & warped[b]).mean()
        assert both == pytest.approx((5 / 11) ** 2, abs=0.04), "drawn independently"
    assert set(np.unique(edits[0].parts["solarize"]).tolist()) == {128, 256}
