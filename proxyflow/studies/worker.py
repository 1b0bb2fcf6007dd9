"""One worker: a device with the data on it, which makes one training after the other."""

from __future__ import annotations

from proxyflow.errors import StoreFailed, TrainingFailed
from proxyflow.studies import subsets as subset_runs
from proxyflow.studies import trainings as training_runs
from proxyflow.studies.keys import key_of_training_on
from proxyflow.studies.lab import Lab
from proxyflow.studies.tasks import Done, OnShare, Task
from proxyflow.subsets import Subset
from proxyflow.tracking.outages import is_outage
from proxyflow.tracking.run import NotDelivered, Taken, describe
from proxyflow.training.devices import device_name, select


class OtherExperiment(TrainingFailed):
    """What this worker would train is not what was planned; nor would any other training of it be."""


class Worker:
    """Makes the trainings of one study on one device.

    Args:
        lab: whose device, data sets and subsets are used.
        parent_id: the run that the trainings are nested in.
    """

    def __init__(self, lab: Lab, parent_id: str) -> None:
        self.lab = lab
        self.parent_id = parent_id

    def train(self, task: Task, on_share: OnShare) -> Done:
        """One training; one that fails comes back as such, so that it fails alone.

        Raises:
            NotDelivered: the server was away for longer than the client's patience.
            OtherExperiment: the result would have another key than the plan's, and never be found by it.
        """
        try:
            select(self.lab.device)
            subset = subset_runs.load_chosen(self.lab, task.planned, task.subset)
            self._check_same(task, subset)
            result, _ = training_runs.train(
                self.lab,
                task.planned,
                subset,
                task.subset.run_id,
                self.parent_id,
                claim=True,
                on_share=lambda share, note: on_share(task, share, note),
            )
        except Taken as taken:
            return Done(task, "taken", "done by another process" if taken.finished else "with another process")
        except (NotDelivered, OtherExperiment):
            # Nothing can begin without the server, or goes right on this device.
            raise
        except Exception as error:
            may_pass = is_outage(error) or isinstance(error, (OSError, StoreFailed))
            return Done(task, "failed", error=describe(error), may_pass=may_pass)
        return Done(task, "trained", "diverged" if result.diverged else f"accuracy {result.best_valid_accuracy:.3f}")

    def _check_same(self, task: Task, subset: Subset) -> None:
        settings, device = task.planned.settings, self.lab.device
        if key_of_training_on(self.lab, task.planned, subset) != task.key:
            name = self.lab.precision(settings.precision, settings.image_size or subset.image_size)
            raise OtherExperiment(
                f"precision={settings.precision} is {name} for a worker on {device_name(device)}, and something else "
                "where the study was planned, so its trainings would not be those of the plan: start the sweep on a "
                "machine like its workers, or give precision=fp32"
            )
