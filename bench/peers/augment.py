"""Decode, zero-pad, crop, flip and normalise, for loaders that leave this to their users."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from bench.peers.job import Job
from feedline.pipeline.options import IMAGENET_MEAN, IMAGENET_STD


def image_transform(job: Job) -> Any:
    """The work on one PIL image in RGB, by torchvision."""
    from torchvision.transforms import v2

    if job.kind == "pixels":
        return _to_tensor
    # PIL until after the crop: the fastest way in torchvision here (tensors from the start took 1.5 times as long).
    return v2.Compose([*_crop_and_flip(job), v2.PILToTensor(), *_normalise()])


def _to_tensor(image: Any) -> torch.Tensor:
    return torch.from_numpy(np.array(image))


def _to_hwc(image: torch.Tensor) -> torch.Tensor:
    return image.permute(1, 2, 0).contiguous()


def tensor_transform(job: Job) -> Any:
    """The same on a decoded image, uint8 CHW."""
    from torchvision.transforms import v2

    if job.kind == "pixels":
        return _to_hwc
    return v2.Compose([*_crop_and_flip(job), *_normalise()])


def _crop_and_flip(job: Job) -> list[Any]:
    from torchvision.transforms import v2

    crop: Any = v2.RandomCrop(job.size, padding=4, pad_if_needed=True)
    return [v2.RandomResizedCrop(job.size) if job.kind == "photos" else crop, v2.RandomHorizontalFlip()]


def _normalise() -> list[Any]:
    from torchvision.transforms import v2

    return [v2.ToDtype(torch.float32, scale=True), v2.Normalize(IMAGENET_MEAN, IMAGENET_STD)]


class BatchedAugmentation:
    """Zero-pads, crops, flips and normalises whole batches with torch, for loaders that only decode."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.mean = torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1) * 255
        self.std = torch.tensor(IMAGENET_STD).view(1, 3, 1, 1) * 255

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """uint8 [B, 3, H, W] to float32 [B, 3, size, size]; for `pixels` only to uint8 [B, H, W, 3]."""
        if self.job.kind == "pixels":
            return images.permute(0, 2, 3, 1).contiguous()
        padded = torch.nn.functional.pad(images, (4, 4, 4, 4))
        corners = torch.randint(0, 9, (len(images), 2)).tolist()
        size = self.job.size
        crops = torch.stack([padded[i, :, y : y + size, x : x + size] for i, (y, x) in enumerate(corners)])
        flip = torch.rand(len(images)) < 0.5
        crops[flip] = crops[flip].flip(3)
        return crops.float().sub_(self.mean).div_(self.std)


def decode(data: bytes) -> torch.Tensor:
    """A JPEG to uint8 [3, H, W], by torchvision.io."""
    from torchvision.io import ImageReadMode, decode_jpeg

    return decode_jpeg(torch.frombuffer(bytearray(data), dtype=torch.uint8), mode=ImageReadMode.RGB)


class BatchedDecoding:
    """Makes a batch of (JPEG bytes, label) pairs: torchvision.io decodes, then the batch is augmented as a whole."""

    def __init__(self, job: Job) -> None:
        self.augment = BatchedAugmentation(job)

    def __call__(self, pairs: Sequence[tuple[bytes, int]]) -> tuple[torch.Tensor, torch.Tensor]:
        images = torch.stack([decode(data) for data, _ in pairs])
        return self.augment(images), torch.tensor([label for _, label in pairs])
