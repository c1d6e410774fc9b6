"""The part of ``envbuild.sdk`` that there is inside a run, under the names that Azure ML scripts import."""

from ..run import Run, RunEnvironmentException, UserErrorException

__all__ = ["Run", "RunEnvironmentException", "UserErrorException"]
