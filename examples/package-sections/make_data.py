"""Writes Debian's package descriptions with their archive sections as a table: columns id, text, label and group.

The texts do not contain package names, which tell most sections by themselves. Packages of one source and packages with
the same description are one group, so that none of them is in the training set while another is in the validation set.

Descriptions are one line each. With `--long LISTS` they have all paragraphs, and packages that share one are one group:

    mkdir lists && apt-get -o Acquire::Languages=en -o Dir::State::Lists=$PWD/lists update
    python make_data.py --long lists --classes 20 --per-class 1800 --test 2000

`--test N` puts about N rows, by whole groups, into a second table, `test.csv`, that no search sees.
"""

import argparse
import hashlib
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

READER = "/usr/lib/apt/apt-helper"
# A paragraph that more sources share is a phrase of packagers, not of one software.
MOST_SHARING = 10


def read_records(dump: str) -> Iterator[dict[str, str]]:
    """The records of `apt-cache dumpavail`, each with the first line of its fields."""
    for paragraph in dump.split("\n\n"):
        lines = (line.partition(": ") for line in paragraph.splitlines() if line[:1].strip())
        if record := {name: value.strip() for name, _, value in lines}:
            yield record


def without_name(text: str, package: str) -> str:
    """The text without the package's name and the longer parts of it."""
    parts = [package, *(part for part in re.split(r"[^a-z0-9]+", package) if len(part) > 3)]
    text = re.sub("|".join(rf"\b{re.escape(part)}\b" for part in parts), " ", text, flags=re.I)
    return "\n".join(" ".join(line.split()) for line in text.splitlines())


def read_long(translations: str) -> dict[str, str]:
    """The whole descriptions of a file `Translation-en` by their digests; paragraphs are lines."""
    found = {}
    for record in translations.split("\n\n"):
        head, _, text = record.partition("\nDescription-en: ")
        if text:
            lines = ["\n" if line == " ." else line.strip() for line in text.splitlines()]
            found[head.rpartition("Description-md5: ")[2].strip()] = re.sub(r" *\n *", "\n", " ".join(lines))
    return found


def joined_groups(table: pd.DataFrame) -> pd.Series:
    """Sources with the same text, or with a paragraph in common, are one group, named after the first of them."""
    paragraphs = table["text"].str.lower().str.split("\n").explode()
    paragraphs = paragraphs[paragraphs.groupby(paragraphs).transform("size") <= MOST_SHARING]
    keys = pd.concat([paragraphs, "text " + table["text"].str.lower(), "source " + table["group"]])
    nodes, n = pd.factorize(keys)[0] + len(table), len(table) + keys.nunique()
    places = table.index.get_indexer(keys.index)
    _, group = connected_components(coo_array((np.ones(len(keys)), (places, nodes)), shape=(n, n)), directed=False)
    return table.groupby(group[: len(table)])["group"].transform("first")


def make_table(dump: str, n_classes: int, per_class: int, long: Mapping[str, str] | None = None) -> pd.DataFrame:
    """One package per source and text, of the largest sections, each cut to `per_class` rows."""
    rows = [
        {
            "id": record["Package"],
            "text": without_name(
                (long or {}).get(record.get("Description-md5", ""), record["Description"]), record["Package"]
            ),
            "label": record["Section"].rpartition("/")[2],
            "group": record.get("Source", record["Package"]).partition(" ")[0],
        }
        for record in read_records(dump)
        if "Section" in record and "Description" in record
    ]
    table = pd.DataFrame(rows).sort_values("id", ignore_index=True)
    table = table[table["text"].str.len() >= 10].drop_duplicates("id").drop_duplicates("group")
    table["group"] = joined_groups(table)
    table = table.sample(frac=1, random_state=0)  # else a cut would keep the first letters of the alphabet
    largest = table["label"].value_counts().index[:n_classes]
    table = table[table["label"].isin(largest)].groupby("label").head(per_class)
    return table.sort_values("id").reset_index(drop=True)


def without_test(table: pd.DataFrame, n: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Splits off about `n` rows by whole groups, the same ones whatever else is in the table."""
    digest = table["group"].map(lambda name: int(hashlib.sha256(name.encode()).hexdigest()[:13], 16) / 16**13)
    test = digest < n / len(table)
    return table[~test], table[test]


def output_of(*command: str | Path) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "packages.csv")
    parser.add_argument("--classes", type=int, default=12, help="number of sections, the largest ones")
    parser.add_argument("--per-class", type=int, default=700, help="most packages of a section")
    parser.add_argument("--long", type=Path, help="folder of package lists with Translation-en files")
    parser.add_argument("--test", type=int, default=0, help="rows to put into test.csv beside the table")
    args = parser.parse_args()

    if shutil.which("apt-cache") is None:
        sys.exit("apt-cache not found: the descriptions come from the package lists of Debian or Ubuntu")
    lists = [] if args.long is None else ["-o", f"Dir::State::Lists={args.long.resolve()}"]
    dump = output_of("apt-cache", *lists, "dumpavail")
    if not dump.strip():
        sys.exit("apt-cache has no package lists: run 'apt-get update' as root first")
    files = [] if args.long is None else sorted(args.long.glob("*Translation-en*"))
    if args.long is not None and not files:
        sys.exit(f"{args.long} has no Translation-en files: run apt-get with -o Acquire::Languages=en (see --help)")
    long = {name: text for file in files for name, text in read_long(output_of(READER, "cat-file", file)).items()}
    table, test = without_test(make_table(dump, args.classes, args.per_class, long), args.test)
    table.to_csv(args.out, index=False)
    if args.test:
        test.to_csv(args.out.with_name("test.csv"), index=False)
        print(f"{args.out.with_name('test.csv')}: {len(test)} packages")
    print(f"{args.out}: {len(table)} packages of {table['label'].nunique()} sections")


if __name__ == "__main__":
    main()
