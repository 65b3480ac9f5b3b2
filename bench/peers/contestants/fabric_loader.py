"""Lightning Fabric: `setup_dataloaders` around torch's DataLoader.

A LightningDataModule hands its DataLoader to the Trainer as it is: that is the contestant `torchvision DataLoader`.
"""

from typing import Any

from bench.peers.contestants.torchvision_loader import data_loader, folder
from bench.peers.job import BENCH_INSTALL, Batches, Contestant, Job, forever


def fabric(job: Job) -> Batches:
    from lightning.fabric import Fabric

    loader: Any = Fabric(accelerator="cpu", devices=1).setup_dataloaders(data_loader(folder(job), job))
    return forever(loader)


CONTESTANTS = (
    Contestant(
        "Lightning Fabric",
        fabric,
        ("train", "pixels"),
        "files",
        "Pillow",
        "{threads} worker processes",
        "lightning",
        BENCH_INSTALL,
    ),
)
