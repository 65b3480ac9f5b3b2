"""The contestants: each loader as its documentation says is fastest, and as it comes.

A contestant is a function from a `Job` to an endless iterator of batches. It imports its library inside the function,
because contestants run in separate processes and some may not be installed. One file per library.

Where a library leaves decoding and augmenting to its users, its fastest entry decodes with torchvision.io and augments
whole batches (`bench.peers.augment`) in its workers. Its `..., defaults` entry gets the data, the batch size, random
order and the work on one image, and nothing else.
"""

from bench.peers.contestants import (
    dali_loader,
    fabric_loader,
    ffcv_loader,
    floors,
    grain_loader,
    litdata_loader,
    ours,
    spdl_loader,
    streaming_loader,
    timm_loader,
    torchvision_loader,
    webdataset_loader,
)
from bench.peers.job import Contestant, Files

CONTESTANTS: tuple[Contestant, ...] = (
    *torchvision_loader.CONTESTANTS,
    *fabric_loader.CONTESTANTS,
    *timm_loader.CONTESTANTS,
    *webdataset_loader.CONTESTANTS,
    *litdata_loader.CONTESTANTS,
    *streaming_loader.CONTESTANTS,
    *grain_loader.CONTESTANTS,
    *spdl_loader.CONTESTANTS,
    *dali_loader.CONTESTANTS,
    *ffcv_loader.CONTESTANTS,
    *ours.CONTESTANTS,
    *floors.CONTESTANTS,
)

FILES: tuple[Files, ...] = (
    *webdataset_loader.FILES,
    *litdata_loader.FILES,
    *streaming_loader.FILES,
    *grain_loader.FILES,
    *ffcv_loader.FILES,
)


def by_name(name: str) -> Contestant:
    return next(c for c in CONTESTANTS if c.name == name)
