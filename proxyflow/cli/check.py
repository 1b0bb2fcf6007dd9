"""`check`: whether tuning on a proxy is safe."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from proxyflow.cli.command import command
from proxyflow.cli.dry_run import dry_run_option, print_forecast
from proxyflow.cli.execution import execution_options, take_execution
from proxyflow.cli.files import at
from proxyflow.cli.listings import DATA_SETS, EXECUTORS, REDUCTIONS, STRATEGIES, TRAINERS
from proxyflow.cli.options import AUTO, Topic, ruled_option, text_option, word_option
from proxyflow.cli.request import open_request
from proxyflow.cli.search import PROXY_SCORES, candidates_from, space_option
from proxyflow.cli.shared import DATASET, SEED, SYSTEM_METRICS, data_options, study_option
from proxyflow.cli.training import EPOCHS, take_trainer, trainer_options
from proxyflow.core.settings import Number, TrueFalse
from proxyflow.data.catalog import canonical_name
from proxyflow.proxies import Proxy
from proxyflow.searching.safety import CANDIDATES, CONFIGURATIONS
from proxyflow.studies.study_file import StudyFile

if TYPE_CHECKING:
    from proxyflow.studies.search_trials import SearchSpec


@command(
    "check",
    "Says whether tuning on a proxy, such as a tenth of the data, is safe: trains a few configurations on it and on "
    "everything, and estimates what choosing by the proxy would lose. Also tries others, and names the cheapest "
    "safe one.",
    "--study safe --dataset digits --space demo --strategies random:0.1 --epochs 2",
    DATA_SETS,
    STRATEGIES,
    REDUCTIONS,
    EXECUTORS,
    TRAINERS,
)
@DATASET
@data_options
@text_option(
    "strategies",
    "random:0.1",
    "The proxies to check, separated by commas; see Strategies below.",
    Topic.PROXIES,
    common=True,
)
@ruled_option(
    "alternatives",
    "true",
    TrueFalse(),
    "try other proxies as well: those of the ladder of search; what costs more than all that is checked is tried only "
    "if nothing cheaper is safe",
    Topic.PROXIES,
)
@space_option("What tuning would choose from")
@ruled_option(
    "configurations",
    CONFIGURATIONS,
    Number(low=5, high=200, whole=True, example="10"),
    "configurations to train on each proxy and on everything; more make the intervals narrower",
    Topic.SEARCH,
    common=True,
)
@ruled_option(
    "tolerance",
    0.5,
    Number(low=0, high=100, example="0.5"),
    "points that a safe proxy may lose; the whole 95 % interval of what it is expected to lose must be at most this "
    "(for metrics that are not shares: per cent of the spread of values), against the best, or against tuning on "
    "everything where that itself is not shown to lose at most this",
    Topic.SEARCH,
    common=True,
)
@word_option("memory", AUTO, "Earlier studies to learn from, as for search.", Topic.SEARCH)
@PROXY_SCORES
@trainer_options
@EPOCHS
@SEED
@execution_options
@dry_run_option("it lists the configurations, too")
@SYSTEM_METRICS
@study_option(", or a study file (.yaml); its keys are these options")
def check(**options: Any) -> None:
    context, (spec, proxies), _ = open_request(options, _spec, lambda made: made[0].study)
    from proxyflow.studies.check import run_check, study_of  # imports mlflow, as the next one
    from proxyflow.studies.memories import find_memories

    memories, how = find_memories(context, spec, options["memory"]), take_execution(options)
    for memory in memories:
        context.say(f"memory: {memory.name}, {len(memory.values)} configurations; its best are among what is trained")
    if options["dry_run"]:
        study = study_of(spec, memories, options["configurations"])
        print_forecast(context, study, how.executor.jobs(how.resources), "check")
        return
    checked = run_check(context, spec, proxies, options["configurations"], how, memories)
    print(*checked.lines, sep="\n")


def _spec(options: dict[str, Any], file: StudyFile | None) -> tuple[SearchSpec, tuple[Proxy, ...]]:
    """What is checked, and the proxies that were asked about."""
    from proxyflow.studies.check import asked_proxies, ladder_of  # imports mlflow, as the next one
    from proxyflow.studies.search_trials import SearchSpec

    with at(file, "dataset"):
        dataset = canonical_name(options["dataset"])
    with at(file):
        trainer = take_trainer(options, None if file is None else Path(file.path).parent)
    with at(file, "space"):
        written = None if file is None else file.written.get("space")
        chosen = candidates_from(options["space"], written, trainer, CANDIDATES, options["seed"])
    epochs = options["epochs"]
    with at(file, "strategies"):
        proxies = asked_proxies(options["strategies"], trainer, epochs)
    ladder = ladder_of(proxies, trainer, chosen.space, epochs, options["alternatives"])
    with at(file):
        names = ("epochs", "tolerance", "seed", "scores")
        spec = SearchSpec(
            dataset, trainer, chosen.space, chosen.grid, ladder, confirm=1, **{name: options[name] for name in names}
        )
    return spec, proxies
