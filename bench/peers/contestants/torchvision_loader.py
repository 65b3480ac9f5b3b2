"""torchvision: ImageFolder and torch's DataLoader."""

from typing import Any

import torch

from bench.peers.augment import BatchedAugmentation, image_transform
from bench.peers.job import Batches, Contestant, Job, forever

ALL = ("train", "pixels", "photos")
AHEAD = 4  # batches of each worker


def data_loader(dataset: Any, job: Job, **more: Any) -> Any:
    """torch's DataLoader as its documentation recommends: workers that stay, and a few batches ahead."""
    from torch.utils.data import DataLoader

    return DataLoader(
        dataset,
        batch_size=job.batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=job.threads,
        persistent_workers=True,
        prefetch_factor=AHEAD,
        **more,
    )


def folder(job: Job) -> Any:
    from torchvision.datasets import ImageFolder

    return ImageFolder(str(job.data / "train"), image_transform(job))


def torchvision_folder(job: Job) -> Batches:
    loader = data_loader(folder(job), job)
    return forever(loader)


def torchvision_defaults(job: Job) -> Batches:
    from torch.utils.data import DataLoader

    loader: Any = DataLoader(folder(job), batch_size=job.batch_size, shuffle=True)
    return forever(loader)


class _BatchedFiles:
    """A map-style dataset that reads whole batches: torchvision.io decodes, then the batch is augmented."""

    def __init__(self, job: Job) -> None:
        from torchvision.datasets import ImageFolder

        self.samples = ImageFolder(str(job.data / "train")).samples
        self.augment = BatchedAugmentation(job)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitems__(self, ids: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
        from torchvision.io import ImageReadMode, decode_jpeg, read_file

        labels = torch.tensor([self.samples[i][1] for i in ids])
        images = [decode_jpeg(read_file(self.samples[i][0]), mode=ImageReadMode.RGB) for i in ids]
        return self.augment(torch.stack(images)), labels


def as_it_is(value: Any) -> Any:
    """In place of a collate function, for batches that are complete. Unlike a lambda, it can be sent to workers."""
    return value


def torchvision_io(job: Job) -> Batches:
    loader = data_loader(_BatchedFiles(job), job, collate_fn=as_it_is)
    return forever(loader)


CONTESTANTS = (
    Contestant("torchvision DataLoader", torchvision_folder, ALL, "files", "Pillow", "{threads} worker processes"),
    Contestant(
        "torchvision DataLoader, defaults", torchvision_defaults, ALL, "files", "Pillow", "the loop's own process"
    ),
    Contestant(
        "torchvision.io batched",
        torchvision_io,
        ("train", "pixels"),
        "files",
        "torchvision.io",
        "{threads} worker processes",
    ),
)
