"""--mode compare: runs on one page, beside what `feedline compare` prints of them."""

from feedline.cli.compare import PAGE, compare, page_of
from feedline.cli.request import Request


def run(request: Request) -> int:
    """Writes the page, to a file that `--out` names or to a folder. Returns what `feedline compare` does."""
    page = request.folder() / PAGE if request.out is None else page_of(request.out, request.claims)
    return compare(request.inputs, page)
