"""Image files of every kind that people have, made with Pillow and by changing bytes."""

import io
import struct
import warnings
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

WIDTH, HEIGHT = 40, 40  # square, so that a dataset of all variants has images of one size
ORIENTATION = 0x112


def photo(mode: str = "RGB") -> Image.Image:
    """A smooth image, of which no two quarters are alike."""
    coarse = Image.fromarray(np.random.default_rng(3).integers(0, 256, (4, 5, 3), dtype=np.uint8))
    return coarse.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC).convert(mode)


def deep() -> Image.Image:
    """16 bits of gray, with values in all of their range."""
    values = np.linspace(0, 65535, WIDTH * HEIGHT).astype(np.uint16).reshape(HEIGHT, WIDTH)
    return Image.fromarray(values)


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    """The bytes of an image file."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def turned(orientation: int = 6) -> Image.Exif:
    """An EXIF block; 6 is turned by 90 degrees."""
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return exif


def with_segments(jpeg: bytes, *segments: tuple[int, bytes]) -> bytes:
    """A JPEG with more segments, each (marker, content), behind its first two bytes."""
    return jpeg[:2] + b"".join(b"\xff" + struct.pack(">BH", m, len(c) + 2) + c for m, c in segments) + jpeg[2:]


def with_chunk(png: bytes, name: bytes, content: bytes, *, before: bytes = b"IDAT") -> bytes:
    """A PNG with one more chunk."""
    at = png.index(before) - 4
    chunk = struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
    return png[:at] + chunk + png[at:]


def png_of(
    rows: NDArray[Any], depth: int, color: int, *, interlaced: bool = False, extra: bytes = b"", level: int = 6
) -> bytes:
    """A PNG made by hand: what Pillow does not write.

    Args:
        rows: samples [height, width] or [height, width, channels].
        depth: bits of a sample.
        color: PNG's colour type.
        interlaced: in the seven passes of Adam7.
        extra: chunks before the data.
        level: of compression; at 0 a sample is a byte of the file.
    """
    passes = [(0, 0, 1, 1)]
    if interlaced:
        passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    data = b""
    for y, x, down, right in passes:
        for line in rows[y::down, x::right].reshape(len(rows[y::down]), -1):
            if depth == 16:
                data += b"\0" + line.astype(">u2").tobytes()
            else:
                bits = (line[:, None].astype(np.uint8) >> np.arange(depth - 1, -1, -1)) & 1
                data += b"\0" + np.packbits(bits.reshape(-1)).tobytes()
    png = b"\x89PNG\r\n\x1a\n"
    header = struct.pack(">IIBBBBB", rows.shape[1], rows.shape[0], depth, color, 0, 0, interlaced)
    for name, content in ((b"IHDR", header), (b"", extra), (b"IDAT", zlib.compress(data, level)), (b"IEND", b"")):
        if name:
            png += struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        else:
            png += content
    return png


def tiff_of(data: bytes, depth: int) -> bytes:
    """A TIFF of one channel, made by hand: what Pillow does not write."""
    tags = {256: WIDTH, 257: HEIGHT, 258: depth, 259: 1, 262: 1, 273: 8, 277: 1, 278: HEIGHT, 279: len(data)}
    entries = b"".join(
        struct.pack("<HHII", tag, 4 if tag in (273, 279) else 3, 1, value) for tag, value in tags.items()
    )
    return b"II*\0" + struct.pack("<I", 8 + len(data)) + data + struct.pack("<H", len(tags)) + entries + b"\0\0\0\0"


_FACTORS = {"4:4:0": (1, 2), "4:1:1": (4, 1), "4:1:0": (4, 2), "4:4:1": (1, 4)}
_CODES = {0x00: ([0, 0, 1, 5, 1, 1, 1, 1, 1, 1], range(12)), 0x10: ([0, 0, 1], [0])}  # how many of each length


def sampled(across: int, down: int) -> bytes:
    """A JPEG of flat blocks, with a pixel of colour for `across` x `down` of the image's. Pillow writes few kinds."""
    file = b"\xff\xd8\xff\xdb\0\x43\0" + b"\x10" * 64
    frame = struct.pack(">BHHB", 8, HEIGHT, WIDTH, 3) + bytes([1, 16 * across + down, 0, 2, 0x11, 0, 3, 0x11, 0])
    file += b"\xff\xc0" + struct.pack(">H", len(frame) + 2) + frame
    for number, (counts, symbols) in _CODES.items():
        table = bytes([number, *counts[1:], *[0] * (17 - len(counts)), *symbols])
        file += b"\xff\xc4" + struct.pack(">H", len(table) + 2) + table
    file += b"\xff\xda\0\x0c\3\1\0\2\0\3\0\0\x3f\0"
    rng, bits = np.random.default_rng(1), ""
    units = -(-WIDTH // (8 * across)) * -(-HEIGHT // (8 * down))
    last = [0, 0, 0]
    for _ in range(units):
        for plane in [0] * (across * down) + [1, 2]:
            level = int(rng.integers(-60, 60))
            bits += _dc_code(level - last[plane]) + "00"
            last[plane] = level
    bits += "1" * (-len(bits) % 8)
    data = bytes(int(bits[i : i + 8], 2) for i in range(0, len(bits), 8))
    return file + data.replace(b"\xff", b"\xff\0") + b"\xff\xd9"


def _dc_code(difference: int) -> str:
    """A difference in the code of `_CODES`: its size's symbol, then its bits."""
    counts, code, symbol = _CODES[0][0], 0, 0
    size = abs(difference).bit_length()
    for length in range(1, len(counts)):
        for _ in range(counts[length]):
            if symbol == size:
                value = difference if difference > 0 else difference + (1 << size) - 1
                return f"{code:0{length}b}" + (f"{value:0{size}b}" if size else "")
            code, symbol = code + 1, symbol + 1
        code <<= 1
    raise AssertionError("a difference of more than 11 bits")


def wanted(data: bytes) -> NDArray[np.uint8]:
    """The right pixels, by Pillow: the first frame, upright, the upper 8 of 16 bits, alpha dropped."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image = Image.open(io.BytesIO(data))
        tags = getattr(image, "tag_v2", {})
        shift = 4 if tags.get(258) == (12,) else 8
        upright = ImageOps.exif_transpose(image)
        if upright.mode.startswith("I"):
            values = (np.asarray(upright).astype(np.uint32) >> shift).astype(np.uint8)
            upright = Image.fromarray(255 - values if tags.get(262) == 0 else values)
        return np.asarray(upright.convert("RGB"))


def _exif_behind(marker: int, head: bytes) -> bytes:
    exif = turned().tobytes()
    return with_segments(saved(photo(), "JPEG"), (marker, head + b"x" * 5000), (0xE1, exif))


def _xmp(value: int) -> bytes:
    return (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF><rdf:Description tiff:Orientation="%d"/></rdf:RDF></x:xmpmeta>'
        % value
    )


def _jpegs() -> dict[str, bytes]:
    plain, gray = saved(photo(), "JPEG", quality=90), saved(photo("L"), "JPEG")
    at = plain.index(b"\xff\xc0")
    scan = plain.index(b"\xff\xda")
    exif = turned().tobytes()
    return {
        **{f"subsampling-{s}.jpg": saved(photo(), "JPEG", subsampling=s) for s in ("4:4:4", "4:2:2", "4:2:0")},
        "plain.jpg": plain,
        "gray.jpg": gray,
        "progressive.jpg": saved(photo(), "JPEG", progressive=True),
        "progressive-gray.jpg": saved(photo("L"), "JPEG", progressive=True),
        "optimized.jpg": saved(photo(), "JPEG", optimize=True),
        "restarts.jpg": saved(photo(), "JPEG", restart_marker_blocks=2),
        "coarse.jpg": saved(photo(), "JPEG", quality=1),
        "fine.jpg": saved(photo(), "JPEG", quality=100),
        **{f"subsampling-{s}.jpg": sampled(*factors) for s, factors in _FACTORS.items()},
        "rgb.jpg": saved(photo(), "JPEG", keep_rgb=True),
        "cmyk.jpg": saved(photo("CMYK"), "JPEG"),
        "ycck.jpg": saved(photo("CMYK"), "JPEG").replace(b"Adobe\0d\0\0\0\0\0", b"Adobe\0d\0\0\0\0\2"),
        "icc.jpg": saved(photo(), "JPEG", icc_profile=b"p" * 70_000),
        "dpi.jpg": saved(photo(), "JPEG", dpi=(300, 72)),
        "comment.jpg": saved(photo(), "JPEG", comment=b"hello"),
        "says-exif.jpg": saved(photo(), "JPEG", comment=b"Exif\0\0II*\0"),
        "no-jfif.jpg": plain[:2] + plain[20:],
        "adobe-ycc.jpg": with_segments(plain, (0xEE, b"Adobe\0d\0\0\0\0\1")),
        "behind-end.jpg": plain + b"garbage" * 100,
        "mpo.jpg": saved(photo(), "MPO", save_all=True, append_images=[photo().transpose(Image.Transpose.ROTATE_180)]),
        **{f"turned-{k}.jpg": saved(photo(), "JPEG", exif=turned(k)) for k in range(1, 9)},
        "turned-9.jpg": saved(photo(), "JPEG", exif=turned(9)),
        "turned-gray.jpg": saved(photo("L"), "JPEG", exif=turned()),
        "turned-progressive.jpg": saved(photo(), "JPEG", exif=turned(), progressive=True),
        "turned-cmyk.jpg": saved(photo("CMYK"), "JPEG", exif=turned()),
        "turned-behind-comment.jpg": _exif_behind(0xFE, b""),
        "turned-behind-icc.jpg": _exif_behind(0xE2, b"ICC_PROFILE\0\1\1"),
        "turned-behind-8bim.jpg": _exif_behind(0xED, b"Photoshop 3.0\x008BIM\x04\x04\0\0"),
        "turned-behind-tables.jpg": plain[:at] + plain[at:scan] + with_segments(b"..", (0xE1, exif))[2:] + plain[scan:],
        "turned-big-endian.jpg": with_segments(
            plain, (0xE1, b"Exif\0\0MM\0*\0\0\0\x08\0\1" + struct.pack(">HHIHH", ORIENTATION, 3, 1, 6, 0) + b"\0\0\0\0")
        ),
        "turned-long.jpg": with_segments(
            plain, (0xE1, b"Exif\0\0II*\0\x08\0\0\0\1\0" + struct.pack("<HHII", ORIENTATION, 4, 1, 6) + b"\0\0\0\0")
        ),
        "turned-twice.jpg": with_segments(plain, (0xE1, exif), (0xE1, turned(3).tobytes())),
        "turned-by-xmp.jpg": with_segments(plain, (0xE1, b"http://ns.adobe.com/xap/1.0/\0" + _xmp(6))),
        "turned-by-both.jpg": with_segments(plain, (0xE1, exif), (0xE1, b"http://ns.adobe.com/xap/1.0/\0" + _xmp(3))),
        "turned-thumbnail.jpg": with_segments(
            plain,
            (
                0xE1,
                b"Exif\0\0II*\0\x08\0\0\0\1\0"
                + struct.pack("<HHII", 0x128, 3, 1, 2)
                + struct.pack("<I", 26)
                + b"\1\0"
                + struct.pack("<HHII", ORIENTATION, 3, 1, 6)
                + b"\0\0\0\0",
            ),
        ),
        "damaged-exif.jpg": with_segments(plain, (0xE1, exif[:-7])),
        "empty-exif.jpg": with_segments(plain, (0xE1, b"Exif\0\0")),
    }


def _warning_jpegs() -> dict[str, bytes]:
    plain, gray = saved(photo(), "JPEG", quality=90), saved(photo("L"), "JPEG")
    tables, scan = plain.index(b"\xff\xdb"), plain.index(b"\xff\xda")
    jfif, padding = (b"JFIF\0\1\1", b"JFIF\0\0\0"), b"\x11" * 65 + plain[-2:]
    return {
        "jfif-0.jpg": plain.replace(*jfif),
        "jfif-2.jpg": plain.replace(jfif[0], b"JFIF\0\2\1"),
        "jfif-0-gray.jpg": gray.replace(*jfif),
        "jfif-0-turned.jpg": saved(photo(), "JPEG", exif=turned()).replace(*jfif),
        "jfif-0-cmyk.jpg": with_segments(saved(photo("CMYK"), "JPEG"), (0xE0, jfif[1] + b"\0\0\1\0\1\0\0")),
        "adobe-7.jpg": with_segments(plain[:2] + plain[20:], (0xEE, b"Adobe\0d\0\0\0\0\7")),
        "between.jpg": plain[:tables] + b"\0" * 7 + plain[tables:],
        "before-scan.jpg": plain[:scan] + b"abc" * 9 + plain[scan:],
        "scan-of-progressive.jpg": plain[: scan + 11] + b"\1\5\0" + plain[scan + 14 :],
        "padded.jpg": plain[:-2] + padding,
        "padded-with-zeros.jpg": plain[:-2] + b"\0" * 500 + plain[-2:],
        "padded-stuffed.jpg": plain[:-2] + b"\xff\0\x11" * 30 + plain[-2:],
        "padded-gray.jpg": gray[:-2] + padding,
        "padded-progressive.jpg": saved(photo(), "JPEG", progressive=True)[:-2] + padding,
        "padded-without-end.jpg": plain[:-2] + b"\0" * 500,
        "jfif-0-padded.jpg": plain[:-2].replace(*jfif) + padding,
    }


def _damaged_pngs() -> dict[str, bytes]:
    """Of a palette without colours, of rows that are missing though the checksums are right, ..."""
    png, gray, rgb = saved(photo(), "PNG"), np.asarray(photo("L")), np.asarray(photo())
    flipped = bytearray(png)
    flipped[len(png) // 4] ^= 0x55
    header = struct.pack(">II", WIDTH, HEIGHT)
    taller = struct.pack(">II", WIDTH, HEIGHT + 1)
    longer = with_checksums(png_of(np.vstack([rgb, rgb[:1]]), 8, 2, level=0).replace(taller, header))
    odd = bytearray(longer)
    odd[len(odd) // 2] ^= 0x55
    at = longer.index(b"IDAT") - 4
    return {
        "flipped.png": bytes(flipped),
        "flipped-in-longer-data.png": bytes(odd),
        "flipped-without-end.png": bytes(odd[:-12]),
        "flipped-and-cut.png": bytes(odd[:at]) + b"\0\1\0\0" + bytes(odd[at + 4 :]),
        "no-palette.png": png_of(gray, 8, 3),
        "iphone.png": with_chunk(png, b"CgBI", b"\x50\0\x20\2", before=b"IHDR"),
        "unknown-chunk.png": with_chunk(png, b"ABCD", b"hello"),
        **{
            f"row-missing-{name}.png": with_checksums(file.replace(header, taller))
            for name, file in {
                "gray": png_of(gray, 8, 0),
                "rgb": png_of(rgb, 8, 2),
                "turned": saved(photo(), "PNG", exif=turned()),
                "interlaced": png_of(rgb, 8, 2, interlaced=True),
            }.items()
        },
    }


def _odd_pngs() -> dict[str, bytes]:
    """Whole, but not as the standard says."""
    png = saved(photo(), "PNG")
    data = bytearray(png)
    data[png.index(b"IEND") - 5] ^= 1
    return {
        "no-end.png": png[:-12],
        "longer-data.png": png[: png.index(b"IDAT") - 4] + b"\0\1\0\0" + png[png.index(b"IDAT") :],
        "wrong-checksum.png": bytes(data),
        "wrong-checksum-of-text.png": with_chunk(png, b"tEXt", b"Comment\0hello", before=b"IEND").replace(
            b"hello", b"hallo"
        ),
        "header-of-end-cut.png": png[:-5],
    }


def with_checksums(png: bytes) -> bytes:
    """A PNG with the right checksum for each chunk."""
    out, at = png[:8], 8
    while at < len(png):
        stop = at + 8 + int.from_bytes(png[at : at + 4], "big")
        out += png[at:stop] + struct.pack(">I", zlib.crc32(png[at + 4 : stop]))
        at = stop + 4
    return out


def _damaged_tiffs() -> dict[str, bytes]:
    """Of which only libtiff knows, and says so."""
    files = {"fax-codes.tif": ("1", "group4"), "lzw-codes.tif": ("RGB", "tiff_lzw")}
    damaged = {}
    for name, (mode, compression) in files.items():
        data = bytearray(saved(photo(mode), "TIFF", compression=compression))
        data[60:100] = b"\x55" * 40
        damaged[name] = bytes(data)
    return damaged


def _odd_tiffs() -> dict[str, bytes]:
    """Of which Pillow warns."""
    data = saved(photo(), "TIFF", tiffinfo={270: "x" * 499})
    entry = struct.pack("<HHI", 270, 2, 500)
    assert entry in data
    return {"description-cut.tif": data.replace(entry, struct.pack("<HHI", 270, 2, 1 << 20))}


def damaged() -> dict[str, bytes]:
    """Files that are no whole images, though a browser may show something."""
    plain, png = saved(photo(), "JPEG", quality=90), saved(photo(), "PNG")
    scan = plain.index(b"\xff\xda") + 14
    half = (scan + len(plain)) // 2
    bad = plain[: scan + 60] + b"\x99" * 40 + plain[scan + 100 :]
    restarts = saved(photo(), "JPEG", restart_marker_blocks=2)
    at = restarts.index(b"\xff\xd2")
    return {
        "half.jpg": plain[:half],
        "half-with-end.jpg": plain[:half] + plain[-2:],
        "half-padded.jpg": plain[:half] + b"\x11" * 65 + plain[-2:],
        "bad-codes.jpg": bad,
        "bad-codes-jfif-0.jpg": bad.replace(b"JFIF\0\1\1", b"JFIF\0\0\0"),
        "half-filled.jpg": plain[:half] + bytes(1000),
        "half-filled-with-end.jpg": plain[:half] + b"\x11" * 1000 + plain[-2:],
        "half-cmyk.jpg": (cmyk := saved(photo("CMYK"), "JPEG"))[: len(cmyk) * 3 // 4] + plain[-2:],
        "missing-restart.jpg": restarts[:at] + restarts[at + 2 :],
        "12-bit.jpg": plain.replace(b"\xff\xc0\0\x11\x08", b"\xff\xc0\0\x11\x0c"),
        "head.jpg": plain[:scan],
        "half.png": png[: len(png) // 2],
        **_damaged_pngs(),
        **_damaged_tiffs(),
        "half.gif": saved(photo(), "GIF")[:1000],
        "half.webp": saved(photo(), "WEBP")[:300],
        "half.tif": saved(photo(), "TIFF")[:1000],
        "half.bmp": saved(photo(), "BMP")[:1000],
        "32-bit.tif": saved(Image.fromarray(np.arange(1600, dtype=np.int32).reshape(40, 40)), "TIFF"),
        "float.tif": saved(Image.fromarray(np.ones((40, 40), dtype=np.float32)), "TIFF"),
        "wide.png": saved(Image.new("L", (70_000, 1)), "PNG"),
        "text.jpg": b"My holidays.\n",
        "empty.jpg": b"",
    }


def _pngs() -> dict[str, bytes]:
    rgb, gray = np.asarray(photo()), np.asarray(photo("L"))
    wide = np.asarray(deep())
    plain, palette = saved(photo(), "PNG"), photo().quantize(200)
    color = np.stack([wide, wide[::-1], wide[:, ::-1]], axis=2)
    alpha = np.dstack([rgb, gray])
    plte = struct.pack(">I", 48) + b"PLTE" + bytes(range(0, 240, 5))
    plte += struct.pack(">I", zlib.crc32(plte[4:]))
    return {
        "plain.png": plain,
        "gray.png": saved(photo("L"), "PNG"),
        "palette.png": saved(palette, "PNG"),
        "palette-alpha.png": saved(palette, "PNG", transparency=bytes(range(200))),
        "palette-one-clear.png": saved(palette, "PNG", transparency=7),
        "palette-4.png": png_of(gray >> 4, 4, 3, extra=plte),
        "rgba.png": saved(Image.fromarray(alpha), "PNG"),
        "la.png": saved(photo("L").convert("LA"), "PNG"),
        "la-clear.png": saved(Image.fromarray(np.dstack([gray, gray[::-1]])), "PNG"),
        "rgb-one-clear.png": saved(photo(), "PNG", transparency=(1, 2, 3)),
        "gray-one-clear.png": saved(photo("L"), "PNG", transparency=9),
        "1-bit.png": saved(photo("1"), "PNG"),
        "2-bit.png": png_of(gray >> 6, 2, 0),
        "4-bit.png": png_of(gray >> 4, 4, 0),
        "16-bit.png": saved(deep(), "PNG"),
        "16-bit-rgb.png": png_of(color, 16, 2),
        "16-bit-rgba.png": png_of(np.dstack([color, wide]), 16, 6),
        "16-bit-la.png": png_of(np.dstack([wide, wide[::-1]]), 16, 4),
        "16-bit-interlaced.png": png_of(wide, 16, 0, interlaced=True),
        "interlaced.png": png_of(rgb, 8, 2, interlaced=True),
        "interlaced-gray.png": png_of(gray, 8, 0, interlaced=True),
        "interlaced-2-bit.png": png_of(gray >> 6, 2, 0, interlaced=True),
        "gamma.png": with_chunk(plain, b"gAMA", struct.pack(">I", 100_000)),
        "srgb.png": with_chunk(plain, b"sRGB", b"\0"),
        "icc.png": saved(photo(), "PNG", icc_profile=b"p" * 3000),
        "turned.png": saved(photo(), "PNG", exif=turned()),
        "turned-gray.png": saved(photo("L"), "PNG", exif=turned(7)),
        "turned-palette.png": saved(palette, "PNG", exif=turned(8)),
        "turned-16-bit.png": saved(deep(), "PNG", exif=turned()),
        "turned-behind-data.png": with_chunk(plain, b"eXIf", turned().tobytes()[6:], before=b"IEND"),
        "turned-by-xmp.png": with_chunk(plain, b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + _xmp(6)),
        "animated.png": saved(photo(), "PNG", save_all=True, append_images=[photo().rotate(180)]),
        "default-image.png": saved(
            photo(), "PNG", save_all=True, append_images=[photo().rotate(180)], default_image=True
        ),
        "text.png": with_chunk(plain, b"tEXt", b"Comment\0hello"),
        "behind-end.png": plain + b"garbage" * 100,
        "no-such-colour.png": png_of(gray >> 3, 8, 3, extra=plte),
        "background.png": with_chunk(plain, b"bKGD", struct.pack(">HHH", 200, 100, 50)),
        "significant-bits.png": with_chunk(plain, b"sBIT", b"\5\6\5"),
        "gamma-1.png": with_chunk(plain, b"gAMA", struct.pack(">I", 45_455)),
        "hdr.png": with_chunk(plain, b"cICP", b"\x09\x10\0\1"),
    }


def _tiffs() -> dict[str, bytes]:
    wide = np.asarray(deep())
    info = {262: 0}
    bits = (wide[:, :, None] >> np.arange(15, 3, -1)) & 1
    return {
        "12-bit.tif": tiff_of(np.packbits(bits.astype(np.uint8).reshape(HEIGHT, -1), axis=1).tobytes(), 12),
        "plain.tif": saved(photo(), "TIFF"),
        "gray.tif": saved(photo("L"), "TIFF"),
        "lzw.tif": saved(photo(), "TIFF", compression="tiff_lzw"),
        "deflate.tif": saved(photo(), "TIFF", compression="tiff_adobe_deflate"),
        "packbits.tif": saved(photo(), "TIFF", compression="packbits"),
        "jpeg.tif": saved(photo(), "TIFF", compression="jpeg"),
        "fax.tif": saved(photo("1"), "TIFF", compression="group4"),
        "1-bit.tif": saved(photo("1"), "TIFF"),
        "palette.tif": saved(photo().quantize(100), "TIFF"),
        "rgba.tif": saved(Image.fromarray(np.dstack([np.asarray(photo()), np.asarray(photo("L"))])), "TIFF"),
        "la.tif": saved(photo("L").convert("LA"), "TIFF"),
        "cmyk.tif": saved(photo("CMYK"), "TIFF"),
        "lab.tif": saved(photo("LAB"), "TIFF"),
        "ycbcr.tif": saved(photo("YCbCr"), "TIFF"),
        "16-bit.tif": saved(deep(), "TIFF"),
        "16-bit-big-endian.tif": saved(Image.frombytes("I;16B", (WIDTH, HEIGHT), wide.astype(">u2").tobytes()), "TIFF"),
        "16-bit-lzw.tif": saved(deep(), "TIFF", compression="tiff_lzw"),
        "16-bit-turned.tif": saved(deep(), "TIFF", exif=turned()),
        "turned.tif": saved(photo(), "TIFF", exif=turned()),
        "white-is-zero.tif": saved(photo("L"), "TIFF", tiffinfo=info),
        "white-is-zero-16-bit.tif": saved(deep(), "TIFF", tiffinfo=info),
        "white-is-zero-16-bit-lzw.tif": saved(deep(), "TIFF", tiffinfo=info, compression="tiff_lzw"),
        "white-is-zero-16-bit-turned.tif": saved(deep(), "TIFF", tiffinfo={**info, 274: 6}),
        "pages.tif": saved(photo(), "TIFF", save_all=True, append_images=[photo().rotate(180)]),
        "signed.tif": saved(photo("L"), "TIFF", tiffinfo={339: 2}),
        "big.tif": saved(photo(), "TIFF", big_tiff=True),
    }


def _others() -> dict[str, bytes]:
    gray, wide = np.asarray(photo("L")), np.asarray(deep())
    size = b"%d %d" % (WIDTH, HEIGHT)
    frames: dict[str, Any] = {"save_all": True, "append_images": [photo().rotate(180)], "duration": 100}
    alpha = Image.fromarray(np.dstack([np.asarray(photo()), np.asarray(photo("L"))]))
    rgb16 = np.stack([wide, wide[::-1], wide[:, ::-1]], axis=2)
    return {
        "plain.bmp": saved(photo(), "BMP"),
        "gray.bmp": saved(photo("L"), "BMP"),
        "palette.bmp": saved(photo().quantize(100), "BMP"),
        "1-bit.bmp": saved(photo("1"), "BMP"),
        "rgba.bmp": saved(alpha, "BMP"),
        "plain.gif": saved(photo(), "GIF"),
        "gray.gif": saved(photo("L"), "GIF"),
        "clear.gif": saved(photo().quantize(100), "GIF", transparency=3),
        "interlaced.gif": saved(photo(), "GIF", interlace=True),
        "animated.gif": saved(photo(), "GIF", **frames),
        "plain.webp": saved(photo(), "WEBP"),
        "lossless.webp": saved(photo(), "WEBP", lossless=True),
        "alpha.webp": saved(alpha, "WEBP"),
        "lossless-alpha.webp": saved(alpha, "WEBP", lossless=True),
        "animated.webp": saved(photo(), "WEBP", **frames),
        "turned.webp": saved(photo(), "WEBP", exif=turned()),
        "turned-lossless.webp": saved(photo(), "WEBP", lossless=True, exif=turned()),
        "icc.webp": saved(photo(), "WEBP", icc_profile=b"p" * 3000),
        "plain.ppm": saved(photo(), "PPM"),
        "gray.pgm": saved(photo("L"), "PPM"),
        "1-bit.pbm": saved(photo("1"), "PPM"),
        "16-bit.pgm": b"P5 %b 65535\n" % size + wide.astype(">u2").tobytes(),
        "1023.pgm": b"P5 %b 1023\n" % size + (wide >> 6).astype(">u2").tobytes(),
        "100.pgm": b"P5 %b 100\n" % size + (gray // 3).astype(np.uint8).tobytes(),
        "16-bit.ppm": b"P6 %b 65535\n" % size + rgb16.astype(">u2").tobytes(),
        "text.pgm": b"P2 %b 255\n" % size + b" ".join(b"%d" % v for v in gray.flat) + b"\n",
        "text.ppm": b"P3 %b 255\n" % size + b" ".join(b"%d" % v for v in np.asarray(photo()).flat) + b"\n",
        "comment.ppm": b"P6\n# hello\n%b\n255\n" % size + photo().tobytes(),
        "plain.jp2": saved(photo(), "JPEG2000"),
        "16-bit.jp2": saved(deep(), "JPEG2000"),
        "stream.j2k": saved(photo(), "JPEG2000", no_jp2=True),
        "plain.avif": saved(photo(), "AVIF"),
        "turned.avif": saved(photo(), "AVIF", exif=turned()),
        "plain.tga": saved(photo(), "TGA"),
        "rle.tga": saved(photo(), "TGA", compression="tga_rle"),
        "plain.pcx": saved(photo(), "PCX"),
        "plain.ico": saved(photo(), "ICO", sizes=[(WIDTH, HEIGHT)]),
        "plain.dds": saved(photo(), "DDS"),
        "plain.sgi": saved(photo(), "SGI"),
        "plain.qoi": saved(photo(), "QOI"),
        "plain.xbm": saved(photo("1"), "XBM"),
    }


def right() -> dict[str, bytes]:
    """{name: bytes} of files that are whole images."""
    return {**_jpegs(), **_pngs(), **_tiffs(), **_others()}


def warning() -> dict[str, bytes]:
    """Files at which a decoder warns or should, though the pixels are clean."""
    return {**_warning_jpegs(), **_odd_pngs(), **_odd_tiffs()}
