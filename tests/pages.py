"""Pages of docs/, followed as a reader would: every command and program runs, and prints every line that is shown."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]


class Step(NamedTuple):
    """A command of a page, or a program, with the lines that the page shows of its output."""

    kind: str
    text: str
    lines: list[str]

    def run(self, folder: Path) -> None:
        """Runs it in a folder; fails if it does, or if a line is not printed."""
        shell = re.sub(r"(^|\| )python ", rf"\1{sys.executable} ", self.text)
        command = (
            [sys.executable, "-c", self.text] if self.kind == "python" else ["bash", "-o", "pipefail", "-c", shell]
        )
        ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, f"{self.text}\n{ran.stderr[-2000:]}"
        printed = ran.stdout.splitlines()
        for line in self.lines:
            assert line in printed, f"{self.text}\n{ran.stdout}"


def steps(page: str) -> Iterator[Step]:
    """The steps of `docs/<page>`, in order; `...` stands for lines that are not shown."""
    text = (ROOT / "docs" / page).read_text()
    for kind, block in re.findall(r"^```(console|python)\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        if kind == "python":
            yield Step(kind, block, [])
            continue
        for part in block.split("$ ")[1:]:
            command, *lines = part.splitlines()
            yield Step(kind, command, [line for line in lines if line != "..."])


def checkout(folder: Path) -> Path:
    """Makes a folder look like a checkout."""
    for name in ("convert", "feedline", "train.py"):
        (folder / name).symlink_to(ROOT / name)
    return folder
