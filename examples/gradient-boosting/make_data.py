"""Writes scikit-learn's digits as a table: a column for each of the 64 pixels, and the column label."""

import argparse
from pathlib import Path

from sklearn.datasets import load_digits


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "digits.csv")
    args = parser.parse_args()

    table = load_digits(as_frame=True).frame.rename(columns={"target": "label"})
    table.to_csv(args.out, index=False)
    print(f"{args.out}: {len(table)} rows")


if __name__ == "__main__":
    main()
