"""Files: how the outputs of a run come to lie in its folder, and nowhere else.

Whoever looks at a run reads what its script has left there, be it a pipe, a device or a link to somewhere else: only
files are files, and what is not below the folder is none of the run's.
"""

from __future__ import annotations

import errno
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO

OUTPUTS = "outputs"
LOGS = "logs"
_ASIDE = ".envbuild-part"
_CAREFUL = sum(getattr(os, name, 0) for name in ("O_NONBLOCK", "O_NOFOLLOW", "O_NOCTTY", "O_BINARY"))


_NOBODYS = frozenset(
    (errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENXIO, errno.ENODEV, errno.ENAMETOOLONG)
)
"""Why something cannot be opened where that is the doing of whoever put it there."""


def open_file(path: str | os.PathLike[str]) -> IO[bytes] | None:
    """Open a file to be read; `None` if there is none, or something else, or it is not for us to read.

    It never waits for anybody, as the opening of a pipe does, and follows no link.

    :raises OSError: it cannot be opened for a reason of this process's own, as when it has too many open.
    """
    flags = os.O_RDONLY | _CAREFUL
    try:
        descriptor = os.open(path, flags)
    except OSError as error:
        if error.errno in _NOBODYS:
            return None
        raise
    if not _is_regular(descriptor):
        os.close(descriptor)
        return None
    return open(descriptor, "rb")


def open_to_append(path: str | os.PathLike[str]) -> int:
    """Open a file, made if need be, so that each write is one at its end; it never waits and follows no link.

    :raises OSError: it cannot be, or something else is there.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | _CAREFUL, 0o644)
    if not _is_regular(descriptor):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a file", os.fspath(path))
    return descriptor


def as_path(found: object) -> str:
    """A path that a user has given, as a text.

    :raises ValueError: it is none. A number would be taken for an open file by whoever opens it.
    """
    path = os.fspath(found) if isinstance(found, os.PathLike) else found
    if not isinstance(path, str):
        raise ValueError(f"a path is a text or a pathlib.Path, not {found!r}")
    return path


class Folder:
    """The folder of a run, or, without one, the folder that the script was started in.

    A name is a path relative to it with ``/`` between its parts; where it does not begin with ``outputs/``, that
    is put before it, so that ``model.pkl`` and ``outputs/model.pkl`` are one file.

    :param own: ``outputs`` and ``logs`` are the user's own, and may be links to anywhere. Those of a run are below it.
    """

    def __init__(self, root: str, own: bool = False) -> None:
        self.root = os.path.abspath(root)
        self._own = own

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
            places = [self._below(OUTPUTS, parts[1:]) if parts[1:] else self._top(OUTPUTS)]
        else:
            places = [self._below(LOGS, parts[1:]) if parts[:1] == [LOGS] else None, self._below(OUTPUTS, parts)]
        for place in places:
            if place is not None and not _is_absolute(name) and (os.path.isfile(place) or os.path.isdir(place)):
                return place
        raise ValueError(f"the run has no file {name!r}; it has: {', '.join(self.names()) or 'none'}")

    def give(self, place: str, target: str) -> None:
        """Copy a file that `find` has found; folders on the way are made.

        :raises FileNotFoundError: it is there no more, or not to be read.
        """
        import shutil

        stream = open_file(os.path.realpath(place))
        if stream is None:
            raise FileNotFoundError(errno.ENOENT, "not a file that can be read", place)
        with stream:
            os.makedirs(os.path.dirname(os.path.abspath(target)), exist_ok=True)
            # To open a file for its own copy would be to empty it.
            if not (os.path.exists(target) and os.path.samestat(os.fstat(stream.fileno()), os.stat(target))):
                with open(target, "wb") as out:
                    shutil.copyfileobj(stream, out, 1 << 20)

    def _below(self, part: str, parts: list[str]) -> str | None:
        top = self._top(part)
        if top is None or not parts or ".." in parts:
            return None
        place = os.path.join(top, *parts)
        return place if _is_in(place, top) else None

    def _top(self, part: str) -> str | None:
        """Where ``outputs`` or ``logs`` is; `None` if that would be outside of the run's folder."""
        top = os.path.join(self.root, part)
        return top if self._own or _is_in(top, self.root) else None

    def take(self, name: str, source: str | os.PathLike[str] | IO[bytes]) -> str:
        """Put a copy of a file, or of what a stream still has to give, under ``name``; what was there is replaced.

        :returns: the name, as `names` has it.
        :raises FileNotFoundError: there is no such file.
        :raises ValueError: ``source`` is neither.
        """
        import shutil

        place = self.place(name)
        if callable(getattr(source, "read", None)):
            with self._written(place) as out:
                _copy(source, out)  # type: ignore[arg-type]
            return self._name(place)
        path = as_path(source)
        if not (os.path.exists(place) and os.path.samefile(path, place)):
            with open(path, "rb") as stream, self._written(place) as out:
                shutil.copyfileobj(stream, out, 1 << 20)
        return self._name(place)

    def take_folder(self, name: str, source: str | os.PathLike[str]) -> list[str]:
        """Put copies of all files of a folder under ``name``.

        :raises NotADirectoryError: there is no such folder.
        :raises ValueError: ``source`` is no path.
        """
        folder = as_path(source)
        if not os.path.isdir(folder):
            raise NotADirectoryError(f"not a folder: {folder!r}")
        found = []
        for path in _files(folder):
            inner = os.path.relpath(path, folder).replace(os.sep, "/")
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
            top = self._top(part)
            if top is not None:
                every = _files(top)
                found.extend(self._name(path) for path in every if not os.path.islink(path) or _is_in(path, top))
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
    try:
        return os.path.realpath(place).startswith(os.path.join(os.path.realpath(top), ""))
    except RecursionError:
        # More links to links than any system follows.
        return False


def _is_regular(descriptor: int) -> bool:
    import stat

    return stat.S_ISREG(os.fstat(descriptor).st_mode)


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
    """All files below ``folder``, with the links to files; pipes, sockets, devices and broken links are none."""
    found = []
    # Older versions of `os.walk` go as deep as the folders do, which may be deeper than Python does.
    waiting = [folder]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    elif not entry.name.endswith(_ASIDE) and os.path.isfile(entry.path):
                        found.append(entry.path)
        except OSError:
            # It has gone meanwhile, or is not for us to see.
            continue
    return sorted(found)
