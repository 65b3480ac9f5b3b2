from typing import Any

Array = Any  # what compiled.buffer returns

def norm_stats(x: Array, mean: Array, variance: Array, threads: int) -> None: ...
def norm_apply(
    x: Array, residual: Array | None, y: Array, scale: Array, shift: Array, relu: bool, threads: int
) -> None: ...
def norm_sums(
    dy: Array,
    dy2: Array | None,
    y: Array | None,
    x: Array,
    scale: Array,
    shift: Array,
    relu: bool,
    mean: Array,
    sum_g: Array,
    sum_gx: Array,
    threads: int,
) -> None: ...
def norm_gradient(
    dy: Array,
    dy2: Array | None,
    y: Array | None,
    x: Array,
    scale: Array,
    shift: Array,
    relu: bool,
    a: Array,
    b: Array,
    c: Array,
    dx: Array,
    dresidual: Array | None,
    threads: int,
) -> None: ...
def gather(
    image: Array, windows: Array, shape: tuple[int, int, int, int], kernel: int, stride: int, threads: int
) -> None: ...
def scatter(
    windows: Array, image: Array, shape: tuple[int, int, int, int], kernel: int, stride: int, threads: int
) -> None: ...
def winograd_works() -> bool: ...
def winograd_filters(filters: Array, panels: Array, shape: tuple[int, int], reverse: bool, threads: int) -> None: ...
def winograd_output(
    x: Array, panels: Array, y: Array, shape: tuple[int, int, int, int], outputs: int, threads: int
) -> None: ...
def winograd_gradient(
    x: Array, dy: Array, dfilters: Array, shape: tuple[int, int, int, int], outputs: int, threads: int
) -> None: ...
