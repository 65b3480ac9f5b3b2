"""Image files of every kind: in a dataset, both engines read all stores to the pixels that Pillow gives."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from feedline import Dataset, Loader
from feedline.pipeline.dataset.decode import DecodeError, decode
from feedline.pipeline.engines.types import ENGINES
from tests.conftest import convert
from tests.convert import variants
from tests.convert.helpers import save_noise

RIGHT, WARNING, DAMAGED = variants.right(), variants.warning(), variants.damaged()
WHOLE = {**RIGHT, **{f"warning-{name}": data for name, data in WARNING.items()}}
FOLDER_SUFFIXES = (".jpg", ".png", ".tif", ".bmp", ".webp", ".ppm", ".pgm")

# JPEGs and PNGs that DALI cannot read, reads to other pixels, or might on a GPU; their neighbours keep their bytes.
# Files of all other kinds are saved again.
SAVED_AGAIN = {
    "subsampling-4:1:0.jpg", "subsampling-4:4:1.jpg", "rgb.jpg", "cmyk.jpg", "ycck.jpg", "turned-9.jpg",
    "turned-cmyk.jpg", "turned-long.jpg", "turned-twice.jpg", "turned-by-xmp.jpg", "damaged-exif.jpg",
    "empty-exif.jpg", "1-bit.png", "2-bit.png", "4-bit.png", "palette-4.png",
    "16-bit.png", "16-bit-rgb.png", "16-bit-rgba.png", "16-bit-la.png", "16-bit-interlaced.png",
    "interlaced.png", "interlaced-gray.png", "interlaced-2-bit.png", "turned.png", "turned-gray.png",
    "turned-palette.png", "turned-16-bit.png", "turned-behind-data.png", "turned-by-xmp.png", "animated.png",
    "default-image.png", "behind-end.png", "no-such-colour.png", "hdr.png",
    *(name for name in RIGHT if not name.endswith((".jpg", ".png"))),
}  # fmt: skip


def called(name: str) -> str:
    """The name in the source: a suffix that is taken for an image's, whatever the content."""
    return name if name.endswith(FOLDER_SUFFIXES) else f"{name}.jpg"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Dataset, dict[str, int]]:
    """A dataset of all variants, and the image id of each that this Pillow reads."""
    root = tmp_path_factory.mktemp("variants")
    for folder in "ab":
        for i in range(2):
            save_noise(root / f"source/train/{folder}/{i}.png", i, size=(variants.HEIGHT, variants.WIDTH))
    (root / "source/val/a").mkdir(parents=True)
    for name, data in {**WHOLE, **{f"damaged-{name}": data for name, data in DAMAGED.items()}}.items():
        (root / "source/val/a" / called(name)).write_bytes(data)
    dataset = convert(root / "source", root / "out")
    left_out = {entry["path"] for entry in json.loads((dataset.root / "doctor.json").read_text())["left_out"]}
    names = [name for name in sorted(WHOLE, key=called) if f"val/a/{called(name)}" not in left_out]
    assert dataset.count == 4 + len(names) > 150
    return dataset, {name: 4 + i for i, name in enumerate(names)}


def test_no_whole_file_is_left_out(built: Any) -> None:
    _, ids = built
    assert ids.keys() == WHOLE.keys()


@pytest.mark.parametrize("store", ["files", "jpeg", "raw"])
@pytest.mark.parametrize("engine", ENGINES)
def test_every_engine_and_store_gives_pillows_pixels(built: Any, engine: Any, store: Any) -> None:
    dataset, ids = built
    options: dict[str, Any] = {"split": "official", "part": "val", "image_size": 40, "dtype": torch.uint8}
    loader = Loader(dataset, store=store, engine=engine, batch_size=64, threads=2, **options)
    order = np.concatenate([loader.plan.batch(0, k).ids for k in range(len(loader))]).tolist()
    images = torch.cat([images for images, _ in loader]).permute(0, 2, 3, 1).numpy()
    found = dict(zip(order, images, strict=True))
    wrong = {n: difference(found[ids[n]], variants.wanted(data)) for n, data in WHOLE.items()}
    assert {name: levels for name, levels in wrong.items() if levels} == {}


@pytest.mark.gpu
@pytest.mark.parametrize("store", ["files", "jpeg"])
@pytest.mark.parametrize(
    "changes",
    [{"image_size": 40}, {"image_size": 30, "crop_fraction": 0.5}, {"image_size": 20, "crop_fraction": 0.5}],
    ids=["whole images", "windows resized", "windows"],
)
@pytest.mark.parametrize("decode", ["mixed", "cpu"])
def test_a_gpu_decodes_every_kind_of_file(built: Any, store: Any, changes: dict[str, Any], decode: Any) -> None:
    """To other roundings than the CPU, but upright and in the right colours. Windows alone, where they are resized."""
    dataset, ids = built
    options: dict[str, Any] = {"split": "official", "part": "val", "dtype": torch.uint8, "batch_size": 64, "threads": 2}
    options |= changes
    on_gpu = Loader(dataset, store=store, engine="dali", device="cuda", decode=decode, **options)
    wanted = torch.cat([images for images, _ in Loader(dataset, store="raw", engine="torch", **options)])
    images = torch.cat([images.cpu() for images, _ in on_gpu])
    order = np.concatenate([on_gpu.plan.batch(0, k).ids for k in range(len(on_gpu))]).tolist()
    levels = (images.int() - wanted.int()).abs().flatten(1).float()
    names = {image: name for name, image in ids.items()}
    wrong = {
        names[image]: (round(mean, 2), int(most))
        for image, mean, most in zip(order, levels.mean(1).tolist(), levels.amax(1).tolist(), strict=True)
        if mean > 2 or most > 24
    }
    assert wrong == {}


def difference(a: Any, b: Any) -> int:
    return int(np.abs(a.astype(int) - b).max())


def test_what_every_engine_reads_keeps_its_bytes(built: Any) -> None:
    dataset, ids = built
    again = {n for n, data in RIGHT.items() if (dataset.root / dataset.path(ids[n])).read_bytes() != data}
    assert again == SAVED_AGAIN


def test_files_saved_again_are_pngs_of_8_bits_called_so(built: Any) -> None:
    dataset, ids = built
    for name in SAVED_AGAIN:
        path = dataset.root / dataset.path(ids[name])
        assert path.suffix == ".png"
        assert path.name.startswith(name.rsplit(".", 1)[0])
        with Image.open(path) as image:
            assert (image.format, image.mode in ("L", "RGB")) == ("PNG", True)
        assert path.read_bytes()[24] == 8, "bits of a sample, in the file's header"
    folder = [path.name.lower() for path in (dataset.root / "val/a").iterdir()]
    assert len(folder) == len(set(folder)) == len(WHOLE)


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_files_are_left_out_with_a_reason(built: Any, name: str) -> None:
    dataset, _ = built
    left_out = json.loads((dataset.root / "doctor.json").read_text())["left_out"]
    (reason,) = (entry["reason"] for entry in left_out if entry["path"].endswith(called(f"damaged-{name}")))
    assert reason.startswith("does not decode: ")
    assert {"wide.png": "more than 65,536 on a side", "32-bit.tif": "save as 8 or 16 bits"}.get(name, "") in reason


@pytest.mark.parametrize("name", DAMAGED)
def test_what_is_left_out_is_not_decoded_elsewhere(name: str) -> None:
    with pytest.raises(DecodeError):
        decode(DAMAGED[name])


@pytest.mark.parametrize("workers", ["1", "2"])
def test_decoders_print_nothing(tmp_path: Path, workers: str) -> None:
    """libtiff prints its errors, and Python its warnings, unless they are caught: in this process and in workers."""
    source = tmp_path / "source"
    files = {name: data for name, data in {**DAMAGED, **WARNING}.items() if name.endswith(".tif")}
    for name, data in {**files, "exif.jpg": RIGHT["damaged-exif.jpg"]}.items():
        (source / "a").mkdir(parents=True, exist_ok=True)
        (source / "a" / name).write_bytes(data)
    for i in range(600):  # more than one worker gets
        save_noise(source / "b" / f"{i}.png", i, size=(8, 8))
    command = [sys.executable, "-m", "feedline", "convert", "--source", str(source), "--out", str(tmp_path / "out")]
    done = subprocess.run([*command, "--workers", workers], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    report = json.loads((tmp_path / "out/doctor.json").read_text())
    reasons = {Path(entry["path"]).name: entry["reason"] for entry in report["left_out"]}
    assert reasons["fax-codes.tif"].startswith("does not decode: libtiff: Bad code word at line ")
    warned = {Path(entry["path"]).stem: entry["reason"] for entry in report["warnings"]}
    assert warned["description-cut"] == "Tag data larger than file. Skipping tag 270"
    assert warned["exif"].startswith("Corrupt EXIF data")


def test_what_libjpeg_warns_of_is_no_longer_in_the_file(built: Any) -> None:
    """Then neither engine has to do with it, and the file is still a JPEG."""
    dataset, ids = built
    for name in {name for name in WARNING if name.endswith(".jpg")} - {"jfif-0-cmyk.jpg"}:
        image = ids[f"warning-{name}"]
        assert dataset.path(image) == f"val/a/warning-{name}"
        assert dataset.plain[image] == ("turned" not in name)


def test_a_value_of_16_bits_is_the_same_in_every_kind_of_file() -> None:
    values = np.full((8, 8), 0x4000, np.uint16)
    image, big_endian = Image.fromarray(values), Image.frombytes("I;16B", (8, 8), values.astype(">u2").tobytes())
    files = [variants.saved(image, kind) for kind in ("TIFF", "PNG", "JPEG2000")]
    files += [variants.saved(big_endian, "TIFF"), b"P5 8 8 65535\n" + values.astype(">u2").tobytes()]
    assert [np.unique(decode(data).pixels).tolist() for data in files] == [[64]] * 5


def test_a_new_suffix_never_gives_two_files_one_name(tmp_path: Path) -> None:
    """Of a.gif and a.png, or two that differ in case; each keeps its pixels."""
    files = {"a.gif": "GIF", "a.png": "PNG", "a.bmp": "GIF", "A.jpg": "GIF", "a.gif.png": "PNG", "b.jpg": "TIFF"}
    for number, (name, kind) in enumerate(files.items()):
        (tmp_path / "in/x").mkdir(parents=True, exist_ok=True)
        image = Image.new("L", (20, 20), 10 * number)
        image = image if kind != "TIFF" else image.convert("CMYK")
        for suffix in ("", ".jpg"):
            (tmp_path / "in/x" / (name + suffix)).write_bytes(variants.saved(image, kind))
    save_noise(tmp_path / "in/y/0.png", 0)
    save_noise(tmp_path / "in/y/1.png", 1)
    dataset = convert(tmp_path / "in", tmp_path / "out", "--val-fraction", "0.5")
    paths = [dataset.path(i) for i in range(dataset.count)]
    assert len({path.lower() for path in paths}) == dataset.count
    for path, pixels in zip(paths, dataset.pack("raw").pixels(np.arange(dataset.count)), strict=True):
        with Image.open(dataset.root / path) as image:
            assert np.array_equal(np.asarray(image.convert("RGB")), pixels)
    assert "train/x/b.jpg.png" in paths
