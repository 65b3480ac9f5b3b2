"""--mode compare: runs on one page, beside what `feedline compare` prints of them."""

from pathlib import Path

from feedline.cli.compare import compare, is_page
from feedline.cli.request import Request

PAGE = "compare.html"


def run(request: Request) -> int:
    """Writes the page, to a file that `--out` names or to a folder. Returns what `feedline compare` does."""
    if request.out is not None and is_page(request.out):
        return compare(request.inputs, Path(request.out))
    return compare(request.inputs, request.folder() / PAGE)
