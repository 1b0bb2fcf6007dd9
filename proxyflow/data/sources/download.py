"""Downloads and archives: checked where a checksum is published, whole or absent, and never outside their folder."""

from __future__ import annotations

import shutil
import socket
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

from proxyflow.errors import UserError
from proxyflow.files import replacing

SECONDS_WITHOUT_DATA = 30.0


def download(url: str, path: Path, md5: str | None = None) -> None:
    """Downloads a file by torchvision's downloader, with its progress bar on stderr.

    Args:
        md5: published checksum, None where there is none.

    Raises:
        OSError: the server cannot be reached, or what it sent has another checksum.
    """
    if path.exists():
        return
    from torchvision.datasets.utils import download_url

    print(f"downloading {url}", file=sys.stderr, flush=True)
    try:
        with replacing(path) as beside, _patience(SECONDS_WITHOUT_DATA), redirect_stdout(sys.stderr):
            download_url(url, str(beside.parent), beside.name, md5)
    except RuntimeError as error:  # torchvision's way to say that the checksum differs
        raise OSError(f"{url}: {error}") from None


@contextmanager
def _patience(seconds: float) -> Iterator[None]:
    """A limit for sockets that say nothing; torchvision sets none."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def missing(name: str, data_dir: Path, error: OSError, hint: str) -> UserError:
    """The error of a data set that is neither there nor to be had."""
    return UserError(
        f"dataset={name} is not in data_dir={data_dir} and could not be downloaded ({error}); without a connection, "
        f"{hint}"
    )


def extract(archive: Path, folder: Path) -> None:
    """Unpacks a tar archive that holds one folder into `folder`, whole or not at all.

    Raises:
        UserError: it is damaged, or has a member that would be written outside of `folder`.
    """
    beside = folder.with_name(f".{folder.name}.extracting")
    shutil.rmtree(beside, ignore_errors=True)
    try:
        with tarfile.open(archive) as tar:
            tar.extractall(beside, filter="data")
        inside = [path for path in beside.iterdir() if path.is_dir()]
        (inside[0] if len(inside) == 1 else beside).rename(folder)
    except tarfile.FilterError as error:
        raise UserError(f"{archive} is refused: {error}; it has a member outside of its own folder") from None
    except (tarfile.TarError, EOFError, OSError) as error:
        raise UserError(f"{archive} cannot be unpacked ({error}); delete it, so that it is fetched again") from None
    finally:
        shutil.rmtree(beside, ignore_errors=True)
