"""Ways to alter an artifact: JSON at any place, bytes anywhere, tables and images of other kinds."""

from __future__ import annotations

import copy
import io
import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from hypothesis import strategies as st
from PIL import Image

ESCAPES = "\x1b[2J\x1b]0;owned\x07"
# What parsers, shells, terminals, pages and file systems have stumbled over.
HOSTILE: list[Any] = [
    *(None, True, False, 0, -1, 1, 2**31, 2**63, -(2**63), 2**64, 10**400, 0.5, -0.0, 1e308, 5e-324),
    *(float("nan"), float("inf"), float("-inf"), "nan", "1_0", "٣", "-1", "0x10", ""),
    *("../x", "../../x.parquet", "/etc/passwd", "a\0b", "x" * 20_000, ESCAPES, "a\nb", "\ud800", "\u202egnp.exe"),
    *("<script>alert(1)</script>", "{{7*7}}", "$(touch pwned)", "__import__('os').abort()", "c\u0001os\nsystem\n"),
    *([], {}, [[]], [None], {"": None}, [0] * 200, {"a": {"b": {"c": []}}}, ["x"] * 100, "full", "random:0.1"),
]

values = st.sampled_from(HOSTILE) | st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def places(value: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of everything in a JSON value, itself included."""
    yield above
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places(inner, (*above, key))


KEYS = st.sampled_from([*(each for each in HOSTILE if isinstance(each, str)), "train-00001.parquet", "n_train"])


@st.composite
def json_edits(draw: st.DrawFn, original: Any) -> Any:
    """The value with one to three of its places replaced, deleted or added to."""
    value = copy.deepcopy(original)
    for _ in range(draw(st.integers(1, 3))):
        found = list(places(value))
        path = found[draw(st.integers(0, len(found) - 1))]
        new = copy.deepcopy(draw(values))
        if not path:
            value = new
            continue
        holder = value
        for key in path[:-1]:
            holder = holder[key]
        how = draw(st.sampled_from(["replace", "replace", "delete", "add"]))
        if how == "replace":
            holder[path[-1]] = new
        elif how == "delete":
            del holder[path[-1]]
        elif isinstance(holder, dict):
            holder[draw(KEYS)] = new
        else:
            holder.insert(path[-1], new)
    return value


def as_json(value: Any) -> bytes:
    """JSON as some program writes it: with NaN, Infinity and halves of surrogate pairs."""
    return json.dumps(value).encode()


# Where in a file, how many bytes, what with; positive places count from its beginning, negative ones from its end.
edits = st.lists(
    st.tuples(
        st.sampled_from(["flip", "fill", "cut", "insert", "move"]),
        st.integers(-4000, 4000) | st.integers(-300, -1),
        st.integers(1, 8) | st.integers(1, 400),
        st.binary(min_size=1, max_size=12) | st.sampled_from([b"\0", b"\xff", b"\x7f", b"\x80", b"\xff" * 9 + b"\x01"]),
    ),
    min_size=1,
    max_size=4,
)


def edited(data: bytes, changes: list[tuple[str, int, int, bytes]]) -> bytes:
    """The bytes after these edits."""
    for how, place, count, content in changes:
        at = place % (len(data) + 1)
        before, inside, after = data[:at], data[at : at + count], data[at + count :]
        if how == "flip":
            inside = bytes(byte ^ content[0] for byte in inside)
        elif how == "fill":
            inside = (content * count)[: len(inside)]
        elif how == "cut":
            inside = b""
        elif how == "insert":
            inside = content + inside
        else:
            inside = inside[::-1]
        data = before + inside + after
    return data


def encoded(mode: str, kind: str, size: tuple[int, int] = (6, 6), **options: Any) -> bytes:
    """An image of noise in a Pillow mode and format."""
    width, height = size
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    if mode == "I;16":
        image = Image.fromarray(pixels[..., 0].astype(np.uint16) * 257)
    else:
        image = Image.fromarray(pixels).convert(mode)
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def bomb(side: int) -> bytes:
    """A PNG whose header promises so many pixels on each side, and that holds next to nothing."""
    data = bytearray(encoded("L", "PNG"))
    data[16:24] = side.to_bytes(4, "big") * 2
    import zlib

    data[29:33] = zlib.crc32(bytes(data[12:29])).to_bytes(4, "big")
    return bytes(data)


SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 6 6\n%%EndComments\n(%pipe%touch pwned) (w) file\nshowpage\n"
IMAGES: dict[str, Callable[[], bytes | None]] = {
    "null": lambda: None,
    "empty": lambda: b"",
    "text": lambda: b"no image",
    "svg": lambda: SVG,
    "eps": lambda: EPS,
    "pickle": lambda: b"cos\nsystem\n(S'touch pwned'\ntR.",
    "gif": lambda: encoded("P", "GIF"),
    "tiff": lambda: encoded("RGB", "TIFF"),
    "compressed tiff": lambda: encoded("RGB", "TIFF", compression="tiff_adobe_deflate"),
    "bmp": lambda: encoded("RGB", "BMP"),
    "webp": lambda: encoded("RGB", "WEBP"),
    "ico": lambda: encoded("RGB", "ICO"),
    "jpeg": lambda: encoded("RGB", "JPEG"),
    "cmyk": lambda: encoded("CMYK", "JPEG"),
    "16 bits": lambda: encoded("I;16", "PNG"),
    "palette": lambda: encoded("P", "PNG"),
    "transparent": lambda: encoded("RGBA", "PNG"),
    "floats": lambda: encoded("F", "TIFF"),
    "one pixel": lambda: encoded("L", "PNG", (1, 1)),
    "a line": lambda: encoded("L", "PNG", (5000, 1)),
    "truncated": lambda: encoded("L", "PNG")[:60],
    "bomb": lambda: bomb(12_000),
    "larger bomb": lambda: bomb(2**31 - 1),
    "zero pixels": lambda: bomb(0),
}
