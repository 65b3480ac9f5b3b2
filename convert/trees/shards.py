"""Several tars in one folder as a tree: `train-000.tar/0001.jpg`."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from feedline.convert.trees import Contents, Stamp
from feedline.convert.trees.tar import TarTree


@dataclass(frozen=True)
class ShardTree:
    """The files in the tars of a folder. A name begins with that of the tar, relative to the folder.

    Args:
        folder: holds the tars.
        stamps: {name: stamp} of the tars.
    """

    folder: Path
    stamps: Mapping[str, Stamp]

    @property
    def contents(self) -> Contents:
        """See `Tree.contents`."""
        files: dict[str, int] = {}
        left_out: list[tuple[str, str]] = []
        notes: list[str] = []
        for shard, stamp in self.stamps.items():
            contents = _tar(self.folder / shard, stamp).contents
            files |= {f"{shard}/{name}": size for name, size in contents.files.items()}
            left_out += [(f"{shard}/{name}", reason) for name, reason in contents.left_out]
            notes += contents.notes
        more = [f"and {len(notes) - 1:,} more shards that end so"] if len(notes) > 1 else []
        return Contents(files, [], left_out, notes[:1] + more)

    def read(self, name: str) -> bytes:
        """See `Readable.read`."""
        shard, member = self.split(name)
        return _tar(self.folder / shard, self.stamps[shard]).read(member)

    def split(self, name: str) -> tuple[str, str]:
        """The tar, and the name in it."""
        parts = name.split("/")
        shards = ("/".join(parts[:end]) for end in range(1, len(parts)))
        shard = next(shard for shard in shards if shard in self.stamps)
        return shard, name[len(shard) + 1 :]


@lru_cache(maxsize=4096)
def _tar(path: Path, stamp: Stamp) -> TarTree:
    return TarTree(path, stamp=stamp)
