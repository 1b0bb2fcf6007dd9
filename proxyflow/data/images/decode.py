"""Image files to pixels and back: every supported format becomes 8-bit grey or RGB, upright.

Pillow decodes, because what it gives is what fastai and torchvision train on by default.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from proxyflow.data.images import kinds, levels

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
PHOTOMETRIC, WHITE_IS_ZERO = 262, 0  # the TIFF tag, and what it says of inverted files


class BadImage(Exception):
    """A file without a usable image; the message says why, without the file's name."""


@dataclass(frozen=True)
class Header:
    """The header of an image file.

    Attributes:
        size: height and width once it is upright.
        grey: it has no colours.
        deep: it has 16 bits per channel.
    """

    size: tuple[int, int]
    grey: bool
    deep: bool = False


def read_header(source: Path | bytes) -> Header:
    """Reads size and kind of an image file.

    Raises:
        BadImage: it is none.
    """
    with _Opened(source) as image:
        width, height = image.size
        deep_grey, deep_colours = _has_16_bits(image), _has_deep_colours(image)
        # Pillow turns TIFF itself, and states the size that it will have.
        lying = image.format != "TIFF" and _orientation(image) >= LYING
        size = (width, height) if lying else (height, width)
        return Header(size, image.mode in GREY_MODES or deep_grey, deep_grey or deep_colours)


def highest_level(source: Path | bytes) -> int:
    """The highest of an image's 16-bit levels; of colours, whose lower bits Pillow leaves out, what it is at most.

    Raises:
        BadImage: as `decode_image`.
    """
    with _Opened(source) as image:
        if _has_16_bits(image):
            inverted = _is_inverted(image)
            return levels.highest_of(np.asarray(image).astype(np.uint16), inverted)
        colours = np.asarray(image.convert("RGB"), dtype=np.uint8)
        return int(colours.max(initial=0)) * 256 + 255


def decode_image(
    source: Path | bytes, channels: int, most_pixels: int | None = None, depth: int = levels.FULL
) -> NDArray[np.uint8]:
    """An encoded image as `(height, width, channels) uint8`.

    Palette, CMYK and LAB images are converted, 16-bit grey is brought to 8 bits, an alpha channel is left out (as
    fastai's and torchvision's loaders do), and the rotation that a camera noted in EXIF is applied. Of an animation
    it is the first frame.

    Args:
        most_pixels: that it may have, besides Pillow's own bound of 179 million.
        depth: how many of its 16 bits a grey image uses, see `levels`.

    Raises:
        BadImage: the file is empty, no image, truncated, too large, or its pixels are no 8- or 16-bit colours.
    """
    from PIL import Image  # imports PIL

    with _Opened(source) as opened:
        width, height = opened.size
        if most_pixels is not None and width * height > most_pixels:
            raise BadImage(f"its {width} x {height} pixels need more memory than there is")
        # Pillow's exif_transpose also rewrites the metadata, and fails on invalid metadata of cameras.
        turn = UPRIGHT.get(_orientation(opened)) if opened.format != "TIFF" else None
        image = opened.transpose(Image.Transpose[turn]) if turn else opened
        if _has_16_bits(opened):
            grey = levels.to_bytes(np.asarray(image).astype(np.uint16), depth, _is_inverted(opened))
            pixels = grey[..., np.newaxis].repeat(channels, axis=2)
        elif image.mode in ("I", "F"):
            raise BadImage(f"its pixels are 32-bit numbers (mode {image.mode}); save it with 8 bits per channel")
        else:
            # Pillow asks for these steps on the way to RGB.
            if image.mode == "P" and "transparency" in image.info:
                image = image.convert("RGBA")
            elif image.mode == "La":
                image = image.convert("LA")
            pixels = np.asarray(image.convert("L" if channels == 1 else "RGB"), dtype=np.uint8)
    return pixels.reshape(*pixels.shape[:2], channels)


def encode_png(image: NDArray[np.uint8]) -> bytes:
    """A `(height, width, 1 or 3) uint8` image as PNG."""
    from PIL import Image  # imports PIL

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


def _is_inverted(image: Any) -> bool:
    """Whether 0 is white in a TIFF of 16 bits; of fewer bits Pillow turns that back itself."""
    return bool(image.format == "TIFF" and image.tag_v2.get(PHOTOMETRIC) == WHITE_IS_ZERO)


def _has_deep_colours(image: Any) -> bool:
    """Whether its colours have 16 bits, of which Pillow gives the upper eight; known until it is decoded."""
    return image.mode in ("RGB", "RGBA", "LA") and any(";16" in str(tile[3]) for tile in image.tile)


class _Opened:
    """Pillow's image of a file, whose many kinds of errors all become `BadImage`."""

    def __init__(self, source: Path | bytes) -> None:
        self.source = source
        self.file: BinaryIO | None = None

    def __enter__(self) -> Any:
        from PIL import Image, UnidentifiedImageError  # imports PIL

        try:
            # The size comes first: opening a pipe would wait for a writer.
            empty = len(self.source) == 0 if isinstance(self.source, bytes) else self.source.stat().st_size == 0
            if empty:
                raise BadImage("it is empty (0 bytes)")
            # Pillow is given no path: it would map a TIFF without compression into memory by the size that the image
            # has once it is turned, which mixes up its lines.
            self.file = io.BytesIO(self.source) if isinstance(self.source, bytes) else self.source.open("rb")
            _know_inverted()
            self.image = Image.open(self.file, formats=kinds.formats())
        except UnidentifiedImageError:
            self._close()
            raise BadImage(f"not a supported image format ({', '.join(kinds.formats())})") from None
        except Exception as error:
            self._close()
            raise self._bad(error) from None
        return self.image

    def _close(self) -> None:
        if self.file is not None:
            self.file.close()

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self.image.close()
        self._close()
        # Decoders raise many kinds of errors on damaged files: OSError, SyntaxError, struct.error, EOFError ...
        if isinstance(error, Exception) and not isinstance(error, MemoryError):
            raise self._bad(error) from None

    @staticmethod
    def _bad(error: Exception) -> BadImage:
        if isinstance(error, BadImage):
            return error
        reason = " ".join(str(error).split()) or type(error).__name__
        return BadImage(f"it is damaged or cannot be read ({reason})")


def _know_inverted() -> None:
    """Lets Pillow open inverted 16-bit TIFF in either order of bytes; by itself it knows one of them."""
    from PIL import TiffImagePlugin  # imports PIL

    inverted = (b"MM", WHITE_IS_ZERO, (1,), 1, (16,), ())
    TiffImagePlugin.OPEN_INFO.setdefault(inverted, ("I;16B", "I;16B"))
