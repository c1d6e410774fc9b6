"""The build backend: ``build-backend = "envbuild.backend"`` (PEP 517 and 660).

Wheels and sdists are hatchling's, with all that ``[tool.hatch.build]`` says. They are written once more, so that the
same source gives the same bytes everywhere, and a wheel gets the project's lock and an SBOM. `envbuild.backend.hook`
adds the same two to the wheels of projects whose backend is hatchling itself.
"""

from __future__ import annotations

import os

from hatchling import build as _hatchling
from hatchling.build import get_requires_for_build_editable as get_requires_for_build_editable
from hatchling.build import get_requires_for_build_sdist as get_requires_for_build_sdist
from hatchling.build import get_requires_for_build_wheel as get_requires_for_build_wheel

# Not from typing, whose import costs more than all else here.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
]

# hatchling has these two only where pip does not ask: a hook may add requirements that are known after building.
if hasattr(_hatchling, "prepare_metadata_for_build_wheel"):
    prepare_metadata_for_build_editable = _hatchling.prepare_metadata_for_build_editable
    __all__ += ["prepare_metadata_for_build_editable", "prepare_metadata_for_build_wheel"]

    def prepare_metadata_for_build_wheel(metadata_directory: str, config_settings: dict[str, Any] | None = None) -> str:
        """Write the metadata that the wheel will have: what hatchling writes, and what it was tested with.

        :raises LockError: the lock cannot be read, or has credentials in it.
        """
        from envbuild.backend.making import add_sboms

        name = _hatchling.prepare_metadata_for_build_wheel(metadata_directory, config_settings)
        add_sboms(os.getcwd(), os.path.join(metadata_directory, name))
        return name


def build_wheel(
    wheel_directory: str,
    config_settings: dict[str, Any] | None = None,  # noqa: ARG001
    metadata_directory: str | None = None,  # noqa: ARG001
) -> str:
    """Build a wheel, and say in it in which environment it was tested, if there is a lock.

    :raises EnvbuildError: the lock is not as it should be, what is to be packed is no file, or ``SOURCE_DATE_EPOCH`` is
        no time.
    """
    from envbuild.backend import making

    return making.build_wheel(os.getcwd(), wheel_directory)


def build_editable(
    wheel_directory: str, config_settings: dict[str, Any] | None = None, metadata_directory: str | None = None
) -> str:
    """Build a wheel that leads to the source. It is never handed on, so hatchling's is good as it is."""
    return _hatchling.build_editable(wheel_directory, config_settings, metadata_directory)


def build_sdist(sdist_directory: str, config_settings: dict[str, Any] | None = None) -> str:  # noqa: ARG001
    """Build an sdist, which has the lock in it whatever else was chosen: wheels are built from it too.

    :raises EnvbuildError: as `build_wheel`.
    """
    from envbuild.backend import making

    return making.build_sdist(os.getcwd(), sdist_directory)
