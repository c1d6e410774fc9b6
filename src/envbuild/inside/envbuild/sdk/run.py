"""``azureml.core.run``, as scripts import it."""

from ..run import Run

__all__ = ["Run"]
