"""Which files are taken as images: by suffix, and where that says nothing, by the first bytes."""

import importlib.util
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import cache

from PIL import Image, features

from feedline.convert.trees import Damaged, Tree
from feedline.output import counted

HEAD = 32  # bytes that tell an image
SAMPLED = 32  # files of an unknown suffix whose first bytes are read, before all of that suffix are taken or not
MAX_BYTES = 256 << 20  # of a file whose first bytes are read

# Pillow's formats of pictures: not documents, films, or what holds measurements instead of colours.
_PICTURES = {
    *("JPEG", "MPO", "PNG", "GIF", "BMP", "DIB", "TIFF", "WEBP", "PPM", "JPEG2000", "AVIF", "TGA", "ICO", "CUR"),
    *("ICNS", "DDS", "PCX", "DCX", "QOI", "SGI", "SUN", "PSD", "XBM", "XPM", "MSP", "BLP"),
}
_HEIF = {".heic", ".heif", ".hif"}

# {suffixes: why files of an image format are not taken, and what to do}
_REMEDIES = {
    ".heic .heif .hif": "HEIF cannot be decoded here; install pillow-heif, or save as JPEG",
    ".avif .avifs": "AVIF cannot be decoded here; install a Pillow that can, or save as JPEG",
    ".jp2 .j2k .jpf .jpx .jpc .j2c": "JPEG 2000 cannot be decoded here; install a Pillow that can, or save as PNG",
    ".webp": "WebP cannot be decoded here; install a Pillow that can, or save as PNG",
    ".jxl .jxr .wdp .bpg .svg .svgz .eps .ai .emf .wmf .exr .hdr .xcf": "cannot be decoded here; save as PNG",
    ".cr2 .cr3 .crw .nef .arw .dng .orf .rw2 .raf .pef .srw": "a camera's raw file; save as JPEG",
    ".dcm .dicom .nii .fits .fit .fts": "a file of measurements; save as PNG",
    ".mp4 .mov .avi .mkv .webm .mpg .mpeg .m4v .wmv .flv .flc .fli": "a film; save its frames as images",
    ".npy .npz .mat .h5 .hdf5 .hdf .pkl .pickle .pt .pth": "an array; read it in Python, with feedline.from_dataset",
    ".zip .tar .gz .tgz .bz2 .xz .7z .rar": "an archive; unpack it, or give it as source",
    ".parquet .arrow .tfrecord .tfrec .lmdb .mdb": "a file of many items; give it as source, or see from_dataset",
    ".pdf .ps .doc .docx .ppt .pptx": "a document; save its pictures as PNG",
    ".part .tmp .crdownload .download .partial": "an unfinished download",
}
_REASONS = {suffix: reason for suffixes, reason in _REMEDIES.items() for suffix in suffixes.split()}
NOT_AN_IMAGE = "not an image"

# Files of these are never opened to see whether they are images.
_TEXT = """
    .txt .csv .tsv .json .jsonl .ndjson .geojson .xml .html .htm .css .js .yaml .yml .toml .ini .cfg .conf .md .rst .tex
    .bib .log .py .pyc .ipynb .sh .bat .ps1 .c .h .cpp .cu .java .m .r .rs .go .db .sqlite .xls .xlsx .ods .lnk .url
    .mp3 .wav .flac .ogg .srt .vtt .names .data .lst .idx .rec .map .mtl .obj .ply .stl .pcap .exe .dll .so .apk .bak
    .old .swp .lock .md5 .sha1 .sha256 .sig .asc .pem .whl .iso .dmg .ttf .otf .woff .woff2 .weights .onnx
"""
_KNOWN = frozenset(_TEXT.split())
_MAGIC = re.compile(
    rb"\xff\xd8\xff|\x89PNG\r\n|GIF8[79]a|BM....\0\0\0\0|II\*\0|MM\0\*|RIFF....WEBP|P[1-6][\s#]|\0\0\0\x0cjP  |"
    rb"\xff\x4f\xff\x51|....ftyp(avif|avis|heic|heix|mif1|msf1)|qoif",
    re.DOTALL,
)


@cache
def image_suffixes() -> frozenset[str]:
    """The suffixes, in lower case, of what Pillow can decode here."""
    Image.init()
    formats = _PICTURES & set(Image.OPEN)
    if not features.check("jpg_2000"):
        formats.discard("JPEG2000")
    heif = _HEIF if importlib.util.find_spec("pillow_heif") else set()  # the decoder registers it when it is needed
    return frozenset(suffix for suffix, kind in Image.registered_extensions().items() if kind in formats) | heif


def suffix_of(name: str) -> str:
    """The suffix of a file's name, in lower case and with its dot; empty if there is none."""
    file = name.rpartition("/")[2]
    stem, dot, suffix = file.rpartition(".")
    return f".{suffix.lower()}" if dot and stem else ""


def is_image(name: str) -> bool:
    """Whether a file is an image, by its name."""
    return suffix_of(name) in image_suffixes() and not name.rpartition("/")[2].startswith(".")


def reason_for(name: str) -> str:
    """Why a file that is no image is not taken, by its name."""
    return _REASONS.get(suffix_of(name), NOT_AN_IMAGE)


def divide(tree: Tree, names: Iterable[str]) -> tuple[list[str], dict[str, str]]:
    """Finds the images among files.

    Files of an unknown suffix, or without one, are known by their first bytes: a sample of each suffix is read. If all
    of the sample are images, all files are taken, if none is, none; else each file is read.

    Args:
        tree: gives sizes and bytes.
        names: of files that are not hidden.

    Returns:
        The images, and {name: why it is not taken} of the other files.
    """
    known = image_suffixes()
    images, others = [], {}
    unknown: dict[str, list[str]] = defaultdict(list)
    for name in names:
        suffix = suffix_of(name)
        if suffix in known:
            images.append(name)
        elif suffix in _REASONS or suffix in _KNOWN:
            others[name] = reason_for(name)
        else:
            unknown[suffix if re.fullmatch(r"\.[a-z]\w{0,9}", suffix) else ""].append(name)
    for group in unknown.values():
        taken = _by_content(tree, group)
        images += taken
        others.update(dict.fromkeys(set(group).difference(taken), NOT_AN_IMAGE))
    return images, others


def _by_content(tree: Tree, names: list[str]) -> list[str]:
    sample = names[:: max(len(names) // SAMPLED, 1)]
    found = [name for name in sample if _begins_as_image(tree, name)]
    if len(found) in (0, len(sample)) or len(sample) == len(names):
        return names if found and len(found) == len(sample) else found
    return [name for name in names if _begins_as_image(tree, name)]


def _begins_as_image(tree: Tree, name: str) -> bool:
    if not 0 < tree.contents.files[name] <= MAX_BYTES:
        return False
    try:
        return _MAGIC.match(head(tree, name, HEAD)) is not None
    except (Damaged, OSError):
        return False


def head(tree: Tree, name: str, count: int) -> bytes:
    """The first bytes of a file: read alone where the tree can do that."""
    read = getattr(tree, "head", None)
    return read(name, count) if read else tree.read(name)[:count]


def remedies(others: Mapping[str, str]) -> list[str]:
    """A line for each suffix of an image format that is not taken: how many files, and what to do."""
    counts: dict[tuple[str, str], int] = defaultdict(int)
    for name, reason in others.items():
        if reason != NOT_AN_IMAGE:
            counts[suffix_of(name), reason] += 1
    return [
        f"{suffix}: {counted(count, 'file')} not taken: {reason}" for (suffix, reason), count in sorted(counts.items())
    ]
