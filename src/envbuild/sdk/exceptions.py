"""Exceptions: what the SDK raises, under the names that Azure ML users catch (``azureml.exceptions``).

All are `envbuild.errors.EnvbuildError`, so that one ``except`` catches whatever envbuild has to say; what to do next is
in ``hint``, and at the end of ``message``, which Azure's exceptions have too::

    AzureMLException
    ├── UserErrorException              asked for something that cannot be
    │   ├── RunConfigurationException   in a run configuration
    │   ├── SnapshotException           the source folder cannot be snapshotted
    │   └── TrainingException           in an estimator
    ├── ActivityFailedException         a run, or a build, has failed
    ├── ExperimentExecutionException    a run cannot be started, or waiting for it was interrupted
    ├── RunEnvironmentException         no run, or no environment, to speak of
    ├── ComputeTargetException          there is no such compute target
    ├── ModelNotFoundException          there is no such model
    ├── ModelPathNotFoundException      a model's files are not there
    └── WebserviceException             a model or service is not as it should be
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from envbuild.errors import DefinitionError, EnvbuildError, NotFound, Refused
from envbuild.inside.envbuild import run as inside

AzureMLException = EnvbuildError
"""The root of the tree; the errors of envbuild itself are in it too."""


class UserErrorException(EnvbuildError, inside.UserErrorException):
    """Asked for something that cannot be; the message says what, and what to do."""


class RunConfigurationException(UserErrorException):
    """A run configuration says something that cannot be meant."""


class SnapshotException(UserErrorException):
    """The source folder cannot be snapshotted: too large, or not to be read."""


class TrainingException(UserErrorException):
    """An estimator's parameters contradict one another."""


class ActivityFailedException(EnvbuildError):
    """A run, or the build of an environment, has failed; the message says why."""


class ExperimentExecutionException(EnvbuildError):
    """A run cannot be started; or waiting for one was interrupted, and it goes on."""


class RunEnvironmentException(EnvbuildError, inside.RunEnvironmentException):
    """There is no run that this script is part of, or the run has not what was asked for."""


class ComputeTargetException(EnvbuildError):
    """There is no such compute target."""


class WebserviceException(EnvbuildError):
    """A model or a service is not there, or not as it should be."""

    status_code: int | None = None


class ModelNotFoundException(WebserviceException):
    """There is no model of that name, or no such version of it."""


class ModelPathNotFoundException(WebserviceException, FileNotFoundError):
    """The files that were to be a model, or those of a model, are not there; Python's `FileNotFoundError` too."""


@contextmanager
def user_errors(kind: type[UserErrorException] = UserErrorException) -> Iterator[None]:
    """Raise what the core refuses about a user's input as ``kind``; other errors of envbuild's pass as they are."""
    try:
        yield
    except UserErrorException:
        raise
    except (DefinitionError, NotFound, Refused) as error:
        raise kind(str(error), hint=error.hint) from error
