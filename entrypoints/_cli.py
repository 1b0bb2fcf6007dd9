"""What all entry points share: options made from the settings' own declarations, and the exit status."""

from __future__ import annotations

import dataclasses
import math
import os
import shlex
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from proxyflow.data.catalog import DATA_VARIABLE, DataOptions, canonical_name
from proxyflow.data.catalog import spelling as dataset_spelling
from proxyflow.data.sources import datasets
from proxyflow.distillation.methods import methods
from proxyflow.errors import InvalidValue, ProxyflowError, Terminated, UserError, one_line, without_credentials
from proxyflow.scoring.measures import measures
from proxyflow.settings import Choice, Number, OptionalValue, Rule, TrueFalse, settings_of
from proxyflow.strategies import spelling, strategies
from proxyflow.training.engine import DEFAULT_ENGINE, engines
from proxyflow.training.hyperparameters import Hyperparameters, TrainingSettings

if TYPE_CHECKING:
    from proxyflow.report.run import MadeReport
    from proxyflow.studies.lab import Lab
    from proxyflow.studies.plan import StudySpec
    from proxyflow.studies.study import How

F = TypeVar("F", bound=Callable[..., Any])
NONE, AUTO = "none", "auto"
ANY_SIZE = 2**16  # an image size that no rule on precisions refuses


class Ruled(click.ParamType[Any]):
    """A value that a settings rule parses; the rule's own message is what the user reads."""

    def __init__(self, rule: Rule, metavar: str) -> None:
        self.rule, self.name = rule, metavar

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        name = param.name if param is not None and param.name else self.name
        return self.rule.parse(name, value)

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        return self.name


def ruled_option(name: str, default: Any, rule: Rule, help: str) -> Callable[[F], F]:
    """An option `--name` whose values a rule checks; help shows what is accepted."""
    named = isinstance(rule.rule if isinstance(rule, OptionalValue) else rule, (Choice, TrueFalse))
    accepted = "" if named else f" Takes {rule.accepted}."
    return click.option(
        f"--{name.replace('_', '-')}",
        type=Ruled(rule, _metavar(rule)),
        default=str(default),
        show_default=True,
        help=f"{help[0].upper()}{help[1:]}.{accepted}",
    )


def switch(name: str, help: str) -> Callable[[F], F]:
    """An option that takes true or false, false by default."""
    return ruled_option(name, "false", TrueFalse(), help)


def _metavar(rule: Rule) -> str:
    if isinstance(rule, Choice):
        return "|".join(rule.values)
    if isinstance(rule, TrueFalse):
        return "true|false"
    inner = rule.rule if isinstance(rule, OptionalValue) else rule
    if isinstance(rule, OptionalValue) and isinstance(inner, TrueFalse):
        return f"{rule.word}|true|false"
    kind = "INTEGER" if isinstance(inner, Number) and inner.whole else "NUMBER" if isinstance(inner, Number) else "TEXT"
    return f"{kind}|{rule.word}" if isinstance(rule, OptionalValue) else kind


def settings_options(*owners: type, only: tuple[str, ...] = ()) -> Callable[[F], F]:
    """One option per declared setting of the dataclasses, in their order.

    Args:
        only: leave out all settings but these.
    """

    def decorate(function: F) -> F:
        fields = [field for owner in owners for field in settings_of(owner)]
        for field in reversed(fields):
            if only and field.name not in only:
                continue
            default = field.metadata["word"] if field.default is None else field.default
            function = ruled_option(field.name, default, field.metadata["rule"], field.metadata["help"])(function)
        return function

    return decorate


def take(owner: type, options: dict[str, Any]) -> dict[str, Any]:
    """Moves the settings of `owner` out of the parsed options."""
    return {field.name: options.pop(field.name) for field in settings_of(owner) if field.name in options}


def study_option(more: str = "") -> Callable[[F], F]:
    """The option `--study`; `more` goes at the end of its help."""
    return click.option(
        "--study",
        default="auto",
        show_default=True,
        help="The study, which is the MLflow experiment of that name. auto is the experiment that MLflow has active "
        f"(mlflow run --experiment-name, or MLFLOW_EXPERIMENT_NAME; else Default). {more}".strip(),
    )


STUDY = study_option()
DATASET_NAMES = ", ".join(dataset_spelling(name, source) for name, source in datasets.items())
DATASET = click.option(
    "--dataset",
    default="digits",
    show_default=True,
    help=f"Data set, one of {DATASET_NAMES}, or NAME@N, a fixed part of it with N training examples; see Data sets "
    "below.",
)
DATASETS = "\b\nData sets:\n" + "\n".join(
    f"  {dataset_spelling(name, source)}\n      {source.description}" for name, source in datasets.items()
)
STRATEGY_HELP = "Which examples to train on; see Strategies below."
STRATEGIES = "\b\nStrategies:\n" + "\n".join(f"  {spelling(cls)}\n      {cls.summary}" for cls in strategies.values())


def _described(field: dataclasses.Field[Any]) -> str:
    rule = field.metadata["rule"]
    return f"{field.metadata['help']} ({rule.accepted})" if isinstance(rule, Choice) else str(field.metadata["help"])


METHODS = "\b\nMethods, with their settings and defaults:\n" + "\n".join(
    f"  {name}\n      {cls.summary}\n"
    + "\n".join(f"      {field.name}={field.default}: {_described(field)}" for field in settings_of(cls))
    for name, cls in methods.items()
)
SCORE_NAMES = "\b\nScores (by=NAME):\n" + "\n".join(
    f"  {name}\n      {measure.description}; {'higher' if measure.higher_is_harder else 'lower'} is harder"
    for name, measure in measures.items()
)
SCORES = click.option(
    "--scores",
    default="latest",
    show_default=True,
    help="For strategies that choose by scores: a score run's id, or latest, the newest of this data set on the "
    "tracking server that holds what the strategy needs, made first where there is none.",
)
SEED_RULE = Number(low=0, high=2**31, whole=True, example="0")
SEED = ruled_option("seed", 0, SEED_RULE, "every random choice derives from it by name")
PRICE = ruled_option(
    "price_per_hour",
    NONE,
    OptionalValue(Number(low=0, example="2.50"), NONE),
    "price in US dollars per hour of all that the work runs on; gives the metric cost_usd",
)

SYSTEM_METRICS = ruled_option(
    "system_metrics",
    AUTO,
    OptionalValue(TrueFalse(), AUTO),
    "log use of processors, memory, disk, network and GPUs while the run goes on; auto is what MLflow's variable "
    "MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING says, else false",
)
SAVE_MODEL_AS, LOG_MODEL_AS = "as safetensors with a JSON description", "as an MLflow model that mlflow.pyfunc loads"


def data_options(function: F) -> F:
    """The options that say where data sets are and how strict their reading is."""
    function = switch(
        "skip_bad", "leave out image files that cannot be used, and count them, instead of refusing them"
    )(function)
    return click.option(
        "--data-dir",
        default=AUTO,
        show_default=True,
        metavar="FOLDER",
        help="Where data sets are looked for and downloaded to. auto: the variable "
        f"{DATA_VARIABLE}, else ~/.cache/proxyflow.",
    )(function)


def take_data_options(options: dict[str, Any]) -> DataOptions:
    """Moves what `data_options` gave out of the parsed options."""
    data_dir = options.pop("data_dir")
    return DataOptions(None if data_dir in ("", AUTO) else Path(data_dir), options.pop("skip_bad"))


ENGINE = ruled_option("engine", DEFAULT_ENGINE, Choice(tuple(engines)), "code that trains")


def parse_list(name: str, text: str) -> tuple[str, ...]:
    """A comma- or space-separated list, each item once.

    Raises:
        InvalidValue: it is empty.
    """
    items = tuple(dict.fromkeys(text.replace(",", " ").split()))
    if not items:
        raise InvalidValue(name, text, "give at least one, separated by commas")
    return items


def parse_numbers(name: str, text: str, rule: Number) -> tuple[int, ...]:
    """A list of whole numbers that a rule checks, each once."""
    return tuple(dict.fromkeys(int(rule.parse(name, item)) for item in parse_list(name, text)))


def parse_datasets(text: str) -> tuple[str, ...]:
    """Data sets separated by commas, checked against the catalog before anything else happens."""
    # A path may hold spaces, names hold none.
    names = [part.strip() for part in text.split(",") if part.strip()] if ":" in text else parse_list("datasets", text)
    return tuple(dict.fromkeys(map(canonical_name, names)))


def patience(max_hours: float | None = None) -> float:
    """Seconds for which a study waits for a server that goes away: as long as it may take in all."""
    return math.inf if max_hours is None else max_hours * 3600


def open_lab(
    study: str,
    data: DataOptions,
    price_per_hour: float | None = None,
    patience: float | None = None,
    system_metrics: bool | None = None,
) -> Lab:
    """Connects to the tracking server; imports mlflow.

    Args:
        patience: seconds for which a server is waited for that goes away later, a minute at least.
        system_metrics: whether they are logged; None is what MLflow's variable says.
    """
    from proxyflow.studies.lab import Lab
    from proxyflow.tracking.connection import PATIENCE_SECONDS, connect, resolve_study
    from proxyflow.tracking.runs import RunWriter
    from proxyflow.tracking.system import sampling

    how = sampling(system_metrics)
    # However soon a study is to end, what it has done by then must reach the server.
    client = connect(max(PATIENCE_SECONDS, patience or 0.0))
    writer = RunWriter(client, resolve_study(client, study), how)
    # What an earlier command could not deliver may be just what this one is about to make once more.
    writer.deliver()
    return Lab(client, writer, price_per_hour=price_per_hour, data=data)


def command(name: str, help: str, example: str, more: str = "") -> Callable[[Callable[..., None]], click.Command]:
    """A click command in the project's manner: help that ends with examples, options with - or _ alike.

    Args:
        example: options that work as they are.
        more: a further section of the help.
    """
    settings = {
        "max_content_width": 110,
        "help_option_names": ["-h", "--help"],
        "token_normalize_func": lambda token: token.replace("_", "-"),
    }
    epilog = f"\b\nExample:\n  python -m entrypoints.{name} {example}\n  mlflow run . -e {name} {_as_mlflow(example)}"
    epilog = f"{more}\n\n{epilog}" if more else epilog
    return click.command(name, help=help, epilog=epilog, context_settings=settings)


def _as_mlflow(example: str) -> str:
    words = example.split()
    pairs = zip(words[::2], words[1::2], strict=True)
    return " ".join(f"-P {key.removeprefix('--').replace('-', '_')}={value}" for key, value in pairs)


def run(entrypoint: click.Command) -> NoReturn:
    """Runs an entry point as a process: its errors become one line on stderr and the contract's exit status."""

    def terminate(number: int, frame: object) -> NoReturn:
        raise Terminated()

    signal.signal(signal.SIGTERM, terminate)
    sys.exit(_status_of(entrypoint, last=True))


def _status_of(entrypoint: click.Command, last: bool = False) -> int:
    """Runs an entry point and returns its exit status; `last` where the process ends with it."""
    try:
        entrypoint.main(standalone_mode=False)
    except BaseException as raised:
        error = UserError(raised.format_message()) if isinstance(raised, click.ClickException) else raised
        if isinstance(error, click.exceptions.Abort):
            error = KeyboardInterrupt()
        # One signal is enough: mlflow run sends SIGTERM after Ctrl-C, and must not cut off what is written now.
        for number in (signal.SIGINT, signal.SIGTERM) if last else ():
            signal.signal(number, signal.SIG_IGN)
        if os.environ.get("MLFLOW_RUN_ID"):
            from proxyflow.tracking.runs import close_adopted

            close_adopted(error=error)
        return _say(error)
    return 0


def _say(error: BaseException) -> int:
    """Tells the user what went wrong, and returns the exit status for it."""
    if isinstance(error, KeyboardInterrupt):
        print("interrupted; the same command again resumes", file=sys.stderr)
        return 130
    if isinstance(error, Terminated):
        print("stopped by SIGTERM; the same command again resumes", file=sys.stderr)
        return 143
    if isinstance(error, ProxyflowError):
        print(f"error: {one_line(error)}", file=sys.stderr)
        return error.exit_status
    if advice := _advice_on(error):
        print(f"error: the tracking server refuses: {one_line(error)}; {advice}", file=sys.stderr)
        return UserError.exit_status
    if isinstance(error, Exception) and _is_outage(error):
        print(f"error: the tracking server failed: {one_line(error)}", file=sys.stderr)
    else:
        # Nothing a user did: the trace is for whoever mends it.
        print(without_credentials("".join(traceback.format_exception(error))), end="", file=sys.stderr)
    return 1


def _advice_on(error: BaseException) -> str:
    if "mlflow" not in sys.modules:
        return ""
    from proxyflow.tracking.connection import advice_on

    return advice_on(error)


def _is_outage(error: Exception) -> bool:
    if "mlflow" not in sys.modules:
        return False
    from proxyflow.tracking.outages import OUTAGES

    return isinstance(error, OUTAGES)


def hyperparameters_of(options: dict[str, Any]) -> Hyperparameters:
    return Hyperparameters(**take(Hyperparameters, options))


def training_settings_of(options: dict[str, Any]) -> TrainingSettings:
    return TrainingSettings(**take(TrainingSettings, options))


def check_precision(lab: Lab, settings: TrainingSettings) -> None:
    """Refuses a precision that the device has not, before any run is made."""
    lab.precision(settings.precision, settings.image_size or ANY_SIZE)


def run_or_forecast(lab: Lab, spec: StudySpec, how: How, dry_run: bool) -> None:
    """Runs a study, or prints what it would do."""
    from proxyflow.studies.study import run_study
    from proxyflow.tracking.runs import close_adopted

    # Refused before any run is made where there is no room for them.
    jobs = how.executor.jobs(how.resources)
    if dry_run:
        from proxyflow.studies.forecast import forecast, forecast_lines

        for line in forecast_lines(forecast(lab, spec, jobs), lab.price_per_hour):
            print(line)
        close_adopted("A dry run: it printed the plan of a study and ran nothing.")
        return
    outcome = run_study(lab, spec, how)
    print(
        f"study {lab.writer.study}: {outcome.planned} trainings planned, {outcome.found + outcome.made} finished "
        f"({outcome.made} now)" + (f"; {outcome.stopped}" if outcome.stopped else "")
    )
    print(f"report: {next_command('report', study=lab.writer.study)}")


def next_command(name: str, **options: str) -> str:
    """A command to go on with, as the shell takes it."""
    words = [word for key, value in options.items() for word in (f"--{key.replace('_', '-')}", value)]
    return shlex.join(["python", "-m", f"entrypoints.{name}", *words])


def show_report(made: MadeReport) -> None:
    """Prints the table of strategies, and where the page is."""
    print(made.table)
    print(f"\npage: {made.page.absolute().as_uri()}")
    if made.run_id:
        print(f"report run {made.run_id} in experiment {made.study}")
    else:
        print(f"not logged: {made.unlogged}")
