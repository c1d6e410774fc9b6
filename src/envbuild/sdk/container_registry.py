"""Container registries: where an image is pulled from, and who says so.

Stands for ``azureml.core.container_registry``.
"""

from __future__ import annotations

from envbuild.requirement import without_credentials
from envbuild.sdk.guard import Checked, Guarded, optional_text


class RegistryIdentity(Guarded):
    """A managed identity of Azure's that may pull from a registry: kept for Azure, and of no use elsewhere.

    :raises UserErrorException: a value is not a text.
    """

    resource_id = Checked(optional_text)
    """Which resource of Azure's the identity is."""
    client_id = Checked(optional_text)
    """The identity's own name."""

    def __init__(self, resource_id: str | None = None, client_id: str | None = None) -> None:
        self.resource_id = resource_id
        self.client_id = client_id

    def __eq__(self, other: object) -> bool:
        return vars(self) == vars(other) if isinstance(other, RegistryIdentity) else NotImplemented

    def __repr__(self) -> str:
        return f"RegistryIdentity(resource_id={self.resource_id!r}, client_id={self.client_id!r})"


def _address(value: str | None) -> str | None:
    found = optional_text(value)
    if found and (found != without_credentials(found) or "@" in found.partition("/")[0]):
        raise ValueError("an address with a login in it; that stands in username and password")
    if found and len(found.split()) != 1:
        raise ValueError(f"the address of a registry is one word, such as 'registry.example.com', not {found!r}")
    return found


def _identity(value: RegistryIdentity | None) -> RegistryIdentity | None:
    if value is not None and not isinstance(value, RegistryIdentity):
        raise ValueError(f"a RegistryIdentity is wanted, not {value!r}")
    return value


class ContainerRegistry(Guarded):
    """A registry of images, by default the one that the name of an image says.

    Only the address is part of what an environment is asked to be. Objects compare by all that they hold, and show no
    password.

    :raises UserErrorException: a value is not a text, or the address has a login in it.

    >>> ContainerRegistry("registry.example.com", username="me", password="secret")
    ContainerRegistry(address='registry.example.com', username='me', password='…')
    """

    address = Checked(_address)
    """Its host, with the port if it has one; ``None`` for that which the image's name says."""
    username = Checked(optional_text)
    """Who pulls; ``None`` for what ``docker login`` has noted."""
    password = Checked(optional_text)
    """What proves it; never recorded."""
    registry_identity = Checked(_identity)
    """Kept for Azure, and of no use elsewhere."""

    def __init__(
        self,
        address: str | None = None,
        username: str | None = None,
        password: str | None = None,
        registry_identity: RegistryIdentity | None = None,
    ) -> None:
        self.address = address
        self.username = username
        self.password = password
        self.registry_identity = registry_identity

    def __eq__(self, other: object) -> bool:
        return vars(self) == vars(other) if isinstance(other, ContainerRegistry) else NotImplemented

    def __repr__(self) -> str:
        shown = {name: "…" if name == "password" else value for name, value in vars(self).items() if value is not None}
        return f"ContainerRegistry({', '.join(f'{name}={value!r}' for name, value in shown.items())})"
