"""Which engine to take, and how to build it."""

import logging

import torch

from feedline.pipeline.engines import dali
from feedline.pipeline.engines.torch_cpu import TorchCpuEngine
from feedline.pipeline.engines.torch_gpu import TorchGpuEngine
from feedline.pipeline.engines.types import Engine, EngineName, EngineSpec
from feedline.pipeline.errors import InputError
from feedline.pipeline.stores import HostStore, Store

logger = logging.getLogger(__name__)


def choose_engine(device: torch.device) -> EngineName:
    """What `auto` takes.

    On a GPU DALI, which decodes, crops and normalises there; torch where DALI is not installed, which is logged. On a
    CPU torch, which measured faster from every store (results/README.md).
    """
    if device.type == "cpu":
        return "torch"
    if problem := dali.problem():
        logger.warning("engine: torch, because DALI cannot be imported (%s)", problem)
        return "torch"
    return "dali"


def make_engine(name: EngineName, store: Store, spec: EngineSpec) -> Engine:
    """Builds an engine for a store.

    Raises:
        InputError: if DALI cannot be imported.
    """
    if name == "dali":
        if problem := dali.problem():
            raise InputError(f"`engine=dali`: DALI cannot be imported ({problem}); use `engine=torch`")
        from feedline.pipeline.engines.dali.engine import DaliEngine

        return DaliEngine(store, spec)
    if spec.device.type == "cuda":
        return TorchGpuEngine(store, spec)
    assert isinstance(store, HostStore)
    return TorchCpuEngine(store, spec)
