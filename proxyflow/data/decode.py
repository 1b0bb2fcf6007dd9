"""Image files to pixels and back: every kind of file that people have becomes 8-bit grey or RGB, upright.

Pillow decodes, because what it gives is what fastai and torchvision train on by default.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ORIENTATION = 0x0112  # the EXIF tag
# What undoes each of its values, as the names of Pillow's `Transpose`; from 5 on they turn by a quarter.
UPRIGHT = {
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}
LYING = 5
GREY_MODES = ("1", "L", "LA", "La")
# Pillow knows many more, and hands some to other programs: for EPS it runs Ghostscript on what the file says.
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")


class BadImage(Exception):
    """A file that holds no image that can be trained on; the message says why, without the file's name."""


@dataclass(frozen=True)
class Header:
    """What an image file says of itself before its pixels are decoded.

    Attributes:
        size: height and width once it is upright.
        original_size: height and width as stored in the file.
        grey: it has no colours.
    """

    size: tuple[int, int]
    original_size: tuple[int, int]
    grey: bool


def read_header(source: Path | bytes) -> Header:
    """Reads size and kind of an image file.

    Raises:
        BadImage: it is none.
    """
    with _Opened(source) as image:
        width, height = image.size
        lying = _orientation(image) >= LYING
        grey = image.mode in GREY_MODES or _has_16_bits(image)
        upright, other = (height, width), (width, height)
        if image.format == "TIFF":  # Pillow turns these itself, and says so before it does
            return Header(upright, other if lying else upright, grey)
        return Header(other if lying else upright, upright, grey)


def decode_image(source: Path | bytes, channels: int, most_pixels: int | None = None) -> NDArray[np.uint8]:
    """An encoded image as `(height, width, channels) uint8`.

    Palette and CMYK images are converted, 16-bit grey is brought to 8 bits, an alpha channel is left out (as
    fastai's and torchvision's loaders do), and the rotation that a camera noted in EXIF is applied. Of an animation
    it is the first frame.

    Args:
        most_pixels: that it may have, besides Pillow's own bound of 179 million.

    Raises:
        BadImage: the file is empty, no image, truncated, too large, or its pixels are no 8- or 16-bit colours.
    """
    from PIL import Image

    with _Opened(source) as opened:
        width, height = opened.size
        if most_pixels is not None and width * height > most_pixels:
            raise BadImage(f"its {width} x {height} pixels are more than there is memory for")
        # Pillow's own exif_transpose also rewrites the metadata, and fails where a camera wrote odd ones.
        turn = UPRIGHT.get(_orientation(opened)) if opened.format != "TIFF" else None
        image = opened.transpose(Image.Transpose[turn]) if turn else opened
        if _has_16_bits(opened):
            levels = np.asarray(image).astype(np.uint16) >> 8
            pixels = levels.astype(np.uint8)[..., np.newaxis].repeat(channels, axis=2)
        elif image.mode in ("I", "F"):
            raise BadImage(f"its pixels are 32-bit numbers (mode {image.mode}); save it with 8 bits per channel")
        else:
            if image.mode == "P" and "transparency" in image.info:
                image = image.convert("RGBA")  # Pillow asks for this step on the way to RGB
            pixels = np.asarray(image.convert("L" if channels == 1 else "RGB"), dtype=np.uint8)
    return pixels.reshape(*pixels.shape[:2], channels)


def encode_png(image: NDArray[np.uint8]) -> bytes:
    """A `(height, width, 1 or 3) uint8` image as PNG."""
    from PIL import Image

    buffer = io.BytesIO()
    pixels = image[:, :, 0] if image.shape[2] == 1 else image
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()


def _orientation(image: Any) -> int:
    """The orientation that the camera noted, 1 (upright) where it is none or no number."""
    found = image.getexif().get(ORIENTATION, 1)
    return found if found in UPRIGHT else 1


def _has_16_bits(image: Any) -> bool:
    """Whether it is grey with 16 bits, which Pillow opens as a wider mode where it is a PGM."""
    return bool(image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM"))


class _Opened:
    """Pillow's image of a file, whose many kinds of errors all become `BadImage`."""

    def __init__(self, source: Path | bytes) -> None:
        self.source = source

    def __enter__(self) -> Any:
        from PIL import Image, UnidentifiedImageError

        try:
            empty = len(self.source) == 0 if isinstance(self.source, bytes) else self.source.stat().st_size == 0
            if empty:
                raise BadImage("it is empty (0 bytes)")
            file = io.BytesIO(self.source) if isinstance(self.source, bytes) else self.source
            self.image = Image.open(file, formats=FORMATS)
        except UnidentifiedImageError:
            raise BadImage(f"it is no image of a kind that is read ({', '.join(FORMATS)})") from None
        except Exception as error:
            raise self._bad(error) from None
        return self.image

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self.image.close()
        # Decoders raise whatever their format's damage leads to: OSError, SyntaxError, struct.error, EOFError ...
        if isinstance(error, Exception) and not isinstance(error, MemoryError):
            raise self._bad(error) from None

    @staticmethod
    def _bad(error: Exception) -> BadImage:
        if isinstance(error, BadImage):
            return error
        reason = " ".join(str(error).split()) or type(error).__name__
        return BadImage(f"it is damaged or cannot be read ({reason})")
