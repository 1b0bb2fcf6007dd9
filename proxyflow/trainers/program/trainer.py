"""The trainer `program`: runs the user's command for each training and reads the metric that it reports."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from proxyflow.core.errors import InvalidValue
from proxyflow.core.settings import OptionalValue, setting
from proxyflow.proxies import Proxy
from proxyflow.spaces.grids import Grid
from proxyflow.spaces.metric import ACCURACY, Metric
from proxyflow.subsets import Subset
from proxyflow.trainers.job import Job
from proxyflow.trainers.program.command import NAME, Command, parse_command
from proxyflow.trainers.program.files import mentions, script_of, watched_files
from proxyflow.trainers.program.rules import CommandText, Duration
from proxyflow.trainers.program.training import run_training, search_path
from proxyflow.trainers.protocol import Trainer
from proxyflow.trainers.reduced import reduction_names, unsupported_values
from proxyflow.trainers.results import Trained
from proxyflow.trainers.user_code import MISMATCH_REMEDY, NO_WATCH

if TYPE_CHECKING:
    import torch

    from proxyflow.data.protocol import Dataset


def _other_python(program: str) -> list[str]:
    """That a command runs another Python than this one, whose packages its script may need."""
    found = Path(program)
    if not found.name.startswith("python") or found.parent.resolve() == Path(sys.executable).parent.resolve():
        return []
    return [
        f"note: the command runs {program}, which is not the Python of this process ({sys.executable}); activate the "
        "environment that the program needs, or write the whole path"
    ]


@dataclass(frozen=True)
class ProgramTrainer(Trainer):
    """Runs a command for each training, see docs/how-to/own-training.md.

    Attributes:
        reported: The metric that the program reports.
        watch: Patterns of further files of the program.
        folder: The working folder of the command; relative paths in the command count from there. None is the working
            folder of this process.

    Example:
        >>> trainer = ProgramTrainer(program="python train.py --lr {learning_rate} --epochs {epochs}")
        >>> sorted(trainer.fidelities)
        ['data', 'epochs']
    """

    name: ClassVar[str] = NAME
    description: ClassVar[str] = "your own program, a command such as python train.py --lr {learning_rate}"
    logs_itself: ClassVar[bool] = True
    starts_processes: ClassVar[bool] = True
    mismatch_remedy: ClassVar[str] = MISMATCH_REMEDY
    writes_predictions: ClassVar[bool] = True
    fidelities_from: ClassVar[str] = "a command reduces what it has placeholders for, such as {epochs}"

    program: str = setting(
        "",
        CommandText(),
        "the command of trainer=program, such as 'python train.py --lr {learning_rate}' (see metric); placeholders in "
        "braces are any hyperparameter, data, train, valid, epochs, seed, output, config, and size, width, batch where "
        "a proxy reduces them; see docs/how-to/own-training.md",
        word="none",
    )
    timeout: float | None = setting(
        None, OptionalValue(Duration(), "none"), "time after which a training is stopped and fails", word="none"
    )
    reported: Metric = ACCURACY
    watch: tuple[str, ...] = ()
    folder: Path | None = None

    @property
    def metric(self) -> Metric:
        return self.reported

    @property
    def fidelities(self) -> frozenset[str]:
        return frozenset({"data"} | (self.command.placeholders & {"epochs", *reduction_names()}))

    @property
    def settings(self) -> Mapping[str, Any]:
        return {"program": self.program, "timeout": self.timeout, "watch": ",".join(self.watch) or NO_WATCH}

    @cached_property
    def command(self) -> Command:
        """The command's template."""
        return parse_command(self.program)

    @property
    def place(self) -> Path:
        """The working folder of the command."""
        return self.folder if self.folder is not None else Path.cwd()

    def identity(self, data: Dataset | Subset, device: torch.device | None) -> dict[str, Any]:
        """The command, the metric, and the content of the program's files, see `watched_files`."""
        return {
            "program": list(self.command.words),
            "metric": self.metric.to_json(),
            "files": watched_files(self.command.words, self.place, self.watch),
        }

    def check_request(self, configurations: Grid) -> Sequence[str]:
        command = self.command
        hyperparameters = list(dict.fromkeys(name for each in configurations for name in each.space.names))
        command.check(hyperparameters)
        found = self.find_program(search_path(os.environ))
        warnings = _other_python(found) if command.words[0] != found else []
        script = script_of(command.words)
        if script is not None and not (self.place / script).is_file():
            raise InvalidValue(NAME, self.program, f"there is no file {script} in {self.place}")
        files = watched_files(command.words, self.place, self.watch)

        def reads(variable: str) -> bool:
            return any(mentions(self.place / file, variable) for file in files)

        compared = [name for name in hyperparameters if len({each.get(name) for each in configurations}) > 1]
        if not reads("PROXYFLOW_CONFIG"):
            warnings += [
                f"warning: the command does not mention {{{name}}}; unless the program reads it from the file in "
                "PROXYFLOW_CONFIG, all of its values train the same"
                for name in command.unused(compared)
            ]
        if command.placeholders.isdisjoint(("data", "train")) and not reads("PROXYFLOW_DATA"):
            warnings.append(
                "warning: the command mentions neither {data} nor {train}; unless the program reads the folder in "
                "PROXYFLOW_DATA, it trains on the same examples whatever the proxy"
            )
        if "epochs" not in command.placeholders and not reads("PROXYFLOW_EPOCHS"):
            warnings.append(
                "warning: the command does not mention {epochs}; unless the program reads PROXYFLOW_EPOCHS, it trains "
                "for a number of its own, and proxies such as epochs:1 do not shorten it"
            )
        return warnings

    def unsupported(self, proxy: Proxy, data: Dataset | Subset, configurations: Grid) -> str:
        return unsupported_values(proxy, {name for each in configurations for name in each.space.names})

    def find_program(self, path: str) -> str:
        """The file of the program itself.

        Args:
            path: folders to search, as in the variable PATH.

        Raises:
            InvalidValue: there is none.
        """
        first = self.command.words[0]
        named = str(self.place / first) if "/" in first or os.sep in first else first
        found = shutil.which(named, path=path)
        if found is None:
            where = f"in {self.place}" if named != first else "on PATH"
            rule = f"there is no program {first} {where}; give the command as you run it in a shell"
            raise InvalidValue(NAME, self.program, rule)
        return found

    def train(self, job: Job) -> Trained:
        """Runs the command to its end and reads its metric.

        Raises:
            TrainingFailed: The program failed, was stopped by the timeout, or did not report its metric; the message
                has its last lines of output.
        """
        return Trained(run_training(self, job))
