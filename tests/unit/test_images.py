"""Examples are known by their content alone: were order or path to matter, equal data would count as different."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from made_up import random_images

from proxyflow.data.images.decode import decode_image, encode_png
from proxyflow.data.images.store import ImageSet
from proxyflow.data.protocol import fingerprint


def test_content_hashes_follow_their_images_through_any_order() -> None:
    images = random_images([0, 1, 2, 0, 1])
    order = np.array([3, 0, 4, 2, 1])
    assert np.array_equal(images.take(order).content_hashes, images.content_hashes[order])
    assert len(set(images.content_hashes)) == 5


def test_the_fingerprint_depends_neither_on_order_nor_on_ids() -> None:
    images = random_images([0, 1, 2, 0, 1])
    shuffled = images.take(np.array([3, 0, 4, 2, 1]))
    renamed = ImageSet.of(images.images, images.labels, images.ids + 100)
    assert fingerprint(shuffled) == fingerprint(renamed) == fingerprint(images)


def test_the_fingerprint_sees_a_pixel_a_label_a_missing_and_a_doubled_example() -> None:
    images = random_images([0, 1, 2, 0, 1])
    pixels, labels = images.images.copy(), images.labels.copy()
    pixels[2, 0, 0, 0] ^= 1
    labels[2] = 1
    others = [
        ImageSet.of(pixels, images.labels, images.ids),
        ImageSet.of(images.images, labels, images.ids),
        images.take(np.array([0, 1, 2, 3])),
        images.take(np.array([0, 1, 2, 3, 4, 4])),
    ]
    assert len({fingerprint(images), *(fingerprint(other) for other in others)}) == 5


def test_labels_that_change_places_change_the_fingerprint() -> None:
    images = random_images([0, 1])
    swapped = ImageSet.of(images.images, images.labels[::-1].copy(), images.ids)
    assert fingerprint(swapped) != fingerprint(images)


def test_the_same_bytes_in_another_shape_are_another_image() -> None:
    pixels = np.arange(16, dtype=np.uint8)
    one = np.zeros(1, dtype=np.int64)
    wide, square = (ImageSet.of(pixels.reshape(1, *shape), one, one) for shape in ((2, 8, 1), (4, 4, 1)))
    assert wide.content_hashes[0] != square.content_hashes[0]


def test_a_content_hash_is_the_same_on_every_machine() -> None:
    one = np.zeros(1, dtype=np.int64)
    images = ImageSet.of(np.arange(6, dtype=np.uint8).reshape(1, 1, 2, 3), one, one)
    assert images.content_hashes[0] == hashlib.sha256(b"(1, 2, 3)" + bytes(range(6))).hexdigest()


def test_examples_are_taken_by_position_and_by_mask_with_their_labels_and_ids() -> None:
    images = random_images([5, 6, 7])
    by_position = images.take(np.array([2, 0]))
    assert by_position.labels.tolist() == [7, 5]
    assert by_position.ids.tolist() == [2, 0]
    assert np.array_equal(by_position.images, images.images[[2, 0]])
    assert images.take(np.array([False, True, True])).labels.tolist() == [6, 7]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("shape", [(1, 1), (5, 9), (32, 32)])
def test_png_gives_back_every_pixel(channels: int, shape: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*shape, channels), dtype=np.uint8)
    data = encode_png(image)
    assert data.startswith(b"\x89PNG\r\n")
    decoded = decode_image(data, channels)
    assert decoded.dtype == np.uint8
    assert np.array_equal(decoded, image)


def test_a_grey_image_decodes_to_three_equal_channels() -> None:
    image = np.arange(12, dtype=np.uint8).reshape(3, 4, 1)
    assert np.array_equal(decode_image(encode_png(image), 3), np.repeat(image, 3, axis=2))
