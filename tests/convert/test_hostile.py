"""What comes from outside: each ends in one clear line or as a named exclusion in doctor.json."""

import io
import json
import os
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.memory import held_mib
from feedline.convert import build
from feedline.convert.download import Remote, download
from feedline.convert.sources import ZipTree
from feedline.pipeline import InputError
from feedline.pipeline.decode import DecodeError, decode
from tests.conftest import convert
from tests.convert.server import serve


def jpeg(seed: int = 0, size: tuple[int, int] = (20, 20), mode: str = "RGB", **options: object) -> bytes:
    rng = np.random.default_rng(seed)
    file = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)).convert(mode).save(file, "JPEG", **options)
    return file.getvalue()


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


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Two classes of four images."""
    for i in range(8):
        path = tmp_path / "source" / "ab"[i % 2] / f"{i}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jpeg(i))
    return tmp_path / "source"


def refused(capsys: pytest.CaptureFixture[str], source: Path, out: Path, *flags: str) -> str:
    assert (
        build.main(["--source", str(source), "--out", str(out), "--workers", "1", "--val-fraction", "0.5", *flags]) == 2
    )
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert not out.exists()
    assert not [p for p in out.parent.iterdir() if ".building-" in p.name]
    return lines[0]


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("cut.jpg", jpeg(9)[:300], "does not decode"),
        ("head.jpg", jpeg(9)[:30], "does not decode"),
        ("nothing.jpg", b"", "does not decode: not an image"),
        ("huge.jpg", huge(), "does not decode: 30000x30000 pixels, more than 89,478,485"),
        ("text.jpg", b"My holidays.\n", "does not decode: not an image"),
        ("archive.png", b"PK\x03\x04" + b"\0" * 100, "does not decode: not an image"),
        (
            "cut.png",
            noise()[:900],
            "does not decode",
        ),
    ],
)
def test_images_that_are_none_are_named(source: Path, tmp_path: Path, name: str, data: bytes, reason: str) -> None:
    before = held_mib()
    (source / "a" / name).write_bytes(data)
    dataset = convert(source, tmp_path / "out", "--val-fraction", "0.5")
    assert held_mib() - before < 150
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
def test_unusual_images_are_taken(
    source: Path, tmp_path: Path, name: str, data: bytes, pixel: tuple[int, int, int] | None
) -> None:
    (source / "a" / name).write_bytes(data)
    dataset = convert(source, tmp_path / "out", "--val-fraction", "0.5")
    assert dataset.count == 9
    (image,) = (i for i in range(9) if dataset.path(i).endswith(name))
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


@pytest.mark.parametrize("folder", ["with space", "größe", "日本", "a'b\"c", "100%", "-x", "#"])
def test_class_folders_of_any_name(source: Path, tmp_path: Path, folder: str) -> None:
    (source / "a").rename(source / folder)
    dataset = convert(source, tmp_path / "out", "--val-fraction", "0.5")
    assert folder in [c.folder for c in dataset.classes]
    line = next(li for li in (dataset.root / "lists/50-50/train.txt").read_text().splitlines() if folder in li)
    path, _, label = line.rpartition(" ")
    assert (dataset.root / path).exists()
    assert dataset.classes[int(label)].folder == folder


@pytest.mark.parametrize(
    ("folder", "message"),
    [("new\nline", "can hold neither control characters"), (os.fsdecode(b"\xff\xfe"), "names that are not UTF-8")],
)
def test_class_folders_that_no_list_can_hold(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], folder: str, message: str
) -> None:
    (source / "a").rename(source / folder)
    assert message in refused(capsys, source, tmp_path / "out")


def test_an_empty_class_folder_is_named(source: Path, tmp_path: Path) -> None:
    (source / "nobody").mkdir()
    (source / "a/below").mkdir()
    dataset = convert(source, tmp_path / "out", "--val-fraction", "0.5")
    assert [c.folder for c in dataset.classes] == ["a", "b"]
    left_out = json.loads((dataset.root / "doctor.json").read_text())["left_out"]
    assert left_out == [{"path": "nobody/", "reason": "a class folder without images"}]


def test_links_are_followed_but_not_in_circles(source: Path, tmp_path: Path) -> None:
    (source / "c").symlink_to(source / "a")
    (source / "a/back").symlink_to(source)
    (source / "b/nothing.jpg").symlink_to(source / "gone.jpg")
    dataset = convert(source, tmp_path / "out", "--val-fraction", "0.5")
    assert [c.folder for c in dataset.classes] == ["a", "b", "c"]
    assert dataset.count == 12


Change = Callable[[zipfile.ZipFile], None]


def link(archive: zipfile.ZipFile) -> None:
    entry = zipfile.ZipInfo("a/link.jpg")
    entry.external_attr = 0o120777 << 16
    archive.writestr(entry, "/etc/passwd")


def zipped(source: Path, target: Path, change: Change) -> Path:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for path in sorted(source.rglob("*.jpg")):
            archive.write(path, path.relative_to(source))
        change(archive)
    return target


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda z: z.writestr("../../evil.jpg", b"x"), "holds the unsafe name '../../evil.jpg'"),
        (lambda z: z.writestr("a/../../evil.jpg", b"x"), "holds the unsafe name"),
        (lambda z: z.writestr("/tmp/evil.jpg", b"x"), "holds the unsafe name '/tmp/evil.jpg'"),
        (lambda z: z.writestr("a\\..\\..\\evil.jpg", b"x"), "holds the unsafe name"),
        (lambda z: z.writestr("C:/evil.jpg", b"x"), "holds the unsafe name"),
        (lambda z: z.writestr("a/0.jpg", jpeg(99)), "holds 'a/0.jpg' twice"),
    ],
)
def test_zips_that_are_not_to_be_trusted(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: Change, message: str
) -> None:
    line = refused(capsys, zipped(source, tmp_path / "x.zip", change), tmp_path / "out")
    assert message in line
    assert "not to be trusted" in line
    assert not list(tmp_path.rglob("evil*"))


def test_a_bomb_is_not_unpacked(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ZipTree, "FREE", 1 << 20)
    bomb = zipped(source, tmp_path / "x.zip", lambda z: z.writestr("a/bomb.bmp", b"\0" * (1 << 25)))
    before = held_mib()
    line = refused(capsys, bomb, tmp_path / "out")
    assert "would unpack from 0." in line
    assert "but a bomb" in line
    assert held_mib() - before < 50


def test_a_file_too_large_for_an_image_is_not_read(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("feedline.convert.images.MAX_FILE_BYTES", 100_000)
    (source / "a/large.bmp").write_bytes(b"\0" * 200_000)
    dataset = convert(source, tmp_path / "out", "--val-fraction", "0.5")
    (left_out,) = json.loads((dataset.root / "doctor.json").read_text())["left_out"]
    assert "more than an image file has" in left_out["reason"]


def test_links_and_damage_in_a_zip_are_named(source: Path, tmp_path: Path) -> None:
    archive = zipped(source, tmp_path / "x.zip", link)
    data = bytearray(archive.read_bytes())
    at = data.index(jpeg(3)[200:230]) if jpeg(3)[200:230] in data else data.index(b"b/3.jpg") + 60
    data[at : at + 20] = b"\x55" * 20
    archive.write_bytes(data)
    dataset = convert(archive, tmp_path / "out", "--val-fraction", "0.5")
    left_out = {r["path"]: r["reason"] for r in json.loads((dataset.root / "doctor.json").read_text())["left_out"]}
    assert left_out["a/link.jpg"] == "a link"
    assert "damaged in the zip" in left_out["b/3.jpg"]
    assert len(left_out) == 2
    assert dataset.count == 7


@pytest.mark.parametrize("keep", [0, 10, 500, 2000])
def test_a_truncated_zip(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], keep: int) -> None:
    archive = zipped(source, tmp_path / "x.zip", lambda _: None)
    archive.write_bytes(archive.read_bytes()[:keep])
    assert "not a zip that can be read" in refused(capsys, archive, tmp_path / "out")


def test_a_server_that_hangs_is_given_up(tmp_path: Path) -> None:
    with serve(b"x" * 1000) as server:
        server.hang_after = 400
        with pytest.raises(InputError, match=r"timed out; run the same command again to go on from"):
            download(Remote(server.url), tmp_path, tries=2, timeout=0.2, wait=0)


def test_a_server_that_claims_less_than_there_is_is_found_out(tmp_path: Path) -> None:
    with serve(b"x" * 1000) as server:
        server.claim = 500
        with pytest.raises(InputError, match=r"500 bytes, expected 1,000"):
            download(Remote(server.url, size=1000), tmp_path, tries=2, wait=0)
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_claims_more_than_there_is_cannot_pass_for_whole(tmp_path: Path) -> None:
    with serve(b"x" * 1000) as server:
        server.claim = 2000
        with pytest.raises(InputError, match=r"1,000 bytes, expected 1,500"):
            download(Remote(server.url, size=1500), tmp_path, tries=2, wait=0)
        assert download(Remote(server.url, size=1000), tmp_path, tries=2, wait=0).read_bytes() == b"x" * 1000
