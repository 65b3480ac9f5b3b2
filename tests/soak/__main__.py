"""python -m tests.soak: long-running tests. The counts are written to a JSON file."""

import argparse
import shlex
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch

from feedline import Dataset
from feedline.convert import build
from feedline.convert.sample import draw_sample
from feedline.pipeline.files import write_json
from feedline.training.meter import hardware, versions


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    p.add_argument("what", choices=["kills", "conversions", "fuzz", "loader"])
    p.add_argument("--kills", type=int, default=50, help="kills, conversions: number of kills (default: 50)")
    p.add_argument("--inputs", type=int, default=100_000, help="fuzz: minimum number of inputs (default: 100000)")
    p.add_argument("--epochs", type=int, default=200, help="loader: number of epochs (default: 200)")
    p.add_argument("--batch-size", type=int, default=256, help="loader (default: 256)")
    p.add_argument("--data", type=Path, help="loader: a dataset with both packs (default: the built-in sample)")
    p.add_argument("--seed", type=int, default=0, help="seed of the times and signals of kills (default: 0)")
    p.add_argument(
        "--out",
        type=Path,
        default=Path("results/reliability"),
        help="results/reliability",
    )
    return p


def main(argv: Sequence[str] | None = None) -> int:
    words = sys.argv[1:] if argv is None else list(argv)
    args = parser().parse_args(words)
    with tempfile.TemporaryDirectory(prefix="feedline-soak-") as name:
        folder = Path(name)
        source = draw_sample(folder / "sample")
        if args.what != "conversions" and args.data is None:
            args.data = folder / "dataset"
            assert build.main(["--source", str(source), "--out", str(args.data)]) == 0
        counted = _soak(args, source, folder / "work")
    args.out.mkdir(parents=True, exist_ok=True)
    stem = args.what if args.what != "loader" else f"loader-{counted['dataset']}"
    command = "python -m tests.soak " + shlex.join(words)
    about = {"command": command, "hardware": hardware(torch.device("cpu")), "versions": versions()}
    write_json(args.out / f"{stem}.json", {**about, **counted})
    print(counted)
    return 0


def _soak(args: argparse.Namespace, source: Path, work: Path) -> dict[str, object]:
    work.mkdir()
    if args.what == "kills":
        from tests.soak import kills

        return kills.run(args.data, work, kills=args.kills, seed=args.seed)
    if args.what == "conversions":
        from tests.soak import conversions

        return conversions.run(source, work, kills=args.kills, seed=args.seed)
    if args.what == "loader":
        from tests.soak import loader

        return loader.run(args.data, epochs=args.epochs, batch_size=args.batch_size)
    from tests.soak import fuzz

    images, small = draw_sample(work / "source", train=8, val=4, classes=3), work / "small"
    assert build.main(["--source", str(images), "--out", str(small)]) == 0
    return fuzz.run(Dataset(small), small, fuzz.small_state(), examples=-(-args.inputs // 7))


if __name__ == "__main__":
    sys.exit(main())
