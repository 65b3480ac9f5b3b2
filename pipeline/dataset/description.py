"""dataset.json: what a dataset folder says of itself."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from feedline.pipeline.dataset.missing import no_dataset
from feedline.pipeline.errors import InputError, first_line
from feedline.pipeline.files import write_json

FORMAT = "feedline-dataset"
VERSION = 2
PartName: TypeAlias = Literal["train", "val", "test"]
PARTS: tuple[PartName, ...] = ("train", "val", "test")  # the last only where the source has one
MAX_SIDE = 1 << 16  # pixels
MIN_STD = 1e-6  # the least that dataset.json distinguishes from 0
REBUILD = "build the dataset again with --force"  # ends the line of every error about a damaged folder


@dataclass(frozen=True)
class ClassInfo:
    """One class: its label (`id`), the folder that holds its images, and the words that describe it.

    As text it is its words.
    """

    id: int
    folder: str
    words: str

    def __str__(self) -> str:
        return self.words or self.folder


@dataclass(frozen=True)
class Description:
    """The checked content of dataset.json; `Dataset` documents the fields.

    Attributes:
        pack_sizes: (height, width) of all images of a pack, by its kind; None if they vary.
        meta: everything in the file, as JSON has it.
    """

    name: str
    fingerprint: str
    image_size: tuple[int, int] | None
    classes: list[ClassInfo]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    count: int
    splits: dict[str, dict[str, int]]
    packs: dict[str, dict[str, Any]]
    pack_sizes: dict[str, tuple[int, int] | None]
    meta: dict[str, Any]

    @classmethod
    def read(cls, root: Path) -> "Description":
        """Reads and checks dataset.json.

        Raises:
            InputError: if there is none or it cannot be used.
        """
        meta = _read_meta(root)
        try:
            packs = {str(kind): dict(about) for kind, about in meta["packs"].items()}
            description = cls(
                name=str(meta["name"]),
                fingerprint=str(meta["fingerprint"]),
                image_size=_size(meta["image_size"]),
                classes=[ClassInfo(int(c["id"]), str(c["folder"]), str(c["words"])) for c in meta["classes"]],
                mean=tuple(float(v) for v in meta["mean"]),
                std=tuple(_divisor(float(v)) for v in meta["std"]),
                count=int(meta["count"]),
                splits={str(s): _parts(n) for s, n in meta["splits"].items()},
                packs=packs,
                pack_sizes={kind: _size(about["image_size"]) for kind, about in packs.items()},
                meta=meta,
            )
            labels = [c.id for c in description.classes]
            if description.count < 1 or labels != list(range(len(labels))):
                raise ValueError("count or classes")
        except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError) as error:
            raise InputError(f"{root / 'dataset.json'}: {type(error).__name__} on {error}; {REBUILD}") from error
        return description


def write_meta(root: Path, *, classes: Sequence[ClassInfo], **fields: Any) -> None:
    """Writes dataset.json, the last file of a complete folder. `fields` are those that `Description` reads."""
    content = {"format": FORMAT, "version": VERSION, **fields, "classes": [asdict(c) for c in classes]}
    write_json(root / "dataset.json", content)


def _read_meta(root: Path) -> dict[str, Any]:
    path = root / "dataset.json"
    try:
        meta = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise no_dataset(root) from error
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read ({first_line(error)}); {REBUILD}") from error
    if not isinstance(meta, dict) or meta.get("format") != FORMAT:
        raise InputError(f"{path}: not the description of a dataset; name another folder")
    if meta.get("version") != VERSION:
        raise InputError(f"{path}: format version {meta.get('version')}, this program reads {VERSION}; {REBUILD}")
    return meta


def _divisor(std: float) -> float:
    """A standard deviation that can be divided by: 1 for a channel that is constant over all images.

    Such a channel becomes 0, as with scikit-learn's StandardScaler. (Older programs wrote nan there.)
    """
    return std if std >= MIN_STD else 1.0


def _parts(counts: Any) -> dict[str, int]:
    """Images of each part of a split, from dataset.json; `test` may be absent."""
    return {part: int(counts[part]) for part in PARTS if part != "test" or part in counts}


def _size(value: Any) -> tuple[int, int] | None:
    """(height, width) from dataset.json."""
    if value is None:
        return None
    height, width = int(value[0]), int(value[1])
    if not (1 <= height <= MAX_SIDE and 1 <= width <= MAX_SIDE):
        raise ValueError(f"size {value}")
    return height, width
