"""python convert/build.py: converts images to a dataset folder, once."""

import argparse
import os
import shlex
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

if not __package__:  # run as a script: feedline is in the checkout, not in this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # until `main` handles it: imports take a second
        signal.signal(signal.SIGINT, lambda *_: (os.write(2, b"build.py: interrupted\n"), os._exit(130)))

from feedline.console import aloud, print_result, speaking
from feedline.convert import gate, signals
from feedline.convert.atomic_folder import remove_leftovers
from feedline.convert.builder import build, check_replaceable, find_complete
from feedline.convert.identity import check_source
from feedline.convert.options import Options, pack_kinds
from feedline.convert.sources import check_apart, default_name
from feedline.convert.table import print_table
from feedline.output import counted, safe_output
from feedline.pipeline.cores import available_cores
from feedline.pipeline.dataset import Dataset
from feedline.pipeline.errors import FeedlineError, InputError, name_errors
from feedline.program import Parser, command_line, fail, short_name


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = Parser("convert", "Convert images to a dataset folder that training reads.")
    p.add_argument(
        "--source",
        default="tiny-imagenet",
        help="tiny-imagenet (downloaded), sample (drawn by this program), the URL or path of a zip, a tar or a Parquet "
        "file, webdataset shards ('shards-{000..009}.tar', quoted), or a folder: of class folders, of train/, val/ and "
        "test/ with class folders, of images with a table, Tiny ImageNet's, CIFAR's, MNIST's, or of shards or Parquet "
        "files (default: tiny-imagenet)",
    )
    p.add_argument("--out", help="the dataset folder (default: data/<name of the source>)")
    p.add_argument(
        "--packs", default="jpeg,raw", help="packs to write, separated by commas, or none (default: jpeg,raw)"
    )
    p.add_argument(
        "--val-fraction",
        type=float,
        default=0.3,
        help="share of val in the stratified split; 0 for the source's own split alone (default: 0.3)",
    )
    p.add_argument("--seed", type=int, default=0, help="seed of the stratified split (default: 0)")
    cores = available_cores()
    p.add_argument("--workers", type=int, default=cores, help=f"processes (default: one per core, here {cores})")
    p.add_argument(
        "--max-size",
        type=int,
        help="limit of the shorter side, in pixels; larger images are resized and saved as JPEG of quality 90, in the "
        "folder and in the packs",
    )
    p.add_argument("--strict", action="store_true", help="stop at an image that does not decode")
    p.add_argument(
        "--group",
        metavar="REGEX|COLUMN",
        help="keep images of one patient, video or scene on one side of the stratified split: a column of the source's "
        "table, or a regular expression over paths in the source (its first group, else all that it matches)",
    )
    p.add_argument(
        "--near-duplicates",
        default="auto",
        help="on, off, or auto: find images that look alike, by ImageHash's phash, where that costs less than the "
        "decoding (default: auto)",
    )
    p.add_argument(
        "--fail-on",
        metavar="FINDINGS",
        help=f"exit with status 1 if the dataset, which is kept, has any of these: {', '.join(gate.FINDINGS)}, all "
        "(separated by commas)",
    )
    p.add_argument(
        "--labels",
        help="a table (CSV, TSV, JSON lines) of file names and labels, in the source or elsewhere; 'folders' for class "
        "folders where a table lies beside them (default: what the source has)",
    )
    p.add_argument("--image-column", help="column of the table that names the images (default: guessed)")
    p.add_argument("--label-column", help="column of the table that holds the labels (default: guessed)")
    p.add_argument(
        "--classes-file",
        type=Path,
        help="text with one class a line, perhaps with a tab and words: the classes and their order (default: sorted)",
    )
    p.add_argument("--force", action="store_true", help="build again if the dataset exists already")
    p.add_argument("--quiet", action="store_true", help="print the result, warnings and errors only")
    p.add_argument(
        "--json", action="store_true", help="print dataset.json's content as one JSON object; all else goes to stderr"
    )
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command.

    Args:
        argv: its arguments; those of the process if None.

    Returns:
        The exit status: 0, 1 if there are findings that `--fail-on` names or the output could not be
        written, 2 if something outside the code went wrong, 128 + signal if interrupted.
    """
    with safe_output() as ending, signals.ending(f"{short_name('convert')}: interrupted; nothing was left behind"):
        return ending.status(_main(parser().parse_args(argv), argv))


def _main(args: argparse.Namespace, argv: Sequence[str] | None) -> int:
    try:
        with name_errors():
            return _build(args, argv)
    except FeedlineError as error:
        return fail("convert", error)
    except KeyboardInterrupt as error:
        return fail("convert", "interrupted", 128 + (error.args[0] if error.args else signal.SIGINT))


def _build(args: argparse.Namespace, argv: Sequence[str] | None) -> int:
    fail_on = [] if args.fail_on is None else gate.parse(args.fail_on, grouped=args.group is not None)
    options = _options(args)
    before = _number(options.out)
    with speaking(quiet=args.quiet, json=args.json):
        status = _run(options, again=_again(argv), force=args.force) or _check_findings(options.out, fail_on)
    if args.json and status < 2:
        built = _number(options.out) != before
        print_result({"out": options.out, "built": built, **Dataset(options.out).meta})
    return status


def _options(args: argparse.Namespace) -> Options:
    if "" in (args.source, args.out):  # Path("") would be the current folder
        raise InputError(f"`{'source' if args.source == '' else 'out'}`: is empty; leave it out, or name a folder")
    return Options(
        source=args.source,
        out=Path(args.out or f"data/{default_name(args.source)}"),
        packs=pack_kinds(args.packs),
        val_fraction=args.val_fraction,
        seed=args.seed,
        workers=args.workers,
        strict=args.strict,
        max_size=args.max_size,
        group=args.group,
        near_duplicates=args.near_duplicates,
        labels=args.labels,
        image_column=args.image_column,
        label_column=args.label_column,
        classes_file=args.classes_file,
    )


def _again(argv: Sequence[str] | None) -> str:
    """The command that builds the dataset again."""
    return f"{command_line('convert')} {shlex.join([*(sys.argv[1:] if argv is None else argv), '--force'])}"


def _run(options: Options, *, again: str, force: bool) -> int:
    before = _number(options.out)
    try:
        remove_leftovers(options.out)
        check_replaceable(options.out)
        if not force and (dataset := find_complete(options.out, options.identity())):
            unknown = check_source(dataset, options.source, again)
            if options.near_duplicates == "on":
                gate.require_near(options.out)
            if options.strict:
                gate.require_all(options.out)
            with aloud():
                print(
                    f"{options.out}: complete already ({counted(dataset.count, 'image')}); nothing to do. --force "
                    "builds it again"
                )
                if unknown:
                    print(unknown)
            print(_train_command(options))
            return 0
        check_apart(options.source, options.out)
        started = time.perf_counter()
        dataset = build(options, print)
        with aloud():
            print_table(dataset, time.perf_counter() - started)
        print(_train_command(options))
    except OSError as error:
        return fail("convert", f"{error.filename or options.out}: {error.strerror or error}; nothing was left behind")
    except KeyboardInterrupt as error:
        state = "nothing was left behind" if _number(options.out) == before else f"{options.out} is complete"
        return fail("convert", f"interrupted; {state}", 128 + (error.args[0] if error.args else signal.SIGINT))
    return 0


def _train_command(options: Options) -> str:
    """What to do next. The sample has a recipe of its own; with `default` it would train for long."""
    recipe = " --recipe demo --amp" if options.source == "sample" else ""
    data = f" --data {shlex.quote(str(options.out))}"
    return f"train on it with:\n  {command_line('train')} --mode train{recipe}{data}"


def _number(out: Path) -> int | None:
    """The number by which the file system knows a folder: another folder of that name has another."""
    try:
        return out.stat().st_ino
    except OSError:
        return None


def _check_findings(out: Path, names: Sequence[str]) -> int:
    """Exit status 1 if doctor.json has findings of these names. The dataset stays."""
    if findings := gate.found(out, names):
        return fail("convert", f"--fail-on: {findings}; see {out / 'doctor.json'}", 1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
