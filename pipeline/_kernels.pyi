from typing import Any

import numpy as np
from numpy.typing import NDArray

def crop(
    images: NDArray[np.uint8],
    size: tuple[int, ...],
    ids: NDArray[np.int64],
    windows: NDArray[np.int32],
    flips: NDArray[np.bool_],
    out: NDArray[Any],
    output: tuple[int, int],
    scale: NDArray[np.float32] | None,
    shift: NDArray[np.float32] | None,
) -> None: ...
def resize(
    addresses: NDArray[np.uint64],
    sizes: NDArray[np.int32],
    windows: NDArray[np.int32],
    flips: NDArray[np.bool_],
    out: NDArray[Any],
    output: tuple[int, int],
    scale: NDArray[np.float32] | None,
    shift: NDArray[np.float32] | None,
) -> None: ...
def permute(
    slots: NDArray[np.int64], out: NDArray[np.int64], n: int, a: int, b: int, keys: NDArray[np.uint32]
) -> None: ...
def philox(ids: NDArray[np.int64], words: NDArray[np.uint64], k0: int, k1: int, epoch: int, stream: int) -> None: ...
def decode(
    functions: tuple[int, int, int, int],
    addresses: NDArray[np.uint64],
    lengths: NDArray[np.uint32],
    out: NDArray[np.uint8],
    size: tuple[int, int],
) -> int: ...
def file_size(descriptor: int) -> int: ...
def pad(addresses: NDArray[np.uint64], lengths: NDArray[np.uint32], out: NDArray[np.uint8], row: int) -> None: ...
