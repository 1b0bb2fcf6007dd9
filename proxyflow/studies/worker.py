"""A worker: runs the trainings of a study on one device, one after the other."""

from __future__ import annotations

from proxyflow.core.errors import StoreFailed, TrainingFailed
from proxyflow.studies import subsets as subset_runs
from proxyflow.studies import trainings as training_runs
from proxyflow.studies.context import StudyContext
from proxyflow.studies.keys import key_of_training_on
from proxyflow.studies.tasks import OnProgress, Task, TaskResult
from proxyflow.subsets import Subset
from proxyflow.tracking.delivery.retrying import is_outage
from proxyflow.tracking.runs.claims import AlreadyClaimed
from proxyflow.tracking.runs.run import NotDelivered, error_text
from proxyflow.trainers.devices import device_name, set_current_device
from proxyflow.trainers.reported import NothingReported


class KeyMismatch(TrainingFailed):
    """The key of a training on this worker differs from the planned key; this affects all its trainings."""


class Worker:
    """Runs trainings of one study on one device.

    Args:
        context: device and caches.
        parent_id: id of the run that the trainings are nested in.
    """

    def __init__(self, context: StudyContext, parent_id: str) -> None:
        self.context = context
        self.parent_id = parent_id

    def train(self, task: Task, on_progress: OnProgress) -> TaskResult:
        """Runs one training; returns a failure as a result, so that the other trainings continue.

        Raises:
            NotDelivered: the server was unavailable for longer than the client waits.
            KeyMismatch: the result would not have the planned key.
        """
        try:
            if not task.planned.spec.trainer.starts_processes:
                # Since CUDA 12 this takes memory of the device.
                set_current_device(self.context.device)
            subset = subset_runs.load_planned_subset(self.context, task.planned, task.subset)
            self._check_same(task, subset)
            result, _ = training_runs.train(
                self.context,
                task.planned,
                subset,
                task.subset.run_id,
                self.parent_id,
                claim=True,
                on_progress=lambda share, note: on_progress(task, share, note),
            )
        except AlreadyClaimed as taken:
            return TaskResult(
                task, "taken", "finished by another process" if taken.finished else "running in another process"
            )
        except (NotDelivered, KeyMismatch):
            # No training can succeed without the server, or on this device.
            raise
        except Exception as error:
            retryable = is_outage(error) or isinstance(error, (OSError, StoreFailed))
            # One that reports nothing at all may have been interrupted after its last epoch, and is trained anew.
            shared = isinstance(error, NothingReported) and error.others
            return TaskResult(task, "failed", error=error_text(error), retryable=retryable, shared=shared)
        note = "diverged" if result.diverged else f"{result.metric.label} {result.objective:.3f}"
        return TaskResult(task, "trained", note, result.objective)

    def _check_same(self, task: Task, subset: Subset) -> None:
        if key_of_training_on(self.context, task.planned, subset) != task.key:
            trainer, device = task.planned.spec.trainer, self.context.device
            identity = trainer.identity(subset, device)
            decided = ", ".join(f"{name}={value}" for name, value in identity.items())
            raise KeyMismatch(
                f"trainer={trainer.name} resolves to {decided} on this worker ({device_name(device)}), which differs "
                f"from the machine that planned the study: {trainer.mismatch_remedy}"
            )
