"""Executors: where the trainings of a study run, behind one registry."""

from proxyflow.studies.executors.base import Bench, Executor, Pool, Resources, executors
from proxyflow.studies.executors.local import Local
from proxyflow.studies.executors.ray import Ray

executors.add("local", Local())
executors.add("ray", Ray())

__all__ = ["Bench", "Executor", "Pool", "Resources", "executors"]
