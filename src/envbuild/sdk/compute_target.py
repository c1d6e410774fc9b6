"""Where Azure has the exception of compute targets (``azureml.core.compute_target``)."""

from __future__ import annotations

from envbuild.sdk.exceptions import ComputeTargetException

__all__ = ["ComputeTargetException"]
