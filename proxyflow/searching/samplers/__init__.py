"""Samplers: what a search may try, beyond the configurations that it began with."""

from proxyflow.searching.samplers.even import Even, Uniform
from proxyflow.searching.samplers.near import Near
from proxyflow.searching.samplers.optuna import optuna_samplers
from proxyflow.searching.samplers.protocol import Sampler, Told, samplers

samplers.add("near", Near())
samplers.add("even", Even())
samplers.add("random", Uniform())
for _name, _sampler in optuna_samplers().items():
    samplers.add(_name, _sampler)

__all__ = ["Sampler", "Told", "samplers"]
