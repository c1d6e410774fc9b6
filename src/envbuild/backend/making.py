"""What becomes of the archives that hatchling has built for a project."""

from __future__ import annotations

import os
from pathlib import Path

from hatchling.builders.sdist import SdistBuilder
from hatchling.builders.wheel import WheelBuilder

from envbuild import distributions

_LOCK = "pylock.toml"


def settle_wheel(root: str, wheel: str) -> None:
    """Add the lock and the SBOM to a wheel, and make it the same as everybody's."""
    builder = WheelBuilder(root)
    distributions.settle_wheel(Path(wheel), sboms(root, builder), _when(builder.config.reproducible))


def settle_sdist(root: str, sdist: str) -> None:
    """Add the lock to an sdist, and make it the same as everybody's."""
    lock = lock_file(root)
    added = {lock.name: lock.read_bytes()} if lock else {}
    distributions.settle_sdist(Path(sdist), added, _when(SdistBuilder(root).config.reproducible))


def sboms(root: str, builder: WheelBuilder) -> dict[str, bytes]:
    """The files for a wheel's ``.dist-info`` folder; none where there is no lock.

    :raises LockError: the lock cannot be read, or has credentials in it.
    """
    lock = lock_file(root)
    if lock is None:
        return {}
    # Without a lock, a project is built with hatchling and nothing else.
    from envbuild import sbom

    return sbom.sboms(lock.read_bytes(), builder.metadata.core.raw_name, builder.metadata.version, where=str(lock))


def lock_file(root: str) -> Path | None:
    """The project's lock, if it has one."""
    found = Path(root, _LOCK)
    return found if found.is_file() else None


def _when(reproducible: bool) -> int | None:
    return distributions.epoch(os.environ) if reproducible else None
