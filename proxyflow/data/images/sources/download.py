"""Downloads and archives: verified by published checksums, complete or absent, never outside their folder."""

from __future__ import annotations

import gzip
import hashlib
import shutil
import socket
import sys
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from http.client import HTTPException
from pathlib import Path

from proxyflow.core.errors import UserError
from proxyflow.core.files import atomic_write

SECONDS_WITHOUT_DATA = 30.0


def download(url: str, path: Path, md5: str | None = None) -> None:
    """Downloads a file that is not there yet by torchvision's downloader, with its progress bar on stderr.

    Args:
        md5: published checksum, None where there is none.

    Raises:
        OSError: the server cannot be reached, or what it sent has another checksum.
    """
    if path.exists():
        return
    from torchvision.datasets.utils import download_url  # imports torchvision

    print(f"downloading {url}", file=sys.stderr, flush=True)
    try:
        with atomic_write(path) as beside, _patience(SECONDS_WITHOUT_DATA), redirect_stdout(sys.stderr):
            download_url(url, str(beside.parent), beside.name, md5)
    except (RuntimeError, HTTPException) as error:  # RuntimeError is how torchvision says that the checksum differs
        raise OSError(f"{url}: {type(error).__name__}: {error}") from None


@contextmanager
def _patience(seconds: float) -> Iterator[None]:
    """A timeout for sockets; torchvision sets none."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def missing(name: str, data_dir: Path, error: OSError, hint: str) -> UserError:
    """The error of a data set that is missing and cannot be downloaded."""
    return UserError(
        f"dataset={name} is not in data_dir={data_dir} and could not be downloaded ({error}); without a connection, "
        f"{hint}"
    )


def extract(archive: Path, folder: Path, md5: str | None = None) -> None:
    """Unpacks a tar archive that holds one folder into `folder`, whole or not at all.

    Args:
        md5: published checksum of the archive, which may have been put there by hand; None where there is none.

    Raises:
        UserError: it is damaged, or has a member that would be written outside of `folder`.
    """
    if md5 is not None and md5_of(archive) != md5:
        raise UserError(
            f"{archive} does not have the published MD5 checksum {md5}; delete it, so that it is downloaded again"
        )
    # Other processes may unpack the same archive, also on other machines: each uses its own folder.
    beside = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".extracting", dir=folder.parent))
    try:
        with tarfile.open(archive) as tar:
            tar.extractall(beside / "all", filter="data")
            while tar.fileobj is not None and tar.fileobj.read(2**20):
                pass  # the checksum of what was packed stands at the end, where tar does not look
        inside = list((beside / "all").iterdir())
        whole = inside[0] if len(inside) == 1 and inside[0].is_dir() else beside / "all"
        _move(whole, folder)
    except tarfile.FilterError as error:
        raise UserError(f"{archive} is refused: {error}; it has a member outside of its own folder") from None
    except (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UserError(f"{archive} is damaged ({error}); delete it, so that it is downloaded again") from None
    except OSError as error:
        raise UserError(f"{archive} cannot be unpacked into {folder.parent} ({error})") from None
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _move(source: Path, target: Path) -> None:
    try:
        source.rename(target)
    except OSError:
        if not target.is_dir():  # else another process was first, with the same archive
            raise


def md5_of(path: Path) -> str:
    """The file's MD5 in hexadecimal, which is what is published for old archives."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
