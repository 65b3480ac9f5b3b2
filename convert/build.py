"""python convert/build.py: writes a dataset folder, once.

The folder is made under a temporary name beside its place and renamed when complete, so it is whole or absent.
"""

import argparse
import contextlib
import hashlib
import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from feedline.convert import doctor, images, space, splits
from feedline.convert.folder import clear_up, whole_or_absent
from feedline.convert.sample import draw_sample
from feedline.convert.sources import Listing, default_name, open_source
from feedline.pipeline.dataset import (
    PACK_KINDS,
    PARTS,
    Dataset,
    PackWriter,
    Record,
    Split,
    write_index,
    write_json,
    write_meta,
)
from feedline.pipeline.errors import InputError

CHUNK = 256  # images a job


@dataclass(frozen=True)
class Options:
    """What to build. Checked when made.

    Attributes:
        source: as given to `--source`.
        out: the dataset folder.
        packs: kinds of packs.
        val_fraction: share of val in the stratified split, in (0, 1).
        seed: of that split.
        workers: processes that decode.
        strict: stop at an image that does not decode.
        max_size: limit of the shorter side in packs, in pixels.
    """

    source: str
    out: Path
    packs: tuple[str, ...]
    val_fraction: float
    seed: int
    workers: int
    strict: bool
    max_size: int | None = None

    def __post_init__(self) -> None:
        for kind in self.packs:
            if kind not in PACK_KINDS:
                raise InputError(f"--packs {kind}: choose from {', '.join(PACK_KINDS)}")
        if not 0 < self.val_fraction < 1:
            raise InputError(f"--val-fraction {self.val_fraction}: must lie between 0 and 1")
        if self.max_size is not None and self.max_size < 8:
            raise InputError(f"--max-size {self.max_size}: must be at least 8 pixels")
        if self.workers < 1:
            raise InputError(f"--workers {self.workers}: must be at least 1")

    def identity(self) -> dict[str, Any]:
        """What makes one build another; kept in dataset.json."""
        return {
            "source": default_name(self.source),
            "packs": list(self.packs),
            "val_fraction": self.val_fraction,
            "seed": self.seed,
            "max_size": self.max_size,
        }


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(
        prog="python convert/build.py", description="Convert images to a dataset folder that train.py reads."
    )
    p.add_argument(
        "--source",
        default="tiny-imagenet",
        help="tiny-imagenet (downloaded), sample (drawn here), a URL or path of a zip, or a folder: Tiny ImageNet's "
        "layout, class/*.jpg, or train/ and val/ of such (default: tiny-imagenet)",
    )
    p.add_argument("--out", type=Path, help="the dataset folder (default: data/<name of the source>)")
    p.add_argument(
        "--packs", default="jpeg,raw", help="packs to write, of jpeg and raw; '' for none (default: jpeg,raw)"
    )
    p.add_argument(
        "--val-fraction", type=float, default=0.3, help="share of val in the stratified split (default: 0.3)"
    )
    p.add_argument("--seed", type=int, default=0, help="of the stratified split (default: 0)")
    p.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes (default: one a core)")
    p.add_argument(
        "--max-size",
        type=int,
        help="limit of the shorter side in packs, in pixels; larger images are made smaller (JPEG again at quality 90)",
    )
    p.add_argument("--strict", action="store_true", help="stop at an image that does not decode")
    p.add_argument("--force", action="store_true", help="build again where there is a dataset already")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    args = parser().parse_args(argv)
    try:
        options = Options(
            source=args.source,
            out=args.out or Path("data") / default_name(args.source),
            packs=tuple(sorted(set(filter(None, args.packs.split(","))))),
            val_fraction=args.val_fraction,
            seed=args.seed,
            workers=args.workers,
            strict=args.strict,
            max_size=args.max_size,
        )
        clear_up(options.out)
        if _finished(options, args.force):
            return 0
        with _terminated_as_interrupted():
            build(options)
    except InputError as error:
        print(f"build.py: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        where = error.filename or options.out
        print(f"build.py: {where}: {error.strerror or error}; nothing was left behind", file=sys.stderr)
        return 2
    except KeyboardInterrupt as error:
        print("build.py: interrupted; nothing was left behind", file=sys.stderr)
        return 128 + (error.args[0] if error.args else signal.SIGINT)
    return 0


@contextlib.contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """SIGTERM clears up as Ctrl-C does."""

    def stop(signum: int, _: object) -> None:
        raise KeyboardInterrupt(signum)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _finished(options: Options, force: bool) -> bool:
    """Whether there is nothing to do, said.

    Raises:
        InputError: if something else lies where the dataset should go.
    """
    if not options.out.exists():
        return False
    if not (options.out / "dataset.json").exists():
        raise InputError(f"{options.out}: is there already and not a dataset; choose another --out")
    if force:
        return False
    dataset = Dataset(options.out)
    before, now = dataset.meta.get("build", {}), options.identity()
    if different := [key for key in now if before.get(key) != now[key]]:
        key = different[0]
        raise InputError(
            f"{options.out}: was built with {key} {before.get(key)}, now {now[key]} is asked for; "
            "add --force to build it again, or choose another --out"
        )
    print(f"{options.out}: complete already ({dataset.count:,} images); nothing to do. --force builds it again")
    return True


def build(options: Options) -> Dataset:
    """Converts a source, prints a table, and opens what it made.

    Raises:
        InputError: if the source cannot be used; then nothing is written.
    """
    started = time.perf_counter()
    with contextlib.ExitStack() as stack:
        source = options.source
        if source == "sample":
            source = str(draw_sample(Path(stack.enter_context(tempfile.TemporaryDirectory())) / "sample"))
        listing = open_source(source, options.out.parent / "downloads")
        target = stack.enter_context(whole_or_absent(options.out))
        space.require(listing, options.out, options.packs, options.max_size)
        report = _write(options, listing, target)
    _print_table(Dataset(options.out), report, time.perf_counter() - started)
    return Dataset(options.out)


@dataclass
class _Converted:
    """What is known of the images once all were read, in id order."""

    records: list[Record] = field(default_factory=list)
    digests: list[bytes] = field(default_factory=list)
    gray: list[bool] = field(default_factory=list)
    parts: list[str] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)
    histogram: NDArray[np.int64] = field(default_factory=lambda: np.zeros(768, dtype=np.int64))
    packs: dict[str, dict[str, Any]] = field(default_factory=dict)


def _write(options: Options, listing: Listing, target: Path) -> dict[str, Any]:
    """Writes a whole dataset folder into `target`; returns what the doctor found."""
    done = _convert_images(options, listing, target)
    labels = [record.label for record in done.records]
    made = [splits.stratified(labels, done.digests, val_fraction=options.val_fraction, seed=options.seed)]
    if own := splits.official(done.parts):
        made.insert(0, own)
    write_index(target, done.records, made)
    report = doctor.examine(done.records, done.digests, done.gray, done.left_out, made)
    write_json(target / "doctor.json", report)
    mean, std = _mean_std(done.histogram)
    sizes = {(record.height, record.width) for record in done.records}
    write_meta(
        target,
        name=listing.name,
        fingerprint=_fingerprint(done.records, done.digests, made, options.max_size),
        image_size=list(sizes.pop()) if len(sizes) == 1 else None,
        count=len(done.records),
        mean=mean,
        std=std,
        source=listing.origin,
        build=options.identity(),
        splits={split.name: {part: len(getattr(split, part)) for part in PARTS} for split in made},
        packs=done.packs,
        findings=doctor.count(report),
        classes=listing.classes,
    )
    return report


def _convert_images(options: Options, listing: Listing, target: Path) -> _Converted:
    """Reads and decodes every image once; writes the image files and the packs."""
    if options.strict and listing.left_out:
        raise InputError("{}: {} (--strict)".format(*listing.left_out[0]))
    for folder in {(target / item.path).parent for item in listing.items}:
        folder.mkdir(parents=True, exist_ok=True)
    done = _Converted(left_out=list(listing.left_out))
    writers = {kind: PackWriter(target / "packs" / kind) for kind in options.packs}
    chunks = [listing.items[start : start + CHUNK] for start in range(0, len(listing.items), CHUNK)]
    jobs = [images.Job(listing.tree, chunk, target, options.packs, options.max_size) for chunk in chunks]
    bar = tqdm(total=len(listing.items), unit=" images", desc="converting", disable=not sys.stderr.isatty())
    with contextlib.closing(_run(jobs, options.workers)) as results, bar:
        for job, (seen, counts) in zip(jobs, results, strict=True):
            done.histogram += counts
            for item, image in zip(job.items, seen, strict=True):
                if image.error:
                    _leave_out(item.name, image.error, done.left_out, options.strict)
                    continue
                done.records.append(Record(item.path, item.label, image.height, image.width, image.plain))
                done.digests.append(image.digest)
                done.gray.append(image.gray)
                done.parts.append(item.part)
                for kind, writer in writers.items():
                    writer.add(image.encoded if kind == "jpeg" else image.pixels, *image.pack_size)
            bar.update(len(seen))
    for kind, writer in writers.items():
        writer.close()
        done.packs[kind] = writer.about()
    if not done.records:
        raise InputError(f"--source {options.source}: none of its {len(listing.items)} images decodes")
    return done


def _run(
    jobs: Sequence[images.Job], workers: int
) -> Generator[tuple[list[images.Seen], NDArray[np.int64]], None, None]:
    """Results in order; never more than a few jobs' pixels in memory."""
    if workers == 1:
        yield from map(images.run, jobs)
        return
    with ProcessPoolExecutor(workers, initializer=_start_worker) as pool:
        rest = iter(jobs)
        waiting = [pool.submit(images.run, job) for job in islice(rest, 3 * workers)]
        try:
            while waiting:
                yield waiting.pop(0).result()
                waiting += [pool.submit(images.run, job) for job in islice(rest, 1)]
        except BrokenProcessPool as error:
            raise InputError(
                "a worker process was killed from outside, perhaps for want of memory; try fewer --workers"
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


def _start_worker() -> None:
    """Ctrl-C is the parent's business; and a worker ends with its parent, however that ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch(sentinel: int) -> None:
        multiprocessing.connection.wait([sentinel])
        os._exit(1)

    threading.Thread(target=watch, args=(parent.sentinel,), daemon=True).start()


def _leave_out(name: str, error: str, left_out: list[tuple[str, str]], strict: bool) -> None:
    if strict:
        raise InputError(f"{name}: does not decode ({error}); remove it, or convert without --strict to leave it out")
    left_out.append((name, f"does not decode: {error}"))


def _mean_std(histogram: NDArray[np.int64]) -> tuple[list[float], list[float]]:
    """Per channel, in 0..1, from int64 [768] counts of R, G and B values; exact up to the last rounding."""
    counts = histogram.reshape(3, 256)
    values = np.arange(256) / 255
    mean = (counts * values).sum(axis=1) / counts.sum(axis=1)
    variance = (counts * values**2).sum(axis=1) / counts.sum(axis=1) - mean**2
    return [round(v, 6) for v in mean.tolist()], [round(v, 6) for v in np.sqrt(variance).tolist()]


def _fingerprint(
    records: Sequence[Record], digests: Sequence[bytes], made: Sequence[Split], max_size: int | None
) -> str:
    digest = hashlib.sha256() if max_size is None else hashlib.sha256(f"max-size {max_size}\n".encode())
    for record, image in zip(records, digests, strict=True):
        digest.update(f"{record.path}\n{record.label} ".encode() + image)
    for split in made:
        digest.update(split.name.encode() + split.train.tobytes() + b"|" + split.val.tobytes())
    return digest.hexdigest()


def _print_table(dataset: Dataset, report: dict[str, Any], seconds: float) -> None:
    found = dataset.meta["findings"]
    size = "x".join(map(str, dataset.image_size[::-1])) + " pixels" if dataset.image_size else "sizes vary"
    rows = [
        ("dataset", str(dataset.root)),
        ("images", f"{dataset.count:,} ({size}), {len(dataset.classes)} classes"),
        *((f"split {name}", f"{n['train']:,} train, {n['val']:,} val") for name, n in dataset.splits.items()),
        *(
            (f"pack {kind}", f"{p['bytes'] / 2**20:,.0f} MiB in {p['files']} files")
            for kind, p in dataset.packs.items()
        ),
        ("mean / std", " ".join(f"{v:.4f}" for v in dataset.mean) + " / " + " ".join(f"{v:.4f}" for v in dataset.std)),
        (
            "left out",
            f"{found['left_out']:,}" + "".join(f"\n    {r['path']}: {r['reason']}" for r in report["left_out"][:3]),
        ),
        ("one channel", f"{found['gray']:,}"),
        (
            "duplicates",
            f"{found['duplicate_groups']:,} groups of identical images, {found['conflicting_groups']:,} with different "
            "labels" + "".join(f", {n:,} across {name}" for name, n in found["crossing_groups"].items()),
        ),
        ("speed", f"{dataset.count / seconds:,.0f} images/s ({seconds:.1f} s)"),
    ]
    for name, value in rows:
        print(f"{name:<15}{value}")
    if report["left_out"] or report["duplicates"]:
        print(f"{'details':<15}{dataset.root / 'doctor.json'}")


if __name__ == "__main__":
    sys.exit(main())
