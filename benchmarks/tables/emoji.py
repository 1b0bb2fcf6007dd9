"""Writes pictures of emoji with their categories: a colour image data set of about 5,000 examples in 9 classes.

The pictures are those of Google (Apache License 2.0) and Twitter (CC BY 4.0), 64 px on a transparent ground, from the
npm packages `emoji-datasource-google` and `emoji-datasource-twitter` 16.0.0. They are put on white and reduced to
`--side` pixels.

Pictures that show almost the same are one group, whose members stay on one side of every split: both vendors' pictures
of an emoji, its skin tones, its men, women and persons, couples and families, and any that equal each other pixel by
pixel. Of skin tones two per emoji and vendor are kept, equal pictures once, and the largest class is cut.

    npm pack emoji-datasource-google@16.0.0 emoji-datasource-twitter@16.0.0
    python -m benchmarks.tables.emoji --packages . --out emoji

Data set: `index:emoji/emoji.csv[image=image]`.
"""

from __future__ import annotations

import argparse
import io
import json
import re
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

VENDORS = ("google", "twitter")
VERSION = "16.0.0"
LEFT_OUT = "Component"  # skin tones and hair by themselves
TONES = re.compile(r"-(1F3F[B-F])")
GENDER = re.compile(r"-200D-264[02](-FE0F)?")
PERSONS = ("1F468", "1F469", "1F9D1")  # man, woman, person
KEPT_TONES = 2
LARGEST_CLASS = 1200


@dataclass(frozen=True)
class Emoji:
    """One picture of one vendor.

    Attributes:
        code: code points, as the package writes them.
        file: name of the picture in the package.
        category: the class.
        group: what is shown, without vendor, skin tone and gender.
        tone: the skin tones in `code`, empty if there are none.
    """

    code: str
    file: str
    category: str
    group: str
    tone: str


def shown(code: str, subcategory: str) -> str:
    """What an emoji shows, without skin tone and gender.

    Example:
        >>> shown("1F469-1F3FD-200D-1F692", "person-role"), shown("1F468-200D-1F692", "person-role")
        ('person-200D-1F692', 'person-200D-1F692')
    """
    parts = GENDER.sub("", TONES.sub("", code)).removesuffix("-FE0F").split("-")
    if sum(part in PERSONS for part in parts) > 1 or subcategory == "family":
        return "several persons"
    return "-".join("person" if part in PERSONS else part for part in parts)


def emojis_of(records: list[Mapping[str, Any]], vendor: str) -> Iterator[Emoji]:
    """The pictures that a vendor has, in the order of the package."""
    for record in records:
        if record["category"] == LEFT_OUT:
            continue
        for variant in [record, *record.get("skin_variations", {}).values()]:
            if variant[f"has_img_{vendor}"]:
                code = variant["unified"]
                group = shown(code, record["subcategory"])
                tone = "-".join(TONES.findall(code))
                yield Emoji(code, variant["image"], record["category"], group, tone)


def thinned(found: list[Emoji]) -> list[Emoji]:
    """With at most `KEPT_TONES` pictures of each base that differ in skin tone alone, spread over the tones."""
    bases: dict[str, list[Emoji]] = {}
    for each in found:
        bases.setdefault(TONES.sub("", each.code), []).append(each)
    kept = []
    for variants in bases.values():
        places = np.linspace(0, len(variants) - 1, min(KEPT_TONES, len(variants))).round().astype(int)
        kept += [variants[place] for place in places]
    return kept


def on_white(data: bytes, side: int) -> Image.Image:
    """A picture on white, reduced to `side`."""
    with Image.open(io.BytesIO(data)) as picture:
        layer = picture.convert("RGBA")
    ground = Image.new("RGBA", layer.size, "white")
    return Image.alpha_composite(ground, layer).convert("RGB").resize((side, side), Image.Resampling.LANCZOS)


def joined_groups(table: pd.DataFrame) -> pd.Series:
    """Groups that share a picture are one, by the name of the first."""
    parent: dict[str, str] = {name: name for name in table["group"]}

    def root(name: str) -> str:
        while parent[name] != name:
            name = parent[name]
        return name

    for _, members in table.groupby("pixels", sort=False)["group"]:
        first, *others = sorted({root(name) for name in members})
        parent |= dict.fromkeys(others, first)
    return table["group"].map(root)


def make_table(packages: Path, out: Path, side: int) -> pd.DataFrame:
    """Writes the pictures and returns their table: id, image, label, group."""
    rows, pictures = [], {}
    for vendor in VENDORS:
        name = f"emoji-datasource-{vendor}-{VERSION}.tgz"
        with tarfile.open(packages / name) as package:
            records = json.load(package.extractfile("package/emoji.json"))  # type: ignore[arg-type]
            for each in thinned(list(emojis_of(records, vendor))):
                file = package.extractfile(f"package/img/{vendor}/64/{each.file}")
                assert file is not None, each.file
                picture = on_white(file.read(), side)
                path = f"{vendor}/{each.file}"
                pictures[path] = picture
                pixels = sha256(picture.tobytes()).hexdigest()
                rows.append((f"{vendor}-{each.code}", path, each.category, each.group, pixels))
    table = pd.DataFrame(rows, columns=["id", "image", "label", "group", "pixels"])
    table["group"] = joined_groups(table)
    table = table.drop_duplicates("pixels").drop(columns="pixels")
    # By a digest of the id, so that neither vendor nor order decides which ones are cut.
    order = table["id"].map(lambda name: sha256(name.encode()).hexdigest())
    table = table.iloc[np.argsort(order.to_numpy())].groupby("label").head(LARGEST_CLASS).sort_values("id")
    for path in table["image"]:
        target = out / path
        target.parent.mkdir(parents=True, exist_ok=True)
        pictures[path].save(target)
    return table.reset_index(drop=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packages", type=Path, default=Path(), help="folder with the two .tgz files of npm pack")
    parser.add_argument("--out", type=Path, default=Path("emoji"), help="folder to write emoji.csv and pictures to")
    parser.add_argument("--side", type=int, default=32, help="side of the pictures in pixels")
    args = parser.parse_args()
    missing = [
        name
        for vendor in VENDORS
        if not (args.packages / (name := f"emoji-datasource-{vendor}-{VERSION}.tgz")).is_file()
    ]
    if missing:
        wanted = " ".join(f"emoji-datasource-{vendor}@{VERSION}" for vendor in VENDORS)
        parser.error(f"{args.packages / missing[0]} is missing; run there: npm pack {wanted}")
    args.out.mkdir(parents=True, exist_ok=True)
    table = make_table(args.packages, args.out, args.side)
    table.to_csv(args.out / "emoji.csv", index=False)
    print(f"{args.out / 'emoji.csv'}: {len(table):,} pictures in {table['group'].nunique():,} groups")
    print(table["label"].value_counts().to_string())


if __name__ == "__main__":
    main()
