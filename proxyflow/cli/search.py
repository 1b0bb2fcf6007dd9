"""`search`: the best configuration of a space, with as little training as it takes."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from proxyflow.cli.command import command
from proxyflow.cli.dry_run import dry_run_option, end_dry_run
from proxyflow.cli.execution import execution_options, take_execution
from proxyflow.cli.files import at
from proxyflow.cli.listings import DATA_SETS, EXECUTORS, REDUCTIONS, SAMPLERS, STRATEGIES, TRAINERS, plain
from proxyflow.cli.options import AUTO, NONE, F, Topic, ruled_option, text_option, word_option
from proxyflow.cli.program import next_command
from proxyflow.cli.request import open_request
from proxyflow.cli.shared import DATASET, SEED, SYSTEM_METRICS, data_options, study_option
from proxyflow.cli.training import EPOCHS, take_trainer, trainer_options
from proxyflow.core.errors import InvalidValue
from proxyflow.core.progress import format_seconds
from proxyflow.core.settings import Choice, Number, OptionalValue
from proxyflow.data.catalog import canonical_name
from proxyflow.proxies import Proxy, parse_proxies
from proxyflow.searching.candidates import CANDIDATES, Candidates, candidates_of
from proxyflow.searching.ladder import Ladder
from proxyflow.searching.samplers import samplers
from proxyflow.spaces.grids import is_grid_file, load_grid
from proxyflow.spaces.space import Space
from proxyflow.studies.ladders import default_ladder
from proxyflow.studies.study_file import StudyFile
from proxyflow.tracking import names
from proxyflow.trainers import ImageTrainer, Trainer

if TYPE_CHECKING:
    from proxyflow.studies.context import StudyContext
    from proxyflow.studies.scheduler import ExecutionOptions
    from proxyflow.studies.search import Found
    from proxyflow.studies.search_trials import SearchSpec

DEMO = "demo"  # what the image trainer searches by default
SEARCH_FILES = plain(
    "Search files",
    "study: pets                # default: the file's name",
    "dataset: folder:my/pets",
    "space:                     # or the path of a YAML file",
    "  learning_rate: {low: 0.0001, high: 0.1, log: true}",
    "  optimizer: [adam, sgd]",
    "budget: 8",
    "Every other option may be a key as well. Paths are relative to the file.",
)
PROXY_SCORES = word_option(
    "scores",
    AUTO,
    "For proxies that need scores: id of a score run; latest; or auto, see sweep.",
    Topic.PROXIES,
)


def space_option(what: str) -> Callable[[F], F]:
    """The option `--space`; `what` begins its help."""
    return text_option(
        "space",
        DEMO,
        f"{what}, such as a YAML file with a range or values of each hyperparameter; in it learning_rate: {{low: "
        "0.0001, high: 0.1, log: true}, optimizer: [adam, sgd]; or SPACE.yaml@36, 36 configurations of it; a list of "
        f"configurations; or {' or '.join(ImageTrainer.grids)}.",
        Topic.SEARCH,
        common=True,
    )


@command(
    "search",
    "Finds the best configuration of a space: trains many configurations on cheap proxies, and few on the full data. "
    "It stops when it is sure or the budget is spent, and says how sure it is. After any interruption, the same "
    "command resumes; several processes with the same command share a search.",
    "--study tuned --dataset digits --space demo --epochs 2 --budget 3",
    SEARCH_FILES,
    DATA_SETS,
    STRATEGIES,
    REDUCTIONS,
    SAMPLERS,
    EXECUTORS,
    TRAINERS,
)
@DATASET
@data_options
@space_option("What to choose from")
@ruled_option(
    "candidates",
    CANDIDATES,
    Number(low=2, high=2000, whole=True, example="256"),
    "configurations that are drawn evenly from a space with ranges, to choose from; the default is one of them",
    Topic.SEARCH,
)
@ruled_option(
    "sampler",
    "near",
    OptionalValue(Choice(samplers), NONE),
    "what proposes more of a space with ranges while the search runs, see Samplers below; none: the candidates are all",
    Topic.SEARCH,
)
@word_option(
    "ladder",
    AUTO,
    "Proxies from cheap to expensive, separated by commas, the last one full; see Strategies below. auto: a quarter of "
    "the epochs, with half of the network's width first where the trainer can reduce it.",
    Topic.PROXIES,
)
@ruled_option(
    "budget",
    8,
    Number(low=0, above=True, example="8"),
    "what to spend, in trainings on the full data",
    Topic.SEARCH,
    common=True,
)
@ruled_option(
    "tolerance",
    0.5,
    OptionalValue(Number(low=0, high=100, example="0.5"), NONE),
    "stop once it is 95 % sure that no candidate is better by more than this many points; for metrics that are not "
    "shares, per cent of the spread of values; none uses the whole budget",
    Topic.SEARCH,
    common=True,
)
@ruled_option(
    "confirm",
    3,
    Number(low=1, high=20, whole=True, example="3"),
    "the most seeds with which a configuration is trained on the full data",
    Topic.SEARCH,
)
@word_option(
    "memory",
    AUTO,
    "What earlier studies and searches of the same trainer on the server found, with hyperparameters matched by name: "
    "auto, those with the most configurations; names of studies, separated by commas; or none. A memory that does not "
    "agree with this search loses its weight.",
    Topic.SEARCH,
)
@PROXY_SCORES
@trainer_options
@EPOCHS
@SEED
@execution_options
@dry_run_option("it lists the rungs, too")
@SYSTEM_METRICS
@study_option(", or a search file (.yaml); see Search files below")
def search(**options: Any) -> None:
    context, spec, used = open_request(options, _spec, lambda spec: spec.study)
    from proxyflow.reporting.search_page import write_outcome  # imports mlflow, as the next ones
    from proxyflow.studies.memories import find_memories
    from proxyflow.studies.search import run_search
    from proxyflow.studies.search_files import summary_lines

    if options["dry_run"]:
        _print_plan(context, spec, take_execution(options))
        return
    memories = find_memories(context, spec, options["memory"])
    for memory in memories:
        context.say(f"memory: {memory.name}, {len(memory.values)} configurations")
    study = context.writer.study
    command = partial(train_command, study=study, asked=used)
    found = run_search(context, spec, take_execution(options), write_outcome(study, command), memories)
    show_found(context, found, summary_lines(found), command)


def _spec(options: dict[str, Any], file: StudyFile | None) -> SearchSpec:
    """The search that the options describe; messages name the line of the file that a value came from."""
    from proxyflow.studies.search_trials import SearchSpec  # imports mlflow

    with at(file, "dataset"):
        dataset = canonical_name(options["dataset"])
    with at(file):
        trainer = take_trainer(options, None if file is None else Path(file.path).parent)
    with at(file, "space"):
        written = None if file is None else file.written.get("space")
        chosen = candidates_from(options["space"], written, trainer, options["candidates"], options["seed"])
    with at(file, "ladder"):
        ladder = _ladder(options["ladder"], trainer, chosen.space, options["epochs"])
    with at(file, "budget"):
        if options["budget"] < 1:
            rule = "it must pay for one training on the full data at least: give 1 or more"
            raise InvalidValue("budget", f"{options['budget']:g}", rule)
    with at(file):
        taken = ("epochs", "budget", "tolerance", "confirm", "seed", "scores", "memory")
        given = {name: options[name] for name in taken}
        sampler = options["sampler"] if chosen.is_drawn else None
        spec = SearchSpec(dataset, trainer, chosen.space, chosen.grid, ladder, **given, sampler=sampler)
        _ = spec.study  # checks that the trainer can reduce what the ladder does
    return spec


def candidates_from(text: str, written: Any, trainer: Trainer, most: int, seed: int) -> Candidates:
    """The space, and the configurations to choose from."""
    if written is None and text == DEMO and DEMO not in trainer.grids:
        raise InvalidValue("space", "", f"trainer={trainer.name} has no space of its own; give space=FILE.yaml")
    if written is None and (text in trainer.grids or "@" in Path(text).name):
        if text in trainer.grids:
            grid = trainer.grids[text]()
            return Candidates(grid[0].space, grid)
        # Checked as a grid is; but the default comes first, and so many are all.
        drawn = load_grid(text, trainer.space, trainer.grids)
        path = text.rpartition("@")[0]
        return dataclasses.replace(candidates_of(path, len(drawn), seed, trainer.space), is_drawn=False)
    if written is None and not is_grid_file(text):
        known = f"one of {', '.join(trainer.grids)}, or " if trainer.grids else ""
        raise InvalidValue("space", text, f"it must be {known}the path of a .yaml file")
    return candidates_of(text if written is None else written, most, seed, trainer.space)


def _ladder(text: str, trainer: Trainer, space: Space, epochs: int) -> tuple[Proxy, ...]:
    if text == AUTO:
        return default_ladder(trainer, space, epochs)
    proxies = parse_proxies(text)
    Ladder.of(proxies, [1.0] * len(proxies))  # refuses one that does not end in full
    return proxies


def _print_plan(context: StudyContext, spec: SearchSpec, how: ExecutionOptions) -> None:
    from proxyflow.studies.forecast import seconds_in_full  # imports torch
    from proxyflow.studies.search_trials import Prices  # imports mlflow

    cost = Prices(context, spec).table(spec.candidates)
    print(f"{len(spec.candidates)} candidates; the first one, to compare with: {spec.candidates[0].name}")
    for proxy, each in zip(spec.ladder, cost.T, strict=True):
        print(f"  {proxy.canonical}: {each.mean():.3f} full trainings each ({each.min():.3f} to {each.max():.3f})")
    print(f"budget: {spec.budget:g} full trainings; training every candidate in full costs {len(spec.candidates)}")
    print(_time_line(seconds_in_full(context, spec.study), spec, how.executor.jobs(how.resources)))
    end_dry_run("search")


def _time_line(seconds: float, spec: SearchSpec, jobs: int) -> str:
    """How long a search takes, by what a full training does."""
    if not math.isfinite(seconds):
        return "time: unknown before the first training in full here; the search tells what is left while it runs"
    together = f" with {jobs} trainings at a time" if jobs > 1 else ""
    budget, everything = (format_seconds(n * seconds / jobs) for n in (spec.budget, len(spec.candidates)))
    each = f"a full training takes about {format_seconds(seconds)}"
    return f"time: {each}, so the budget takes {budget}{together}; training every candidate in full takes {everything}"


def show_found(context: StudyContext, found: Found, lines: Sequence[str], command: Callable[[Found], str]) -> None:
    """Prints lines on what a search found, where its page is, and what trains the best configuration."""
    from proxyflow.reporting.search_page import PAGE  # imports mlflow, as the next one
    from proxyflow.tracking.artifacts.store import local_file

    for line in lines:
        print(line)
    if found.knowledge.observations:
        artifact = f"{names.SEARCH}/{PAGE}"
        file = local_file(context.client, found.run_id, artifact)
        print(
            f"page: artifact {artifact} of run {found.run_id}" + ("" if file is None else f", the file {_short(file)}")
        )
        print(f"train it: {command(found)}")


def _short(path: Path) -> Path:
    """A path as it is typed here: from the working folder, where it is below it."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def train_command(found: Found, study: str, asked: dict[str, Any], **more: Any) -> str:
    """The command that trains the best configuration on the full data, with the options that both commands have.

    Args:
        asked: the options of the running command as it uses them.
        more: options of `train` that the running command does not have.
    """
    from proxyflow.cli.train import train
    from proxyflow.studies.search_files import BEST  # imports mlflow

    ctx = click.get_current_context()
    shared = {str(param.name) for param in train.params} - {"study"}
    same = {
        str(param.name): _typed(asked[str(param.name)])
        for param in ctx.command.params
        if param.name in shared and asked[str(param.name)] != param.type_cast_value(ctx, param.get_default(ctx))
    }
    same |= more
    same |= {"dataset": found.spec.dataset, "trainer": found.spec.trainer.name, "epochs": found.spec.epochs}
    # Both say the same; a few hyperparameters are shorter than an address.
    configs = (found.best.to_json(), f"runs:/{found.run_id}/{names.SEARCH}/{BEST}")
    return min((next_command("train", study, **same, config=config) for config in configs), key=len)


def _typed(value: Any) -> Any:
    """A value as it is typed on a command line."""
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else value
