"""docs/reports.md: every command and program runs, and prints every line that the page shows."""

import importlib.util
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# In place of the services: they write down what they are told.
STAND_IN = """
class Run:
    def __init__(self, about): self.summary = {}; print(NAME, "init", sorted(about), file=open(NAME, "a"))
    def log(self, metrics, step): print(NAME, "log", step, sorted(metrics), file=open(NAME, "a"))
    def finish(self): print(NAME, "finish", self.summary, file=open(NAME, "a"))
def init(**about):
    global run
    run = Run(about)
    return run
def log(metrics, step): run.log(metrics, step)
def finish(): run.finish()
def Image(pixels): return pixels
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout."""
    root = tmp_path_factory.mktemp("reports")
    for name in ("convert", "feedline", "train.py"):
        (root / name).symlink_to(ROOT / name)
    for name in ("wandb", "trackio"):
        (root / f"{name}.py").write_text(f"NAME = {name + '.txt'!r}\n{STAND_IN}")
    return root


def steps() -> Iterator[tuple[str, str, list[str]]]:
    """The page's commands and programs, with the lines that they print; `...` stands for others."""
    page = (ROOT / "docs/reports.md").read_text()
    for kind, block in re.findall(r"^```(console|python)\n(.*?)^```", page, re.MULTILINE | re.DOTALL):
        if kind == "python":
            yield kind, block, []
            continue
        for part in block.split("$ ")[1:]:
            command, *lines = part.splitlines()
            yield kind, command, [line for line in lines if line != "..."]


def test_the_page_in_its_order(folder: Path) -> None:
    done = []
    for kind, text, lines in steps():
        if "--tensorboard" in text and importlib.util.find_spec("tensorboard") is None:
            continue  # tests/training/test_tensorboard.py skips where it is missing, and says so
        if named := re.match(r"# (\w+\.py)\n", text):
            (folder / named[1]).write_text(text)
            continue
        line = re.sub(r"(^|\| )python ", rf"\1{sys.executable} ", text)
        command = [sys.executable, "-c", text] if kind == "python" else ["bash", "-c", f"set -o pipefail; {line}"]
        ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, f"{text}\n{ran.stderr[-2000:]}"
        printed = ran.stdout.splitlines()
        for shown in lines:
            assert shown in printed, f"{text}\n{ran.stdout}"
        done.append(text)
    assert len(done) >= 5
    for service in ("wandb", "trackio"):
        told = (folder / f"{service}.txt").read_text().splitlines()
        assert [line.split()[1] for line in told if "images/train" not in line] == ["init", "log", "log", "finish"]
        assert any("images/train" in line for line in told) == (service == "wandb")
    page = (ROOT / "docs/reports.md").read_text()
    written = {path.name for path in (folder / "runs/sample").iterdir()}
    assert "report.html" in written
    assert not [name for name in written if f"`{name}`" not in page], "a file that the page does not name"
