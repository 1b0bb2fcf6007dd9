"""Trainers: the protocol, its registry, and one package per built-in trainer."""

from proxyflow.trainers.function.source import KIND as FUNCTION
from proxyflow.trainers.function.trainer import FunctionTrainer
from proxyflow.trainers.images.trainer import ImageTrainer
from proxyflow.trainers.job import Job, TrainingSpec
from proxyflow.trainers.program.command import NAME as PROGRAM
from proxyflow.trainers.program.trainer import ProgramTrainer
from proxyflow.trainers.protocol import Trainer, trainers
from proxyflow.trainers.results import EpochRecord, Trained, TrainingResult

# In the order in which help lists them.
for _name, _class in (("images", ImageTrainer), (PROGRAM, ProgramTrainer), (FUNCTION, FunctionTrainer)):
    trainers.add(_name, _class)

__all__ = [
    "EpochRecord",
    "FunctionTrainer",
    "ImageTrainer",
    "Job",
    "ProgramTrainer",
    "Trained",
    "Trainer",
    "TrainingResult",
    "TrainingSpec",
    "trainers",
]
