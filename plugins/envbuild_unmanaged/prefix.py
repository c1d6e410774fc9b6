"""The prefix of an interpreter that somebody else looks after: a folder of ways into it, and nothing of its own.

A link to the Python of a virtual environment would make that take the link's folder for its environment, and find
nothing there. So each of its names is a script of two lines that becomes the real one.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from pathlib import Path

from envbuild_unmanaged.observing import Interpreter


def fill(destination: Path, found: Interpreter) -> None:
    """Make ``bin`` in ``destination``: the interpreter by each of its names, and links to its programs."""
    folder = destination / "bin"
    folder.mkdir()
    for name in sorted(_names(found)):
        script = folder / name
        script.write_text(f'#!/bin/sh\nexec {shlex.quote(str(found.executable))} "$@"\n', encoding="utf-8")
        script.chmod(0o755)
    for program in _programs(found):
        link = folder / program.name
        if not os.path.lexists(link):
            link.symlink_to(program)


def _names(found: Interpreter) -> set[str]:
    """What it is called in its own folder of programs, and what every Python is called."""
    names = {"python", "python3", f"python{'.'.join(found.version.split('.')[:2])}", found.executable.name}
    itself = found.executable.resolve()
    return names | {each.name for each in _programs(found) if each.resolve() == itself}


def _programs(found: Interpreter) -> Iterator[Path]:
    """All in a folder of programs that is its own; in that of a system, those of its distributions."""
    names = {script for each in found.distributions for script in each.scripts}
    for folder in dict.fromkeys((found.scripts, found.executable.parent)):
        for each in sorted(folder.iterdir()) if folder.is_dir() else ():
            if (found.is_its_own or each.name in names) and each.is_file() and os.access(each, os.X_OK):
                yield each


def activated(found: Interpreter) -> dict[str, str]:
    """The variables by which a process knows in which environment it is."""
    own = {"VIRTUAL_ENV": str(found.prefix) if found.virtual else ""}
    if found.conda and not found.virtual:
        own |= {"CONDA_PREFIX": str(found.prefix), "CONDA_DEFAULT_ENV": found.prefix.name}
    # Python would write beside the modules that it compiles, which are not ours.
    return {**own, "PYTHONDONTWRITEBYTECODE": "1"}
