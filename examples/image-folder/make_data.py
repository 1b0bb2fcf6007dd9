"""Writes scikit-learn's digits as PNG files: OUT/train/CLASS/NUMBER.png and OUT/val/CLASS/NUMBER.png."""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "digits")
    args = parser.parse_args()

    images, labels = load_digits().images, load_digits().target
    # The set's grey levels go from 0 to 16.
    pixels = np.rint(images * (255 / 16)).astype(np.uint8)
    train, valid = train_test_split(np.arange(len(labels)), test_size=500, stratify=labels, random_state=0)
    for part, rows in (("train", train), ("val", valid)):
        for row in rows:
            folder = args.out / part / str(labels[row])
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels[row]).save(folder / f"{row:04d}.png")
    print(f"{args.out}: {len(train)} training and {len(valid)} validation images")


if __name__ == "__main__":
    main()
