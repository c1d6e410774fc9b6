"""``azureml.core.model``, as scripts import it."""

from ..model import Model

__all__ = ["Model"]
