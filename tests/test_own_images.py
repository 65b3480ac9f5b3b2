"""docs/own-images.md: every command runs, and prints every line that the page shows."""

from pathlib import Path

import pytest

from tests import own_images
from tests.pages import checkout, steps


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkout with the sets of the page in it."""
    root = checkout(tmp_path)
    own_images.photos(root / "photos")
    own_images.kaggle(root / "kaggle")
    own_images.uneven(root / "uneven")
    own_images.flowers(root / "flowers.zip")
    own_images.shards(root / "shards")
    own_images.cifar10(root / "cifar-10-python.tar.gz")
    return root


def test_the_page_in_its_order(folder: Path) -> None:
    page = list(steps("own-images.md"))
    assert len(page) >= 8
    for step in page:
        step.run(folder)
