"""Imagenette and Imagewoof, ten classes of ImageNet each, in the release of 2019 and in today's."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from proxyflow.data.images.listing import Found
from proxyflow.data.images.sources.base import ImageSource
from proxyflow.data.images.sources.download import download, extract, missing
from proxyflow.data.images.sources.folder import find_folder
from proxyflow.data.protocol import datasets

PAPER_VALID = 500
URL = "https://s3.amazonaws.com/fast-ai-imageclas"

# Folders are named by WordNet's ids.
NETTE = {
    "n01440764": "tench",
    "n02102040": "English springer",
    "n02979186": "cassette player",
    "n03000684": "chain saw",
    "n03028079": "church",
    "n03394916": "French horn",
    "n03417042": "garbage truck",
    "n03425413": "gas pump",
    "n03445777": "golf ball",
    "n03888257": "parachute",
}
WOOF = {
    "n02086240": "Shih-Tzu",
    "n02087394": "Rhodesian ridgeback",
    "n02088364": "beagle",
    "n02089973": "English foxhound",
    "n02093754": "Border terrier",
    "n02096294": "Australian terrier",
    "n02099601": "golden retriever",
    "n02105641": "Old English sheepdog",
    "n02111889": "Samoyed",
    "n02115641": "dingo",
}


@dataclasses.dataclass(frozen=True)
class Imagenette(ImageSource):
    """One release of Imagenette or Imagewoof (Howard 2019) with 160 pixels on the short side.

    Attributes:
        folder: what its archive is called and holds.
        classes: WordNet id to name.
        md5: published checksum of the archive; the release of 2019 has none.
        valid_examples: the number that the paper used, of the release of 2019.
    """

    description: str
    folder: str
    classes: dict[str, str]
    md5: str | None = None
    valid_examples: int | None = None

    def find(self, path: str, data_dir: Path) -> Found:
        folder, archive = data_dir / self.folder, data_dir / f"{self.folder}.tgz"
        if not folder.is_dir():
            try:
                download(f"{URL}/{archive.name}", archive, self.md5)
            except OSError as error:
                hint = f"put {archive.name}, or its folder {self.folder} with train and val in it, into {data_dir}"
                raise missing(self._name, data_dir, error, hint) from None
            extract(archive, folder, self.md5)
        found = find_folder(folder, self.classes)
        return dataclasses.replace(found, image_size=128, crop="resized", valid_examples=self.valid_examples)

    @property
    def _name(self) -> str:
        return self.folder.removesuffix("-160")


datasets.add(
    "imagenette",
    Imagenette(
        "10 easily distinguished classes of ImageNet, the 2019 release with the 500 validation images of the paper",
        "imagenette-160",
        NETTE,
        valid_examples=PAPER_VALID,
    ),
)
datasets.add(
    "imagewoof",
    Imagenette(
        "10 breeds of dogs, the 2019 release with 500 validation images",
        "imagewoof-160",
        WOOF,
        valid_examples=PAPER_VALID,
    ),
)
datasets.add(
    "imagenette2",
    Imagenette(
        "Imagenette as released since, with 3,925 validation images",
        "imagenette2-160",
        NETTE,
        "e793b78cc4c9e9a4ccc0c1155377a412",
    ),
)
datasets.add(
    "imagewoof2",
    Imagenette(
        "Imagewoof as released since, with 3,929 validation images",
        "imagewoof2-160",
        WOOF,
        "fcd23cc7dfce8837c95a8f9d63a128b7",
    ),
)
