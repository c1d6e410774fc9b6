"""The store: content by digest, on this machine's disk.

It is an OCI image layout, so any OCI tool can read it, and it has three promises. What it gives has the digest that
was asked for. Whoever is killed, at whatever moment, leaves a store that works: everything is made in ``scratch/``
and renamed into place. And what no living process holds can be told from what one does, for whoever makes something
holds a lock (``flock``) that the system lets go of when the process ends, however it ends.

Readers take no lock. What environments the store holds is the business of `envbuild.images`, what may be thrown
away that of `envbuild.collect`.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import BinaryIO, Literal, Protocol, TypeVar

from envbuild.digest import Digest
from envbuild.errors import Damaged, NotFound, StoreError
from envbuild.layout import BLOBS, IMAGES, LEASES, LOCKS, SCRATCH, WORKSPACE_VARIABLE

_CHUNK = 1 << 20
_HEX = re.compile(r"[0-9a-f]{64}")
_NOT_PLAIN = re.compile(r"[^A-Za-z0-9._-]+")

_MARKS = {
    "CACHEDIR.TAG": b"Signature: 8a477f597d28d172789f06886806bc55\n"
    b"# This folder is a cache made by envbuild: https://bford.info/cachedir/\n",
    "index.json": b'{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}\n',
    "oci-layout": b'{"imageLayoutVersion":"1.0.0"}\n',
}

# Held shared by whoever relies on a blob that is there already, and alone by whoever removes one. No name that
# `Store.locked` is given comes out as this one.
_BLOBS_LOCK = ".blobs"

_READ_ONLY = 0o444
_FULL = (errno.ENOSPC, errno.EDQUOT)
_FORBIDDEN = (errno.EROFS, errno.EACCES, errno.EPERM)
# What link(2) says where there is nothing wrong but that this file cannot be linked there.
_CANNOT_LINK = (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EACCES)

_TRY_AGAIN = "get it again; if it stays so, it is not what was locked, or the way to it is damaged"

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class Readable(Protocol):
    """What bytes can be read from: a file, an answer of a server."""

    def read(self, size: int, /) -> bytes:
        """Give up to ``size`` bytes, and none at the end."""
        ...


@dataclass(frozen=True, order=True, slots=True)
class Damage:
    """One thing that is not as it was put there.

    :param path: relative to the store, or to the environment.
    :param digest: of the blob that should be there, where it is one.

    >>> str(Damage("edited", "lib/python3.11/site-packages/six.py"))
    'edited: lib/python3.11/site-packages/six.py'
    """

    what: Literal["edited", "missing", "unexpected", "unreadable"]
    path: str
    digest: Digest | None = None

    def __str__(self) -> str:
        return f"{self.what}: {self.path}"


class Store:
    """Blobs by digest, and the locks and the scratch room that all who write beside them share.

    Nothing is made on disk before the first write.

    :param root: the folder; a file system that knows ``flock`` and hard-to-lose renames, which all local ones do.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._blobs = os.path.join(root, BLOBS)  # noqa: PTH118  joining paths takes longer than keeping a small file
        self._prepared = False

    def __repr__(self) -> str:
        return f"Store({str(self.root)!r})"

    # What is there

    def path(self, digest: Digest) -> Path:
        """Where the blob is kept, whether or not it is there; to be read, never to be written."""
        return self.root / BLOBS / digest.hex

    def _place(self, digest: Digest) -> str:
        return f"{self._blobs}/{digest.hex}"

    def __contains__(self, digest: object) -> bool:
        return isinstance(digest, Digest) and self.path(digest).exists()

    def digests(self) -> Iterator[Digest]:
        """Name all blobs, in order."""
        return (Digest(name) for name in self._names() if _HEX.fullmatch(name))

    def _names(self) -> list[str]:
        try:
            return sorted(path.name for path in (self.root / BLOBS).iterdir())
        except FileNotFoundError:
            return []

    # In

    def put(self, data: bytes, *, durable: bool = True) -> Digest:
        """Keep ``data``; nothing is written if it is there already.

        :param durable: see to it that it outlasts a power cut. Without, one may leave a blob of the wrong size, which
            the next put of it mends, or with the wrong content, which `verify` finds. That will do, and is much
            quicker, for what can be had again, such as copies of files that are still in the source folder.
        :raises StoreError: the store cannot be written.
        """
        return self._put_bytes(Digest.of(data), data, durable)

    def put_file(
        self, path: Path, *, expected: Digest | None = None, link: bool = False, durable: bool = True
    ) -> Digest:
        """Keep what ``path`` holds.

        :param expected: what it has to be.
        :param link: make the file itself the blob where the file system allows it. It is then read-only and its time
            is now; whoever edits it all the same damages the blob.
        :param durable: as in `put`.
        :raises NotFound: there is no such file.
        :raises Damaged: it is not what was expected; nothing is kept.
        :raises StoreError: the store cannot be written, or ``path`` is not a file or cannot be read.
        """
        found = _regular_file(path)
        if link and found.st_uid == os.geteuid():
            digest = self._put_link(path, expected, durable)
            if digest is not None:
                return digest
        with _opened(path) as stream:
            if found.st_size <= _CHUNK:
                data = stream.read()
                return self._put_bytes(_as_expected(Digest.of(data), expected, str(path)), data, durable)
            if expected is None or expected in self:
                # To read it twice is cheaper than to write what is there already.
                digest = _as_expected(Digest.of_stream(stream), expected, str(path))
                if self._present(digest, stream.tell()):
                    return digest
                stream.seek(0)
            return self._put_stream(stream, str(path), expected, None, durable=durable)

    def _put_bytes(self, digest: Digest, data: bytes, durable: bool) -> Digest:
        if not self._present(digest, len(data)):
            with self._temporary() as temporary:
                temporary.write(data)
                temporary.settle(self._place(digest), _READ_ONLY, durable=durable)
        return digest

    def put_stream(self, stream: Readable, *, expected: Digest | None = None, size: int | None = None) -> Digest:
        """Keep what ``stream`` gives, and check it while it comes in.

        What the stream itself raises is passed on, and nothing is kept.

        :param size: how many bytes it has to be; reading stops with the first one too many.
        :raises Damaged: it is not what was expected; nothing is kept.
        :raises StoreError: the store cannot be written.
        """
        return self._put_stream(stream, "what came", expected, size)

    def _put_stream(
        self, stream: Readable, name: str, expected: Digest | None, size: int | None, *, durable: bool = True
    ) -> Digest:
        hasher, count = hashlib.sha256(), 0
        with self._temporary() as temporary:
            while chunk := stream.read(_CHUNK):
                count += len(chunk)
                if size is not None and count > size:
                    raise Damaged(f"{name} is more than the {size} bytes that it should be", hint=_TRY_AGAIN)
                hasher.update(chunk)
                temporary.write(chunk)
            if size is not None and count < size:
                raise Damaged(f"{name} ended after {count} of {size} bytes", hint=_TRY_AGAIN)
            digest = _as_expected(Digest(hasher.hexdigest()), expected, name)
            if not self._present(digest, count):
                temporary.settle(self._place(digest), _READ_ONLY, durable=durable)
        return digest

    def _put_link(self, path: Path, expected: Digest | None, durable: bool) -> Digest | None:
        """Make the file a blob by giving it a second name; ``None`` where that is not possible."""
        with self.scratch("link") as folder:
            linked = folder / "blob"
            try:
                # A link to a symbolic link would not be the content.
                os.link(path.resolve(), linked)
            except OSError as error:
                if error.errno in _CANNOT_LINK:
                    return None
                raise
            with _opened(linked) as stream:
                digest = _as_expected(Digest.of_stream(stream), expected, str(path))
                if not self._present(digest, os.fstat(stream.fileno()).st_size):
                    # A time long past would let gc take the new blob for one that nobody wants.
                    os.utime(linked)
                    made = _Temporary(str(linked), stream.fileno(), self.root)
                    made.settle(self._place(digest), _READ_ONLY, durable=durable)
        return digest

    def _present(self, digest: Digest, size: int) -> bool:
        """Say whether the blob is there, and see to it that gc leaves it alone for a while if it is."""
        path = self._place(digest)
        try:
            if os.stat(path).st_size != size:  # noqa: PTH116  see _blobs
                return False
            with _flock(self.root / LOCKS / _BLOBS_LOCK, fcntl.LOCK_SH):
                os.utime(path)
        except FileNotFoundError:
            return False
        except OSError as error:
            # Where this process may not touch a blob, it is there all the same.
            if error.errno not in (*_FORBIDDEN, *_FULL):
                raise
        return True

    # Out

    def read(self, digest: Digest, *, verify: bool = True) -> bytes:
        """Give the bytes.

        :raises NotFound: there is no such blob.
        :raises Damaged: the bytes are not those of ``digest``.
        """
        with self.open(digest) as stream:
            data = stream.read()
        if verify and Digest.of(data) != digest:
            raise self._damaged(digest)
        return data

    def open(self, digest: Digest) -> BinaryIO:
        """Open the blob to read from it, unchecked. It can be read to its end whatever gc does meanwhile.

        :raises NotFound: there is no such blob.
        """
        try:
            return self.path(digest).open("rb")
        except FileNotFoundError:
            raise NotFound(f"the store has no {digest}: {self.path(digest)} is not there") from None

    def copy_to(self, digest: Digest, destination: Path, *, mode: int = 0o644) -> None:
        """Write the blob to ``destination``: all of it, checked, or nothing at all.

        It is always a copy, never a link, so that nobody can edit a blob from outside.

        :raises NotFound: there is no such blob.
        :raises Damaged: the bytes are not those of ``digest``; ``destination`` is as it was.
        :raises StoreError: ``destination`` cannot be written.
        """
        beside = destination.with_name(f".{destination.name}.{_token()}")
        hasher = hashlib.sha256()
        with self.open(digest) as stream, writing(destination.parent):
            try:
                with beside.open("xb", buffering=0) as file:
                    while chunk := stream.read(_CHUNK):
                        hasher.update(chunk)
                        _write_all(file.fileno(), chunk)
                    os.fchmod(file.fileno(), mode)
                if hasher.hexdigest() != digest.hex:
                    raise self._damaged(digest)
                beside.replace(destination)
            finally:
                beside.unlink(missing_ok=True)

    def remove(self, digest: Digest) -> None:
        """Throw the blob away; it is no error if it is not there.

        :raises StoreError: the store cannot be written.
        """
        self.remove_if(digest, lambda _: True)

    def remove_if(self, digest: Digest, unwanted: Callable[[os.stat_result], bool]) -> os.stat_result | None:
        """Throw the blob away if, now that nobody can begin to rely on it, it is still ``unwanted``.

        :returns: what it was, or ``None`` if it was wanted, or not there.
        """
        path = self.path(digest)
        if not path.exists():
            return None
        with writing(self.root), _flock(self.root / LOCKS / _BLOBS_LOCK, fcntl.LOCK_EX):
            try:
                found = path.stat()
                if not unwanted(found):
                    return None
                path.unlink()
            except FileNotFoundError:
                return None
        return found

    def verify(self) -> Iterator[Damage]:
        """Read every blob, and name those that are not what they are kept as.

        A damaged blob is mended by removing it and putting what it should be.
        """
        names = self._names()
        return (damage for damage in in_threads(self._check, names) if damage is not None)

    def _check(self, name: str) -> Damage | None:
        path = f"{BLOBS}/{name}"
        if not _HEX.fullmatch(name):
            return Damage("unexpected", path)
        digest = Digest(name)
        try:
            with self.path(digest).open("rb") as stream:
                return None if Digest.of_stream(stream) == digest else Damage("edited", path, digest)
        except FileNotFoundError:
            return None  # gone since the folder was read, as blobs that nobody needs may go
        except OSError:
            return Damage("unreadable", path, digest)

    def _damaged(self, digest: Digest) -> Damaged:
        message = f"{self.path(digest)} does not hold what {digest} stands for: it was edited, or the disk failed"
        return Damaged(message, hint="run 'envbuild store verify'")

    # Making things

    @contextmanager
    def scratch(self, label: str = "") -> Iterator[Path]:
        """Lend an empty folder on the store's file system, to make something in.

        It is deleted in the end, unless it has been renamed into place. If the process dies, `abandoned` finds it.

        :raises StoreError: the store cannot be written.
        """
        self.prepare()
        folder = self.root / SCRATCH / "-".join(filter(None, (_plain(label), _token())))
        with self._held(f"{folder}.lock"):
            with writing(self.root):
                folder.mkdir()
            try:
                yield folder
            finally:
                delete_tree(folder)

    def abandoned(self) -> Iterator[Path]:
        """Give each file and folder in the scratch room that no living process holds.

        Nobody else is given it until the next one is asked for: that is the time to delete it.
        """
        scratch = self.root / SCRATCH
        for lock in sorted(scratch.iterdir()) if scratch.is_dir() else ():
            path = lock.with_suffix("") if lock.suffix == ".lock" else lock
            if path is lock and not _is_plain_file(path):
                # A folder is made after its lock and deleted before it: one that has none belongs to nobody.
                if not path.with_name(f"{path.name}.lock").exists() and os.path.lexists(path):
                    yield path
                continue
            with _tried(lock) as held:
                if held and os.path.lexists(path):
                    yield path
                if held and not os.path.lexists(path):
                    lock.unlink(missing_ok=True)

    @contextmanager
    def locked(self, name: str, waiting: Callable[[], None] | None = None) -> Iterator[None]:
        """Be the only one who is in here under ``name``; whoever asks again from inside waits forever.

        :param waiting: called once, if somebody else is in.
        :raises StoreError: the store cannot be written.
        """
        self.prepare()
        with writing(self.root):
            # Never deleted: whoever waits for a deleted lock waits for another one than who comes after.
            descriptor = _open_lock(self.root / LOCKS / (_plain(name) or "_"))
        try:
            _wait_for(descriptor, waiting)
            yield
        finally:
            os.close(descriptor)

    def prepare(self) -> None:
        """Make the folders and what marks them as an OCI image layout and as a cache; every write begins with it.

        :raises StoreError: the store cannot be written.
        """
        if self._prepared:
            return
        with writing(self.root):
            for folder in (BLOBS, IMAGES, LEASES, LOCKS, SCRATCH):
                (self.root / folder).mkdir(parents=True, exist_ok=True)
        self._prepared = True
        for name, content in _MARKS.items():
            if not (self.root / name).exists():
                self.write(self.root / name, content)

    def write(self, path: Path, content: bytes) -> None:
        """Write a small file of the store: all of it or nothing, whoever is killed.

        :raises StoreError: the store cannot be written.
        """
        with self._temporary() as temporary:
            temporary.write(content)
            temporary.settle(str(path), 0o644)

    @contextmanager
    def _temporary(self) -> Iterator[_Temporary]:
        self.prepare()
        path = f"{self.root}/{SCRATCH}/file-{_token()}"
        with self._held(path) as descriptor:
            yield _Temporary(path, descriptor, self.root)

    @contextmanager
    def _held(self, path: str) -> Iterator[int]:
        """Make a file, hold its lock, and delete it in the end."""
        with writing(self.root):
            descriptor = _make_locked(path)
        try:
            yield descriptor
        finally:
            with suppress(FileNotFoundError):
                os.unlink(path)  # noqa: PTH108  see _blobs
            os.close(descriptor)


@dataclass(frozen=True, slots=True)
class _Temporary:
    """A file in the scratch room that is going to be something else."""

    path: str
    descriptor: int
    root: Path

    def write(self, data: bytes) -> None:
        with writing(self.root):
            _write_all(self.descriptor, data)

    def settle(self, destination: str, mode: int, *, durable: bool = True) -> None:
        with writing(self.root):
            os.fchmod(self.descriptor, mode)
            if durable:
                os.fsync(self.descriptor)
            os.rename(self.path, destination)  # noqa: PTH104  see _blobs
            if durable:
                sync_folder(Path(destination).parent)


# Locks


@contextmanager
def lease(path: Path) -> Iterator[None]:
    """Share the lock of ``path``, which is made if need be, with all others who have a lease on it.

    Where nothing can be written, nobody can throw anything away either, and an existing lease will do.
    """
    with _flock(path, fcntl.LOCK_SH):
        yield


@contextmanager
def no_lease(path: Path) -> Iterator[bool]:
    """Keep everyone from getting a lease on ``path``; gives ``False`` if somebody has one."""
    descriptor = _open_lock(path)
    try:
        yield _is_free(descriptor)
    finally:
        os.close(descriptor)


def is_leased(path: Path) -> bool:
    """Say whether anybody has a lease on ``path`` just now."""
    with _tried(path) as held:
        return not held and path.exists()


@contextmanager
def _flock(path: Path, how: int) -> Iterator[None]:
    descriptor = _open_lock(path)
    try:
        fcntl.flock(descriptor, how)
        yield
    finally:
        os.close(descriptor)


def _open_lock(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        if error.errno not in _FORBIDDEN or not path.exists():
            raise
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


def _wait_for(descriptor: int, waiting: Callable[[], None] | None) -> None:
    if waiting is not None:
        if _is_free(descriptor):
            return
        waiting()
    fcntl.flock(descriptor, fcntl.LOCK_EX)


def _is_free(descriptor: int) -> bool:
    """Take the lock if nobody has it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def _tried(path: Path) -> Iterator[bool]:
    """Hold the lock of ``path`` if it is there and nobody has it."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except (FileNotFoundError, PermissionError):
        yield False
        return
    try:
        yield _is_free(descriptor)
    finally:
        os.close(descriptor)


def _make_locked(path: str) -> int:
    """Make a file that nobody can find unlocked, or begin again."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        # Between the two lines above, gc may have taken the file for an abandoned one.
        if os.fstat(descriptor).st_nlink:
            return descriptor
        os.close(descriptor)


# Files


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Turn what the system says when ``folder`` is full or cannot be written into words that help.

    :raises StoreError: it is.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            message = f"cannot write to {folder}: {_in_words(error)}, {_free(folder)} free"
            hint = f"free some with 'envbuild store gc', or set {WORKSPACE_VARIABLE} to a folder with more room"
        elif error.errno in _FORBIDDEN:
            message = f"cannot write to {folder}: {_in_words(error)} ({_free(folder)} free)"
            hint = f"set {WORKSPACE_VARIABLE} to a folder that you may write to"
        else:
            raise
        raise StoreError(message, hint=hint) from error


def delete_tree(path: Path) -> None:
    """Delete a folder and what is in it, as far as possible: also what has been made read-only."""
    # What cannot be deleted, because another process is still writing there or deletes it too, is found by the next gc.
    with suppress(OSError):
        if not path.is_dir() or path.is_symlink():
            path.unlink(missing_ok=True)
            return
        path.chmod(0o700)
        with os.scandir(path) as found:
            for entry in list(found):
                if entry.is_dir(follow_symlinks=False):
                    delete_tree(Path(entry.path))
                else:
                    os.unlink(entry.path)  # noqa: PTH108  a Path for each of many thousand files takes longer than this
        path.rmdir()


def sync_folder(folder: Path) -> None:
    """See to it that the names in ``folder`` outlast a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def in_threads(function: Callable[[_Item], _Result], items: Iterable[_Item]) -> Iterator[_Result]:
    """Do it to all of them, several at a time where hashing lets them, and give the results in order."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        yield from pool.map(function, items)


def _regular_file(path: Path) -> os.stat_result:
    try:
        found = path.stat()
    except FileNotFoundError:
        raise NotFound(f"no such file: {path}") from None
    except PermissionError as error:
        raise StoreError(f"cannot read {path}: {_in_words(error)}") from error
    if not stat.S_ISREG(found.st_mode):
        raise StoreError(f"only files can be kept, and {path} is none")
    return found


def _opened(path: Path) -> FileIO:
    try:
        return open(path, "rb", buffering=0)  # noqa: PTH123  see Store._blobs
    except PermissionError as error:
        raise StoreError(f"cannot read {path}: {_in_words(error)}") from error


def _is_plain_file(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except FileNotFoundError:
        return False


def _write_all(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _as_expected(digest: Digest, expected: Digest | None, name: str) -> Digest:
    if expected is not None and digest != expected:
        raise Damaged(f"{name} is {digest}, and should be {expected}", hint=_TRY_AGAIN)
    return digest


def _token() -> str:
    return os.urandom(8).hex()


def _plain(name: str) -> str:
    """Make a file name of what is mostly one already: never hidden, never outside, never too long."""
    return _NOT_PLAIN.sub("_", name).lstrip(".")[:128]


def _in_words(error: OSError) -> str:
    words = (error.strerror or str(error)).lower()
    return f"{words}: {error.filename}" if error.filename and error.errno not in _FULL else words


def _free(folder: Path) -> str:
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        found = os.statvfs(folder)
    except OSError:
        return "an unknown amount"
    free = found.f_bavail * found.f_frsize
    if found.f_files and not found.f_favail:
        return "no file entry is"  # the bytes are not what is lacking
    return f"{free / 1e6:.1f} MB" if free < 1e9 else f"{free / 1e9:.1f} GB"
