"""feedline verify-export: asks an exported file again what it was asked when it was written."""

from collections.abc import Sequence
from pathlib import Path

from feedline.output import one_line
from feedline.pipeline.errors import FeedlineError, InputError, first_line, name_errors
from feedline.program import Parser, fail
from feedline.use.forms import FILES
from feedline.use.probes import FILE, Probes, check
from feedline.use.reading import open_exported

NAME = "verify-export"


def parser() -> Parser:
    """The command line."""
    p = Parser(
        NAME,
        f"Says whether an exported file answers here as the network did: on the images in {FILE} beside it.",
        epilog="exit status: 0 if it does, 1 if it answers otherwise, 2 if it cannot be asked",
    )
    p.add_argument(
        "files",
        metavar="FILE",
        nargs="+",
        help="model.onnx, model.pt2 or model.safetensors of an export, or its folder",
    )
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit status."""
    names, status = parser().parse_args(argv).files, 0
    try:
        with name_errors():
            for path in (path for name in names for path in _files(Path(name))):
                ok, line = verify(path)
                print(one_line(line))
                status = status if ok else 1
    except FeedlineError as error:
        return fail(NAME, error)
    return status


def _files(named: Path) -> list[Path]:
    """The file, or all forms in the folder of an export. Raises InputError if it has none."""
    if not named.is_dir():
        return [named]
    found = [path for name in FILES.values() if (path := named / name).exists()]
    if not found:
        raise InputError(f"{named}: a folder without an exported file ({', '.join(FILES.values())})")
    return found


def verify(path: Path) -> tuple[bool, str]:
    """Whether an exported file answers as the network did, and a line that says so. Raises InputError if it cannot."""
    probes, answer = Probes.load(path.parent), open_exported(path)
    try:
        return check(path, probes, answer)
    except InputError:
        raise
    except Exception as error:  # a program for other inputs makes torch and onnxruntime raise anything
        raise InputError(f"{path}: cannot be asked ({first_line(error)})") from error
