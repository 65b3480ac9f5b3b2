"""A GPU that is not there: it computes on the CPU and notes calls in order, with the stream they were queued in."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch

EMPTY, TO = torch.empty, torch.Tensor.to


class Stream:
    def __init__(self, gpu: "FakeGpu", name: str) -> None:
        self.gpu, self.name = gpu, name
        self.cuda_stream = 70 + len(name)

    def record_event(self) -> str:
        event = f"event {sum(call.startswith('record') for call in self.gpu.calls)}"
        self.gpu.note(f"record {event} in {self.name}")
        return event

    def wait_event(self, event: str) -> None:
        self.gpu.note(f"{self.name} waits for {event}")


class FakeGpu:
    """Attributes: `calls`, in order; `current`, the caller's current GPU; `set`, what threads made theirs."""

    def __init__(self, patch: pytest.MonkeyPatch, gpus: int = 4, current: int = 2) -> None:
        self.calls: list[str] = []
        self.set: dict[str, int] = {}
        self._local, self._lock = threading.local(), threading.Lock()
        patch.setattr(torch.cuda, "is_available", lambda: True)
        patch.setattr(torch.cuda, "device_count", lambda: gpus)
        patch.setattr(torch.cuda, "current_device", lambda: current)
        patch.setattr(torch.cuda, "mem_get_info", lambda device=None: (2**33, 2**33))
        patch.setattr(torch.cuda, "set_device", self._set_device)
        patch.setattr(torch.cuda, "Stream", lambda device: Stream(self, f"side of {device}"))
        patch.setattr(torch.cuda, "stream", self._stream)
        patch.setattr(torch.cuda, "current_stream", lambda device=None: self.stream)
        patch.setattr(torch, "empty", self._empty)
        patch.setattr(torch.Tensor, "to", lambda tensor, *args, **kwargs: self._to(tensor, *args, **kwargs))
        patch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor)
        patch.setattr(torch.Tensor, "record_stream", lambda tensor, stream: self._record_stream(tensor, stream))

    @property
    def stream(self) -> Stream:
        """The current one of this thread."""
        return getattr(self._local, "stream", None) or Stream(self, "default")

    def note(self, call: str) -> None:
        with self._lock:
            self.calls.append(call)

    def _set_device(self, device: torch.device) -> None:
        self.set[threading.current_thread().name] = device.index

    @contextmanager
    def _stream(self, stream: Any) -> Iterator[None]:
        before, self._local.stream = getattr(self._local, "stream", None), stream or self.stream
        yield
        self._local.stream = before

    def _empty(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        if kwargs.pop("pin_memory", False):
            self.note("pinned memory")
        device = kwargs.pop("device", "cpu")
        if torch.device(device).type == "cuda":
            self.note(f"memory of {device} in {self.stream.name}")
        return EMPTY(*args, **kwargs)

    def _to(self, tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        if args and isinstance(args[0], torch.device) and args[0].type == "cuda":
            assert args[0].index is not None, "which GPU is left to the thread"
            self.note(f"copy to {args[0]} in {self.stream.name}")
            return tensor.clone()
        return TO(tensor, *args, **kwargs)

    def _record_stream(self, tensor: torch.Tensor, stream: Stream) -> None:
        self.note(f"kept for {stream.name}: {tensor.dtype}")


@pytest.fixture
def fake_gpu(monkeypatch: pytest.MonkeyPatch) -> FakeGpu:
    return FakeGpu(monkeypatch)
