"""Executors: run the trainings of a study, in this process or on Ray."""

from proxyflow.studies.executors.base import Executor, Resources, WorkerContext, WorkerPool, executors
from proxyflow.studies.executors.local import LocalExecutor
from proxyflow.studies.executors.ray import RayExecutor

executors.add("local", LocalExecutor())
executors.add("ray", RayExecutor())

__all__ = ["Executor", "Resources", "WorkerContext", "WorkerPool", "executors"]
