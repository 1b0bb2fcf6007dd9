"""Whatever kind of file it is, what comes out is 8-bit grey or RGB, upright; or the reason why not."""

from __future__ import annotations

import struct
import warnings
from pathlib import Path

import numpy as np
import pytest
from picture_files import BAD, picture, save
from PIL import Image

from proxyflow.data.decode import BadImage, decode_image, read_header


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
        assert (header.size, header.original_size, header.grey) == ((40, 50), (40, 50), False)
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
    assert header.original_size == (40, 50)
    assert np.abs(decode_image(path, 3).astype(int) - upright).mean() < 12


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
        ("text", "no image"),
        ("empty", "0 bytes"),
        ("32-bit", "mode F"),
        ("damaged", "damaged|no image"),
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
        with pytest.raises(BadImage, match="no image of a kind that is read"):
            read(eps)


def test_pixels_are_counted_before_they_are_decoded(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png")
    assert decode_image(path, 3, most_pixels=2000).shape == (40, 50, 3)
    with pytest.raises(BadImage, match="its 50 x 40 pixels are more than there is memory for"):
        decode_image(path, 3, most_pixels=1999)
