from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from feedline import Dataset, PlanBatch
from feedline.pipeline import compiled
from feedline.pipeline.cropper import Cropper
from feedline.pipeline.engines.torch_cpu import TorchCpuEngine, crop_each_into
from feedline.pipeline.stores import RawStore
from tests.pipeline.loading import epoch, make_loader


class Watched(RawStore):
    """Records torch's thread count where windows are cut."""

    def __init__(self, dataset: Dataset) -> None:
        super().__init__(dataset)
        self.torch_threads: set[int] = set()

    def cut(self, batch: PlanBatch, cropper: Cropper, out: NDArray[np.uint8] | NDArray[np.float32]) -> None:
        self.torch_threads.add(torch.get_num_threads())
        super().cut(batch, cropper, out)


def test_workers_use_one_core_each(dataset: Dataset) -> None:
    """torch would use all cores in each worker. The thread count of the consumer does not change."""
    before, loader = torch.get_num_threads(), make_loader(dataset, engine="torch", store="raw", image_size=40)
    torch.set_num_threads(3)
    try:
        store = Watched(dataset)
        engine = TorchCpuEngine(store, loader.spec)
        assert len(list(engine.run(loader.plan.batch(0, k) for k in range(len(loader))))) == 4
        assert store.torch_threads == {1}
        assert torch.get_num_threads() == 3
        engine.close()
    finally:
        torch.set_num_threads(before)


@pytest.mark.usefixtures("needs_kernels")
def test_with_and_without_kernels_batches_have_the_same_bits(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """So a run can be resumed on a machine without a C compiler."""
    options: dict[str, Any]
    edits = {"store": "raw", "augment": ("pad-crop", "flip", "color-jitter", "erasing")}
    for options in (
        {"store": "raw"},
        {"store": "jpeg"},
        {"store": "raw", "shuffle": "blocks", "image_size": 40},
        edits,
    ):
        with monkeypatch.context() as without:
            with_kernels = epoch(make_loader(dataset, engine="torch", **options), 3)
            without.setattr(compiled, "kernels", None)
            plain = epoch(make_loader(dataset, engine="torch", **options), 3)
        for (a, la), (b, lb) in zip(with_kernels, plain, strict=True):
            assert torch.equal(a, b)
            assert torch.equal(la, lb)


def test_windows_of_all_sizes_are_cropped_resized_and_mirrored_one_by_one(dataset: Dataset) -> None:
    store, out = RawStore(dataset), torch.empty((2, 8, 12, 3), dtype=torch.uint8)
    window = np.array([[5, 6, 8, 12], [10, 20, 16, 24]], dtype=np.int32)
    crop_each_into(store, PlanBatch(np.array([3, 9]), window, np.array([True, False])), out)
    straight, other = store.pixels(np.array([3, 9]))
    assert np.array_equal(out[0].numpy(), straight[5:13, 6:18][:, ::-1])
    halved = other[10:26, 20:44].reshape(8, 2, 12, 2, 3).mean(axis=(1, 3))
    assert np.abs(out[1].numpy() - halved).mean() < 6


def test_after_a_task_that_fails_the_engine_can_run_again(dataset: Dataset) -> None:
    class Failing(Watched):
        broken = True

        def cut(self, batch: PlanBatch, cropper: Cropper, out: NDArray[np.uint8] | NDArray[np.float32]) -> None:
            if self.broken and 40 in batch.ids:
                raise OSError("the disk is gone")
            super().cut(batch, cropper, out)

    loader, store = make_loader(dataset, engine="torch", store="raw", batch_size=16), Failing(dataset)
    engine, planned = TorchCpuEngine(store, loader.spec), [loader.plan.batch(0, k) for k in range(len(loader))]
    with pytest.raises(OSError, match="the disk is gone"):
        list(engine.run(planned))
    store.broken = False
    assert [batch for batch, _ in engine.run(planned)] == planned
    engine.close()
