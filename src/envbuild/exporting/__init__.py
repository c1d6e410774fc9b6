"""Exporting: a lock in the words of other tools, so that they install the same artifacts.

Each module writes one format, `FORMATS` says which; nothing here reads or writes a file. What a format has no words
for is said in `Exported.left_out`, and what it could not be installed without is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING

from envbuild.errors import Refused

if TYPE_CHECKING:
    from envbuild.definition import Definition
    from envbuild.exporting.exported import Exported
    from envbuild.lock import Lock

FORMATS = ("conda", "explicit", "conda-lock", "pixi", "requirements", "pylock", "dockerfile", "devcontainer")
"""What `export` writes."""


def export(format: str, lock: Lock, definition: Definition, *, builds: bool = True, md5: bool = False) -> Exported:  # noqa: A002
    """Write ``lock`` in one of `FORMATS`.

    :param definition: what it was made of, with the name that the environment is to have.
    :param builds: name the builds of conda packages where the format leaves the choice; without them, the file says
        something for other platforms too.
    :param md5: pin conda packages by it where the format leaves the choice, for tools that know no SHA-256.
    :raises LockError: the format cannot hold this lock.
    :raises Refused: something in it is on this machine only.
    """
    if lock.is_observed:
        raise Refused(
            f"{definition.name} is an interpreter that somebody else looks after, and that only this machine has",
            hint="define an environment with the same packages, and export that",
        )
    module = import_module(f"envbuild.exporting.{format.replace('-', '_')}")
    write: Callable[..., Exported] = module.write
    if format == "conda":
        return write(lock, definition, builds=builds)
    if format == "explicit":
        return write(lock, definition, md5=md5)
    return write(lock, definition)
