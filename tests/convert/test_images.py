"""Images of all kinds: each is converted, or listed in doctor.json with the reason for leaving it out."""

import io
import json
import shutil
import struct
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from bench.memory import resident_mib
from feedline import Dataset, Loader
from feedline.convert import images
from feedline.pipeline.dataset.decode import DecodeError, decode
from tests.conftest import convert
from tests.convert.helpers import jpeg, refusal, save_noise
from tests.pipeline.loading import ENGINES


def huge() -> bytes:
    """A small JPEG whose header claims 30,000 x 30,000 pixels: 2.5 GiB when decoded."""
    data = jpeg()
    start = data.index(b"\xff\xc0") + 5
    return data[:start] + struct.pack(">HH", 30_000, 30_000) + data[start + 4 :]


def png(array: "np.ndarray[tuple[int, ...], np.dtype[np.uint16]]") -> bytes:
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG")
    return file.getvalue()


def noise() -> bytes:
    return png(np.random.default_rng(0).integers(0, 65536, (30, 30), dtype=np.uint16))


def animated(kind: str) -> bytes:
    frames = [Image.new("RGB", (20, 20), colour) for colour in ("red", "blue", "green")]
    file = io.BytesIO()
    frames[0].save(file, kind, save_all=True, append_images=frames[1:])
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("cut.jpg", jpeg(9)[:300], "does not decode"),
        ("head.jpg", jpeg(9)[:30], "does not decode"),
        ("nothing.jpg", b"", "does not decode: not an image"),
        ("huge.jpg", huge(), "does not decode: 30000x30000 pixels, more than 89,478,485"),
        ("text.jpg", b"My holidays.\n", "does not decode: not an image"),
        ("archive.png", b"PK\x03\x04" + b"\0" * 100, "does not decode: not an image"),
        ("cut.png", noise()[:900], "does not decode"),
    ],
)
def test_files_that_are_no_images_are_listed(source: Path, tmp_path: Path, name: str, data: bytes, reason: str) -> None:
    before = resident_mib()
    (source / "a" / name).write_bytes(data)
    dataset = convert(source, tmp_path / "out", "--val-fraction", "0.5")
    assert resident_mib() - before < 150
    (left_out,) = json.loads((dataset.root / "doctor.json").read_text())["left_out"]
    assert left_out["path"] == f"a/{name}"
    assert left_out["reason"].startswith(reason)
    assert dataset.count == 8
    assert not (dataset.root / "train/a" / name).exists()


@pytest.mark.parametrize(
    ("name", "data", "pixel"),
    [
        ("cmyk.jpg", jpeg(1, mode="CMYK"), None),
        ("gray.jpg", jpeg(1, mode="L"), None),
        ("deep.png", png(np.full((20, 20), 0x80FF, dtype=np.uint16)), (0x80, 0x80, 0x80)),
        ("white.png", png(np.full((20, 20), 0xFFFF, dtype=np.uint16)), (255, 255, 255)),
        ("moving.webp", animated("WEBP"), (255, 0, 0)),
        ("moving.png", animated("PNG"), (255, 0, 0)),
    ],
)
def test_unusual_images_are_converted(
    source: Path, tmp_path: Path, name: str, data: bytes, pixel: tuple[int, int, int] | None
) -> None:
    (source / "a" / name).write_bytes(data)
    dataset = convert(source, tmp_path / "out", "--val-fraction", "0.5")
    assert dataset.count == 9
    (image,) = (i for i in range(9) if Path(dataset.path(i)).stem == Path(name).stem)
    pixels = dataset.pack("raw").pixels(np.array([image]))[0]
    assert pixels.shape == (20, 20, 3)
    if pixel is not None:
        assert np.abs(pixels.reshape(-1, 3).mean(axis=0) - pixel).max() < 3
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            wanted = Image.open(io.BytesIO(data)).convert("RGB")
        assert np.array_equal(pixels, np.asarray(wanted))


def test_pixels_of_32_bits_are_refused() -> None:
    file = io.BytesIO()
    Image.fromarray(np.ones((4, 4), dtype=np.float32)).save(file, "TIFF")
    with pytest.raises(DecodeError, match="pixels of 32 bits"):
        decode(file.getvalue())


def test_a_file_too_large_for_an_image_is_not_read(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "MAX_FILE_BYTES", 100_000)
    (source / "a/large.bmp").write_bytes(b"\0" * 200_000)
    dataset = convert(source, tmp_path / "out", "--val-fraction", "0.5")
    (left_out,) = json.loads((dataset.root / "doctor.json").read_text())["left_out"]
    assert "more than an image file has" in left_out["reason"]


def test_images_of_all_sizes(varied: Dataset) -> None:
    assert varied.image_size is None
    assert len({tuple(s) for s in varied.sizes.tolist()}) > 10
    assert [c.folder for c in varied.classes] == ["cat food", "dogs"]
    for i in (0, 3, 20):
        pixels = np.asarray(Image.open(varied.root / varied.path(i)).convert("RGB"))
        assert varied.sizes[i].tolist() == list(pixels.shape[:2])
        assert np.array_equal(varied.pack("raw").pixels(np.array([i]))[0], pixels)


def test_max_size_makes_images_smaller(photos: Path, varied: Dataset, tmp_path: Path) -> None:
    """The shorter side is limited and the shape is kept: one image in the folder and in both packs."""
    small = convert(photos, tmp_path / "small", "--max-size", "64")
    ids = np.arange(small.count)
    raw, encoded = small.pack("raw"), small.pack("jpeg")
    limited = 0
    for image, pixels, data in zip(ids.tolist(), raw.pixels(ids), encoded.encoded(ids), strict=True):
        height, width = varied.sizes[image].tolist()
        scale = min(1, 64 / min(height, width))
        assert raw.sizes(ids[image : image + 1]).tolist() == [small.sizes[image].tolist()] == [list(pixels.shape[:2])]
        assert pixels.shape[:2] == (round(height * scale), round(width * scale))
        assert data.tobytes() == (small.root / small.path(image)).read_bytes()
        assert np.array_equal(decode(data).pixels, pixels)
        wanted = Image.open(varied.root / varied.path(image)).convert("RGB").resize(pixels.shape[1::-1])
        assert np.abs(np.asarray(wanted).astype(int) - pixels).mean() < 6
        assert small.path(image) == varied.path(image).replace(".png", ".jpg" if scale < 1 else ".png")
        limited += scale < 1
    assert 0 < limited < small.count
    assert small.fingerprint != varied.fingerprint


def test_with_max_size_all_stores_give_the_same_batches(photos: Path, tmp_path: Path) -> None:
    small = convert(photos, tmp_path / "small", "--max-size", "64")
    for engine in ENGINES:
        options: dict[str, Any] = {"engine": engine, "batch_size": 4, "image_size": 48, "dtype": torch.uint8}
        raw, *others = [list(Loader(small, store=store, **options)) for store in ("raw", "jpeg", "files")]
        for other in others:
            for (a, _), (b, _) in zip(raw, other, strict=True):
                assert (a.int() - b.int()).abs().max() <= 1  # DALI resizes windows of JPEGs while it decodes


def test_max_size_may_make_all_images_one_size(tmp_path: Path) -> None:
    for name, side in (("a", 40), ("b", 60), ("b2", 33)):
        (tmp_path / "in" / name).mkdir(parents=True)
        for i in range(4):
            Image.new("RGB", (side, side), (9 * i, side, 0)).save(tmp_path / "in" / name / f"{i}.png")
    small = convert(tmp_path / "in", tmp_path / "out", "--max-size", "32")
    assert small.image_size == (32, 32)
    assert small.packs["raw"]["image_size"] == small.packs["jpeg"]["image_size"] == [32, 32]
    for store in ("resident", "files"):
        images, _ = next(iter(Loader(small, store=store, batch_size=4, image_size=32)))
        assert images.shape == (4, 3, 32, 32)


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    for folder in "ab":
        for i in range(4):
            exif = Image.Exif()
            exif[0x0112] = 6  # turned by 90 degrees
            save_noise(tmp_path / "src" / folder / f"{i}.jpg", ord(folder) + i, exif=exif, quality=95)
    dataset = convert(tmp_path / "src", tmp_path / "out", "--val-fraction", "0.5")
    assert dataset.image_size == (30, 20)


def test_two_names_that_are_one_on_the_disk_are_refused(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a Mac's or a Windows disk, whose file system does not tell upper from lower case."""
    shutil.copy(source / "a/0.jpg", source / "a/x.jpg")
    shutil.copy(source / "a/2.jpg", source / "a/X.jpg")
    monkeypatch.setattr(images, "path_of", lambda path, *_: path.lower())
    line = refusal(capsys, source, tmp_path / "out")
    assert "a/x.jpg: another image of the source has this name on the file system of the dataset" in line
