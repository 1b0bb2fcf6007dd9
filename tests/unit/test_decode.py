"""Whatever kind of file it is, what comes out is 8-bit grey or RGB, upright; or the reason why not."""

from __future__ import annotations

import io
import struct
import warnings
from pathlib import Path

import numpy as np
import PIL
import pytest
from picture_files import BAD, picture, save
from PIL import Image, ImageCms, ImageOps

from proxyflow.data.images import kinds
from proxyflow.data.images.decode import BadImage, decode_image, highest_level, read_header
from proxyflow.data.images.levels import depth_of


@pytest.mark.parametrize(
    ("name", "mode", "tolerance"),
    [
        ("a.png", "RGB", 0),
        ("a.jpg", "RGB", 12),
        ("a.jpg", "CMYK", 12),
        ("a.png", "RGBA", 0),
        ("a.png", "P", 60),
        ("a.gif", "P", 60),
        ("a.bmp", "RGB", 0),
        ("a.tif", "CMYK", 2),
        ("a.webp", "RGB", 30),
        ("a.ppm", "RGB", 0),
    ],
)
def test_colours_of_every_kind_become_rgb(tmp_path: Path, name: str, mode: str, tolerance: int) -> None:
    path = save(tmp_path / name, mode)
    for source in (path, path.read_bytes()):
        header, image = read_header(source), decode_image(source, 3)
        assert (header.size, header.grey) == ((40, 50), False)
        assert image.dtype == np.uint8
        assert image.shape == (40, 50, 3)
        assert np.abs(image.astype(int) - picture()).mean() <= tolerance


@pytest.mark.parametrize(("name", "mode"), [("a.png", "L"), ("a.jpg", "L"), ("a.png", "LA"), ("a.png", "1")])
def test_grey_of_every_kind_is_grey(tmp_path: Path, name: str, mode: str) -> None:
    path = save(tmp_path / name, mode)
    assert read_header(path).grey
    grey = decode_image(path, 1)
    assert grey.shape == (40, 50, 1)
    assert np.array_equal(decode_image(path, 3), grey.repeat(3, axis=2))


def test_sixteen_bits_keep_their_upper_eight(tmp_path: Path) -> None:
    levels = np.arange(0, 65536, 13, dtype=np.uint16)[:5000].reshape(50, 100)
    Image.fromarray(levels).save(tmp_path / "a.png")
    assert read_header(tmp_path / "a.png").grey
    assert np.array_equal(decode_image(tmp_path / "a.png", 1)[:, :, 0], levels >> 8)


def test_a_pgm_may_have_sixteen_bits(tmp_path: Path) -> None:
    levels = np.arange(0, 65536, 13, dtype=np.uint16)[:5000].reshape(50, 100)
    (tmp_path / "a.pgm").write_bytes(b"P5 100 50 65535\n" + levels.astype(">u2").tobytes())
    assert read_header(tmp_path / "a.pgm").grey
    assert np.array_equal(decode_image(tmp_path / "a.pgm", 1)[:, :, 0], levels >> 8)


def test_the_highest_level_is_that_of_the_file(tmp_path: Path) -> None:
    levels = np.arange(0, 3000, 3, dtype=np.uint16).reshape(20, 50)
    Image.fromarray(levels).save(tmp_path / "a.png")
    assert read_header(tmp_path / "a.png").deep
    assert highest_level(tmp_path / "a.png") == levels.max()
    assert not read_header(save(tmp_path / "b.png", "L")).deep
    assert not read_header(save(tmp_path / "c.png")).deep


def test_a_palette_with_transparency_is_converted_without_a_warning(tmp_path: Path) -> None:
    image = Image.fromarray(picture()).convert("P")
    image.save(tmp_path / "a.png", transparency=b"\0" * 256)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert decode_image(tmp_path / "a.png", 3).shape == (40, 50, 3)


TURNS = {
    1: lambda x: x,
    2: lambda x: x[:, ::-1],
    3: lambda x: x[::-1, ::-1],
    4: lambda x: x[::-1],
    5: lambda x: x.swapaxes(0, 1),
    6: lambda x: x.swapaxes(0, 1)[:, ::-1],
    7: lambda x: x.swapaxes(0, 1)[::-1, ::-1],
    8: lambda x: x.swapaxes(0, 1)[::-1],
}


@pytest.mark.parametrize("orientation", list(TURNS))
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
def test_what_the_camera_noted_is_undone(tmp_path: Path, orientation: int, suffix: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if suffix == ".webp" else {}
    path = save(tmp_path / f"a{suffix}", exif=exif, **options)
    upright = TURNS[orientation](picture())
    header = read_header(path)
    assert header.size == upright.shape[:2]
    assert np.abs(decode_image(path, 3).astype(int) - upright).mean() < 12


TIFF_MODES = ("1", "L", "P", "LA", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "I;16", "I;16B")
COMPRESSIONS = ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg")
NO_JPEG = ("1", "P", "I;16", "I;16B")


def in_mode(mode: str) -> Image.Image:
    """A picture in any mode of TIFF, wider than high, so that no two orientations look alike."""
    colours = Image.fromarray(picture(30, 40))
    if mode.startswith("I;16"):
        levels = np.asarray(colours.convert("L")).astype(np.uint16) * 257
        order = ">u2" if mode.endswith("B") else "<u2"
        return Image.frombytes(mode, colours.size, levels.astype(order).tobytes())
    if mode == "LAB":
        profiles = (ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"))
        converted = ImageCms.profileToProfile(colours, *profiles, outputMode="LAB")
        assert converted is not None
        return converted
    return colours.convert("RGBA").convert("LA") if mode == "LA" else colours.convert(mode)


def as_pillow_shows_it(data: bytes, channels: int) -> np.ndarray:
    """What Pillow itself makes of a file that it has not mapped into memory."""
    image = Image.open(io.BytesIO(data))
    upright = ImageOps.exif_transpose(image)
    if upright.mode.startswith("I;16"):
        return (np.asarray(upright).astype(np.uint16) >> 8).astype(np.uint8)[..., np.newaxis].repeat(channels, axis=2)
    return np.asarray(upright.convert("L" if channels == 1 else "RGB")).reshape(*upright.size[::-1], channels)


@pytest.mark.parametrize("orientation", list(TURNS))
@pytest.mark.parametrize(
    ("mode", "compression"),
    [(m, c) for m in TIFF_MODES for c in COMPRESSIONS if not (c == "jpeg" and m in NO_JPEG)],
)
def test_tiff_of_every_mode_compression_and_orientation(
    tmp_path: Path, mode: str, compression: str, orientation: int
) -> None:
    if (mode, compression) == ("YCbCr", "raw") and int(PIL.__version__.split(".")[0]) < 13:
        pytest.skip("Pillow before 13 cannot read the file that it writes")
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "a.tif"
    in_mode(mode).save(path, compression=compression, exif=exif)
    in_mode(mode).save(tmp_path / "lying.tif", compression=compression)
    data = path.read_bytes()
    channels = 1 if read_header(path).grey else 3
    lying = decode_image(tmp_path / "lying.tif", channels)
    for source in (path, data):
        image = decode_image(source, channels)
        assert read_header(source).size == image.shape[:2] == ((30, 40) if orientation < 5 else (40, 30))
        assert np.array_equal(image, as_pillow_shows_it(data, channels))
        assert np.array_equal(image, TURNS[orientation](lying))


@pytest.mark.parametrize("orientation", list(TURNS))
@pytest.mark.parametrize("mode", ["I", "F"])
def test_tiff_of_32_bits_is_refused_however_it_lies(tmp_path: Path, mode: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    in_mode("L").convert(mode).save(tmp_path / "a.tif", exif=exif)
    with pytest.raises(BadImage, match=f"mode {mode}"):
        decode_image(tmp_path / "a.tif", 3)


@pytest.mark.parametrize("orientation", list(TURNS))
@pytest.mark.parametrize(
    ("suffix", "mode"),
    [
        *((".jpg", mode) for mode in ("L", "RGB", "CMYK")),
        *((".png", mode) for mode in ("1", "L", "P", "LA", "RGB", "RGBA", "I;16")),
        *((".webp", mode) for mode in ("RGB", "RGBA")),
        *((".avif", mode) for mode in ("RGB", "RGBA") if ".avif" in kinds.suffixes()),
    ],
)
def test_other_kinds_of_every_mode_and_orientation(tmp_path: Path, suffix: str, mode: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a{suffix}"
    in_mode(mode).save(path, exif=exif, **({"lossless": True} if suffix == ".webp" else {}))
    channels = 1 if read_header(path).grey else 3
    for source in (path, path.read_bytes()):
        image = decode_image(source, channels)
        assert read_header(source).size == image.shape[:2] == ((30, 40) if orientation < 5 else (40, 30))
        assert np.array_equal(image, as_pillow_shows_it(path.read_bytes(), channels))


def test_colours_of_lab_are_those_that_were_saved(tmp_path: Path) -> None:
    in_mode("LAB").save(tmp_path / "a.tif")
    assert np.abs(decode_image(tmp_path / "a.tif", 3).astype(int) - picture(30, 40)).mean() < 4


def tiff_of_16_bits(levels: np.ndarray, order: str, photometric: int, orientation: int = 1) -> bytes:
    """An uncompressed grey TIFF, written by hand, as Pillow writes none that is inverted."""
    height, width = levels.shape
    pixels = levels.astype(f"{order}u2").tobytes()
    tags = {256: width, 257: height, 258: 16, 259: 1, 262: photometric, 273: 8, 274: orientation, 277: 1, 278: height}
    entries = b"".join(
        struct.pack(f"{order}HHI", tag, 3, 1) + struct.pack(f"{order}HH", value, 0) for tag, value in tags.items()
    )
    entries += struct.pack(f"{order}HHII", 279, 4, 1, len(pixels))
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, 8 + len(pixels))
    return head + pixels + struct.pack(f"{order}H", len(tags) + 1) + entries + b"\0\0\0\0"


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("order", ["<", ">"])
def test_inverted_16_bits_are_turned_back(tmp_path: Path, order: str, orientation: int) -> None:
    levels = np.arange(0, 65536, 13, dtype=np.uint16)[:5000].reshape(50, 100)
    # Scanners that use 12 bits invert within these, or within all 16.
    for depth, shift, white in ((16, 0, 65535), (12, 4, 4095), (12, 4, 65535)):
        used = levels >> shift
        shown = TURNS[orientation](used >> (depth - 8))
        straight = tiff_of_16_bits(used, order, 1, orientation)
        inverted = tiff_of_16_bits(white - used, order, 0, orientation)
        (tmp_path / "a.tif").write_bytes(inverted)
        for source in (straight, inverted, tmp_path / "a.tif"):
            assert depth_of(highest_level(source)) == depth
            assert np.array_equal(decode_image(source, 1, depth=depth)[:, :, 0], shown)


# Tag, type (2 is text, 3 a short, 9 a signed long), count, value in four bytes.
ODD = {
    "a resolution that is text": (0x011A, 2, 3, b"72\0\0"),
    "a width below zero": (0x0100, 9, 1, struct.pack("<i", -5)),
    "an orientation that is text": (0x0112, 2, 2, b"6\0\0\0"),
    "an orientation that is none": (0x0112, 3, 1, b"\x63\0\0\0"),
}


@pytest.mark.parametrize("kind", list(ODD))
def test_odd_metadata_spoil_no_image(tmp_path: Path, kind: str) -> None:
    tags = [ODD[kind]] + ([] if ODD[kind][0] == 0x0112 else [(0x0112, 3, 1, b"\x06\0\0\0")])
    entries = b"".join(struct.pack("<HHI", tag, form, count) + value for tag, form, count, value in tags)
    block = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + entries + b"\0\0\0\0"
    path = save(tmp_path / "a.jpg", exif=block)
    upright = picture() if len(tags) == 1 else TURNS[6](picture())
    assert read_header(path).size == upright.shape[:2]
    assert np.abs(decode_image(path, 3).astype(int) - upright).mean() < 12


def test_of_an_animation_the_first_frame_is_taken(tmp_path: Path) -> None:
    frames = [Image.fromarray(picture(seed=seed)).quantize(64) for seed in (1, 2)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    first = decode_image(tmp_path / "a.gif", 3)
    assert np.abs(first.astype(int) - picture(seed=1)).mean() < np.abs(first.astype(int) - picture(seed=2)).mean()


def read(source: Path | bytes) -> None:
    read_header(source)
    decode_image(source, 3)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("truncated", "truncated"),
        ("text", "not a supported"),
        ("empty", "0 bytes"),
        ("32-bit", "mode F"),
        ("damaged", "damaged|not a supported"),
    ],
)
def test_what_is_no_usable_image_says_why(tmp_path: Path, kind: str, reason: str) -> None:
    suffix, make = BAD[kind]
    path = make(tmp_path / f"a{suffix}")
    for source in (path, path.read_bytes()):
        with pytest.raises(BadImage, match=reason) as caught:
            read(source)
        assert str(tmp_path) not in str(caught.value), "the caller names the file"
    with pytest.raises(BadImage):
        read(tmp_path / "missing.jpg")


@pytest.mark.parametrize("kept", [1, 2, 10, 100, 300])
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".gif", ".bmp", ".tif", ".webp", ".ppm"])
def test_files_cut_anywhere_are_bad_images_and_nothing_else(tmp_path: Path, suffix: str, kept: int) -> None:
    data = save(tmp_path / f"a{suffix}").read_bytes()
    with pytest.raises(BadImage):
        decode_image(data[: min(kept, len(data) - 20)], 3)


def test_formats_that_pillow_hands_to_other_programs_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*arguments: object, **options: object) -> None:
        raise AssertionError(f"a program was started: {arguments}")

    monkeypatch.setattr("subprocess.Popen", run)
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 6 6\n%%EndComments\nshowpage\n"
    for read in (read_header, lambda source: decode_image(source, 3)):
        with pytest.raises(BadImage, match="not a supported image format"):
            read(eps)


def test_pixels_are_counted_before_they_are_decoded(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png")
    assert decode_image(path, 3, most_pixels=2000).shape == (40, 50, 3)
    with pytest.raises(BadImage, match="its 50 x 40 pixels need more memory than there is"):
        decode_image(path, 3, most_pixels=1999)
