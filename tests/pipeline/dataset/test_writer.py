from pathlib import Path

import numpy as np
import pytest

from feedline.pipeline.dataset import Pack, PackWriter


@pytest.mark.parametrize("write_bytes", [64, PackWriter.WRITE_BYTES])
def test_a_pack_is_split_into_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write_bytes: int) -> None:
    monkeypatch.setattr(PackWriter, "WRITE_BYTES", write_bytes)
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (int(h), 7, 3), dtype=np.uint8) for h in rng.integers(3, 20, 40)]
    writer = PackWriter(tmp_path / "raw", file_bytes=2000)
    for image in images:
        writer.add(image.tobytes(), *image.shape[:2])
    about = writer.close()
    files = sorted((tmp_path / "raw").glob("*.bin"))
    assert about == {"bytes": sum(i.size for i in images), "files": len(files), "image_size": None}
    assert len(files) > 3
    assert all(file.stat().st_size <= 2000 for file in files)
    pack = Pack(tmp_path / "raw", 40, None)
    order = rng.permutation(40)
    for i, pixels in zip(order, pack.pixels(order), strict=True):
        assert np.array_equal(pixels, images[i])


def test_a_pack_of_one_size_records_the_size(tmp_path: Path) -> None:
    writer = PackWriter(tmp_path / "raw")
    for _ in range(3):
        writer.add(b"x" * 12, 2, 2)
    assert writer.nbytes == 36
    assert writer.close() == {"bytes": 36, "files": 1, "image_size": [2, 2]}
