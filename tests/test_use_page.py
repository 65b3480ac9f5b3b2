"""docs/use.md: every command and snippet runs, and prints every line that the page shows."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NEEDED = {"onnx": ("onnx", "onnxscript", "onnxruntime"), "timm": ("safetensors", "timm")}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout."""
    root = tmp_path_factory.mktemp("use")
    for name in ("convert", "feedline", "train.py"):
        (root / name).symlink_to(ROOT / name)
    return root


def steps() -> Iterator[tuple[str, str, list[str]]]:
    """The page's commands and programs, with the lines that they print; `...` stands for others."""
    page = (ROOT / "docs/use.md").read_text()
    for kind, block in re.findall(r"^```(console|python)\n(.*?)^```", page, re.MULTILINE | re.DOTALL):
        if kind == "python":
            yield kind, block, []
            continue
        for part in block.split("$ ")[1:]:
            command, *lines = part.splitlines()
            yield kind, command, [line for line in lines if line != "..."]


def test_the_page_in_its_order(folder: Path) -> None:
    for libraries in NEEDED.values():
        for library in libraries:
            pytest.importorskip(library, reason=f"{library} is not installed")
    done = 0
    for kind, text, lines in steps():
        words = [
            "bash",
            "-c",
            text.replace("python ", f"{sys.executable} ", 1).replace("| python ", f"| {sys.executable} "),
        ]
        command = [sys.executable, "-c", text] if kind == "python" else words
        ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, f"{text}\n{ran.stderr[-2000:]}"
        printed = ran.stdout.splitlines()
        for line in lines:
            assert line in printed, f"{text}\n{ran.stdout}"
        done += 1
    assert done >= 8
