"""Where a network's initial weights come from: `none`, `default`, `file:PATH`, `dir:PATH` or `run:RUN_ID`.

Finding them imports no torch where they are files or of a run; `load_weights` puts them into a network.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from proxyflow.core.artifacts import fetch_artifact
from proxyflow.core.errors import InvalidValue, one_line
from proxyflow.core.files import known_sha256
from proxyflow.core.folders import absolute, data_folder
from proxyflow.core.registry import Registry
from proxyflow.core.settings import Choice
from proxyflow.spaces.configuration import Configuration
from proxyflow.trainers.images.architectures import Architecture, architecture_of, at_width
from proxyflow.trainers.images.libraries import LibraryNetwork, Normalization

if TYPE_CHECKING:
    from torch import Tensor, nn

NONE, DEFAULT = "none", "default"
# Of a folder: our own, as `save_model=true` writes them, then those that timm's `local-dir:` knows.
FILES = ("model.safetensors", "pytorch_model.bin", "pytorch_model.pth", "model.pth")
DESCRIPTIONS = ("model.json", "config.json")
# Checkpoints often have the weights below one of these keys, and networks inside of others these prefixes.
KEYS = ("state_dict", "model_state_dict", "model")
PREFIXES = ("module.", "_orig_mod.", "network.")
SHOWN = 4  # tensors that do not fit


@dataclass(frozen=True)
class Weights:
    """Initial weights that were found.

    Attributes:
        name: as the user wrote it.
        file: that has them.
        normalization: of the images that they were trained on; None where it is not known.
    """

    name: str
    file: Path
    normalization: Normalization | None = None

    @property
    def sha256(self) -> str:
        """Of the file."""
        return known_sha256(self.file)


# What stands before the colon, to a function of what comes after it and of the architecture.
Find = Callable[[str, Architecture], Weights]
sources: Registry[Find] = Registry("source of weights")


@dataclass(frozen=True)
class WeightsName(Choice):
    """The rule of `weights`."""

    def parse(self, name: str, value: object) -> str:
        text = str(value) or NONE  # MLflow cannot pass nothing
        kind, colon, rest = text.partition(":")
        if text in (NONE, DEFAULT) or (colon and kind in sources and rest):
            return text
        raise InvalidValue(name, value, f"it must be {self.accepted}")


def find_weights(configuration: Configuration, width: float = 1.0) -> Weights | None:
    """The initial weights of a configuration; None for random ones.

    Args:
        width: fraction of the channels; a library's narrower network has default weights of its own.

    Raises:
        InvalidValue: there are none, or they cannot be had.
    """
    name = configuration.get("weights", NONE)
    if name == NONE:
        return None
    architecture = at_width(architecture_of(configuration["arch"]), width)
    kind, _, rest = name.partition(":")
    return sources[kind](rest, architecture)


@sources.register("file")
def _of_file(path: str, architecture: Architecture) -> Weights:
    file = absolute("weights", path)
    if not file.is_file():
        raise InvalidValue("weights", f"file:{path}", f"no such file: {file}")
    return Weights(f"file:{path}", file, _normalization(file.parent, architecture))


@sources.register("dir")
def _of_folder(path: str, architecture: Architecture) -> Weights:
    folder = absolute("weights", path)
    found = next((folder / name for name in FILES if (folder / name).is_file()), None)
    if found is None:
        rule = f"the folder {folder} has none of the files {', '.join(FILES)}"
        raise InvalidValue("weights", f"dir:{path}", rule)
    return Weights(f"dir:{path}", found, _normalization(folder, architecture))


@sources.register("run")
def _of_run(run_id: str, architecture: Architecture) -> Weights:
    return Weights(f"run:{run_id}", _fetched(run_id), _normalization(_fetched(run_id).parent, architecture))


@sources.register("default")
def _of_library(_: str, architecture: Architecture) -> Weights:
    if not isinstance(architecture, LibraryNetwork):
        rule = "this network has no published weights; take file:PATH, dir:PATH or run:RUN_ID, or a network of timm"
        raise InvalidValue("weights", DEFAULT, rule)
    return Weights(DEFAULT, _published(architecture), architecture.library.normalization(architecture.name))


@lru_cache(maxsize=256)
def _published(network: LibraryNetwork) -> Path:
    return network.library.published(network.name)


@lru_cache(maxsize=256)
def _fetched(run_id: str) -> Path:
    """The weights of a run that was made with `save_model=true`, kept in the data folder."""
    folder = data_folder() / "weights" / run_id
    for name in ("model.json", "model.safetensors"):
        if not (folder / name).is_file():
            fetch_artifact("weights", run_id, f"weights/{name}", folder / name)
    return folder / "model.safetensors"


def _normalization(folder: Path, architecture: Architecture) -> Normalization | None:
    """What a description beside the weights says, else what the library's own weights take."""
    for name in DESCRIPTIONS:
        try:
            content = json.loads((folder / name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(content, dict):
            # timm's, and that of weights which a network of ours began with.
            content = {**content, **content.get("pretrained_cfg", {}), **content.get("network_normalization", {})}
            if "mean" in content and "std" in content:
                return Normalization(tuple(map(float, content["mean"])), tuple(map(float, content["std"])))
    if isinstance(architecture, LibraryNetwork):
        return architecture.library.normalization(architecture.name)
    return None


def load_weights(model: nn.Module, head: str, weights: Weights, architecture: Architecture) -> None:
    """Puts weights into a network, in place, but for its classifier, which stays random.

    Args:
        head: the name of its classifier.

    Raises:
        InvalidValue: the file cannot be read, or tensors of the network are missing in it or have other shapes.
    """
    import torch  # start-up time

    state = _read(weights)
    if isinstance(architecture, LibraryNetwork):
        state = architecture.library.adapted(state, model)
    own = {name: value for name, value in model.state_dict().items() if not name.startswith(f"{head}.")}
    # A counter of batches that old files lack, and no layer needs.
    needed = {name: value for name, value in own.items() if not name.endswith("num_batches_tracked")}
    missing = [name for name in needed if name not in state]
    other = [
        f"{name} {_shape(state[name])} for {_shape(value)}"
        for name, value in own.items()
        if name in state and state[name].shape != value.shape
    ]
    if missing or other:
        parts = [_listed("lacks", missing), _listed("has in other shapes", other)]
        rule = f"the file {weights.file} does not fit: it {' and '.join(filter(None, parts))}"
        raise InvalidValue("weights", weights.name, rule)
    with torch.no_grad():
        for name, value in own.items():
            if name in state:
                value.copy_(state[name])


def _listed(what: str, names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{what} {len(names)} tensors: {', '.join(names[:SHOWN])}{more}" if names else ""


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "a number"


def _read(weights: Weights) -> dict[str, Tensor]:
    """The tensors of a file by name. Pickles are read with `weights_only=True`, which runs no code of theirs."""
    import torch  # start-up time
    from safetensors.torch import load_file

    try:
        if weights.file.suffix == ".safetensors":
            found: Any = load_file(str(weights.file))
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of pickle protocols, where all that matters is whether it can be read
                found = torch.load(weights.file, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged files raise anything
        rule = f"{weights.file} cannot be read as weights: {one_line(error)}"
        if type(error).__name__ == "UnpicklingError":  # whose text recommends what runs any code
            rule = f"{weights.file} is damaged, or holds more than tensors, which could run code: save its state_dict"
        raise InvalidValue("weights", weights.name, rule) from None
    for key in KEYS:
        if isinstance(found, Mapping) and isinstance(found.get(key), Mapping):
            found = found[key]
    tensors = {} if not isinstance(found, Mapping) else found
    state = {_stripped(str(name)): value for name, value in tensors.items() if isinstance(value, torch.Tensor)}
    if not state:
        raise InvalidValue("weights", weights.name, f"{weights.file} has no tensors by name (a state_dict)")
    return state


def _stripped(name: str) -> str:
    for prefix in PREFIXES:
        name = name.removeprefix(prefix)
    return name
