"""The layer table: shapes, parameters, totals, sizes.

torchinfo, the maintained library for this, prints the tree of modules. The assignment's table is the sequence of layers
as they run, with one row per convolution, norm, pooling, block and linear layer.
"""

from dataclasses import dataclass

import torch
from torch import nn
from torchvision.models.resnet import BasicBlock

_ROWS = (nn.Conv2d, nn.BatchNorm2d, nn.MaxPool2d, nn.Linear, BasicBlock)


@dataclass(frozen=True)
class Layer:
    """One row: the kind of layer, the shape of its output without the batch, and the number of its parameters."""

    kind: str
    shape: tuple[int, ...]
    params: int


def layers(model: nn.Module, size: tuple[int, int, int]) -> list[Layer]:
    """The layers of a model in the order in which they run, for an input of shape [channels, height, width]."""
    rows: list[Layer] = []

    def record(module: nn.Module, _: object, output: torch.Tensor) -> None:
        params = 0 if isinstance(module, BasicBlock) else sum(p.numel() for p in module.parameters())
        rows.append(Layer(type(module).__name__, tuple(output.shape[1:]), params))

    hooks = [m.register_forward_hook(record) for m in model.modules() if isinstance(m, _ROWS)]
    training = model.training
    try:
        with torch.no_grad():
            model.eval()(torch.zeros(1, *size, device=next(model.parameters()).device))
    finally:
        model.train(training)
        for hook in hooks:
            hook.remove()
    return rows


def layer_table(model: nn.Module, size: tuple[int, int, int]) -> str:
    """The table as text: one row per layer, then parameters and sizes in MiB (4 bytes per value)."""
    rows = layers(model, size)
    total = sum(p.numel() for p in model.parameters())
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    values = [torch.Size(size).numel(), 2 * sum(torch.Size(row.shape).numel() for row in rows), total]
    mib = [4 * v / 2**20 for v in values]
    line = "-" * 64
    body = [
        f"{f'{row.kind}-{number}':>20}  {[-1, *row.shape]!s:>25} {row.params:>15,}"
        for number, row in enumerate(rows, start=1)
    ]
    return "\n".join(
        [
            line,
            f"{'Layer (type)':>20}  {'Output Shape':>25} {'Param #':>15}",
            "=" * 64,
            *body,
            "=" * 64,
            f"Total params: {total:,}",
            f"Trainable params: {trainable:,}",
            f"Non-trainable params: {total - trainable:,}",
            line,
            f"Input size (MB): {mib[0]:.2f}",
            f"Forward/backward pass size (MB): {mib[1]:.2f}",
            f"Params size (MB): {mib[2]:.2f}",
            f"Estimated Total Size (MB): {sum(mib):.2f}",
            line,
        ]
    )
