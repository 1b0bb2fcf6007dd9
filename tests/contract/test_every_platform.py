"""Every data set works on a system that lacks what macOS or Windows lacks; only Linux runs these tests."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from image_training import losses as losses_of
from image_training import spec_of, train
from source_files import MAKE, published_md5

from proxyflow.core import platform
from proxyflow.data.catalog import DataOptions, Dataset, datasets, load_dataset
from proxyflow.data.images.sources import download
from proxyflow.data.protocol import fingerprint
from proxyflow.strategies import parse_strategy
from proxyflow.subsets import choose_subset
from proxyflow.subsets.artifact import read_subset, write_subset

# What each system lacks of what we use. Python on macOS may lack preadv, too, depending on how it was built.
EVERYWHERE_BUT_LINUX = ("posix_fallocate", "sched_getaffinity")
LACKING = {
    "macOS": (*EVERYWHERE_BUT_LINUX, "preadv"),
    "Windows": (*EVERYWHERE_BUT_LINUX, "preadv", "pread", "sysconf", "resource", "link"),
}
EACH = sorted({name for names in LACKING.values() for name in names})
ALL_LACKS = {**{name: (name,) for name in EACH}, **LACKING}
# Sources that read their files alike.
KINDS = [name for name in datasets if name not in ("imagenette2", "imagewoof", "imagewoof2")]


def take_away(patch: pytest.MonkeyPatch, names: tuple[str, ...], empty: Path) -> None:
    """Removes functions of `os` and modules, and /proc, where `resource` or the function that stands for it goes."""
    for name in names:
        if name == "resource":
            patch.setitem(sys.modules, name, None)
        else:
            patch.delattr(os, name)
    if "sched_getaffinity" in names:
        patch.setattr(platform, "PROC", empty / "proc")
        patch.setattr(platform, "GROUPS", empty / "groups")


@pytest.fixture(params=KINDS, scope="module")
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    data_dir = tmp_path_factory.mktemp(request.param)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(download, "md5_of", published_md5)
        yield MAKE[request.param](data_dir), data_dir


@pytest.fixture(scope="module")
def on_linux(made: tuple[str, Path]) -> Dataset:
    return load(made[0], made[1], made[1] / "cache")


def load(name: str, data_dir: Path, cache: Path) -> Dataset:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PROXYFLOW_CACHE_DIR", str(cache))
        return load_dataset(name, DataOptions(data_dir), lambda text: None)


def losses(dataset: Dataset) -> list[float]:
    """What a training of two small epochs comes to."""
    subset = choose_subset(dataset, parse_strategy(f"random:{min(1.0, 40 / len(dataset.train))}"), 0)
    result = train(subset, spec_of(batch_size=16)).result
    assert result.metrics["peak_memory_mb"] > 10
    return losses_of(result)


@pytest.fixture(scope="module")
def losses_on_linux(on_linux: Dataset) -> list[float]:
    if on_linux.modality != "images":
        pytest.skip("no built-in network trains on these data")
    return losses(on_linux)


@pytest.mark.parametrize("name", ALL_LACKS)
def test_a_data_set_is_the_same_without(
    name: str,
    made: tuple[str, Path],
    on_linux: Dataset,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    take_away(monkeypatch, ALL_LACKS[name], tmp_path)
    dataset = load(*made, tmp_path / "cache")
    assert dataset.fingerprint == on_linux.fingerprint
    # Once more, from what was built.
    assert fingerprint(load(*made, tmp_path / "cache").train) == fingerprint(on_linux.train)
    subset = choose_subset(dataset, parse_strategy("random:0.5"), 0)
    write_subset(subset, tmp_path / "subset")
    assert read_subset(tmp_path / "subset").fingerprint == subset.fingerprint


@pytest.mark.parametrize("lacking", LACKING.values(), ids=LACKING)
def test_a_training_is_the_same_without(
    lacking: tuple[str, ...],
    made: tuple[str, Path],
    losses_on_linux: list[float],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    take_away(monkeypatch, lacking, tmp_path)
    assert losses(load(*made, tmp_path / "cache")) == losses_on_linux


def open_files() -> set[str]:
    """Files that this process has open or mapped."""
    process = psutil.Process()
    return {file.path for file in process.open_files()} | {each.path for each in process.memory_maps(grouped=False)}


def test_no_file_is_moved_while_it_is_open(
    made: tuple[str, Path], on_linux: Dataset, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Windows refuses to move or delete what is open, and a folder that holds such a file."""
    refused: list[str] = []

    def strictly(name: str) -> None:
        real = getattr(os, name)

        def call(path: Any, *args: Any, **named: Any) -> Any:
            if "dir_fd" not in named and not isinstance(path, int):
                place = os.path.realpath(path)
                if any(file == place or file.startswith(f"{place}{os.sep}") for file in open_files()):
                    refused.append(place)
                    raise PermissionError(f"{place} is open")
            return real(path, *args, **named)

        monkeypatch.setattr(os, name, call)

    for name in ("rename", "replace"):
        strictly(name)
    cache = tmp_path / "cache"
    load(*made, cache)
    for pixels in cache.glob("*/pixels.bin"):  # it is then made again in the place of what is there
        pixels.write_bytes(b"x" * pixels.stat().st_size)
    assert load(*made, cache).fingerprint == on_linux.fingerprint
    assert not refused
