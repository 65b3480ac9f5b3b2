import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps

from feedline.pipeline.dataset.decode import DecodeError, decode, decode_plain
from feedline.pipeline.dataset.description import MAX_SIDE


def photo(height: int = 40, width: int = 56) -> Image.Image:
    coarse = Image.fromarray(np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8))
    return coarse.resize((width, height), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def pillow(data: bytes) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


@pytest.mark.parametrize("subsampling", [0, 2])
def test_a_jpeg_gives_pillows_pixels(subsampling: int) -> None:
    data = encoded(photo(), "JPEG", quality=90, subsampling=subsampling)
    pixels, gray, plain = decode(data)
    assert (gray, plain) == (False, True)
    assert np.array_equal(pixels, pillow(data))
    out = np.empty_like(pixels)
    decode_plain(np.frombuffer(data, dtype=np.uint8), out)
    assert np.array_equal(out, pixels)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "GIF", "WEBP", "TIFF"])
def test_other_formats_go_through_pillow(kind: str) -> None:
    data = encoded(photo(), kind)
    pixels, gray, plain = decode(data)
    assert (gray, plain) == (False, False)
    assert np.array_equal(pixels, pillow(data))


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_an_image_of_one_channel_is_marked_gray(kind: str) -> None:
    data = encoded(photo().convert("L"), kind)
    pixels, gray, _ = decode(data)
    assert gray
    assert np.array_equal(pixels, pillow(data))


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits"])
@pytest.mark.parametrize(("kind", "value"), [(np.uint8, 0x40), (np.uint16, 0x4000)])
@pytest.mark.parametrize(("white", "level"), [(0, 191), (1, 64)])
def test_a_tiff_with_white_as_0_is_no_negative(kind: Any, value: int, compression: str, white: int, level: int) -> None:
    image = Image.fromarray(np.full((8, 8), value, kind))
    stored = image if white or kind == np.uint16 else ImageOps.invert(image)  # Pillow inverts 8 bits when it writes
    data = encoded(stored, "TIFF", compression=compression, tiffinfo={262: white})
    assert (decode(data).pixels == level).all()


def test_16_bit_gray_keeps_the_upper_8_bits() -> None:
    values = np.arange(0, 1 << 16, 64, dtype=np.uint16).reshape(32, 32)
    pixels = decode(encoded(Image.fromarray(values), "PNG")).pixels
    assert np.array_equal(pixels, np.repeat((values >> 8).astype(np.uint8)[..., None], 3, axis=2))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP", "AVIF"])
def test_images_are_turned_upright(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x112] = orientation
    data = encoded(photo(), kind, exif=exif)
    pixels, _, plain = decode(data)
    assert plain == (kind == "JPEG" and orientation == 1)
    assert pixels.shape == ((40, 56, 3) if orientation < 5 else (56, 40, 3))
    assert np.array_equal(pixels, np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")))


@pytest.mark.parametrize("marker", [0xFE, 0xE2, 0xED])
def test_an_orientation_is_found_behind_other_segments(marker: int) -> None:
    """Of a comment, a colour profile, or Photoshop's."""
    exif = Image.Exif()
    exif[0x112] = 6
    data = encoded(photo(), "JPEG")
    block, other = exif.tobytes(), b"x" * 60_000
    segments = [bytes([0xFF, code]) + struct.pack(">H", len(c) + 2) + c for code, c in ((marker, other), (0xE1, block))]
    turned = decode(data[:2] + b"".join(segments) + data[2:]).pixels
    assert np.array_equal(turned, np.rot90(decode(data).pixels, -1))


def test_exif_without_a_rotation_does_not_make_a_jpeg_slow() -> None:
    exif = Image.Exif()
    exif[0x10F] = "a camera"
    assert decode(encoded(photo(), "JPEG", exif=exif)).plain


@pytest.mark.parametrize("kind", ["PNG", "BMP"])
def test_a_side_is_as_long_as_a_dataset_takes_or_refused(kind: str) -> None:
    assert decode(encoded(Image.new("L", (MAX_SIDE, 1)), kind)).pixels.shape == (1, MAX_SIDE, 3)
    with pytest.raises(DecodeError, match="70000x1 pixels, more than 65,536 on a side"):
        decode(encoded(Image.new("L", (70_000, 1)), kind))


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", "the file is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a pointer of Git LFS"),
        (b"<!DOCTYPE html><html>", "a web page"),
        (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "an SVG"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC; install pillow-heif, or convert it to JPEG"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "PostScript"),
        (b"\0\0\0\x18ftypisom\0\0\0\0isomavc1", "not an image: a video"),
        (b"\x76\x2f\x31\x01\2\0\0\0", "OpenEXR, whose values have no range; save it as PNG"),
        (b"\x1f\x8b\x08\0", "compressed by gzip"),
        *(
            (start, f"a damaged {kind}, or one of a kind that Pillow does not read; save it as PNG")
            for start, kind in {
                b"II*\0\x08\0\0\0": "TIFF",
                b"MM\0+\0\x08\0\0": "TIFF",
                b"\x89PNG\r\n\x1a\n": "PNG",
                b"\xff\xd8" + bytes(99): "JPEG",
                b"GIF89a\x08\0\x08\0\0\0\0;": "GIF",
                b"RIFF\x10\0\0\0WEBPVP9 " + bytes(30): "WebP",
                b"\0\0\0\x1cftypavif\0\0\0\0": "AVIF",
            }.items()
        ),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_what_is_known_of_a_file_that_is_no_image_is_said(data: bytes, kind: str) -> None:
    with pytest.raises(DecodeError, match=kind):
        decode(data)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
def test_half_a_file_is_refused(kind: str) -> None:
    data = encoded(photo(), kind)
    with pytest.raises(DecodeError):
        decode(data[: len(data) // 2])


@pytest.mark.parametrize("data", [b"", b"no image at all", b"\xff\xd8", b"\x89PNG\r\n\x1a\n"])
def test_bytes_that_are_not_an_image_are_refused(data: bytes) -> None:
    with pytest.raises(DecodeError) as caught:
        decode(data)
    assert str(caught.value)


@pytest.mark.parametrize("exif", [b"", b"Exif\0\0"])
def test_an_image_of_too_many_pixels_is_refused_before_it_is_decoded(exif: bytes) -> None:
    data = encoded(photo(40, 56), "JPEG", comment=exif)
    size = data.index(b"\xff\xc0") + 5
    assert data[size : size + 4] == bytes([0, 40, 0, 56])
    with pytest.raises(DecodeError, match=r"pixels"):
        decode(data[:size] + b"\xfd\xe8\xfd\xe8" + data[size + 4 :])


@pytest.mark.parametrize("side", [10_000, 20_000, 0x7FFFFFFF])
@pytest.mark.parametrize("kind", ["PNG", "BMP", "GIF"])
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_header_of_too_many_pixels_is_refused_in_our_words(kind: str, side: int) -> None:
    data, order = encoded(Image.new("L", (7, 7)), kind), {"PNG": ">II", "BMP": "<II", "GIF": "<HH"}[kind]
    if kind == "GIF":
        side = min(side, 0xFFFF)
    png = data.replace(struct.pack(order, 7, 7), struct.pack(order, side, side))
    assert png != data
    if kind == "PNG":
        png = png[:29] + struct.pack(">I", zlib.crc32(png[12:29])) + png[33:]
    with pytest.raises(DecodeError, match="more than 89,478,485"):
        decode(png)


@pytest.mark.parametrize(("shape", "message"), [((60, 60, 3), "56x40 pixels, not 60x60"), ((30, 20, 3), "too small")])
def test_a_jpeg_of_another_size_is_refused(shape: tuple[int, ...], message: str) -> None:
    data = np.frombuffer(encoded(photo(40, 56), "JPEG"), dtype=np.uint8)
    with pytest.raises(DecodeError, match=message):
        decode_plain(data, np.empty(shape, dtype=np.uint8))
