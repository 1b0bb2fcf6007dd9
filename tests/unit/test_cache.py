"""The cache of decoded images: shared, whole, and rebuilt wherever it cannot be trusted."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from picture_files import make_folder, save

from proxyflow.core.errors import UserError
from proxyflow.data.catalog import DataOptions, Dataset, load_dataset
from proxyflow.data.evaluation import EvaluationSettings
from proxyflow.data.images import cache
from proxyflow.data.images.store import digest_of
from proxyflow.data.protocol import fingerprint


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "pets")


def load(root: Path, said: list[str] | None = None) -> Dataset:
    return load_dataset(f"folder:{root}", DataOptions(root.parent / "data"), (said if said is not None else []).append)


def store_of(root: Path) -> Path:
    (found,) = (path for path in (root.parent / "data" / "decoded").iterdir() if path.is_dir())
    return found


def again(said: list[str]) -> str:
    """Why it was decoded again, or empty."""
    return next((line for line in said if "decoded again" in line), "")


def test_the_second_load_decodes_nothing(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load(root)
    monkeypatch.setattr(cache, "assemble", lambda *args, **kwargs: pytest.fail("decoded again"))
    second = load(root)
    assert second.fingerprint == first.fingerprint
    assert second.train.content_hashes.tolist() == first.train.content_hashes.tolist()
    assert (second.preprocessing, second.class_names) == (first.preprocessing, first.class_names)
    assert second.train.store.files == first.train.store.files
    assert np.array_equal(second.train.store.native_sizes, first.train.store.native_sizes)
    for i in range(len(first.train)):
        assert np.array_equal(second.train.image(i), first.train.image(i))


def test_pixels_are_a_memory_map_of_one_file(root: Path) -> None:
    dataset = load(root)
    pixels = dataset.train.store.pixels
    assert isinstance(pixels, np.memmap)
    assert Path(str(pixels.filename)) == store_of(root) / "pixels.bin"
    assert dataset.train.store is dataset.valid.store


def flip_byte(path: Path, place: int = 1000) -> None:
    with path.open("r+b") as file:
        file.seek(place)
        old = file.read(1)
        file.seek(place)
        file.write(bytes([old[0] ^ 1]))


def flip_and_hide(path: Path) -> None:
    before = path.stat()
    flip_byte(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "pixels truncated": (lambda p: os.truncate(p / "pixels.bin", 1000), "truncated"),
    "pixels altered": (lambda p: flip_byte(p / "pixels.bin"), "1 of 16 images in pixels.bin were altered"),
    "pixels altered, time restored": (lambda p: flip_and_hide(p / "pixels.bin"), "altered"),
    "pixels gone": (lambda p: (p / "pixels.bin").unlink(), "incomplete"),
    "index altered": (lambda p: flip_byte(p / "index.npz"), "index.npz was altered"),
    "index gone": (lambda p: (p / "index.npz").unlink(), "incomplete"),
    "meta altered": (
        lambda p: (p / "meta.json").write_text((p / "meta.json").read_text().replace("ant", "eel")),
        "meta.json was altered",
    ),
    "meta truncated": (lambda p: os.truncate(p / "meta.json", 30), "incomplete"),
    "meta of another kind": (lambda p: (p / "meta.json").write_text("[1]"), "incomplete"),
    "empty": (lambda p: (shutil.rmtree(p), p.mkdir()), "incomplete"),
}


@pytest.mark.parametrize("kind", list(DAMAGE))
def test_what_was_damaged_is_made_again_and_said(root: Path, kind: str) -> None:
    before = load(root).fingerprint
    damage, reason = DAMAGE[kind]
    damage(store_of(root))
    said: list[str] = []
    assert load(root, said).fingerprint == before
    assert reason in again(said)
    said.clear()
    load(root, said)
    assert not again(said)


def test_files_that_changed_are_decoded_again(root: Path) -> None:
    before = load(root).fingerprint
    save(root / "train" / "ant" / "0.jpg", seed=500)
    said: list[str] = []
    assert load(root, said).fingerprint != before
    assert "its files have changed" in again(said)


def test_a_copied_cache_is_checked_once_and_then_trusted(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load(root)
    folder = store_of(root)
    shutil.copytree(folder, folder.with_name("copy"))
    shutil.rmtree(folder)
    folder.with_name("copy").rename(folder)
    checked: list[int] = []
    whole = cache._altered
    monkeypatch.setattr(cache, "_altered", lambda *args: (checked.append(1), whole(*args))[1])
    said: list[str] = []
    for _ in range(3):
        load(root, said)
    assert len(checked) == 1
    assert not again(said)


def test_nothing_is_left_of_a_build_that_failed(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, n_bytes: int) -> np.ndarray:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache, "_allocate", full)
    with pytest.raises(UserError, match=r"cannot be written .*No space left on device.*PROXYFLOW_CACHE_DIR"):
        load(root)
    assert not [path for path in (root.parent / "data" / "decoded").iterdir() if path.is_dir()]
    monkeypatch.undo()
    assert len(load(root).train) == 12


def test_what_a_killed_build_left_is_removed(root: Path) -> None:
    load(root)
    folder = store_of(root)
    folder.rename(folder.with_name(f".{folder.name}.building"))
    load(root)
    assert [path.name for path in folder.parent.iterdir() if path.is_dir()] == [folder.name]


def test_a_cache_that_cannot_be_written_is_named(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root.parent / "file").write_text("")
    monkeypatch.setenv("PROXYFLOW_CACHE_DIR", str(root.parent / "file" / "below"))
    with pytest.raises(UserError, match="PROXYFLOW_CACHE_DIR"):
        load(root)


def test_a_cache_that_others_made_may_be_read_only(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = load(root).fingerprint

    def refuse(self: object, *args: object, **kwargs: object) -> None:
        raise PermissionError(30, "Read-only file system")

    monkeypatch.setattr(cache.FileLock, "acquire", refuse)
    monkeypatch.setattr(cache, "write_json", refuse)
    (store_of(root) / "verified.json").unlink()
    assert load(root).fingerprint == before


def test_the_cache_may_be_elsewhere(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROXYFLOW_CACHE_DIR", str(tmp_path / "fast disk"))
    load(root)
    assert (tmp_path / "fast disk").is_dir()
    assert not (root.parent / "data").exists()


def test_files_that_cannot_be_used_take_no_room(root: Path) -> None:
    (root / "train" / "ant" / "0.jpg").write_bytes((root / "train" / "ant" / "0.jpg").read_bytes()[:-400])
    options = DataOptions(root.parent / "data", skip_bad=True)
    dataset = load_dataset(f"folder:{root}", options, lambda text: None)
    assert (len(dataset.train), len(dataset.valid)) == (11, 4)
    assert (store_of(root) / "pixels.bin").stat().st_size == 15 * 40 * 50 * 3
    for images in (dataset.train, dataset.valid):
        assert [digest_of(images.image(i)).hex() for i in range(len(images))] == images.content_hashes.tolist()


def test_other_numbers_of_validation_and_test_images_are_of_the_same_decoded_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_folder(tmp_path / "pets", valid=8)
    whole = load(root)
    monkeypatch.setattr(cache, "assemble", lambda *args, **kwargs: pytest.fail("decoded again"))
    options = DataOptions(root.parent / "data", evaluation=EvaluationSettings(6, 4))
    dataset = load_dataset(f"folder:{root}", options, lambda text: None)
    assert dataset.test is not None
    assert (len(whole.valid), len(dataset.valid), len(dataset.test)) == (16, 6, 4)
    assert fingerprint(dataset.train) == fingerprint(whole.train)


def load_and_report(root: Path, queue: multiprocessing.Queue) -> None:  # type: ignore[type-arg]
    fingerprint = load(root).fingerprint
    queue.put((fingerprint, (store_of(root) / "pixels.bin").stat().st_ino))


def test_several_processes_at_once_build_it_once(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "pets", train=150, size=(100, 120))
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    processes = [context.Process(target=load_and_report, args=(root, queue)) for _ in range(3)]
    for process in processes:
        process.start()
    results = [queue.get(timeout=300) for _ in processes]
    for process in processes:
        process.join()
    assert len(set(results)) == 1, "each building is another file"


def test_who_waits_for_another_process_says_so(root: Path) -> None:
    said: list[str] = []
    load(root)
    lock = cache.FileLock(store_of(root).parent / f"{store_of(root).name}.lock")
    with lock:
        thread = threading.Thread(target=load, args=(root, said))
        thread.start()
        while not said:
            time.sleep(0.01)
    thread.join()
    assert said[0] == f"another process is preparing folder:{root}; waiting for it"


def test_nothing_is_built_without_the_lock(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load(root)
    save(root / "train" / "ant" / "0.jpg", seed=500)

    def refuse(self: object, *args: object, **kwargs: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(cache.FileLock, "acquire", refuse)
    with pytest.raises(UserError, match=r"cannot be written .*Permission denied"):
        load(root)


def test_a_name_is_a_file_name_of_its_own(tmp_path: Path) -> None:
    names = [
        "digits",
        "folder:/a b/c",
        "folder:/a-b/c",
        "folder:/a_b/c",
        "folder:/" + "long/" * 100,
        "folder:/.",
        "folder:/é",
    ]
    slugs = [cache.slug(name) for name in names]
    assert len(set(slugs)) == len(names)
    for slug in slugs:
        assert "/" not in slug
        assert len(slug) < 100
        assert not slug.startswith(".")
        (tmp_path / slug).mkdir()


def test_meta_is_json_for_people(root: Path) -> None:
    load(root)
    meta = json.loads((store_of(root) / "meta.json").read_text())
    assert meta["class_names"] == ["ant", "bee"]
    assert meta["n_train"] == 12
