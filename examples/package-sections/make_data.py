"""Writes Debian's package descriptions with their archive sections as a table: columns id, text, label and group.

The texts do not contain package names, which tell most sections by themselves. Packages of one source and packages with
the same description are one group, so that none of them is in the training set while another is in the validation set.
"""

import argparse
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd


def read_records(dump: str) -> Iterator[dict[str, str]]:
    """The records of `apt-cache dumpavail`, each with the first line of its fields."""
    for paragraph in dump.split("\n\n"):
        lines = (line.partition(": ") for line in paragraph.splitlines() if line[:1].strip())
        if record := {name: value.strip() for name, _, value in lines}:
            yield record


def without_name(text: str, package: str) -> str:
    """The text without the package's name and the longer parts of it."""
    parts = [package, *(part for part in re.split(r"[^a-z0-9]+", package) if len(part) > 3)]
    return " ".join(re.sub("|".join(rf"\b{re.escape(part)}\b" for part in parts), " ", text, flags=re.I).split())


def make_table(dump: str, n_classes: int, per_class: int) -> pd.DataFrame:
    """One package per source and text, of the largest sections, each cut to `per_class` rows."""
    rows = [
        {
            "id": record["Package"],
            "text": without_name(record["Description"], record["Package"]),
            "label": record["Section"].rpartition("/")[2],
            "group": record.get("Source", record["Package"]).partition(" ")[0],
        }
        for record in read_records(dump)
        if "Section" in record and "Description" in record
    ]
    table = pd.DataFrame(rows).sort_values("id")
    table = table[table["text"].str.len() >= 10].drop_duplicates("id").drop_duplicates("group")
    # Sources with the same text: one group, named after the first of them.
    table["group"] = table.groupby(table["text"].str.lower())["group"].transform("first")
    table = table.sample(frac=1, random_state=0)  # else a cut would keep the first letters of the alphabet
    largest = table["label"].value_counts().index[:n_classes]
    table = table[table["label"].isin(largest)].groupby("label").head(per_class)
    return table.sort_values("id").reset_index(drop=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "packages.csv")
    parser.add_argument("--classes", type=int, default=12, help="number of sections, the largest ones")
    parser.add_argument("--per-class", type=int, default=700, help="most packages of a section")
    args = parser.parse_args()

    if shutil.which("apt-cache") is None:
        sys.exit("apt-cache not found: the descriptions come from the package lists of Debian or Ubuntu")
    dump = subprocess.run(["apt-cache", "dumpavail"], check=True, capture_output=True, text=True).stdout
    if not dump.strip():
        sys.exit("apt-cache has no package lists: run 'apt-get update' as root first")
    table = make_table(dump, args.classes, args.per_class)
    table.to_csv(args.out, index=False)
    print(f"{args.out}: {len(table)} packages of {table['label'].nunique()} sections")


if __name__ == "__main__":
    main()
