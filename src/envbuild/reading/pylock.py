"""``pylock.toml``: a lock that some tool made (PEP 751), to be installed as it stands."""

from __future__ import annotations

import re
from pathlib import Path

from envbuild.definition import Definition
from envbuild.digest import Digest
from envbuild.errors import LockError
from envbuild.lock import read_pylock
from envbuild.reading.asked import Asked, assemble
from envbuild.reading.sources import Place, Sources, shown, written_text
from envbuild.requirement import PylockFile


def read(path: Path, sources: Sources) -> Definition:
    """Read a lock, whoever made it."""
    given: dict[str, PylockFile] = {}
    python = None
    try:
        data = sources.contents(path)
        found = read_pylock(written_text(data), where=shown(path))
        given["pylock"] = PylockFile(Digest.of(data), path=path.name)
        python = str(found.requires_python) if found.requires_python else None
    except LockError as error:
        line = re.search(r"\(at line (\d+),", str(error))
        sources.wrong(Place(path, int(line[1]) if line else None), str(error).removeprefix(f"{shown(path)}: "))
    except ValueError as error:
        sources.wrong(Place(path), error)
    return assemble(Asked(sources), {"python": python}, lambda _: Place(path), source=path, **given)
