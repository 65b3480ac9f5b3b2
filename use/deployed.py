"""A network that takes pixels, and what an exported file says of it."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from feedline.use.loading import Loaded

INPUT, OUTPUT = "images", "logits"


class Deployed(nn.Module):
    """A network with the normalisation in front.

    Args:
        loaded: the network and its preprocessing.
    """

    scale: torch.Tensor
    shift: torch.Tensor

    def __init__(self, loaded: Loaded) -> None:
        super().__init__()
        mean = torch.tensor(loaded.preprocess.mean, dtype=torch.float64)
        std = torch.tensor(loaded.preprocess.std, dtype=torch.float64)
        self.net = loaded.net
        self.register_buffer("scale", (1 / (255 * std)).float().view(1, 3, 1, 1))
        self.register_buffer("shift", (-mean / std).float().view(1, 3, 1, 1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """uint8 RGB [B, 3, height, width] to float32 logits [B, classes]."""
        logits: torch.Tensor = self.net(images.float() * self.scale + self.shift)
        return logits


def metadata(loaded: Loaded, about: Mapping[str, Any]) -> dict[str, Any]:
    """What one needs to know to use an exported file.

    Args:
        loaded: the network.
        about: more to keep: of the run.
    """
    preprocess = loaded.preprocess
    return {
        "input": "uint8 RGB [B, 3, height, width] in 0..255, cropped and resized; normalised in the graph",
        "names": [info.folder for info in loaded.classes],
        "words": [info.words for info in loaded.classes],
        "imgsz": list(preprocess.size),
        "crop_fraction": preprocess.crop_fraction,
        "interpolation": "bilinear, antialiased",
        "mean": list(preprocess.mean),
        "std": list(preprocess.std),
        **about,
    }
