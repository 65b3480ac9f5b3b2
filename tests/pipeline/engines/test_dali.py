import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from feedline import Dataset, InputError
from feedline.pipeline.engines.dali import problem
from feedline.pipeline.engines.dali.engine import DaliEngine
from feedline.pipeline.stores import RawStore
from tests.pipeline.dataset.folders import forget_checksums
from tests.pipeline.loading import make_loader


def test_problem_is_why_dali_cannot_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    assert problem() is None
    monkeypatch.setitem(sys.modules, "nvidia.dali", None)
    assert "nvidia.dali" in str(problem())


@pytest.mark.parametrize("prefetch", [1, 2, 5])
def test_the_queue_may_be_of_any_length(dataset: Dataset, prefetch: int) -> None:
    wanted = [labels.tolist() for _, labels in make_loader(dataset, engine="torch")]
    assert [labels.tolist() for _, labels in make_loader(dataset, engine="dali", prefetch=prefetch)] == wanted


def test_an_engine_stopped_in_mid_epoch_can_start_again(dataset: Dataset) -> None:
    loader = make_loader(dataset, engine="dali", store="raw")
    engine, planned = DaliEngine(RawStore(dataset), loader.spec), [loader.plan.batch(0, k) for k in range(4)]
    whole = [images.clone() for _, images in engine.run(planned)]
    for count in (1, 2, 3):
        batches: Any = engine.run(planned)
        for _, (batch, images) in zip(range(count), batches, strict=False):
            assert torch.equal(images, whole[[other is batch for other in planned].index(True)])
        batches.close()
    assert [batch for batch, _ in engine.run(iter(planned))] == planned
    assert list(engine.run([])) == []


@pytest.mark.parametrize("end", [200, -30, -1])
def test_a_damaged_image_is_named_also_where_it_is_the_first(dataset: Dataset, tmp_path: Path, end: int) -> None:
    """And where nearly nothing of it is missing: what stands behind its end is not taken for pixels."""
    copy = Dataset(shutil.copytree(dataset.root, tmp_path / "copy"))
    forget_checksums(copy.root)
    loader = make_loader(copy, engine="dali", store="files", batch_size=8)
    first = copy.root / copy.path(int(loader.plan.batch(0, 0).ids[0]))
    first.write_bytes(first.read_bytes()[:end])
    for _ in range(2):
        loader.set_epoch(0)
        with pytest.raises(InputError, match=f"{first.name} .*: no longer decodes"):
            list(loader)


@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("taken", [1, 2, 3])
def test_a_loop_left_while_a_damaged_image_is_on_its_way(dataset: Dataset, tmp_path: Path, taken: int) -> None:
    copy = Dataset(shutil.copytree(dataset.root, tmp_path / "copy"))
    forget_checksums(copy.root)
    loader = make_loader(copy, engine="dali", store="files", batch_size=8, prefetch=3)
    path = copy.root / copy.path(int(loader.plan.batch(0, 3).ids[0]))
    whole = path.read_bytes()
    path.write_bytes(whole[:200])
    batches = iter(loader)
    for _ in range(taken):
        next(batches)
    batches.close()  # type: ignore[attr-defined]
    path.write_bytes(whole)
    loader.set_epoch(0)
    assert sum(len(labels) for _, labels in loader) == 96
