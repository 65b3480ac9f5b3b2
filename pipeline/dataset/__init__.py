"""The dataset folder's format, read and written here only.

A dataset folder holds the images in ImageFolder layout, file lists that DALI's own readers take, and beside them what a
loader needs without reading a list as text: memory-mapped arrays with one row an image. An image is known by its id,
the row. ::

    dataset.json                    describes the folder (description.py)
    doctor.json                     what was noticed while every image was decoded
    train/<class>/x.JPEG, val/...   the images
    lists/<split>/<part>.txt        `path label` a line
    checksums.txt                   of all files that are no images (checksums.py)
    index/labels.npy                int32 [N]
    index/sizes.npy                 int32 [N, 2], height and width in pixels
    index/checksums.npy             uint64 [N], of the image files (checksums.py)
    index/plain.npy                 bool [N], JPEG that needs no inspection (decode.py)
    index/paths.npy, paths.bin      int64 [N + 1] offsets into the UTF-8 bytes of all paths
    index/<split>-<part>.npy        int64 ids, in the order of the file list
    index/column-<i>.npy            int64, float64 or text [N]: the i-th further column of the source's table
    packs/<kind>/index.npy          PACK_INDEX [N]
    packs/<kind>/checksums.npy      uint64 [N], of the images there
    packs/<kind>/00000.bin, ...     the data, at most 4 GiB a file
"""

from feedline.pipeline.dataset.dataset import Dataset
from feedline.pipeline.dataset.description import PARTS, ClassInfo, PartName, write_meta
from feedline.pipeline.dataset.pack import PACK_KINDS, Pack
from feedline.pipeline.dataset.writer import PackWriter, Record, Split, write_checksums, write_columns, write_index

__all__ = [
    "PACK_KINDS",
    "PARTS",
    "ClassInfo",
    "Dataset",
    "Pack",
    "PackWriter",
    "PartName",
    "Record",
    "Split",
    "write_checksums",
    "write_columns",
    "write_index",
    "write_meta",
]
