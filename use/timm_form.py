"""The form of timm and the Hugging Face Hub: model.safetensors and config.json."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torchvision.models import resnet

from feedline.model import resnet18
from feedline.pipeline.errors import InputError, first_line
from feedline.pipeline.files import write_json
from feedline.use.forms import FILES
from feedline.use.loading import Loaded

CONFIG = "config.json"
EPS = 1e-5  # of timm's norms


def write_timm(folder: Path, loaded: Loaded, about: Mapping[str, Any]) -> Path:
    """Writes both files. Raises InputError if the network is no ResNet18."""
    from safetensors.torch import save

    check_suits(loaded)
    assert isinstance(loaded.net, resnet.ResNet)
    path = folder / FILES["timm"]
    path.write_bytes(save({name: value.contiguous() for name, value in loaded.net.state_dict().items()}))
    write_json(folder / CONFIG, _config(loaded, loaded.net, about))
    return path


def check_suits(loaded: Loaded) -> None:
    """Raises InputError if the network is no ResNet18."""
    if not suits(loaded):
        raise InputError("`to=timm`: is for ResNet18, and this is another network; export it as onnx or torch")


def suits(loaded: Loaded) -> bool:
    """Whether timm has the network."""
    return isinstance(loaded.net, resnet.ResNet)


def stem_of(net: resnet.ResNet) -> str:
    """`standard`, or `small`, which timm's resnet18 lacks."""
    return "standard" if net.conv1.kernel_size == (7, 7) else "small"


def _config(loaded: Loaded, net: resnet.ResNet, about: Mapping[str, Any]) -> dict[str, Any]:
    preprocess, classes = loaded.preprocess, loaded.classes
    return {
        "architecture": "resnet18",
        "num_classes": len(classes),
        "num_features": 512,
        "global_pool": "avg",
        "label_names": [info.folder for info in classes],
        "label_descriptions": {info.folder: info.words for info in classes},
        "pretrained_cfg": {
            "tag": "feedline",
            "custom_load": False,
            "input_size": [3, *preprocess.size],
            "fixed_input_size": False,
            "interpolation": "bilinear",
            "crop_pct": preprocess.crop_fraction,
            "crop_mode": "center",
            "mean": list(preprocess.mean),
            "std": list(preprocess.std),
            "num_classes": len(classes),
            "pool_size": None,
            "first_conv": "conv1",
            "classifier": "fc",
        },
        "feedline": {**about, "stem": stem_of(net), "norm_eps": net.bn1.eps},
    }


def read_timm(path: Path, config: Mapping[str, Any]) -> nn.Module:
    """The network of a .safetensors file, in eval mode: timm's where it is installed, with the stem of the weights.

    Raises:
        InputError: if the file cannot be read.
    """
    try:
        from safetensors.torch import load

        stem, classes = config["feedline"]["stem"], int(config["num_classes"])
        net = timm_network(classes, stem, float(config["feedline"]["norm_eps"]))
        net.load_state_dict(load(path.read_bytes()))
    except Exception as error:  # damaged bytes make the library raise anything
        raise InputError(f"{path}: cannot be read ({first_line(error)})") from error
    return net.eval()


def timm_network(classes: int, stem: str, eps: float) -> nn.Module:
    """timm's resnet18 with the small stem where that is wanted; ours where timm is not installed."""
    try:
        import timm
    except ImportError:
        return resnet18(classes, stem="small" if stem == "small" else "standard", norm_eps=eps)
    net: nn.Module = timm.create_model("resnet18", num_classes=classes)
    if stem == "small":
        net.conv1, net.maxpool = nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.Identity()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = eps
    return net


def normalised(images: torch.Tensor, config: Mapping[str, Any]) -> torch.Tensor:
    """uint8 [B, 3, height, width] to what the network takes."""
    mean, std = (torch.tensor(config["pretrained_cfg"][name]).view(1, 3, 1, 1) for name in ("mean", "std"))
    return (images.float() / 255 - mean) / std
