"""Files: how the outputs of a run come to lie in its folder, and nowhere else."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO

OUTPUTS = "outputs"
LOGS = "logs"
_ASIDE = ".envbuild-part"


class Folder:
    """The folder of a run, or, without one, the folder that the script was started in.

    A name is a path relative to it with ``/`` between its parts; where it does not begin with ``outputs/``, that
    is put before it, so that ``model.pkl`` and ``outputs/model.pkl`` are one file.
    """

    def __init__(self, root: str) -> None:
        self.root = os.path.abspath(root)

    def place(self, name: str) -> str:
        """Where a file of that name is put.

        :raises ValueError: that would be outside ``outputs``.
        """
        parts = _parts(name)
        place = self._below(OUTPUTS, parts[1:] if parts[:1] == [OUTPUTS] else parts)
        if place is None or _is_absolute(name):
            raise ValueError(f"{name!r} is not a path inside the outputs of the run, such as 'outputs/model.pkl'")
        return place

    def find(self, name: str) -> str:
        """Where the file or folder of that name lies, under ``outputs`` or, by its full name, under ``logs``.

        :raises ValueError: there is none.
        """
        parts = _parts(name)
        if parts[:1] == [OUTPUTS]:
            places = [self._below(OUTPUTS, parts[1:]) if parts[1:] else os.path.join(self.root, OUTPUTS)]
        else:
            places = [self._below(LOGS, parts[1:]) if parts[:1] == [LOGS] else None, self._below(OUTPUTS, parts)]
        for place in places:
            if place is not None and not _is_absolute(name) and os.path.exists(place):
                return place
        raise ValueError(f"the run has no file {name!r}; it has: {', '.join(self.names()) or 'none'}")

    def give(self, place: str, target: str) -> None:
        """Copy a file that `find` has found; folders on the way are made."""
        import shutil

        os.makedirs(os.path.dirname(os.path.abspath(target)), exist_ok=True)
        shutil.copyfile(place, target)

    def _below(self, part: str, parts: list[str]) -> str | None:
        top = os.path.join(self.root, part)
        place = os.path.join(top, *parts)
        return place if parts and ".." not in parts and _is_in(place, top) else None

    def take(self, name: str, source: str | os.PathLike[str] | IO[bytes]) -> str:
        """Put a copy of a file, or of what a stream still has to give, under ``name``; what was there is replaced.

        :returns: the name, as `names` has it.
        :raises FileNotFoundError: there is no such file.
        """
        import shutil

        place = self.place(name)
        if hasattr(source, "read"):
            with self._written(place) as out:
                _copy(source, out)  # type: ignore[arg-type]
            return self._name(place)
        if not (os.path.exists(place) and os.path.samefile(source, place)):  # type: ignore[arg-type]
            with open(source, "rb") as stream, self._written(place) as out:  # type: ignore[arg-type]
                shutil.copyfileobj(stream, out, 1 << 20)
        return self._name(place)

    def take_folder(self, name: str, source: str | os.PathLike[str]) -> list[str]:
        """Put copies of all files of a folder under ``name``.

        :raises NotADirectoryError: there is no such folder.
        """
        if not os.path.isdir(source):
            raise NotADirectoryError(f"not a folder: {os.fspath(source)!r}")
        found = []
        for path in _files(os.fspath(source)):
            inner = os.path.relpath(path, source).replace(os.sep, "/")
            found.append(self.take(f"{name}/{inner}", path))
        return found

    def free(self, name: str) -> str:
        """``name``, or with ``-2``, ``-3``, … in it the first name that no file has; the file is made.

        Of several processes that ask for one name at a time each gets its own.
        """
        stem, suffix = os.path.splitext(name)
        count = 1
        while True:
            wanted = name if count == 1 else f"{stem}-{count}{suffix}"
            place = self.place(wanted)
            os.makedirs(os.path.dirname(place), exist_ok=True)
            try:
                os.close(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644))
            except FileExistsError:
                count += 1
            else:
                return wanted

    def names(self) -> list[str]:
        """The files under ``outputs`` and ``logs``, but for links that lead out of there."""
        found = []
        for part in (OUTPUTS, LOGS):
            top = os.path.join(self.root, part)
            found.extend(self._name(path) for path in _files(top) if not os.path.islink(path) or _is_in(path, top))
        return found

    def _name(self, place: str) -> str:
        return os.path.relpath(place, self.root).replace(os.sep, "/")

    def _written(self, place: str) -> _Replacing:
        os.makedirs(os.path.dirname(place), exist_ok=True)
        return _Replacing(place)


class _Replacing:
    """A file that appears under its name once it is whole."""

    def __init__(self, place: str) -> None:
        self._place = place
        self._aside = f"{place}.{os.getpid()}.{os.urandom(4).hex()}{_ASIDE}"

    def __enter__(self) -> IO[bytes]:
        self._stream = open(self._aside, "wb")
        return self._stream

    def __exit__(self, kind: object, error: object, at: object) -> None:
        self._stream.close()
        if kind is None:
            os.replace(self._aside, self._place)
        else:
            os.unlink(self._aside)


def _parts(name: str) -> list[str]:
    return [part for part in str(name).replace("\\", "/").split("/") if part not in ("", ".")]


def _is_in(place: str, top: str) -> bool:
    return os.path.realpath(place).startswith(os.path.realpath(top) + os.sep)


def _is_absolute(name: str) -> bool:
    text = str(name)
    return text.startswith(("/", "\\")) or os.path.isabs(text) or bool(os.path.splitdrive(text)[0])


def _copy(stream: IO[bytes], out: IO[bytes]) -> None:
    while True:
        data = stream.read(1 << 20)
        if not data:
            return
        out.write(data.encode("utf-8") if isinstance(data, str) else data)


def _files(folder: str) -> list[str]:
    found = []
    for where, _, files in os.walk(folder):
        found.extend(os.path.join(where, name) for name in files if not name.endswith(_ASIDE))
    return sorted(found)
