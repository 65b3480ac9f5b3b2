import shutil
from pathlib import Path

import pytest

from tests.convert.helpers import jpeg, save_noise


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Two classes of four images."""
    for i in range(8):
        path = tmp_path / "source" / "ab"[i % 2] / f"{i}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jpeg(i))
    return tmp_path / "source"


@pytest.fixture
def unusual(tmp_path: Path) -> Path:
    """train/ and val/ of two classes, with an example of everything that the doctor reports."""
    root = tmp_path / "unusual"
    for label, folder in enumerate(("a", "b")):
        for part, count in (("train", 8), ("val", 4)):
            for i in range(count):
                save_noise(root / part / folder / f"{i}.png", 100 * label + 10 * (part == "val") + i)
    save_noise(root / "train/a/gray.jpg", 900, "L")
    shutil.copy(root / "train/a/1.png", root / "train/b/same_as_a1.png")
    shutil.copy(root / "train/b/2.png", root / "val/b/same_as_b2.png")
    whole = save_noise(root / "train/a/cut.jpg", 901, quality=95)
    (root / "train/a/cut.jpg").write_bytes(whole[: len(whole) * 2 // 3])
    (root / "train/a/text.jpg").write_text("this is no image")
    (root / "train/b/empty.png").write_bytes(b"")
    (root / "train/stray.png").write_bytes((root / "train/a/0.png").read_bytes())
    (root / "train/a/notes.txt").write_text("not an image, and not called one")
    return root
