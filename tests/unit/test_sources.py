"""Formats and downloads of the known data sets; wrong files are refused by name."""

from __future__ import annotations

import functools
import gzip
import hashlib
import http.server
import io
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from source_files import make_cifar10, make_fashion_mnist, make_imagenette, published_md5, write_idx

from proxyflow.core.errors import UserError
from proxyflow.data.catalog import DataOptions, Dataset, datasets, load_dataset
from proxyflow.data.evaluation import EvaluationSettings
from proxyflow.data.images.sources import cifar10, fashion_mnist, imagenette
from proxyflow.data.images.sources import download as download_module
from proxyflow.data.images.sources.download import download, extract
from proxyflow.data.images.sources.fashion_mnist import DEBIAN, read_idx

UNREACHABLE = "http://127.0.0.1:9"


@pytest.fixture(autouse=True)
def nothing_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reaches the internet or finds what this machine has installed."""
    monkeypatch.setattr(fashion_mnist, "DEBIAN", tmp_path / "no debian")
    monkeypatch.setattr(fashion_mnist, "URL", UNREACHABLE)
    monkeypatch.setattr(cifar10, "URL", f"{UNREACHABLE}/cifar-10-binary.tar.gz")
    monkeypatch.setattr(imagenette, "URL", UNREACHABLE)
    monkeypatch.setattr(download_module, "md5_of", published_md5)


def load(name: str, data_dir: Path) -> Dataset:
    return load_dataset(name, DataOptions(data_dir), lambda text: None)


def refusal(name: str, data_dir: Path) -> str:
    with pytest.raises(UserError) as caught:
        load(name, data_dir)
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("fashion-mnist", ["train-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz", "dataset-fashion-mnist"]),
        ("cifar10", ["cifar-10-binary.tar.gz", "cifar-10-batches-bin"]),
        ("imagenette", ["imagenette-160.tgz", "train and val"]),
        ("imagewoof", ["imagewoof-160.tgz"]),
        ("imagenette2", ["imagenette2-160.tgz"]),
        ("imagewoof2", ["imagewoof2-160.tgz"]),
    ],
)
def test_without_a_connection_it_says_what_to_put_where(name: str, wanted: list[str], tmp_path: Path) -> None:
    message = refusal(name, tmp_path)
    assert f"dataset={name} is not in data_dir={tmp_path}" in message
    assert all(text in message for text in wanted)
    assert not list(tmp_path.glob("*.tgz")), "no half download is left"


def test_fashion_mnist_reads_packed_and_unpacked_files_in_every_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = [tmp_path / "a" / "fashion-mnist", tmp_path / "b" / "FashionMNIST" / "raw", tmp_path / "debian"]
    monkeypatch.setattr(fashion_mnist, "DEBIAN", places[2])
    fingerprints = set()
    for place, data_dir, suffix in zip(places, "abc", (".gz", "", ".gz"), strict=True):
        make_fashion_mnist(place, suffix=suffix)
        dataset = load("fashion-mnist", tmp_path / data_dir)
        fingerprints.add(dataset.fingerprint)
    assert len(fingerprints) == 1
    assert dataset.class_names[0] == "T-shirt/top"
    assert dataset.train.labels[:12].tolist() == [*range(10), 0, 1]
    assert (len(dataset.train), len(dataset.valid)) == (100, 20)


@pytest.mark.skipif(not DEBIAN.is_dir(), reason="Debian's package dataset-fashion-mnist is not installed")
@pytest.mark.slow
def test_debians_fashion_mnist_is_read_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fashion_mnist, "DEBIAN", DEBIAN)
    dataset = load("fashion-mnist", tmp_path)
    assert (len(dataset.train), len(dataset.valid)) == (60_000, 10_000)
    assert np.bincount(dataset.train.labels).tolist() == [6000] * 10
    assert dataset.preprocessing.mean[0] == pytest.approx(0.2860, abs=1e-4)  # as commonly used for it
    assert dataset.preprocessing.std[0] == pytest.approx(0.3530, abs=1e-4)
    assert dataset.fingerprint == "394e64c4c4ee8a162c1183d1631ce0189da4e0ba2cc7fe68b189d3b14050e02b"
    options = DataOptions(tmp_path, evaluation=EvaluationSettings(valid_examples=500))
    as_before = load_dataset("fashion-mnist", options, lambda text: None)
    # Studies of version 0.1.0 go on where they ended.
    assert as_before.fingerprint == "2e9a8c67abf530b8e39681e819571cd6e27ae572e27fe524ed8051f77ca61ed7"
    assert not (tmp_path / "fashion-mnist").exists()


@pytest.mark.parametrize("shape", [(3,), (2, 5, 7), (1, 1, 1, 1)])
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_idx_files_are_read_as_they_were_written(tmp_path: Path, shape: tuple[int, ...], suffix: str) -> None:
    array = np.random.default_rng(0).integers(0, 256, shape)
    write_idx(tmp_path / f"a{suffix}", array)
    assert np.array_equal(read_idx(tmp_path / f"a{suffix}"), array)


def test_idx_files_that_are_not_whole_are_named(tmp_path: Path) -> None:
    write_idx(tmp_path / "a", np.zeros((5, 4, 4)))
    data = (tmp_path / "a").read_bytes()
    for wrong in (
        b"",
        data[:3],
        data[:10],
        data[:-1],
        data + b"x",
        b"\0\0\x0d" + data[3:],
        data[:3] + b"\0" + data[4:],
    ):
        (tmp_path / "wrong").write_bytes(wrong)
        with pytest.raises(UserError, match=f"{tmp_path / 'wrong'} is not a complete IDX file"):
            read_idx(tmp_path / "wrong")
        (tmp_path / "wrong.gz").write_bytes(gzip.compress(data)[:-9] if wrong else b"no gzip")
        with pytest.raises(UserError, match=r"wrong.gz cannot be read"):
            read_idx(tmp_path / "wrong.gz")


def test_labels_that_do_not_go_with_their_images_are_refused(tmp_path: Path) -> None:
    make_fashion_mnist(tmp_path / "fashion-mnist")
    write_idx(tmp_path / "fashion-mnist" / "train-labels-idx1-ubyte.gz", np.zeros(99))
    assert "train-images-idx3-ubyte.gz" in refusal("fashion-mnist", tmp_path)


def test_cifar10_is_unpacked_and_read_by_planes(tmp_path: Path) -> None:
    make_cifar10(tmp_path)
    dataset = load("cifar10", tmp_path)
    assert (len(dataset.train), len(dataset.valid)) == (100, 20)
    record = np.fromfile(tmp_path / cifar10.FOLDER / "data_batch_1.bin", dtype=np.uint8)[: cifar10.RECORD]
    assert dataset.class_names[dataset.train.labels[0]] == "airplane"
    assert np.array_equal(dataset.train.image(0)[5, 9], record[1:].reshape(3, 32, 32)[:, 5, 9])


def test_cifar10_of_a_wrong_length_or_without_a_file_is_refused(tmp_path: Path) -> None:
    make_cifar10(tmp_path)
    load("cifar10", tmp_path)
    path = tmp_path / cifar10.FOLDER / "data_batch_3.bin"
    path.write_bytes(path.read_bytes()[:-1])
    assert str(path) in refusal("cifar10", tmp_path)
    path.unlink()
    assert "data_batch_3.bin" in refusal("cifar10", tmp_path)


@pytest.mark.parametrize("name", ["imagenette", "imagewoof", "imagenette2", "imagewoof2"])
def test_imagenette_is_unpacked_and_its_classes_have_names(name: str, tmp_path: Path) -> None:
    make_imagenette(name, tmp_path)
    dataset = load(name, tmp_path)
    assert (len(dataset.train), len(dataset.valid)) == (30, 10)
    assert dataset.class_names[0] == {"n": "tench", "w": "Shih-Tzu"}["w" if "woof" in name else "n"]
    assert (dataset.preprocessing.image_size, dataset.preprocessing.crop) == (128, "resized")
    source = datasets[name]
    assert isinstance(source, imagenette.Imagenette)
    assert (tmp_path / source.folder / "val" / next(iter(source.classes))).is_dir()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A web server over a folder."""
    folder = tmp_path / "web"
    folder.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder))) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}", folder
        running.shutdown()
        thread.join()


def test_what_is_missing_is_downloaded_and_kept(
    server: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, web = server
    make_imagenette("imagenette", web)
    monkeypatch.setattr(imagenette, "URL", url)
    assert len(load("imagenette", tmp_path / "data").train) == 30
    assert (tmp_path / "data" / "imagenette-160.tgz").is_file()
    make_fashion_mnist(web)
    monkeypatch.setattr(fashion_mnist, "URL", url)
    sums = {path.name: hashlib.md5(path.read_bytes()).hexdigest() for path in web.glob("*ubyte.gz")}
    monkeypatch.setattr(fashion_mnist, "FILES", {name: sums[name] for name in fashion_mnist.FILES})
    assert len(load("fashion-mnist", tmp_path / "data").train) == 100
    assert len(list((tmp_path / "data" / "fashion-mnist").iterdir())) == 4


def test_a_download_with_another_checksum_is_refused_and_not_kept(server: tuple[str, Path], tmp_path: Path) -> None:
    url, web = server
    (web / "a.bin").write_bytes(b"something")
    with pytest.raises(OSError, match=r"a\.bin"):
        download(f"{url}/a.bin", tmp_path / "got" / "a.bin", "0" * 32)
    assert not list((tmp_path / "got").iterdir())
    download(f"{url}/a.bin", tmp_path / "got" / "a.bin", hashlib.md5(b"something").hexdigest())
    assert (tmp_path / "got" / "a.bin").read_bytes() == b"something"


def tar_with(path: Path, name: str, link: str = "") -> Path:
    with tarfile.open(path, "w:gz") as tar:
        good = tarfile.TarInfo("inside/good.txt")
        good.size = 2
        tar.addfile(good, io.BytesIO(b"ok"))
        member = tarfile.TarInfo(name)
        if link:
            member.type, member.linkname = tarfile.SYMTYPE, link
            tar.addfile(member)
        else:
            member.size = 4
            tar.addfile(member, io.BytesIO(b"evil"))
    return path


@pytest.mark.parametrize(
    ("name", "link"), [("../evil.txt", ""), ("inside/../../evil.txt", ""), ("inside/link", "../../.."), ("l", "/etc")]
)
def test_an_archive_that_climbs_out_is_refused(tmp_path: Path, name: str, link: str) -> None:
    path = tar_with(tmp_path / "data" / "bad.tgz" if (tmp_path / "data").mkdir() is None else tmp_path, name, link)
    with pytest.raises(UserError, match=r"bad\.tgz is refused"):
        extract(path, tmp_path / "data" / "inside")
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["bad.tgz", "data"]


def test_a_damaged_archive_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    make_imagenette("imagenette", tmp_path)
    path = tmp_path / "imagenette-160.tgz"
    path.write_bytes(path.read_bytes()[:5000])
    assert str(path) in refusal("imagenette", tmp_path)
    assert not (tmp_path / "imagenette-160").exists()
    assert not [p for p in tmp_path.iterdir() if "extracting" in p.name]


def test_every_altered_byte_of_an_archive_is_noticed(tmp_path: Path) -> None:
    make_imagenette("imagenette", tmp_path)
    path = tmp_path / "imagenette-160.tgz"
    data = path.read_bytes()
    # Time, system and file name in the header are covered by no checksum, and mean nothing.
    for place in (*range(40, len(data), len(data) // 40), len(data) - 8, len(data) - 1):
        path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        with pytest.raises(UserError, match=r"imagenette-160\.tgz"):
            extract(path, tmp_path / "imagenette-160")
        assert not (tmp_path / "imagenette-160").exists()


def test_an_archive_with_another_checksum_than_published_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    make_imagenette("imagenette2", tmp_path)
    message = refusal("imagenette2", tmp_path)
    assert "does not have the published MD5 checksum e793b78cc4c9e9a4ccc0c1155377a412" in message
    make_cifar10(tmp_path)
    assert "MD5" in refusal("cifar10", tmp_path)


def test_a_full_disk_is_not_the_archives_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_imagenette("imagenette", tmp_path)

    def full(self: object, *args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tarfile.TarFile, "extractall", full)
    message = refusal("imagenette", tmp_path)
    assert "No space left on device" in message
    assert "delete" not in message


def test_two_that_unpack_at_once_do_not_meet(tmp_path: Path) -> None:
    make_imagenette("imagenette", tmp_path)
    folder = tmp_path / "imagenette-160"
    errors: list[BaseException] = []

    def work() -> None:
        try:
            extract(tmp_path / "imagenette-160.tgz", folder)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert len(list(folder.rglob("*.JPEG"))) == 40
    assert sorted(path.name for path in tmp_path.iterdir()) == ["imagenette-160", "imagenette-160.tgz"]


def test_an_archive_without_a_folder_is_its_folder(tmp_path: Path) -> None:
    (tmp_path / "one" / "train").mkdir(parents=True)
    (tmp_path / "one" / "val").mkdir()
    with tarfile.open(tmp_path / "flat.tgz", "w:gz") as tar:
        for part in ("train", "val"):
            tar.add(tmp_path / "one" / part, arcname=part)
    extract(tmp_path / "flat.tgz", tmp_path / "flat")
    assert sorted(path.name for path in (tmp_path / "flat").iterdir()) == ["train", "val"]


def test_a_path_belongs_to_folders_alone() -> None:
    with pytest.raises(UserError, match="digits takes no path"):
        load_dataset("digits:/tmp")
