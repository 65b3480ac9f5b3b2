import numpy as np
import pytest
from PIL import Image, ImageEnhance

from feedline.pipeline.augment import ColorJitter, colors
from tests.pipeline.augment.drawing import draw

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 3)).astype(float)


def applied(matrix: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(PIXELS @ matrix[0, :, :3].T + matrix[0, :, 3]), 0, 255)


@pytest.mark.parametrize("factor", [0.0, 0.6, 1.0, 1.7])
@pytest.mark.parametrize(
    ("change", "enhance"), [(colors.brightness, ImageEnhance.Brightness), (colors.saturation, ImageEnhance.Color)]
)
def test_changes_are_pillows_to_a_level(change: object, enhance: object, factor: float) -> None:
    image = Image.fromarray(PIXELS[None].astype(np.uint8))
    wanted = np.asarray(enhance(image).enhance(factor))[0].astype(float)  # type: ignore[operator]
    assert np.abs(applied(change(np.array([factor]))) - wanted).max() <= 1 + factor  # type: ignore[operator]


def test_contrast_is_around_mid_gray() -> None:
    assert (applied(colors.contrast(np.array([0.0]))) == 128).all()
    np.testing.assert_allclose(applied(colors.contrast(np.array([0.5]))), PIXELS / 2 + 63.75, atol=0.51)


def test_hue_turns_colors_and_leaves_gray_and_luma() -> None:
    turned = colors.hue(np.array([1 / 3]))[0, :, :3]
    np.testing.assert_allclose(turned @ [1, 1, 1], [1, 1, 1], atol=1e-9)
    np.testing.assert_allclose(turned @ turned @ turned, np.eye(3), atol=1e-9)
    np.testing.assert_allclose(colors.LUMA @ turned, colors.LUMA, atol=1e-9)
    assert (turned @ [255, 0, 0]).argmax() == 1, "red becomes green, as in HSV"


def test_factors_are_uniform_in_their_range() -> None:
    (edit,) = ColorJitter(brightness=0.4, contrast=0, saturation=0).edits(draw(5000, 8, 8), (8, 8))
    assert edit.color is not None
    factors = edit.color[:, 0, 0]
    np.testing.assert_allclose(edit.color, factors[:, None, None] * np.eye(3, 4), atol=1e-5)
    assert 0.6 <= factors.min() < 0.61
    assert 1.39 < factors.max() <= 1.4
    assert factors.var() == pytest.approx(0.8**2 / 12, rel=0.05)


def test_without_strength_nothing_changes_and_the_factor_is_never_negative() -> None:
    (edit,) = ColorJitter(0, 0, 0, 0).edits(draw(50, 8, 8), (8, 8))
    np.testing.assert_allclose(edit.parts["color"], np.broadcast_to(np.eye(3, 4), (50, 3, 4)), atol=1e-6)
    (strong,) = ColorJitter(brightness=3, contrast=0, saturation=0).edits(draw(500, 8, 8), (8, 8))
    assert strong.parts["color"][:, 0, 0].min() >= 0
