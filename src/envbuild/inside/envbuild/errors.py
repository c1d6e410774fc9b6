"""Errors: what a script is told, under the names that Azure ML users catch."""

from __future__ import annotations


class RunEnvironmentException(RuntimeError):  # noqa: N818 (Azure ML's name)
    """The script is not part of a run, or the run has not what was asked for."""

    @property
    def message(self) -> str:
        """What happened."""
        return str(self)


class UserErrorException(ValueError):  # noqa: N818 (Azure ML's name)
    """The script asked for something that cannot be."""

    @property
    def message(self) -> str:
        """What happened."""
        return str(self)


class WebserviceException(RuntimeError):  # noqa: N818 (Azure ML's name)
    """A model is not there, or not as it should be."""

    @property
    def message(self) -> str:
        """What happened."""
        return str(self)


class ModelNotFoundException(WebserviceException):
    """There is no model of that name, or no such version of it."""


class ModelPathNotFoundException(WebserviceException, FileNotFoundError):
    """The files that were to be a model are not there; Python's `FileNotFoundError` too."""
