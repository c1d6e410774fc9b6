"""``azureml.core.workspace``, as scripts import it."""

from ..workspace import Workspace

__all__ = ["Workspace"]
