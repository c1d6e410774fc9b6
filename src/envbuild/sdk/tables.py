"""Tables: small facts of a workspace that people give names to, each table a JSON file in the workspace's folder.

A table is read without a lock and changed under one, and who reads it sees it before a change or after, never between.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from envbuild.errors import Damaged

if TYPE_CHECKING:
    from envbuild.workspace import Workspace as Core

COMPUTE = "compute"
DATASTORES = "datastores"
WORKSPACE = "workspace"


def file_of(core: Core, table: str) -> Path:
    """Where a table is."""
    return core.root / f"{table}.json"


def read(core: Core, table: str) -> dict[str, Any]:
    """What stands in a table; empty if nothing was ever entered.

    :raises Damaged: it cannot be read.
    """
    file = file_of(core, table)
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError) as error:
        raise Damaged(f"{file} cannot be read: {error}", hint="mend it, or remove it to begin anew") from error
    if not isinstance(content, dict):
        raise Damaged(f"{file} is damaged: a mapping is wanted", hint="mend it, or remove it to begin anew")
    return content


@contextmanager
def changing(core: Core, table: str) -> Iterator[dict[str, Any]]:
    """A table to be changed in place; it is written when the block ends, and not when it raises.

    :raises Damaged: it cannot be read.
    :raises StoreError: it cannot be written.
    """
    with core.store.locked(table):
        content = read(core, table)
        yield content
        core.store.write(file_of(core, table), f"{json.dumps(content, indent=2, sort_keys=True)}\n".encode())
