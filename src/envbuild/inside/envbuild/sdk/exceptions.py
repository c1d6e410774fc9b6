"""``azureml.exceptions``, as scripts import it."""

from ..errors import (
    ModelNotFoundException,
    ModelPathNotFoundException,
    RunEnvironmentException,
    UserErrorException,
    WebserviceException,
)

__all__ = [
    "ModelNotFoundException",
    "ModelPathNotFoundException",
    "RunEnvironmentException",
    "UserErrorException",
    "WebserviceException",
]
