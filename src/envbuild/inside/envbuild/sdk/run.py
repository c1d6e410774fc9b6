"""``azureml.core.run``, as scripts import it."""

from ..run import Run, _OfflineRun

__all__ = ["Run", "_OfflineRun"]
