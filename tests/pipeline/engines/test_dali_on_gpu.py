"""What the DALI engine asks DALI for on a GPU, seen with a pipeline that is not there."""

import ctypes
import dataclasses
from itertools import product
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from nvidia.dali import fn

from feedline import Dataset
from feedline.pipeline.engines.dali import engine as module
from feedline.pipeline.engines.dali.graph import graph
from feedline.pipeline.resolve import decoder as decoder_for
from tests.pipeline.fake_gpu import FakeGpu, fake_gpu
from tests.pipeline.loading import make_loader

__all__ = ["fake_gpu"]


class Output:
    """A list of tensors in DALI's memory."""

    def __init__(self, gpu: FakeGpu, pixels: torch.Tensor) -> None:
        self.gpu, self.pixels = gpu, pixels.contiguous()

    def __len__(self) -> int:
        return len(self.pixels)

    def copy_to_external(self, pointer: Any, stream: Any, non_blocking: bool) -> None:
        name = self.gpu.stream.name
        assert stream.value == self.gpu.stream.cuda_stream
        assert non_blocking, "the host would wait"
        self.gpu.note(f"copy of the output in {name}")
        ctypes.memmove(pointer, self.pixels.data_ptr(), self.pixels.nbytes)


class Pipe:
    """Gives back what it is fed, as float32; `schedule_run` reads what was fed, as DALI's threads would."""

    def __init__(self, gpu: FakeGpu, **options: Any) -> None:
        self.gpu, self.options = gpu, options
        self.fed: Any = None
        self.queue: list[torch.Tensor] = []

    def build(self) -> None: ...

    def feed_input(self, name: str, data: Any, cuda_stream: Any = None) -> None:
        if name == "images":
            where = "no stream" if cuda_stream is None else cuda_stream.name
            self.gpu.note(f"feed {type(data).__name__} in {where}")
            self.fed = data

    def schedule_run(self) -> None:
        self.queue.append(torch.as_tensor(np.stack(list(self.fed))).float())

    def share_outputs(self, cuda_stream: Any = None) -> tuple[Any]:
        where = "the host" if cuda_stream is None else cuda_stream.name
        self.gpu.note(f"{where} waits for the output")
        return (Output(self.gpu, self.queue.pop(0) if self.queue else torch.zeros(1)),)

    def release_outputs(self) -> None:
        self.gpu.note("release")


@pytest.fixture
def pipes(fake_gpu: FakeGpu, monkeypatch: pytest.MonkeyPatch) -> list[Pipe]:
    made: list[Pipe] = []

    def make(spec: Any, **options: Any) -> Pipe:
        made.append(Pipe(fake_gpu, **options))
        return made[-1]

    monkeypatch.setattr(module, "graph", make)
    return made


@pytest.mark.parametrize("store", ["raw", "resident"])
def test_images_and_output_are_copied_in_the_loader_s_stream(
    dataset: Dataset, fake_gpu: FakeGpu, pipes: list[Pipe], store: Any
) -> None:
    loader = make_loader(dataset, engine="dali", device="cuda:3", store=store, augment=("flip",), prefetch=2)
    with loader:
        batches = [(images.clone(), loader.planned) for images, _ in loader]
    assert fake_gpu.set == {"feedline-loader": 3}
    (pipe,) = pipes
    assert pipe.options["device_id"] == 3
    assert pipe.options["on_device"]
    made = [call for call in fake_gpu.calls if call.split()[0] in ("feed", "release") or "output" in call]
    assert made[-3:] == ["side of cuda:3 waits for the output", "copy of the output in side of cuda:3", "release"]
    assert {call for call in made if call.startswith("feed")} == {"feed Tensor in side of cuda:3"}
    assert "memory of cuda:3 in side of cuda:3" in fake_gpu.calls
    assert ("pinned memory" in fake_gpu.calls) is (store == "raw")
    for images, planned in batches:
        assert planned is not None
        pixels = [dataset.pack("raw").pixels(planned.ids)[k] for k in range(len(planned))]
        assert images.permute(0, 2, 3, 1).tolist() == np.stack(pixels).tolist()


def test_after_memory_ran_out_the_next_loop_has_a_new_pipeline(
    dataset: Dataset, pipes: list[Pipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    """DALI's error for a GPU's memory is a MemoryError; behind an error its pipeline cannot be used."""

    def full(pipe: Pipe) -> None:
        raise MemoryError("Can't allocate 1000 bytes on device 2.")

    with make_loader(dataset, engine="dali", device="cuda", store="raw", augment=("flip",)) as loader:
        with monkeypatch.context() as patch:
            patch.setattr(Pipe, "schedule_run", full)
            with pytest.raises(MemoryError, match="on device 2"):
                list(loader)
        assert len(list(loader)) == len(loader)
    assert len(pipes) == 2


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.uint8])
@pytest.mark.parametrize("views", [1, 2])
@pytest.mark.parametrize(
    ("augment", "size"),
    [
        (("pad-crop", "flip"), None),
        (("random-resized-crop", "flip"), 40),
        (("random-resized-crop", "trivial-augment", "color-jitter", "erasing"), 40),
        (("pad-crop", "rand-augment:n=2:m=20"), None),
    ],
)
def test_dali_accepts_every_graph_for_a_gpu(
    dataset: Dataset, dtype: torch.dtype, views: int, augment: tuple[str, ...], size: int | None
) -> None:
    """It checks arguments and where inputs are when the graph is made, which needs no GPU."""
    spec = make_loader(dataset, engine="dali", augment=augment, image_size=size, views=views).spec
    for encoded, decode, on_device in product((True, False), ("mixed", "cpu"), (True, False)):
        changed: Any = {"device": torch.device("cuda", 0), "dtype": dtype, "decode": decode}
        if not (encoded and on_device):
            there = dataclasses.replace(spec, **changed)
            graph(there, encoded=encoded, on_device=on_device, batch_size=4, num_threads=1, device_id=0)


@pytest.mark.parametrize(("decode", "where"), [("auto", "cpu"), ("cpu", "cpu"), ("mixed", "mixed")])
@pytest.mark.parametrize(
    ("augment", "size", "kind"), [("flip", None, "image"), ("random-resized-crop", 16, "image_slice")]
)
def test_small_images_are_decoded_on_the_cpu_unless_told_otherwise(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch, decode: str, where: str, augment: str, size: Any, kind: str
) -> None:
    asked: list[str] = []

    def decoder(*inputs: Any, device: str, **options: Any) -> Any:
        asked.append(device)
        return getattr(fn.decoders, kind)(*inputs, device=device, **options)

    spied = SimpleNamespace(**{**vars(fn), "decoders": SimpleNamespace(**{kind: decoder})})
    monkeypatch.setattr("feedline.pipeline.engines.dali.graph.fn", spied)
    loader = make_loader(dataset, engine="dali", decode=decode, augment=(augment,), image_size=size)
    gpu = torch.device("cuda", 0)
    assert loader.spec.decode == "cpu", "there is no GPU for this loader"
    there = dataclasses.replace(loader.spec, device=gpu, decode=decoder_for(loader.options, dataset.image_size, gpu))
    graph(there, encoded=True, on_device=False, batch_size=2, num_threads=1, device_id=0)
    assert asked == [where]


@pytest.mark.parametrize(("on_device", "copies"), [(True, True), (False, False)])
def test_dali_copies_what_torch_s_stream_fills(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch, on_device: bool, copies: bool
) -> None:
    """Shared memory on the device would be read before it is filled: DALI's streams do not wait for torch's."""
    asked: dict[str, Any] = {}

    def external_source(**options: Any) -> Any:
        asked[options["name"]] = options
        return fn.external_source(**options)

    spied = SimpleNamespace(**{**vars(fn), "external_source": external_source})
    monkeypatch.setattr("feedline.pipeline.engines.dali.graph.fn", spied)
    spec = make_loader(dataset, engine="dali").spec
    graph(spec, encoded=False, on_device=on_device, batch_size=2, num_threads=1, device_id=None)
    assert asked["images"]["no_copy"] is not copies
