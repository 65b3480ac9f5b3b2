"""python -m bench.photos: draws a folder of large images, as a stand-in for photographs in measurements.

JPEGs of 500x375 to 1024x768 (quality 90, 4:2:0) in ImageFolder layout: noise at all scales, so that they need about as
many bytes per pixel as photographs.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image


def draw(target: Path, seed: int) -> None:
    """Draws one image: octaves of noise, each weaker and twice as fine as the last, plus grain."""
    rng = np.random.default_rng(seed)
    scale = rng.uniform(500 / 1024, 1)
    width, height = round(1024 * scale), round(768 * scale)
    pixels = np.zeros((height, width, 3))
    for octave in range(2, 9):
        grid = rng.normal(0, 0.62**octave * 2, (3, 3 * 2**octave // 4 + 1, 2**octave + 1)).astype(np.float32)
        planes = [Image.fromarray(plane).resize((width, height), Image.Resampling.BICUBIC) for plane in grid]
        pixels += np.stack([np.asarray(plane) for plane in planes], axis=2)
    pixels += rng.normal(0, 0.12, (height, width, 1))  # grain
    Image.fromarray((255 / (1 + np.exp(-2 * pixels))).astype(np.uint8)).save(target, quality=90)


def main(argv: Sequence[str] | None = None) -> int:
    p = argparse.ArgumentParser(prog="python -m bench.photos", description="Draw a folder of large images.")
    p.add_argument("--out", type=Path, default=Path("data/photos-source"), help="where they go (data/photos-source)")
    p.add_argument("--images", type=int, default=2000, help="number of images (2000)")
    args = p.parse_args(argv)
    targets = []
    for number in range(args.images):
        folder = args.out / f"class{number % 10}"
        folder.mkdir(parents=True, exist_ok=True)
        targets.append(folder / f"{number:06d}.jpg")
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(draw, targets, range(args.images), chunksize=16))
    nbytes = sum(target.stat().st_size for target in targets)
    print(f"{args.out}: {args.images} images, {nbytes / args.images / 1024:.0f} KiB each")
    return 0


if __name__ == "__main__":
    sys.exit(main())
