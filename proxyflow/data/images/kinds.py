"""Which files are images: by their suffix, by their first bytes, and by what the installed Pillow can decode."""

from __future__ import annotations

import re
from functools import cache
from importlib.util import find_spec

# Pillow reads many more, some through other programs: for EPS it runs Ghostscript on the contents of the file.
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
SUFFIXES = frozenset(
    (
        *(".apng", ".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm"),
        *(".tif", ".tiff", ".webp"),
    )
)
AVIF_SUFFIXES, HEIF_SUFFIXES = frozenset((".avif",)), frozenset((".heic", ".heif", ".hif"))
# Image formats that are not supported: files of them cause a warning.
UNREAD_SUFFIXES = frozenset(
    (
        *(".arw", ".cr2", ".cr3", ".dcm", ".dng", ".exr", ".hdr", ".ico", ".j2k", ".jp2", ".jxl", ".nef", ".npy"),
        *(".orf", ".psd", ".raf", ".raw", ".rw2", ".svg", ".tga"),
    )
)
# A suffix begins with a letter: `scan.0001` and `dog 2.5 years` have none.
SUFFIX = re.compile(r"\.[A-Za-z][A-Za-z0-9_-]{0,9}")
FIRST_BYTES = 32
# Sizes of the header that follows the 14 bytes of a BMP file's own; two letters alone begin many a text.
BMP_HEADERS = (12, 40, 52, 56, 64, 108, 124)
AVIF_BRANDS = (b"avif", b"avis")
HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")


@cache
def formats() -> tuple[str, ...]:
    """Pillow's names of the formats that are read here."""
    avif = ("AVIF",) if _reads_avif() else ()
    heif = ("HEIF",) if _reads_heif() else ()
    return (*FORMATS, *avif, *heif)


@cache
def suffixes() -> frozenset[str]:
    """Suffixes of the files that are read here, in lower case."""
    avif = AVIF_SUFFIXES if _reads_avif() else frozenset[str]()
    heif = HEIF_SUFFIXES if _reads_heif() else frozenset[str]()
    return SUFFIXES | avif | heif


def unread_suffixes() -> frozenset[str]:
    """Suffixes of images that are not read here."""
    return (UNREAD_SUFFIXES | AVIF_SUFFIXES | HEIF_SUFFIXES) - suffixes()


def advice_on(suffix: str) -> str:
    """What makes files of this suffix readable; empty where nothing is known."""
    if suffix in HEIF_SUFFIXES:
        return "pip install pillow-heif"
    if suffix in AVIF_SUFFIXES:
        return "pip install 'pillow>=11.3'"
    return "convert them to PNG or JPEG" if suffix in UNREAD_SUFFIXES else ""


def suffix_of(name: str) -> str:
    """A file name's suffix in lower case; empty where what follows the last dot is none."""
    stem, dot, last = name.rpartition(".")
    suffix = dot + last
    return suffix.lower() if stem and SUFFIX.fullmatch(suffix) else ""


def is_image(first: bytes) -> bool:
    """Whether a file that begins like this is an image of a kind that is read here."""
    if first[:2] == b"BM":
        return int.from_bytes(first[14:18], "little") in BMP_HEADERS
    if first[:1] == b"P":
        return first[1:2] in b"123456" and first[2:3] in b" \t\r\n#" and len(first) > 3
    if first[:4] == b"RIFF":
        return first[8:12] == b"WEBP"
    if first[4:8] == b"ftyp":
        brands = [first[8:12], *(first[begin : begin + 4] for begin in range(16, len(first), 4))]
        if any(brand in AVIF_BRANDS for brand in brands):
            return "AVIF" in formats()
        return "HEIF" in formats() and any(brand in HEIF_BRANDS for brand in brands)
    starts = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*")
    return first.startswith(starts)


@cache
def _reads_avif() -> bool:
    try:
        from PIL import AvifImagePlugin  # new in Pillow 11.3, and a build may lack the library behind it
    except ImportError:
        return False
    return bool(AvifImagePlugin.SUPPORTED)


@cache
def _reads_heif() -> bool:
    if find_spec("pillow_heif") is None:
        return False
    import pillow_heif

    pillow_heif.register_heif_opener()
    return True
