"""Authentication (``azureml.core.authentication``): nobody signs in, for a workspace is a folder of the user's own.

Scripts make these objects and hand them to `envbuild.sdk.workspace.Workspace`. They take what Azure's take, look at
none of it and keep none of it, so that no password or token of a script can end up anywhere.
"""

from __future__ import annotations


class AbstractAuthentication:
    """What all of them are (Azure's name for it): an account that is not needed.

    >>> vars(ServicePrincipalAuthentication("tenant", "principal", service_principal_password="secret"))
    {}
    """

    def __init__(self, *given: object, **named: object) -> None:
        pass

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class InteractiveLoginAuthentication(AbstractAuthentication):
    """Stands for Azure's of that name; opens no browser."""


class ServicePrincipalAuthentication(AbstractAuthentication):
    """Stands for Azure's of that name; its password is not kept."""


class AzureCliAuthentication(AbstractAuthentication):
    """Stands for Azure's of that name; runs no ``az``."""


class MsiAuthentication(AbstractAuthentication):
    """Stands for Azure's of that name; asks no server for a managed identity."""
