"""Where a loader stands, and whether a saved position belongs to the stream of this loader."""

import hashlib
import operator
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feedline.pipeline.errors import InputError, shown
from feedline.pipeline.options import LoaderOptions

VERSION = 1


@dataclass
class Position:
    """A place in the stream of batches.

    Attributes:
        epoch: counted from 0.
        batch: of that epoch, over all ranks, counted from 0; as many as it has where its loop has only to end.
        loaded: it comes from `load_state_dict`, and no loop has started from it.
    """

    epoch: int = 0
    batch: int = 0
    loaded: bool = False

    def choose(self, epoch: int, first: int | None) -> "Position":
        """The start of an epoch, or a batch of it. Without one, the rest of an epoch that was loaded."""
        if first is None and self.loaded and epoch == self.epoch:
            return self
        return Position(epoch, first or 0)


LATER = ("crop", "size")  # what states of older versions lack


def stream(options: LoaderOptions, fingerprint: str, images: int, cut: Mapping[str, Any]) -> dict[str, Any]:
    """What decides which image, window and augmentation comes when, besides the batch size: numbers, texts and lists.

    Args:
        options: of the loader.
        fingerprint: of the dataset.
        images: in the part.
        cut: what size and crop of the part came to, by the names in LATER.
    """
    names = ["split", "part", "classes", "fraction", "seed", "views", "image_size"]
    if options.part == "train":
        names += ["shuffle", "augment"]
        names += ["shuffle_block", "shuffle_group"] if options.shuffle == "blocks" else []
    else:
        names += ["eval_size", "crop_fraction"]
    values = {name: getattr(options, name) for name in names}
    values["augment"] = list(options.augment) if "augment" in values else None
    arrays = {name: _digest(getattr(options, name)) for name in ("subset", "weights")}
    return {"dataset": fingerprint, **values, **arrays, "images": images, **cut}


def _digest(value: "NDArray[Any] | str | None") -> str | None:
    if value is None or isinstance(value, str):
        return value
    return hashlib.blake2b(np.ascontiguousarray(value).tobytes(), digest_size=8).hexdigest()


def saved(position: Position, batch_size: int, of: dict[str, Any]) -> dict[str, Any]:
    """A position as `state_dict` gives it: plain values, that torch, JSON and pickle can keep."""
    place = {"epoch": position.epoch, "batch": position.batch, "batch_size": batch_size}
    return {"version": VERSION, **place, "stream": of}


def restored(state: Any, batch_size: int, batches: int, mine: dict[str, Any]) -> Position:
    """The position that a state says.

    Args:
        state: what `saved` gave, perhaps of a loader with another batch size or number of ranks.
        batch_size: of this loader.
        batches: in an epoch of this loader, over all ranks.
        mine: the stream of this loader.

    Raises:
        InputError: if the state is damaged, of another stream, or stands inside a batch of this loader.
    """
    try:
        epoch, batch, size = (operator.index(state[name]) for name in ("epoch", "batch", "batch_size"))
        theirs = state["stream"]
        ok = state["version"] == VERSION and isinstance(theirs, Mapping) and 0 <= epoch < 2**32 and 0 <= batch < 2**62
        ok = ok and 1 <= size < 2**31
    except (KeyError, TypeError, ValueError, IndexError):
        ok = False
    if not ok:
        raise InputError("`load_state_dict`: this is no state that a loader's state_dict() gave")
    _require_same(mine, theirs)
    if size == batch_size:
        return Position(epoch, min(batch, batches), loaded=True)
    images = min(batch * size, mine["images"])  # the last batch may be short
    if images >= min(batches * batch_size, mine["images"]):
        return Position(epoch, batches, loaded=True)
    if images % batch_size:
        raise InputError(
            f"`batch_size={batch_size}`: the state stands behind {images:,} images of its epoch, inside a batch of "
            f"{batch_size}; use `batch_size={size}`, as the loader that it is of"
        )
    return Position(epoch, images // batch_size, loaded=True)


def _require_same(mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> None:
    for name, value in mine.items():
        if name in LATER and name not in theirs:
            continue
        if repr(_plain(theirs.get(name))) == repr(_plain(value)):
            continue
        if name == "dataset":
            raise InputError(
                "`load_state_dict`: the state is of a loader of another dataset, or of another build of it"
            )
        if name in ("subset", "weights"):
            raise InputError(f"`{name}`: the state is of a loader with another `{name}`, so it stands in other batches")
        raise InputError(
            f"`{name}={shown(value)}`: the state is of a loader with {name}={shown(theirs.get(name))}, so it stands "
            "in other batches; use that, or start without the state"
        )


def _plain(value: Any) -> Any:
    """Lists and tuples alike: what JSON and torch.save make of one another."""
    return list(value) if isinstance(value, (list, tuple)) else value
