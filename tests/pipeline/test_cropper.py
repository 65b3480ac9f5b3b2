import numpy as np
import pytest

from feedline.pipeline.cropper import Cropper, crop_one
from feedline.pipeline.options import IMAGENET_MEAN, IMAGENET_STD


@pytest.mark.parametrize("window", [(20, 24), (9, 14), (1, 1), (30, 40)])
def test_batches_are_cropped_like_single_images(window: tuple[int, int], kernels: str) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (50, 20, 24, 3), dtype=np.uint8)
    padded = np.pad(images, ((0, 0), (100, 100), (100, 100), (0, 0)))
    mean, std = np.array(IMAGENET_MEAN), np.array(IMAGENET_STD)
    plain, normalised = Cropper(window), Cropper(window, IMAGENET_MEAN, IMAGENET_STD)
    for reach in (0, 5, 2, 60):
        count = 133
        ids = rng.integers(0, 50, count)
        low = np.minimum([0, 0], np.array([20, 24]) - window)
        corner = rng.integers(low - reach, np.maximum(np.array([20, 24]) - window, 0) + reach + 1, (count, 2))
        windows = np.concatenate([corner, np.tile(window, (count, 1))], axis=1).astype(np.int32)
        flip = rng.integers(0, 2, count).astype(bool)
        pixels, floats = np.full((count, *window, 3), 7, np.uint8), np.full((count, *window, 3), 7, np.float32)
        plain(images, ids, windows, flip, pixels)
        normalised(images, ids, windows, flip, floats)
        for i in range(count):
            y, x = corner[i] + 100
            alone = padded[ids[i], y : y + window[0], x : x + window[1]]
            alone = alone[:, ::-1] if flip[i] else alone
            assert np.array_equal(crop_one(images[ids[i]], windows[i].tolist())[:, :: -1 if flip[i] else 1], alone)
            assert np.array_equal(pixels[i], alone)
            np.testing.assert_allclose(floats[i], (alone / 255 - mean) / std, atol=1e-6)


def test_windows_outside_the_image_are_black(kernels: str) -> None:
    """At every distance, beside it, above it, and partly inside."""
    image = np.random.default_rng(0).integers(1, 256, (1, 2, 4, 3), dtype=np.uint8)
    padded = np.pad(image[0], ((12, 12), (12, 12), (0, 0)))
    for size in ((1, 1), (1, 3), (2, 4), (3, 5)):
        corners = [(y, x) for y in range(-size[0] - 4, 7) for x in range(-size[1] - 4, 9)]
        windows = np.array([(*corner, *size) for corner in corners], dtype=np.int32)
        wanted = np.stack([padded[12 + y : 12 + y + size[0], 12 + x : 12 + x + size[1]] for y, x in corners])
        assert np.array_equal([crop_one(image[0], window) for window in windows.tolist()], wanted)
        for flip in (False, True):
            out = np.empty((len(corners), *size, 3), dtype=np.uint8)
            Cropper(size)(image, np.zeros(len(corners), dtype=int), windows, np.full(len(corners), flip), out)
            assert np.array_equal(out, wanted[:, :, ::-1] if flip else wanted)


def test_a_black_pixel_has_the_same_bits_inside_and_outside(kernels: str) -> None:
    """With a mean of 0 too: 0, and not -0."""
    for mean in ((0.0, 0.0, 0.0), (0.5, 0.0, 0.2)):
        out = np.empty((2, 3, 5, 3), dtype=np.float32)
        windows = np.array([[0, 0, 3, 5], [-9, 2, 3, 5]], dtype=np.int32)
        black, flip = np.zeros((1, 3, 5, 3), dtype=np.uint8), np.zeros(2, dtype=bool)
        Cropper((3, 5), mean, (0.25, 0.5, 1.0))(black, np.zeros(2, dtype=int), windows, flip, out)
        assert out[0].tobytes() == out[1].tobytes()
        assert not np.signbit(out[..., 1]).any()


def test_one_window_for_all_need_not_be_repeated(kernels: str) -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), dtype=np.uint8)
    window = np.broadcast_to(np.array([2, 1, 4, 6], dtype=np.int32), (3, 4))
    out = np.empty((3, 4, 6, 3), dtype=np.uint8)
    Cropper((4, 6))(images, np.array([4, 0, 4]), window, np.zeros(3, dtype=bool), out)
    assert np.array_equal(out, images[[4, 0, 4], 2:6, 1:7])


def test_arrays_that_do_not_fit_are_refused(kernels: str) -> None:
    """Nothing outside the images is read, and nothing outside the batch is written."""
    images, out = np.zeros((5, 8, 8, 3), dtype=np.uint8), np.zeros((2, 8, 8, 3), dtype=np.uint8)
    window, flip = np.array([[0, 0, 8, 8]], dtype=np.int32), np.zeros(2, dtype=bool)
    for ids in ([0, 5], [-1, 0]):
        with pytest.raises(IndexError):
            Cropper((8, 8))(images, np.array(ids), window, flip, out)
    with pytest.raises(ValueError, match="window"):
        Cropper((8, 8))(images, np.array([0, 1]), window - 1, flip, out)
    with pytest.raises(ValueError, match=r"fit|broadcast|shape"):
        Cropper((8, 8))(images, np.array([0, 1]), window, flip, out[:1])


def test_whole_images_are_copied_by_their_ids(kernels: str) -> None:
    images = np.random.default_rng(0).integers(0, 256, (9, 5, 7, 3), dtype=np.uint8)
    ids, out = np.array([8, 0, 0, 3]), np.empty((4, 5, 7, 3), dtype=np.uint8)
    Cropper((5, 7)).whole(images, ids, out)
    assert np.array_equal(out, images[ids])
