"""docs/reports.md: every command and program runs, and prints every line that the page shows."""

import importlib.util
import re
from pathlib import Path

import pytest

from tests.pages import ROOT, checkout, steps

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


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkout with stand-ins for the services."""
    root = checkout(tmp_path)
    for name in ("wandb", "trackio"):
        (root / f"{name}.py").write_text(f"NAME = {name + '.txt'!r}\n{STAND_IN}")
    return root


def test_the_page_in_its_order(folder: Path) -> None:
    done = []
    for step in steps("reports.md"):
        if "--tensorboard" in step.text and importlib.util.find_spec("tensorboard") is None:
            continue  # tests/training/test_tensorboard.py skips where it is missing, and says so
        if named := re.match(r"# (\w+\.py)\n", step.text):
            (folder / named[1]).write_text(step.text)
            continue
        step.run(folder)
        done.append(step)
    assert len(done) >= 5
    for service in ("wandb", "trackio"):
        told = (folder / f"{service}.txt").read_text().splitlines()
        assert [line.split()[1] for line in told if "images/train" not in line] == ["init", "log", "log", "finish"]
        assert any("images/train" in line for line in told) == (service == "wandb")
    page = (ROOT / "docs/reports.md").read_text()
    written = {path.name for path in (folder / "runs/sample").iterdir()}
    assert "report.html" in written
    assert not [name for name in written if f"`{name}`" not in page], "a file that the page does not name"
