"""Sources: projects on this machine that environments are built from, file by file.

Which files belong to a project is what `envbuild.snapshot` says of the source of a run: caches, virtual environments
and what is ignored do not.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from unicodedata import normalize

from envbuild.digest import Digest
from envbuild.errors import EnvbuildError
from envbuild.snapshot import SourceFile, look
from envbuild.written import being_written

_LEAVE_OUT = "rename it, or name it in .envbuildignore"


def files_of(root: Path) -> tuple[SourceFile, ...]:
    """The files of a project.

    What this process itself is writing to is nobody's source: with ``envbuild run x.py > log.txt`` in the project's
    folder, that file grows with everything that is said.

    :raises NotFound: there is no such folder.
    """
    found, writing = look(root).files, being_written()
    return tuple(each for each in found if _identity(root, each) not in writing)


def writes_to(root: Path) -> bool:
    """Whether this process is writing to a file in the folder of a project, which `files_of` leaves out."""
    found, writing = look(root).files, being_written()
    return any(_identity(root, each) in writing for each in found)


def _identity(root: Path, file: SourceFile) -> tuple[int, int] | None:
    try:
        facts = (root / file.path).stat() if file.is_link else file.stat
    except OSError:
        return None
    return facts.st_dev, facts.st_ino


def source_files(root: Path) -> dict[str, str]:
    """What each file of a project holds, by its path: a digest, or ``link`` and where it leads.

    Neither the place of the folder nor times count, nor what this process is writing to (`files_of`); whether a file
    may be executed does.

    :raises NotFound: there is no such folder.
    :raises EnvbuildError: a file has a name that is no Unicode, or two have one that is spelled in two ways: a file
        system may tell them apart, and a digest does not.
    """
    files = files_of(root)
    known: dict[str, str] = {}
    for path in (each.path for each in files):
        if not _is_text(path):
            raise EnvbuildError(f"{root}: the name of {path!a} is no Unicode", hint=_LEAVE_OUT)
        other = known.setdefault(normalize("NFC", path), path)
        if other != path:
            said = f"{other!a} and {path!a} are two spellings of one name"
            raise EnvbuildError(f"{root}: {said}", hint=_LEAVE_OUT)
    return {each.path: _content(root, each) for each in files}


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def copy_source(root: Path, destination: Path) -> None:
    """Copy a project's files, and nothing else, into the new folder ``destination``.

    :raises NotFound: there is no such folder.
    """
    for each in files_of(root):
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
