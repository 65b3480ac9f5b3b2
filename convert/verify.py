"""feedline verify: reads everything in a dataset folder, and names what is not as it was written."""

import contextlib
import itertools
import sys
from collections.abc import Iterator, Sequence

from feedline.console import print_result, speaking
from feedline.convert import pool
from feedline.convert.integrity import Finding, Job, check_images, check_listed, check_names
from feedline.output import counted, one_line
from feedline.pipeline.cores import available_cores
from feedline.pipeline.dataset import Dataset
from feedline.pipeline.dataset.checksums import LISTING
from feedline.pipeline.dataset.description import REBUILD
from feedline.pipeline.errors import FeedlineError, InputError, first_line, name_errors
from feedline.program import Parser, fail
from feedline.progress import Progress

IMAGES_PER_JOB = 512
SHOWN = 20  # findings that are named
_RUNS = itertools.count()


def parser() -> Parser:
    """The command line."""
    p = Parser(
        "verify",
        "Reads every file of a dataset folder, and names what changed since it was built, what is missing, and what "
        "does not belong to it.",
        epilog="exit status: 0 if nothing wrong was found, 1 if something was, 2 if there is no dataset to read",
    )
    p.add_argument("folder", metavar="DIR", help="the dataset folder")
    cores = available_cores()
    p.add_argument("--workers", type=int, default=cores, help=f"processes (default: one per core, here {cores})")
    p.add_argument("--all", action="store_true", help=f"name all that is found, not only the first {SHOWN}")
    p.add_argument("--quiet", action="store_true", help="show no progress")
    p.add_argument("--json", action="store_true", help="print one JSON object with all findings")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command.

    Returns:
        0 if nothing wrong was found, 1 if something was, 2 after an error that was printed in one line.
    """
    args = parser().parse_args(argv)
    try:
        if args.workers < 1:
            raise InputError(f"`workers={args.workers}`: must be at least 1")
        with speaking(quiet=args.quiet, json=args.json), name_errors():
            dataset = Dataset(args.folder)
            findings = list(verify(dataset, args.workers))
    except FeedlineError as error:
        return fail("verify", error)
    except KeyboardInterrupt:
        return fail("verify", "interrupted", 130)
    if args.json:
        found = [{"what": what, "wrong": wrong} for what, wrong in findings]
        print_result({"folder": dataset.root, "images": dataset.count, "whole": not found, "findings": found})
    else:
        _report(dataset, findings, len(findings) if args.all else SHOWN)
    return 1 if findings else 0


def verify(dataset: Dataset, workers: int) -> Iterator[Finding]:
    """Reads a dataset folder; yields what is not as it was written.

    Args:
        dataset: the folder.
        workers: processes.

    Raises:
        WorkerKilledError: if a worker was killed.
    """
    yield from check_listed(dataset.root)
    try:
        yield from check_names(dataset)
        starts = range(0, dataset.count, IMAGES_PER_JOB)
        run = next(_RUNS)
        jobs = [Job(str(dataset.root), run, start, min(start + IMAGES_PER_JOB, dataset.count)) for start in starts]
        bar = Progress(dataset.count, 0, "reading", unit="images", lines=sys.stderr)
        running = pool.run_in_order(check_images, jobs, min(workers, len(jobs)))
        with contextlib.closing(running) as results, bar:
            for job, found in zip(jobs, results, strict=True):
                yield from found
                bar.update(job.stop - job.start)
    except InputError as error:  # the index, or a pack that cannot be opened
        yield "unusable", f"{first_line(error, 1000)}; the images were not all read"


def _report(dataset: Dataset, findings: Sequence[Finding], shown: int) -> None:
    for what, wrong in findings[:shown]:
        print(f"{one_line(what)}: {one_line(wrong)}")
    if len(findings) > shown:
        print(f"... and {len(findings) - shown:,} more (--all names them)")
    compared = (dataset.root / LISTING).exists()
    if not compared and not any(what == LISTING for what, _ in findings):
        print("built without checksums: images were decoded, and pixels in packs compared; index and lists were not")
    packs = f"{' and '.join(dataset.packs) or 'no'} pack{'s' * (len(dataset.packs) != 1)}"
    verdict = "all as it was built" if compared else "nothing wrong was found in what was compared"
    if findings:
        verdict = f"{counted(len(findings), 'finding')}; {REBUILD}"
    print(f"{dataset.root}: {counted(dataset.count, 'image')}, {packs}: {verdict}")
