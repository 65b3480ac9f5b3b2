"""docs/own-images.md: every command runs, and prints every line that the page shows."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import own_images

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout with the sets of the page in it."""
    root = tmp_path_factory.mktemp("own")
    for name in ("convert", "feedline", "train.py"):
        (root / name).symlink_to(ROOT / name)
    own_images.photos(root / "photos")
    own_images.kaggle(root / "kaggle")
    own_images.uneven(root / "uneven")
    own_images.flowers(root / "flowers.zip")
    own_images.shards(root / "shards")
    own_images.cifar10(root / "cifar-10-python.tar.gz")
    return root


def commands() -> Iterator[tuple[str, list[str]]]:
    """The commands of the page, each with the lines that it prints; `...` stands for others."""
    blocks = re.findall(r"^```console\n(.*?)^```", (ROOT / "docs/own-images.md").read_text(), re.MULTILINE | re.DOTALL)
    for block in blocks:
        for part in block.split("$ ")[1:]:
            command, *lines = part.splitlines()
            yield command, [line for line in lines if line != "..."]


def test_the_page_in_its_order(folder: Path) -> None:
    steps = list(commands())
    assert len(steps) >= 8
    for command, lines in steps:
        words = command.replace("python ", f"{sys.executable} ", 1)
        ran = subprocess.run(["bash", "-c", words], cwd=folder, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, f"{command}\n{ran.stderr[-2000:]}"
        printed = ran.stdout.splitlines()
        for line in lines:
            assert line in printed, f"{command}\n{ran.stdout}"
