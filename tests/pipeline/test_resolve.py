"""What options come to."""

import pytest
import torch

from feedline.pipeline.options import LoaderOptions
from feedline.pipeline.resolve import augmentations, engine_spec


@pytest.mark.parametrize(
    ("image", "decoder"),
    [
        ((64, 64), "cpu"),
        ((128, 128), "cpu"),
        ((500, 128), "cpu"),
        ((129, 129), "mixed"),
        ((500, 375), "mixed"),
        (None, "mixed"),
    ],
)
def test_a_gpu_helps_to_decode_images_that_are_large_or_vary_in_size(
    image: tuple[int, int] | None, decoder: str
) -> None:
    def spec(options: LoaderOptions, device: str = "cuda:0") -> str:
        augment = augmentations(options, image, (64, 64))
        return engine_spec(options, augment, image, 100, torch.device(device)).decode

    assert spec(LoaderOptions()) == spec(LoaderOptions(decode="auto")) == decoder
    assert [spec(LoaderOptions(decode="cpu")), spec(LoaderOptions(decode="mixed"))] == ["cpu", "mixed"]
    assert {spec(LoaderOptions(decode=how), "cpu") for how in ("auto", "cpu", "mixed")} == {"cpu"}
