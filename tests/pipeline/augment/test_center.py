import numpy as np
import pytest

from feedline import InputError
from feedline.pipeline.augment import Center
from feedline.pipeline.plan.draw import Draw
from tests.pipeline.augment.drawing import draw


def test_center_takes_the_middle_in_the_shape_of_the_output() -> None:
    assert Center(0.5).windows(draw(1, 100, 60), (32, 32)).tolist() == [[35, 15, 30, 30]]
    assert Center().windows(draw(2, 100, 60), (20, 40)).tolist() == [[35, 0, 30, 60]] * 2


def test_one_size_for_all_images_gives_one_window() -> None:
    sizes = np.broadcast_to(np.array([100, 60]), (5, 2))
    said_once = Center(0.5).windows(Draw(np.arange(5), sizes, 0, 0), (32, 32))
    assert said_once.tolist() == Center(0.5).windows(draw(5, 100, 60), (32, 32)).tolist()


def test_images_of_one_size_have_windows_of_one_size() -> None:
    for image, output in (((100, 60), (32, 32)), ((7, 9), (9, 7)), ((1, 1), (64, 64))):
        window = Center(0.875).windows(draw(3, *image), output)
        assert set(map(tuple, window[:, 2:].tolist())) == {Center(0.875).window_size(image, output)}
        assert (window[:, :2] >= 0).all()
        assert (window[:, :2] + window[:, 2:] <= image).all()


@pytest.mark.parametrize("fraction", [0, -0.5, 1.5, float("nan")])
def test_a_wrong_fraction_is_refused(fraction: float) -> None:
    with pytest.raises(InputError, match=r"augment=center:.*: the fraction must be above 0 and at most 1"):
        Center(fraction)
