"""The states of torch's generators on the GPUs of all ranks, as checkpoints keep them."""

import torch

from feedline.training.ranks import Ranks


def gpu_states(device: torch.device, ranks: Ranks) -> list[torch.Tensor]:
    """uint8, of each rank's own GPU, by rank; empty on CPUs. Every rank must call it."""
    if device.type != "cuda":
        return []
    own = torch.cuda.get_rng_state(device)
    table = torch.zeros(ranks.world_size, len(own), dtype=torch.uint8)
    table[ranks.rank] = own  # the others add theirs: another rank's view of this GPU is not what it draws from
    return list(ranks.all_reduce(table))


def restore_gpu_states(states: list[torch.Tensor], device: torch.device, ranks: Ranks) -> None:
    """Gives this rank's GPU its state, if the states are of as many ranks."""
    if device.type == "cuda" and len(states) == ranks.world_size:
        torch.cuda.set_rng_state(states[ranks.rank].clone(), device)
