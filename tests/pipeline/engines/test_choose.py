import sys

import pytest
import torch

from feedline import Dataset, InputError
from feedline.pipeline.engines.choose import choose_engine, make_engine
from feedline.pipeline.engines.torch_cpu import TorchCpuEngine
from feedline.pipeline.stores import open_store
from tests.pipeline.loading import make_loader


@pytest.fixture
def no_dali(monkeypatch: pytest.MonkeyPatch) -> None:
    """Simulates a machine without DALI."""
    monkeypatch.setitem(sys.modules, "nvidia.dali", None)


def test_a_cpu_takes_torch_and_logs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    assert choose_engine(torch.device("cpu")) == "torch"
    assert not caplog.messages


def test_a_gpu_takes_dali(caplog: pytest.LogCaptureFixture) -> None:
    assert choose_engine(torch.device("cuda")) == "dali"
    assert not caplog.messages


@pytest.mark.usefixtures("no_dali")
def test_a_gpu_without_dali_takes_torch_and_logs_it(caplog: pytest.LogCaptureFixture) -> None:
    assert choose_engine(torch.device("cuda")) == "torch"
    assert len(caplog.messages) == 1
    assert "DALI cannot be imported" in caplog.messages[0]


@pytest.mark.gpu
@pytest.mark.usefixtures("no_dali")
def test_auto_falls_back_to_torch_and_logs_it(dataset: Dataset, caplog: pytest.LogCaptureFixture) -> None:
    loader = make_loader(dataset, engine="auto", device="cuda")
    assert loader.engine_name == "torch"
    assert len(caplog.messages) == 1
    assert "DALI cannot be imported" in caplog.messages[0]


@pytest.mark.usefixtures("no_dali")
def test_a_missing_dali_is_an_error(dataset: Dataset) -> None:
    assert make_loader(dataset, engine="auto").engine_name == "torch"
    with pytest.raises(InputError) as caught:
        make_loader(dataset, engine="dali")
    assert caught.value.message.startswith("`engine=dali`: DALI cannot be imported (")
    assert caught.value.message.endswith("; use `engine=torch`")


def test_a_bug_in_our_engine_is_not_reported_as_a_missing_dali(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "feedline.pipeline.engines.dali.engine", raising=False)
    monkeypatch.setitem(sys.modules, "feedline.pipeline.engines.dali.graph", None)
    assert choose_engine(torch.device("cuda")) == "dali"
    with pytest.raises(ImportError, match="graph"):
        make_loader(dataset, engine="dali")


def test_the_named_engine_is_made(dataset: Dataset) -> None:
    loader = make_loader(dataset)
    store = open_store("raw", dataset, loader.device)
    assert isinstance(make_engine("torch", store, loader.spec), TorchCpuEngine)
    assert type(make_engine("dali", store, loader.spec)).__name__ == "DaliEngine"
