"""The fingerprint of a dataset: the same images, labels and splits give the same one."""

import hashlib
from collections.abc import Sequence

from feedline.pipeline.dataset import Record, Split


def fingerprint(
    records: Sequence[Record], digests: Sequence[bytes], splits: Sequence[Split], max_size: int | None
) -> str:
    """A SHA-256 hex digest over every image's path, label and bytes, the splits and `max_size`.

    Args:
        records: the images.
        digests: of each image's bytes.
        splits: of the dataset.
        max_size: as in `Options`.
    """
    total = hashlib.sha256() if max_size is None else hashlib.sha256(f"max-size {max_size}\n".encode())
    for record, digest in zip(records, digests, strict=True):
        total.update(f"{record.path}\n{record.label} ".encode() + digest)
    for split in splits:
        total.update(split.name.encode() + b"|".join(ids.tobytes() for ids in split.parts.values()))
    return total.hexdigest()
