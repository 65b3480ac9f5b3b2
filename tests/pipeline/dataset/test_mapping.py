from pathlib import Path

import numpy as np
import pytest

from feedline import InputError
from feedline.pipeline.dataset import mapping
from feedline.pipeline.dataset.mapping import MappedFiles


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    rng = np.random.default_rng(0)
    paths = [tmp_path / f"{i}.bin" for i in range(3)]
    for i, path in enumerate(paths):
        path.write_bytes(rng.bytes(300_000 + i))
    return paths


def test_files_are_mapped_in_order(paths: list[Path]) -> None:
    files = MappedFiles(paths)
    assert [array.tobytes() for array in files.arrays] == [path.read_bytes() for path in paths]
    assert files.nbytes == 900_003


def test_files_of_more_than_half_of_memory_are_large(paths: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    assert mapping.machine_memory() > 1 << 20
    monkeypatch.setattr(mapping, "machine_memory", lambda: 2 * 900_003)
    assert not MappedFiles(paths).large
    monkeypatch.setattr(mapping, "machine_memory", lambda: 2 * 900_003 - 2)
    files = MappedFiles(paths)
    assert files.large
    assert files.arrays[1].tobytes() == paths[1].read_bytes()


def test_will_need_may_span_files(paths: list[Path]) -> None:
    files = MappedFiles(paths)
    files.will_need(0, 0, 0, 1)
    files.will_need(0, 299_999, 2, 300_002)
    assert files.arrays[2].tobytes() == paths[2].read_bytes()


@pytest.mark.parametrize("change", [-1, 1])
def test_a_file_whose_length_changed_is_named(kernels: str, paths: list[Path], change: int) -> None:
    files = MappedFiles(paths)
    files.check_lengths()
    with paths[1].open("r+b") as file:
        file.truncate(300_001 + change)
    with pytest.raises(InputError, match=r"1\.bin: was changed while in use; build the dataset again"):
        files.check_lengths()


def test_files_that_cannot_be_mapped_are_named(tmp_path: Path) -> None:
    (tmp_path / "empty.bin").touch()
    for name in ("empty.bin", "missing.bin"):
        with pytest.raises(InputError, match=f"{name}: cannot be mapped"):
            MappedFiles([tmp_path / name])
