"""Published weights: from the caches of torch and of the Hugging Face hub, else downloaded to them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from urllib.parse import urlparse

from proxyflow.core.errors import InvalidValue, one_line

HUB_FILES = ("model.safetensors", "pytorch_model.bin")


def downloaded(url: str) -> Path:
    """A file in torch's cache, downloaded if it is not there, unless HF_HUB_OFFLINE says that there is no network.

    Raises:
        InvalidValue: it is not there and cannot be downloaded.
    """
    from torch import hub  # imports torch

    file = Path(hub.get_dir(), "checkpoints", PurePosixPath(urlparse(url).path).name)
    if file.is_file():
        return file
    if _is_offline():
        raise _missing(f"{file} is missing, and HF_HUB_OFFLINE is set; put it there from {url}")
    file.parent.mkdir(parents=True, exist_ok=True)
    beginning = hub.HASH_REGEX.search(file.name)
    try:
        hub.download_url_to_file(url, str(file), beginning.group(1) if beginning else None, progress=False)
    except (OSError, RuntimeError) as error:
        raise _missing(f"{url} cannot be downloaded ({one_line(error)}); put it at {file}") from None
    return file


def from_hub(repository: str, files: Sequence[str]) -> Path:
    """The first of some files that a repository of the Hugging Face hub has: from the cache, else downloaded."""
    from huggingface_hub import constants, hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    name, _, revision = repository.partition("@")
    error: Exception | None = None
    for file in files:
        try:
            return Path(hf_hub_download(name, file, revision=revision or None))
        except LocalEntryNotFoundError as failure:  # is an EntryNotFoundError too: in the cache
            error = failure
        except EntryNotFoundError:  # the repository has other files
            continue
        except Exception as failure:  # of the network, in many kinds
            error = failure
            break
    folder = Path(constants.HF_HUB_CACHE) / f"models--{name.replace('/', '--')}"
    why = "HF_HUB_OFFLINE is set" if _is_offline() else one_line(error) if error else "it has no weights that we know"
    raise _missing(
        f"{files[0]} of {name} is not in {folder}, and cannot be downloaded ({why}); run 'hf download {name}' where "
        "there is a network and copy that folder, or take file:PATH"
    )


def _is_offline() -> bool:
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")


def _missing(rule: str) -> InvalidValue:
    return InvalidValue("weights", "default", rule)
