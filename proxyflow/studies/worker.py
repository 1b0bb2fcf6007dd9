"""One worker: a device with the data on it, which makes one training after the other."""

from __future__ import annotations

from proxyflow.errors import UserError
from proxyflow.studies import subsets as subset_runs
from proxyflow.studies import trainings as training_runs
from proxyflow.studies.lab import Lab
from proxyflow.studies.tasks import Done, OnShare, Task
from proxyflow.tracking.outages import is_outage
from proxyflow.tracking.runs import NotDelivered, Taken, describe
from proxyflow.training.devices import select


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
        """
        try:
            select(self.lab.device)
            subset = subset_runs.load_chosen(self.lab, task.planned, task.subset)
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
        except NotDelivered:
            # Nothing can begin without the server.
            raise
        except Exception as error:
            network = isinstance(error, OSError) and not isinstance(error, UserError)
            return Done(task, "failed", error=describe(error), may_pass=is_outage(error) or network)
        return Done(task, "trained", "diverged" if result.diverged else f"accuracy {result.best_valid_accuracy:.3f}")
