"""A convolution's three products on a CPU, in each way that works here: what the rules in model/conv.py come from.

    python -m bench.products --sizes 24,32,48,64 --batch-size 128

Milliseconds for the layers of ResNet18 in bfloat16, medians of interleaved rounds.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bench.common import about, markdown
from feedline.model import compiled, conv, winograd
from feedline.pipeline.files import write_json
from feedline.training.heap import keep_freed_memory

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
WAYS = {"onednn": "oneDNN", "matrix": "matrix", "winograd": "Winograd"}


def measure(layer: tuple[int, ...], size: int, batch_size: int, rounds: int) -> dict[str, Any]:
    """Milliseconds of each product in each way, and which one the rule takes."""
    inputs, outputs, divisor, kernel, stride = layer
    module = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False).to(memory_format=torch.channels_last)
    side = -(-size // divisor)
    x = torch.randn(batch_size, inputs, side, side).bfloat16()
    x = x.to(memory_format=torch.channels_last)
    side = (x.shape[3] - 1) // stride + 1
    ways = [way for way in WAYS if way != "winograd" or winograd.suits(module, x)]
    times: dict[tuple[str, str], list[float]] = {(p, w): [] for p in PRODUCTS for w in ways}
    for _ in range(rounds):
        for product, way in times:
            times[product, way].append(_milliseconds(_product(product, module, x, stride, way)))
    rule = conv.choose(module, side, tiles=conv.has_tiles())
    by_winograd = winograd.suits(module, x) and not conv.has_tiles()
    return {
        "size": size,
        "layer": f"{inputs} -> {outputs}, {kernel}x{kernel}, stride {stride}",
        "side": side,
        "ms": {p: {w: round(statistics.median(times[p, w]), 2) for w in ways} for p in PRODUCTS},
        "rule": {p: "winograd" if by_winograd else "matrix" if getattr(rule, p) else "onednn" for p in PRODUCTS},
    }


def _product(name: str, module: nn.Conv2d, x: torch.Tensor, stride: int, way: str) -> Callable[[], Any]:
    """One of the three products, ready to run."""
    weight = module.weight.detach()
    dy = torch.randn_like(module(x.float())).bfloat16().contiguous(memory_format=torch.channels_last)
    if way == "winograd":
        return {
            "forward": lambda: winograd.convolve(x, winograd.transformed(weight, reverse=False), len(weight)),
            "data": lambda: winograd.convolve(dy, winograd.transformed(weight, reverse=True), x.shape[1]),
            "weights": lambda: winograd.gradient_of_filters(dy, x),
        }[name]
    filters = weight.to(dtype=x.dtype, memory_format=torch.channels_last)
    matrix = way == "matrix"
    how = conv.How(forward=matrix, data=matrix, weights=matrix)
    if name == "forward":
        return lambda: conv.output(x, filters, stride, how)
    wanted = (name == "data", name == "weights")
    return lambda: conv.gradients(dy, x, filters, stride, how, wanted)


def _milliseconds(run: Callable[[], Any]) -> float:
    run()
    start = time.perf_counter()
    run()
    return 1e3 * (time.perf_counter() - start)


def table(rows: list[Mapping[str, Any]]) -> str:
    """Markdown; what the rule takes is bold."""
    ways = [way for way in WAYS if any(way in row["ms"]["forward"] for row in rows)]
    heads = [f"{product}: {WAYS[way]}" if way == ways[0] else WAYS[way] for product in PRODUCTS for way in ways]
    cells = (
        [str(row["size"]), row["layer"], str(row["side"]), *(_cell(row, p, way) for p in PRODUCTS for way in ways)]
        for row in rows
    )
    return markdown(["image", "layer", "output", *heads], cells)


def _cell(row: Mapping[str, Any], product: str, way: str) -> str:
    if way not in row["ms"][product]:
        return ""
    ms = f"{row['ms'][product][way]:.1f}"
    return f"**{ms}**" if row["rule"][product] == way else ms


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.products", description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", default="24,32,48,64", help="sides of the image in pixels")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--heap", choices=("kept", "default"), default="kept", help="kept: as the trainer sets it up")
    parser.add_argument("--out", type=Path, default=Path("runs/products"))
    args = parser.parse_args(argv)
    if compiled.kernels is None:
        parser.exit(2, "the kernels are not compiled here: install a C compiler, then again: pip install -e .\n")
    if args.heap == "kept":
        keep_freed_memory()
    rows: list[Mapping[str, Any]] = [
        measure(layer, size, args.batch_size, args.rounds)
        for size in map(int, args.sizes.split(","))
        for layer in LAYERS
    ]
    print(table(rows))
    settings = {"batch_size": args.batch_size, "rounds": args.rounds, "heap": args.heap}
    args.out.mkdir(parents=True, exist_ok=True)
    write_json(args.out / "products.json", {**about("bench.products", argv), **settings, "rows": rows})


if __name__ == "__main__":
    main()
