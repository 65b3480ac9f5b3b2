import pytest
import torch

from feedline.training.generators import gpu_states, restore_gpu_states
from feedline.training.ranks import Ranks

CPU = torch.device("cpu")


def test_each_rank_keeps_the_state_of_its_own_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two ranks on two GPUs: rank r's generator stands at 10 + r."""
    given: dict[str, list[int]] = {}
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda device: torch.tensor([10 + device.index] * 3).byte())
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda state, device: given.update({str(device): state.tolist()}))
    tables: list[torch.Tensor] = []

    def all_reduce(ranks: Ranks, table: torch.Tensor) -> torch.Tensor:
        tables.append(table)
        return sum(tables, torch.zeros_like(table))

    monkeypatch.setattr(Ranks, "all_reduce", all_reduce)
    gpu_states(torch.device("cuda", 1), Ranks(1, 2, 1, 2))
    states = gpu_states(torch.device("cuda", 0), Ranks(0, 2, 0, 2))
    assert [state.tolist() for state in states] == [[10] * 3, [11] * 3]
    restore_gpu_states(states, torch.device("cuda", 1), Ranks(1, 2, 1, 2))
    assert given == {"cuda:1": [11] * 3}
    restore_gpu_states(states, torch.device("cuda", 0), Ranks())  # of another number of ranks: left as it is
    assert given == {"cuda:1": [11] * 3}


def test_cpus_have_none() -> None:
    assert gpu_states(CPU, Ranks()) == []
    restore_gpu_states([], CPU, Ranks())
