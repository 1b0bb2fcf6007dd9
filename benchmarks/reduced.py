"""How much does it change what a model sees that large images are stored reduced?

The two photos that come with scikit-learn (640 x 427 pixels) are shown at 128 px from two stores: one holds them as
they are, the other as the cache reduces them. Training crops have the same draws from both. For comparison, the same is
measured for the photos after JPEG compression at quality 85.

    python -m benchmarks.reduced [--quick] [--json PATH]
"""

from __future__ import annotations

import io

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from benchmarks.bench import parse_options, write_json
from proxyflow.data.images import augment
from proxyflow.data.images.batches import CropBatch, prepared_images
from proxyflow.data.images.reduce import reduce, reduced_sizes, stored_side
from proxyflow.data.images.store import ImageStore

SIZE, SEED = 128, 0
CPU = torch.device("cpu")


def photos() -> list[NDArray[np.uint8]]:
    from sklearn.datasets import load_sample_images

    return [np.asarray(image, dtype=np.uint8) for image in load_sample_images().images]


def as_stored(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    size = reduced_sizes(np.array([image.shape[:2]], dtype=np.int32), stored_side(SIZE))[0].tolist()
    return reduce(image, (size[0], size[1]))


def as_jpeg(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="JPEG", quality=85)
    return np.asarray(Image.open(buffer))


def shown(store: ImageStore, epochs: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Training crops of so many epochs and validation images: `(n, 128, 128, 3)` each."""
    canvas, ids = prepared_images(store, "resized", SIZE, CPU), np.arange(len(store), dtype=np.int64)
    crops = []
    for epoch in range(epochs):
        drawn = augment.augment_params("resized", SEED, epoch, ids, store.sizes, SIZE, 0.5)
        crops.append(canvas.crop(_all_of(drawn), unaugmented=False))
    boxes = canvas.unaugmented(store.sizes)
    plain = canvas.crop(_all_of(augment.AugmentParams(boxes, np.zeros(len(store), dtype=bool))), unaugmented=True)
    return torch.cat(crops).double().numpy(), plain.double().numpy()


def _all_of(drawn: augment.AugmentParams) -> CropBatch:
    rows = torch.arange(len(drawn.boxes))
    return CropBatch(rows, torch.from_numpy(drawn.boxes), torch.from_numpy(drawn.flips), drawn.boxes[:, 2:])


def main() -> None:
    options = parse_options(__doc__)
    epochs = 50 if options.quick else 500
    native = photos()
    stores = [ImageStore.of([change(image) for image in native]) for change in (lambda x: x, as_stored, as_jpeg)]
    whole, reduced, compressed = (shown(store, epochs) for store in stores)
    figures = {}
    for part, name in enumerate(("training_crops", "validation")):
        for other, what in ((reduced, "reduced"), (compressed, "jpeg")):
            figures[f"levels_{what}_{name}"] = float(np.abs(whole[part] - other[part]).mean())
    ratio = len(stores[1].pixels) / len(stores[0].pixels)
    print(f"mean absolute difference at {SIZE} px from the photo as it is, in levels of 255 ({2 * epochs} crops)\n")
    print(f"{'':<28} {'training crops':>15} {'validation':>12}")
    for what, title in (("reduced", f"short side reduced to {stored_side(SIZE)}"), ("jpeg", "JPEG, quality 85")):
        row = (figures[f"levels_{what}_{name}"] for name in ("training_crops", "validation"))
        print(f"{title:<28} {next(row):>15.2f} {next(row):>12.2f}")
    print(f"\nthe reduced ones take {ratio:.3f} of the room")
    write_json(options.json, {"stored_bytes_reduced_over_native": ratio}, figures)


if __name__ == "__main__":
    main()
