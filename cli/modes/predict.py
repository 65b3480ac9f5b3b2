"""--mode predict: the classes of files."""

import contextlib
import errno
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from feedline.cli.build import choose_device
from feedline.cli.locate import find_checkpoint
from feedline.cli.machine import set_up_host
from feedline.cli.request import Request
from feedline.cli.using import used
from feedline.console import aloud
from feedline.output import counted, one_line
from feedline.pipeline.cores import available_cores
from feedline.pipeline.errors import InputError
from feedline.pipeline.files import replacing
from feedline.progress import Progress
from feedline.training.memory import memory_errors
from feedline.training.precision import Precision
from feedline.use.inputs import STDIN, image_files
from feedline.use.outputs import writing_to
from feedline.use.predicting import Predictor, Unread
from feedline.use.rows import FORMATS, Format, Rows


def run(request: Request) -> int:
    """Prints or writes the most probable classes of each file.

    Files that cannot be read are named on stderr. Returns 1 if none could be read. With `json`, predictions that no
    file takes are in the results.
    """
    listed = request.json and request.out is None
    if listed and request.format is not None:
        raise InputError(f"`format={request.format}`: has no effect with `json`, unless `out` names a file")
    if request.checkpoint is not None and "data" in request.flags:
        raise InputError(f"`data={request.flags['data']}`: has no effect beside `checkpoint`: it chooses among runs")
    if not request.inputs:
        raise InputError("name files, folders or patterns of images, or - for names on stdin")
    with contextlib.redirect_stdout(sys.stderr):  # stdout is for predictions
        path, snapshot = find_checkpoint(request)
    if request.checkpoint is None and not request.quiet:
        print(f"predicting with {path}", file=sys.stderr)
    config, loaded = used(request, path, snapshot)
    device = choose_device(config.run.device)
    set_up_host(config.run, device)
    precision = Precision.choose(config.run, device)
    predictor = Predictor(
        loaded.net.to(device),
        loaded.preprocess,
        precision,
        views=config.run.views,
        top=request.top,
        batch_size=config.loader.batch_size,
        threads=config.loader.threads or available_cores(),
    )
    files = image_files(request.inputs, sys.stdin)
    names = files if STDIN in request.inputs else list(files)
    rows = Rows(_format(request), loaded.classes, request.top)
    read, unread, entries = 0, list[Unread](), list[dict[str, Any]]()
    with memory_errors(config, trains=False), _output(request) as out, _progress(request, names) as bar:
        out.write(rows.header())
        for result in predictor(names):
            if isinstance(result, Unread):
                unread.append(result)
                bar.write(one_line(result.why))
            elif listed:
                entries.append(rows.entry(result))
            else:
                out.write(rows.row(result))
            read += not isinstance(result, Unread)
            bar.update()
    if unread:
        print(f"{len(unread):,} of {counted(read + len(unread), 'file')} could not be read", file=sys.stderr)
    if request.out is not None:
        print(f"{path}: {counted(read, 'image')}: {request.out}", file=sys.stderr)
    request.results.update(checkpoint=path, images=read, unread=list(map(vars, unread)))
    request.results.update({"predictions": entries} if listed else {"out": request.out})
    return 0 if read else 1


def _format(request: Request) -> Format:
    """As asked for; else what the name of the file says, and a table on the console."""
    wanted = request.format or Path(request.out or "").suffix.lstrip(".").lower()
    return next((name for name in FORMATS if name == wanted), "table")


@contextlib.contextmanager
def _output(request: Request) -> Iterator[TextIO]:
    """Stdout, or a file that appears when it is complete, behind a link too; a device or a pipe is written as it is."""
    if request.out is None:
        with aloud():
            yield sys.stdout
        return
    named = Path(request.out)
    with contextlib.ExitStack() as stack:
        with writing_to(request.out):
            if named.is_dir():
                raise InputError(f"`out={request.out}`: is a folder; name a file")
            final = _behind_links(named)
            final.parent.mkdir(parents=True, exist_ok=True)
            stands_for_one = re.match(r"/(dev/(std|fd/)|proc/)", str(named.absolute())) is not None
            whole = not stands_for_one and (final.is_file() or not final.exists())
            if whole and final.is_file() and b"\0" in _start(final):
                raise InputError(f"`out={request.out}`: is there and holds no text; name another file")
            path = stack.enter_context(replacing(final)) if whole else named
            file = stack.enter_context(path.open("w", encoding="utf-8", errors="surrogateescape"))
        yield file


def _behind_links(path: Path) -> Path:
    try:
        return path.resolve()
    except RuntimeError as error:  # of Python up to 3.12
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP)) from error


def _start(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(4096)


def _progress(request: Request, names: object) -> Progress:
    """On stderr, unless the rows are shown on the same terminal."""
    rows_shown = request.out is None and not request.json and sys.stdout.isatty()
    total = len(names) if isinstance(names, list) else None
    return Progress(total, 0, "predicting", unit="images", quiet=rows_shown and sys.stderr.isatty(), lines=sys.stderr)
