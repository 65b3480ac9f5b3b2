"""Several tars in one folder as a tree: `train-000.tar/0001.jpg`."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from feedline.convert.trees import Contents
from feedline.convert.trees.tar import TarTree


@dataclass(frozen=True)
class ShardTree:
    """The files in the tars of a folder. A name begins with that of the tar, relative to the folder.

    Args:
        folder: holds the tars.
        names: of the tars; needed to list them only.
    """

    folder: Path
    names: Sequence[str]

    @property
    def contents(self) -> Contents:
        """See `Tree.contents`."""
        files: dict[str, int] = {}
        left_out: list[tuple[str, str]] = []
        notes: list[str] = []
        for shard in self.names:
            contents = _tar(self.folder / shard).contents
            files |= {f"{shard}/{name}": size for name, size in contents.files.items()}
            left_out += [(f"{shard}/{name}", reason) for name, reason in contents.left_out]
            notes += contents.notes
        more = [f"and {len(notes) - 1:,} more shards that end so"] if len(notes) > 1 else []
        return Contents(files, [], left_out, notes[:1] + more)

    def read(self, name: str) -> bytes:
        """See `Tree.read`."""
        shard, member = self.split(name)
        return _tar(self.folder / shard).read(member)

    def split(self, name: str) -> tuple[str, str]:
        """The tar, and the name in it."""
        end = name.index(".tar/") + len(".tar")
        return name[:end], name[end + 1 :]

    def __reduce__(self) -> tuple[type["ShardTree"], tuple[Path, tuple[()]]]:
        return ShardTree, (self.folder, ())  # workers do not list


@lru_cache(maxsize=4096)
def _tar(path: Path) -> TarTree:
    return TarTree(path)
