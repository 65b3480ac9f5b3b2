"""The contestants: each loader is set up as its documentation recommends for speed.

A contestant is a function from a `Job` to an endless iterator of batches. It imports its library inside the function,
because contestants run in separate processes and some may not be installed. One file per library.
"""

from bench.peers.contestants import (
    dali_loader,
    ffcv_loader,
    floors,
    ours,
    spdl_loader,
    torchvision_loader,
    webdataset_loader,
)
from bench.peers.job import Contestant

CONTESTANTS = (
    *torchvision_loader.CONTESTANTS,
    *webdataset_loader.CONTESTANTS,
    *spdl_loader.CONTESTANTS,
    *dali_loader.CONTESTANTS,
    *ffcv_loader.CONTESTANTS,
    *ours.CONTESTANTS,
    *floors.CONTESTANTS,
)


def by_name(name: str) -> Contestant:
    return next(c for c in CONTESTANTS if c.name == name)
