"""A convolution's three products on a CPU, by oneDNN and as matrix products: what the rule in model/conv.py comes from.

    python -m bench.products --sizes 24,32,48,64 --batch-size 128

Milliseconds for the layers of ResNet18 in bfloat16, medians of interleaved rounds.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from feedline.model import compiled, conv
from feedline.pipeline.files import write_json
from feedline.training.meter import hardware, versions

# Input and output channels, side of the input / side of the image, kernel, stride.
LAYERS = (
    (64, 64, 1, 3, 1),
    (64, 128, 1, 3, 2),
    (64, 128, 1, 1, 2),
    (128, 128, 2, 3, 1),
    (128, 256, 2, 3, 2),
    (128, 256, 2, 1, 2),
    (256, 256, 4, 3, 1),
    (256, 512, 4, 3, 2),
    (256, 512, 4, 1, 2),
    (512, 512, 8, 3, 1),
)
PRODUCTS = ("forward", "data", "weights")
ONE_DNN = conv.How(forward=False, data=False, weights=False)
MATRIX = conv.How(forward=True, data=True, weights=True)


def measure(layer: tuple[int, ...], size: int, batch_size: int, rounds: int) -> dict[str, Any]:
    """Milliseconds of each product, by oneDNN and as a matrix product, and which one the rule takes."""
    inputs, outputs, divisor, kernel, stride = layer
    module = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False).to(memory_format=torch.channels_last)
    x = torch.randn(batch_size, inputs, size // divisor, size // divisor).bfloat16()
    x = x.to(memory_format=torch.channels_last)
    side = (x.shape[3] - 1) // stride + 1
    times: dict[tuple[str, str], list[float]] = {(p, w): [] for p in PRODUCTS for w in ("onednn", "matrix")}
    for _ in range(rounds):
        for product in PRODUCTS:
            for way, how in (("onednn", ONE_DNN), ("matrix", MATRIX)):
                times[product, way].append(_milliseconds(_product(product, module, x, stride, how)))
    rule = conv.choose(module, side)
    return {
        "size": size,
        "layer": f"{inputs} -> {outputs}, {kernel}x{kernel}, stride {stride}",
        "side": side,
        "ms": {p: {w: round(statistics.median(times[p, w]), 2) for w in ("onednn", "matrix")} for p in PRODUCTS},
        "rule": {p: "matrix" if getattr(rule, p) else "onednn" for p in PRODUCTS},
    }


def _product(name: str, module: nn.Conv2d, x: torch.Tensor, stride: int, how: "conv.How") -> Callable[[], Any]:
    """One of the three products, ready to run."""
    filters = module.weight.detach().to(dtype=x.dtype, memory_format=torch.channels_last)
    if name == "forward":
        return lambda: conv.output(x, filters, stride, how)
    dy = torch.randn_like(conv.output(x, filters, stride, how))
    wanted = (name == "data", name == "weights")
    return lambda: conv.gradients(dy, x, filters, stride, how, wanted)


def _milliseconds(run: Callable[[], Any]) -> float:
    run()
    start = time.perf_counter()
    run()
    return 1e3 * (time.perf_counter() - start)


def table(rows: list[Mapping[str, Any]]) -> Iterator[str]:
    """Markdown; what the rule takes is bold."""
    yield "| image | layer | output | " + " | ".join(f"{p}: oneDNN | matrix" for p in PRODUCTS) + " |"
    yield "| --- " * (3 + 2 * len(PRODUCTS)) + "|"
    for row in rows:
        cells = [
            f"**{ms:.1f}**" if row["rule"][product] == way else f"{ms:.1f}"
            for product in PRODUCTS
            for way, ms in row["ms"][product].items()
        ]
        yield f"| {row['size']} | {row['layer']} | {row['side']} | {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.products", description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", default="24,32,48,64", help="sides of the image in pixels")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("runs/products"))
    args = parser.parse_args()
    if compiled.kernels is None:
        parser.exit(2, "the kernels are not compiled here: install a C compiler, then again: pip install -e .\n")
    rows: list[Mapping[str, Any]] = [
        measure(layer, size, args.batch_size, args.rounds)
        for size in map(int, args.sizes.split(","))
        for layer in LAYERS
    ]
    print("\n".join(table(rows)))
    settings = {"batch_size": args.batch_size, "rounds": args.rounds}
    args.out.mkdir(parents=True, exist_ok=True)
    write_json(
        args.out / "products.json", {**settings, "rows": rows, "hardware": hardware(torch.device("cpu")), **versions()}
    )


if __name__ == "__main__":
    main()
