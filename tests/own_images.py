"""Sets of images as people have them, small ones."""

import io
import pickle
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

CIFAR = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


def drawn(label: int, number: int, height: int = 40, width: int = 48) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """An image of a class: stripes of its own direction and colour, with noise."""
    rng = np.random.default_rng([label, number])
    y, x = np.mgrid[:height, :width]
    stripes = 90 * np.sin((y if label % 2 else x) * 0.6 + rng.uniform(0, 6))
    colour = np.roll([60, 0, -40], label)
    pixels = 128 + stripes[..., None] + colour + rng.normal(0, 12, (height, width, 3))
    return np.clip(pixels, 0, 255).astype(np.uint8)


def encoded(pixels: np.ndarray[Any, Any], kind: str = "JPEG") -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def save(path: Path, data: bytes | str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.encode() if isinstance(data, str) else data)


def photos(root: Path) -> None:
    """Parts in other spellings, sizes that vary, and files that are no images."""
    for part, count in (("Train", 40), ("validation", 10), ("test", 5)):
        for label, name in enumerate(("cats", "dogs")):
            for i in range(count):
                size = (150 + 10 * (i % 5), 180 + 20 * (i % 3))
                save(root / part / name / f"{i}.jpg", encoded(drawn(label, 1000 * len(part) + i, *size)))
    save(root / "README.md", "where they are from")
    save(root / ".DS_Store", b"\0")


def kaggle(root: Path) -> None:
    """A table beside a folder: 60 images of six patients."""
    rows = ["id,breed,age,patient"]
    for i in range(60):
        save(root / "images" / f"{i:03d}.jpg", encoded(drawn(i % 2, i)))
        rows.append(f"{i:03d},{('lab', 'pug')[i % 2]},{i / 10},p{i % 6}")
    save(root / "labels.csv", "\n".join(rows) + "\n")


def uneven(root: Path) -> None:
    """150, 35 and 15 images of three classes."""
    for label, count in enumerate((150, 35, 15)):
        for i in range(count):
            save(root / f"class {label}" / f"{i}.png", encoded(drawn(label, i, 32, 32), "PNG"))


def flowers(path: Path) -> None:
    """A zip of class folders, written on Windows."""
    with zipfile.ZipFile(path, "w") as archive:
        for label, name in enumerate(("rose", "tulip")):
            for i in range(20):
                archive.writestr(f"flowers\\{name}\\{i}.jpg", encoded(drawn(label, i)))


def shards(folder: Path) -> None:
    """Two webdataset shards."""
    folder.mkdir()
    for shard in range(2):
        with tarfile.open(folder / f"pets-{shard:03d}.tar", "w") as archive:
            for i in range(20):
                add(archive, f"{shard}{i:04d}.jpg", encoded(drawn(i % 2, 100 * shard + i)))
                add(archive, f"{shard}{i:04d}.cls", str(i % 2).encode())


def cifar10(path: Path) -> None:
    """CIFAR-10's archive with 20 images a batch; its pickles are those of Python 2: text is of bytes in latin 1."""
    with tarfile.open(path, "w:gz") as archive:
        for name, seed in [(f"data_batch_{n}", n) for n in range(1, 6)] + [("test_batch", 6)]:
            planes = [drawn(i % 10, 100 * seed + i, 32, 32).transpose(2, 0, 1).reshape(-1) for i in range(20)]
            batch = {"data": np.stack(planes), "labels": [i % 10 for i in range(20)]}
            add(archive, f"cifar-10-batches-py/{name}", pickle.dumps(batch, protocol=2))
        add(archive, "cifar-10-batches-py/batches.meta", pickle.dumps({"label_names": CIFAR}, protocol=2))


def add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    archive.addfile(entry, io.BytesIO(data))
