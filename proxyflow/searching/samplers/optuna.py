"""Samplers of Optuna (extra `proxyflow[optuna]`), told what is believed of each configuration's value on the target."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from proxyflow.core.errors import UserError
from proxyflow.searching.samplers.protocol import Told
from proxyflow.spaces.configuration import Configuration
from proxyflow.spaces.parameters import Categorical, Int, Numeric, Parameter
from proxyflow.spaces.space import Space

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import Trial


@dataclass(frozen=True)
class OptunaSampler:
    """A sampler of `optuna.samplers`, by the name of its class.

    Attributes:
        description: one line for `--help`.
        cls: for example `TPESampler`.
    """

    description: str
    cls: str

    def propose(self, space: Space, told: Sequence[Told], seed: int) -> Iterator[Configuration]:
        try:
            import optuna
        except ImportError:
            raise UserError("this sampler needs Optuna: pip install 'proxyflow[optuna]'") from None
        # It says of each conditional hyperparameter that it is drawn at random.
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        sampler = getattr(optuna.samplers, self.cls)(seed=seed % 2**32)
        study = optuna.create_study(direction="maximize", sampler=sampler)
        for each in told:
            used = {parameter.name: parameter for parameter in space.tunable if parameter.name in each.configuration}
            study.add_trial(
                optuna.create_trial(
                    params={name: each.configuration[name] for name in used},
                    distributions={name: _distribution(parameter) for name, parameter in used.items()},
                    value=each.value,
                )
            )
        while True:
            yield _suggested(study.ask(), space)


def _suggested(trial: Trial, space: Space) -> Configuration:
    """What Optuna suggests, with the values that proxyflow gives: fractions have four significant digits."""
    values: dict[str, Any] = {}
    units: dict[str, float] = {}
    for parameter in space.parents_first:
        if not parameter.is_active(values):
            continue
        values[parameter.name] = parameter.from_unit(0.0) if parameter.is_fixed else _suggest(trial, parameter)
        units[parameter.name] = parameter.to_unit(values[parameter.name])
    return space.from_unit(units)


def _suggest(trial: Trial, parameter: Parameter) -> Any:
    name = parameter.name
    if isinstance(parameter, Categorical):
        return trial.suggest_categorical(name, parameter.choices)
    assert isinstance(parameter, Numeric)
    if isinstance(parameter, Int):
        low, high, step = int(parameter.low), int(parameter.high), int(parameter.step or 1)
        return trial.suggest_int(name, low, high, step=step, log=parameter.log)
    return trial.suggest_float(name, parameter.low, parameter.high, step=parameter.step, log=parameter.log)


def _distribution(parameter: Parameter) -> BaseDistribution:
    from optuna import distributions

    if isinstance(parameter, Categorical):
        return distributions.CategoricalDistribution(parameter.choices)
    assert isinstance(parameter, Numeric)
    if isinstance(parameter, Int):
        low, high = int(parameter.low), int(parameter.high)
        return distributions.IntDistribution(low, high, log=parameter.log, step=int(parameter.step or 1))
    return distributions.FloatDistribution(parameter.low, parameter.high, log=parameter.log, step=parameter.step)


def optuna_samplers() -> Mapping[str, OptunaSampler]:
    """The samplers of Optuna, by the name that a search has for them."""
    return {
        "tpe": OptunaSampler("tree-structured Parzen estimator of Optuna (extra optuna)", "TPESampler"),
        "gp": OptunaSampler("Gaussian process of Optuna (extra optuna)", "GPSampler"),
    }
