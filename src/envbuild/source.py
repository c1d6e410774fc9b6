"""Sources: projects on this machine that environments are built from, file by file.

Which files belong to a project is what `envbuild.snapshot` says of the source of a run: caches, virtual environments
and what is ignored do not.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from envbuild.digest import Digest
from envbuild.snapshot import SourceFile, look


def source_files(root: Path) -> dict[str, str]:
    """What each file of a project holds, by its path: a digest, or ``link`` and where it leads.

    Neither the place of the folder nor times count; whether a file may be executed does.

    :raises NotFound: there is no such folder.
    """
    return {each.path: _content(root, each) for each in look(root).files}


def copy_source(root: Path, destination: Path) -> None:
    """Copy a project's files, and nothing else, into the new folder ``destination``.

    :raises NotFound: there is no such folder.
    """
    for each in look(root).files:
        copy = destination / each.path
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(root / each.path, copy, follow_symlinks=not each.is_link or _is_elsewhere(root / each.path))


def _content(root: Path, file: SourceFile) -> str:
    return " ".join(_words(root / file.path, file))


def _is_elsewhere(link: Path) -> bool:
    """Whether a link leads to a file by its place on this machine: then that file's content is what the project has."""
    return link.readlink().is_absolute() and link.is_file()


def _words(path: Path, file: SourceFile) -> Iterator[str]:
    if file.is_link and not _is_elsewhere(path):
        yield from ("link", os.readlink(path))  # noqa: PTH115
        return
    with path.open("rb") as stream:
        yield str(Digest.of_stream(stream))
    if file.is_executable:
        yield "executable"
