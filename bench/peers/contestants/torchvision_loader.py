"""torchvision: ImageFolder and torch's DataLoader."""

from typing import Any

import torch

from bench.peers.augment import BatchedAugmentation, image_transform
from bench.peers.job import Batches, Contestant, Job, forever


def _data_loader(dataset: Any, job: Job, **more: Any) -> Batches:
    from torch.utils.data import DataLoader

    loader: Any = DataLoader(
        dataset,
        batch_size=job.batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=job.threads,
        persistent_workers=True,
        prefetch_factor=4,
        **more,
    )
    return forever(lambda: loader)


def torchvision_folder(job: Job) -> Batches:
    from torchvision.datasets import ImageFolder

    return _data_loader(ImageFolder(str(job.data / "train"), image_transform(job)), job)


class _BatchedFiles:
    """A map-style dataset that reads whole batches: torchvision.io decodes, then the batch is augmented."""

    def __init__(self, job: Job) -> None:
        from torchvision.datasets import ImageFolder

        self.job, self.samples = job, ImageFolder(str(job.data / "train")).samples
        self.augment = BatchedAugmentation(job)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitems__(self, ids: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
        from torchvision.io import ImageReadMode, decode_jpeg, read_file

        labels = torch.tensor([self.samples[i][1] for i in ids])
        images = torch.stack([decode_jpeg(read_file(self.samples[i][0]), mode=ImageReadMode.RGB) for i in ids])
        if self.job.kind == "pixels":
            return images.permute(0, 2, 3, 1).contiguous(), labels
        return self.augment(images), labels


def torchvision_io(job: Job) -> Batches:
    return _data_loader(_BatchedFiles(job), job, collate_fn=lambda batch: batch)


CONTESTANTS = (
    Contestant("torchvision DataLoader", torchvision_folder, ("train", "pixels", "photos")),
    Contestant("torchvision.io batched", torchvision_io, ("train", "pixels")),
)
