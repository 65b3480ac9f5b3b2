"""Which GPU, which stream and in which order, seen with a GPU that is not there; and the same on one that is."""

from typing import Any

import pytest
import torch

from feedline import Dataset, InputError
from feedline.pipeline.engines.torch_gpu import batches_ahead
from feedline.pipeline.resolve import resolve_device
from tests.pipeline.fake_gpu import FakeGpu, Stream, fake_gpu
from tests.pipeline.loading import make_loader

__all__ = ["fake_gpu"]


def test_the_current_gpu_of_the_caller_is_named(fake_gpu: FakeGpu) -> None:
    assert resolve_device("cuda") == torch.device("cuda", 2)
    assert resolve_device("cuda:1") == torch.device("cuda", 1)
    assert resolve_device("cpu") == torch.device("cpu")
    with pytest.raises(InputError, match=r"^device=cuda:4: this machine has 4 GPUs, numbered from 0$"):
        resolve_device("cuda:4")


def test_each_thread_of_a_loader_chooses_its_gpu_first(dataset: Dataset, fake_gpu: FakeGpu) -> None:
    with make_loader(dataset, engine="torch", device="cuda", store="raw") as loader:
        assert len(list(loader)) == len(loader)
    assert fake_gpu.set == {"feedline-torch-0": 2, "feedline-torch-1": 2}


def test_batches_are_made_on_a_side_stream_and_handed_over_in_order(dataset: Dataset, fake_gpu: FakeGpu) -> None:
    """Labels too. The caller's stream waits for a batch when it is given it, not before."""
    loader = make_loader(dataset, engine="torch", device="cuda", store="raw", augment=("flip",))
    batches = iter(loader)
    next(batches)
    copies = [call for call in fake_gpu.calls if call.startswith("copy")]
    assert len(copies) >= 3  # images, windows and flips, labels
    assert all(call.endswith("cuda:2 in side of cuda:2") for call in copies[2:]), copies
    assert fake_gpu.calls[-4:] == [
        "record event 0 in side of cuda:2",
        "default waits for event 0",
        "kept for default: torch.float32",
        "kept for default: torch.int64",
    ]
    before = len(fake_gpu.calls)
    next(batches)
    assert [call for call in fake_gpu.calls[before:] if "waits" in call] == ["default waits for event 1"]
    loader.close()


def test_a_caller_on_another_stream_gets_its_batches_there(dataset: Dataset, fake_gpu: FakeGpu) -> None:
    loader = make_loader(dataset, engine="torch", device="cuda", store="raw")
    another: Any = Stream(fake_gpu, "another")
    with torch.cuda.stream(another):
        next(iter(loader))
    assert "another waits for event 0" in fake_gpu.calls
    assert "kept for another: torch.int64" in fake_gpu.calls
    loader.close()


def test_images_in_a_gpu_s_memory_are_gathered_on_the_stream_that_finishes_them(
    dataset: Dataset, fake_gpu: FakeGpu
) -> None:
    """Not on the stream of a worker thread, which nothing would wait for."""
    loader = make_loader(dataset, engine="torch", device="cuda", store="resident")
    fake_gpu.calls.clear()
    wanted = make_loader(dataset, engine="torch", store="raw")
    for (images, labels), (on_cpu, wanted_labels) in zip(loader, wanted, strict=True):
        assert labels.tolist() == wanted_labels.tolist()
        torch.testing.assert_close(images, on_cpu, atol=1e-4, rtol=0)
    copies = [call for call in fake_gpu.calls if call.startswith("copy")]
    assert copies
    assert set(copies) == {"copy to cuda:2 in side of cuda:2"}


def test_memory_of_batches_made_ahead_is_limited(dataset: Dataset) -> None:
    spec: Any = make_loader(dataset, threads=128, batch_size=20, image_size=64, prefetch=3).spec
    batch = 20 * 64 * 64 * 3
    assert batches_ahead(spec, 1000 * batch) == 131
    assert batches_ahead(spec, 10 * batch) == 10
    assert batches_ahead(spec, batch) == 3


@pytest.mark.gpu
@pytest.mark.parametrize("engine", ["dali", "torch"])
@pytest.mark.parametrize("store", ["jpeg", "raw", "resident"])
def test_batches_are_right_while_the_gpu_is_busy(dataset: Dataset, engine: Any, store: Any) -> None:
    """With work queued ahead in the caller's stream, and with a caller on a stream of its own."""
    wanted = [images for images, _ in make_loader(dataset, engine="torch", store="raw")]
    for stream in (torch.cuda.current_stream(), torch.cuda.Stream()):
        with torch.cuda.stream(stream), make_loader(dataset, engine=engine, store=store, device="cuda") as loader:
            for _ in range(3):
                loader.set_epoch(0)
                sums = []
                for images, _ in loader:
                    torch.cuda._sleep(20_000_000)
                    sums.append(images.clone())
                    del images
                for a, b in zip(sums, wanted, strict=True):
                    assert (a.cpu() - b).abs().mean() < 0.02


@pytest.mark.gpu
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA GPUs")
@pytest.mark.parametrize("engine", ["dali", "torch"])
@pytest.mark.parametrize("store", ["jpeg", "raw", "resident"])
def test_a_loader_for_another_gpu_than_the_current_one(dataset: Dataset, engine: Any, store: Any) -> None:
    wanted = [images for images, _ in make_loader(dataset, engine="torch", store="raw")]
    before = torch.cuda.memory_allocated(0)
    with make_loader(dataset, engine=engine, store=store, device="cuda:1") as loader:
        for (images, labels), on_cpu in zip(loader, wanted, strict=True):
            assert images.device == labels.device == torch.device("cuda", 1)
            assert (images.cpu() - on_cpu).abs().mean() < 0.02
    assert torch.cuda.memory_allocated(0) == before


@pytest.mark.gpu
def test_what_is_made_ahead_does_not_use_a_batch_s_memory_again(dataset: Dataset) -> None:
    """A caller may drop a batch while its work on it is still queued."""
    wanted = [images.sum(0) for images, _ in make_loader(dataset, engine="torch", store="raw")]
    for engine in ("dali", "torch"):
        with make_loader(dataset, engine=engine, store="resident", device="cuda") as loader:
            for _ in range(3):
                loader.set_epoch(0)
                sums = []
                for images, _ in loader:
                    torch.cuda._sleep(20_000_000)
                    sums.append(images.sum(0))
                    del images
                for a, b in zip(sums, wanted, strict=True):
                    assert (a.cpu() - b).abs().mean() < 0.1


@pytest.mark.gpu
def test_two_loaders_at_once_on_the_gpu(dataset: Dataset) -> None:
    wanted = [images for images, _ in make_loader(dataset, engine="torch", store="raw")]
    a, b = (make_loader(dataset, engine=engine, store="resident", device="cuda") for engine in ("dali", "torch"))
    for (first, _), (second, _), on_cpu in zip(a, b, wanted, strict=True):
        torch.cuda._sleep(5_000_000)
        for images in (first, second):
            assert (images.cpu() - on_cpu).abs().mean() < 0.02


@pytest.mark.gpu
@pytest.mark.parametrize("engine", ["dali", "torch"])
def test_taking_a_batch_does_not_wait_for_the_gpu(dataset: Dataset, engine: Any) -> None:
    with make_loader(dataset, engine=engine, store="resident", device="cuda") as loader:
        batches = iter(loader)
        next(batches)
        torch.cuda.set_sync_debug_mode("error")
        try:
            next(batches)
        finally:
            torch.cuda.set_sync_debug_mode("default")
