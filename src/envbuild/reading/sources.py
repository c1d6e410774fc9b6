"""Sources: the files that one definition is read from, and all that is found to be wrong with them.

Reading never stops at the first mistake: a reader notes it here, with the file and the line it stands in, and
goes on; `Sources.check` raises them all at once. The files are noted too, because a definition changes when any
of them does.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from envbuild.digest import Digest
from envbuild.errors import DefinitionError, Problem
from envbuild.requirement import without_credentials_in

LARGEST = 10_000_000
"""How many bytes a file that people write may have."""


@dataclass(frozen=True, slots=True)
class Place:
    """A line of a file; or, of what stands in no file, the place in it.

    :param file: for what stands in no file, any name in the folder that its relative paths are meant from.
    :param said: what stands in no file is told by this, such as ``dependencies[2]``.
    """

    file: Path
    line: int | None = None
    said: str = ""

    @property
    def folder(self) -> Path:
        """Where relative paths in the file are meant from."""
        return self.file.parent


@dataclass(slots=True)
class Sources:
    """The files of one definition.

    :param root: the folder of the definition itself, which all its paths are told from.
    :param variables: what ``${NAME}`` stands for.
    """

    root: Path
    variables: Mapping[str, str]
    problems: list[Problem] = field(default_factory=list)
    files: dict[Path, None] = field(default_factory=dict)

    def wrong(self, place: Place, message: object) -> None:
        """Note a mistake; credentials in URLs that the message repeats are left out."""
        said = without_credentials_in(str(message))
        problem = Problem(place.said or shown(place.file), place.line, said)
        if problem not in self.problems:
            self.problems.append(problem)

    def check(self) -> None:
        """Go on only if nothing is wrong.

        :raises DefinitionError: with every mistake that was noted.
        """
        if self.problems:
            raise DefinitionError(*self.problems)

    def contents(self, path: Path) -> bytes:
        """The bytes of a file that people write.

        :raises ValueError: it is not there, not a file, too large, or cannot be read; the message says which.
        """
        with _told(path):
            if path.is_dir():
                raise ValueError(f"{shown(path)!r} is a folder, not a file")
            if not path.is_file() and path.exists():
                raise ValueError(f"{shown(path)!r} is not an ordinary file")
            if path.stat().st_size > LARGEST:
                raise ValueError(f"{shown(path)!r} is larger than {LARGEST // 1_000_000} MB: nobody wrote that by hand")
            data = path.read_bytes()
        self.files[path] = None
        return data

    def text(self, path: Path) -> str:
        r"""The text of a file that has to be UTF-8, with ``\n`` at the end of each line.

        :raises ValueError: as for `contents`, or it is not text, or empty.
        """
        return written_text(self.contents(path))

    def digest(self, path: Path) -> Digest:
        """The digest of a file of any size.

        :raises ValueError: it cannot be read.
        """
        with _told(path), path.open("rb") as stream:
            found = Digest.of_stream(stream)
        self.files[path] = None
        return found


def written_text(data: bytes) -> str:
    r"""Decode a file that has to be UTF-8.

    :raises ValueError: it is not, or it is binary, or empty.

    >>> written_text(b"one\r\ntwo")
    'one\ntwo'
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise ValueError(f"not UTF-8: byte 0x{data[error.start]:02x} in line {line}; save it as UTF-8") from error
    return ordinary(text)


def ordinary(text: str) -> str:
    r"""``text`` with ``\n`` at the end of each line.

    :raises ValueError: it is binary, or empty.
    """
    if "\0" in text:
        raise ValueError("this is a binary file, not a definition")
    if not text.strip():
        raise ValueError("the file is empty")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def shown(path: Path) -> str:
    """How messages call a file: from the working directory where it lies below that, else in full."""
    try:
        return path.relative_to(Path.cwd()).as_posix()
    except (ValueError, OSError):
        return path.as_posix()


def absolute(path: Path) -> Path:
    """``path`` in full, without ``..`` and with symbolic links as they are."""
    return Path(os.path.abspath(path))  # noqa: PTH100 - `resolve` would follow links, and the folder of the link counts


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Say what the operating system says about ``path`` as a `ValueError`."""
    try:
        yield
    except FileNotFoundError as error:
        raise ValueError(f"no such file: {shown(path)!r}") from error
    except OSError as error:
        raise ValueError(f"{shown(path)!r} cannot be read: {error.strerror}") from error
