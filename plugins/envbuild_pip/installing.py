"""Installing: a prefix filled by uv with exactly what a lock says."""

from __future__ import annotations

import csv
import fcntl
import io
import os
import re
from collections.abc import Container, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from packaging.utils import canonicalize_name

from envbuild import (
    BuildFailed,
    BuildRequest,
    Damaged,
    Definition,
    Image,
    Lock,
    NotFound,
    Package,
    Platform,
    PythonNotFound,
    Store,
)
from envbuild_pip import interpreters, shared
from envbuild_pip.credentials import opened, with_indexes, write_private
from envbuild_pip.projects import copy_of
from envbuild_pip.resolving import wheel_file
from envbuild_pip.uv import is_network_trouble, run_uv

_UNSAFE = re.compile(r"Skipping unsafe file name: (.*)")
_WATCHED = {"RUST_LOG": "uv_extract=warn"}
"""uv leaves out files of a wheel that would lie outside of it, and says so nowhere but in its log."""

_REPRODUCIBLE = {"SOURCE_DATE_EPOCH": "315532800", "PYTHONHASHSEED": "0"}
"""What makes build backends give the same wheel tomorrow; the caller's own settings count."""


def interpreter_for(lock: Lock, request: BuildRequest) -> Path:
    """The Python that the lock was made for, to the patch.

    :raises PythonNotFound: this machine lacks it; the message lists what it has.
    """
    found = interpreters.exactly(lock.python, request.variables)
    if found:
        return found.path
    listed = ", ".join(str(each) for each in interpreters.installed(request.variables)) or "none"
    raise PythonNotFound(
        f"the lock is for Python {lock.python}, which this machine does not have; found: {listed}",
        hint=f"install it ('uv python install {lock.python}' does), or move the lock to one of these: "
        "envbuild lock --upgrade python",
    )


def make_prefix(interpreter: Path, prefix: Path, request: BuildRequest) -> None:
    """Make an empty prefix; its scripts find their Python wherever it is moved to."""
    command = ["venv", "--quiet", "--relocatable", "--no-project", "--allow-existing", f"--python={interpreter}"]
    code, _, complaint = run_uv([*command, str(prefix)], variables=request.variables, directory=request.scratch)
    if code != 0:
        raise BuildFailed(f"no prefix could be made\n{complaint}")
    for leftover in (".gitignore", ".lock", "CACHEDIR.TAG"):
        (prefix / leftover).unlink(missing_ok=True)
    settings = prefix / "pyvenv.cfg"
    kept = [line for line in settings.read_text(encoding="utf-8").splitlines() if not line.startswith("uv =")]
    settings.write_text("\n".join(kept) + "\n", encoding="utf-8")


def install(definition: Definition, lock: Lock, prefix: Path, request: BuildRequest) -> None:
    """Fill the prefix, every artifact checked against its digest.

    What uv has in its cache is used without asking the network whether it is still the newest: the digest says
    that it is the right one.

    :raises BuildFailed: an artifact cannot be had or installed.
    :raises Damaged: an artifact is not the one that was locked.
    """
    if lock.of_kind("pip", "wheel"):
        skeleton = _skeleton(prefix)
        with known_place(prefix, lock.python, request.store) as known:
            _fill(definition, lock, known, ["sync"], request)
        _check_skeleton(prefix, skeleton)
        strip_traces(prefix)


def complete(definition: Definition, lock: Lock, base: Image, request: BuildRequest) -> None:
    """Fill a prefix in which other packages are already, without touching those.

    :raises BuildFailed: an artifact cannot be had or installed, or has a file that is another package's.
    :raises Damaged: an artifact is not the one that was locked.
    """
    prefix = request.destination
    before = shared.Inventory.of(prefix)
    before.refuse_distributions(lock.of_kind("pip", "wheel"))
    # The prefix may be marked as another tool's, which it is not any more.
    how = ["install", "--no-deps", "--break-system-packages"]
    _fill(definition, lock, prefix, how, request, python=base.python)
    before.refuse_overwritten()
    shared.free_scripts(prefix, before)
    strip_traces(prefix, before.distributions)


def _fill(
    definition: Definition,
    lock: Lock,
    prefix: Path,
    how: Iterable[str],
    request: BuildRequest,
    python: str = "bin/python",
) -> None:
    """Have uv install the pip packages of ``lock`` into ``prefix``.

    :param how: what uv is to do, ``sync`` or ``install``, with options.
    """
    packages = lock.of_kind("pip", "wheel")
    file = request.scratch / "pylock.toml"
    here = tuple(_here(each, definition, lock, request) for each in packages)
    write_private(file, replace(lock, packages=here).to_toml())
    variables = {**_REPRODUCIBLE, **with_indexes(definition, request.variables), **_WATCHED}
    sources = [each.name for each in lock.built_from_source]
    if request.anew:
        _forget_cached(packages, request)
    present = _distributions(prefix)
    command = ["pip", *how, "--quiet", f"--python={prefix / python}", "--preview-features=pylock"]
    command += ["--no-index"] if definition.options.no_index else []
    command += ["--no-build"] if not sources else [f"--only-binary={name}" for name in _without(packages, sources)]
    code, complaint = _install([*command, "--offline"], file, variables, request.scratch)
    # If uv has begun to install, it had all that it needs, and would take what is there for whole.
    has_begun = _distributions(prefix) != present
    if code != 0 and not request.offline and not _is_mismatch(complaint) and not has_begun:
        code, complaint = _install(command, file, variables, request.scratch)
    unsafe = _UNSAFE.findall(complaint)
    if unsafe:
        raise _unsafe(unsafe, replace(lock, packages=here), request)
    if code != 0:
        raise _failure(_said(complaint), definition, request)
    _check_complete(prefix, packages)


@contextmanager
def known_place(prefix: Path, python: str, store: Path) -> Iterator[Path]:
    """Give the prefix a name under which uv has met its Python before.

    uv asks an interpreter about itself when it sees it for the first time, and knows it again by its path. Every
    prefix is built at a path of its own, and the asking would take as long as all the linking. Where another
    process has the name already, the prefix's own serves.
    """
    name = store / "scratch" / f"python-{python}"
    lease = os.open(name.with_name(f"{name.name}.lock"), os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(lease, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lease)
        yield prefix
        return
    try:
        name.unlink(missing_ok=True)
        name.symlink_to(prefix, target_is_directory=True)
        yield name
    finally:
        name.unlink(missing_ok=True)
        os.close(lease)


def _forget_cached(packages: Iterable[Package], request: BuildRequest) -> None:
    """Make uv fetch the packages again: what is linked into a damaged prefix is damaged in its cache too."""
    names = [each.name for each in packages]
    code, _, complaint = run_uv(["cache", "clean", "--quiet", *names], variables=request.variables)
    if code != 0:
        raise BuildFailed(f"uv's cache could not be cleaned\n{complaint}")


def _without(packages: Iterable[Package], names: Iterable[str]) -> list[str]:
    kept = set(names)
    return [each.name for each in packages if each.name not in kept]


def _install(command: list[str], file: Path, variables: Mapping[str, str], scratch: Path) -> tuple[int, str]:
    listed = [str(file)] if "sync" in command else ["--requirements", str(file)]
    code, _, complaint = run_uv([*command, *listed], variables=variables, directory=scratch)
    return code, complaint.replace(f"{scratch}/", "")


def _here(package: Package, definition: Definition, lock: Lock, request: BuildRequest) -> Package:
    """``package`` with its files where uv finds them on this machine."""
    artifact = package.artifact
    if package.kind == "wheel":
        _see_to_wheel(package, lock, request)
        path = wheel_file(package, request.scratch, request.store)
        return replace(package, artifact=replace(artifact, url=None, path=str(path)))
    if artifact.kind == "directory":
        copy = copy_of(package, lock, request.scratch)
        return replace(package, artifact=replace(artifact, path=str(copy), editable=False))
    if artifact.path is not None:
        path = ((lock.root or Path.cwd()) / artifact.path).resolve()
        if not path.exists():
            raise BuildFailed(f"{package}: {path} is not there any more", hint="put it back, or lock again")
        return replace(package, artifact=replace(artifact, path=str(path)))
    if artifact.url:
        # uv looks for credentials among its indexes, and the index that a package is bound to is none of them.
        return replace(package, artifact=replace(artifact, url=opened(artifact.url, definition, request.variables)))
    return package


def _distributions(prefix: Path) -> set[Path]:
    return set(prefix.glob("lib/python*/site-packages/*.dist-info"))


def _check_complete(prefix: Path, packages: Iterable[Package]) -> None:
    """See to it that all of ``packages`` are there: uv passes over those whose marker does not hold, and says nothing.

    Of private wheels that is wanted: they are locked with the marker that they are asked for with.

    :raises BuildFailed: some are not.
    """
    there = {
        canonicalize_name(each.name.removesuffix(".dist-info").rpartition("-")[0]) for each in _distributions(prefix)
    }
    wanted = [each for each in packages if each.kind == "pip" or not each.marker]
    lacking = [each for each in wanted if canonicalize_name(each.name) not in there]
    if lacking:
        named = "; ".join(f"{each}, for {each.marker}" if each.marker else str(each) for each in lacking)
        raise BuildFailed(f"what is in the lock is not meant for this Python and machine: {named}", hint="lock again")


def _see_to_wheel(package: Package, lock: Lock, request: BuildRequest) -> None:
    """Bring a private wheel into the store from beside its lock, as for the first build of a fresh clone."""
    store, artifact = Store(request.store), package.artifact
    if artifact.digest is None or artifact.digest in store:
        return
    file = (lock.root or Path.cwd()) / artifact.path if artifact.path else None
    if file is None or not file.is_file():
        raise NotFound(
            f"this workspace does not have the private wheel {artifact.filename} ({artifact.digest})"
            + (f", and {file} is not there" if file else ""),
            hint=f"add it: envbuild wheels add path/to/{artifact.filename}",
        )
    store.put_file(file, expected=artifact.digest)


def _is_mismatch(complaint: str) -> bool:
    return any(sign in complaint.lower() for sign in ("hash mismatch", "size mismatch"))


def _said(complaint: str) -> str:
    """``complaint`` without what uv logs."""
    return "\n".join(line for line in complaint.splitlines() if not line.startswith("WARN "))


def _unsafe(names: Iterable[str], lock: Lock, request: BuildRequest) -> BuildFailed:
    """The error for wheels with files that lie outside of them.

    What uv has unpacked lacks those files and can hurt nobody. It is removed all the same: from the cache it would
    be installed without a word the next time.
    """
    guilty = [each for each in lock.packages if _unpacks_unsafely(each, lock, request)]
    if guilty:
        _forget_cached(guilty, request)
    told = ", ".join(str(each) for each in guilty) or "a package"
    return BuildFailed(
        f"{told} would write outside of the environment: {', '.join(sorted(set(names)))}",
        hint="do not install it; tell whoever runs the index that it comes from",
    )


def _unpacks_unsafely(package: Package, lock: Lock, request: BuildRequest) -> bool:
    """Whether uv leaves files of this package out, tried in a cache of its own."""
    aside = request.scratch / "aside" / package.name
    aside.mkdir(parents=True)
    file = aside / "pylock.toml"
    write_private(file, replace(lock, packages=(package,)).to_toml())
    variables = {**request.variables, **_WATCHED, "UV_CACHE_DIR": str(aside / "cache")}
    command = ["pip", "install", "--quiet", "--no-deps", "--preview-features=pylock", f"--target={aside / 'files'}"]
    python = f"--python={request.destination / 'bin/python'}"
    _, _, complaint = run_uv([*command, python, "--requirements", str(file)], variables=variables, directory=aside)
    return bool(_UNSAFE.search(complaint))


def _skeleton(prefix: Path) -> dict[Path, bytes]:
    """What makes a folder an environment, before anything is installed: its Python, settings and scripts."""
    found = [prefix / "pyvenv.cfg", *(prefix / "bin").iterdir()]
    return {path: os.fsencode(path.readlink()) if path.is_symlink() else path.read_bytes() for path in found}


def _check_skeleton(prefix: Path, before: Mapping[Path, bytes]) -> None:
    after = _skeleton(prefix)
    changed = [path.relative_to(prefix) for path, content in before.items() if after.get(path) != content]
    if changed:
        raise BuildFailed(
            f"a package has put its own file in the place of {', '.join(map(str, changed))} of the environment"
            + "".join(f" ({name})" for name in _claiming(prefix, changed[0])),
            hint="do not install it; tell whoever runs the index that it comes from",
        )


def _claiming(prefix: Path, file: Path) -> list[str]:
    """The packages whose record has ``file``."""
    records = prefix.glob("lib/python*/site-packages/*.dist-info/RECORD")
    wanted = f"../{file.as_posix()},"
    return [each.parent.name.removesuffix(".dist-info") for each in records if wanted in each.read_text("utf-8")]


def _failure(complaint: str, definition: Definition, request: BuildRequest) -> BuildFailed | Damaged:
    if _is_mismatch(complaint):
        return Damaged(
            f"an artifact is not the one that was locked\n{complaint}",
            hint=f"somebody has replaced it, or edited the lock: find out who, then {definition.relocking}",
        )
    if request.offline:
        return BuildFailed(f"not everything is cached\n{complaint}", hint="run it once without --offline")
    if is_network_trouble(complaint):
        return BuildFailed(f"an artifact could not be fetched\n{complaint}", hint="check the network and try again")
    return BuildFailed(f"the environment could not be installed\n{complaint}")


def strip_traces(prefix: Path, others: Container[Path] = ()) -> None:
    """Remove what uv notes of where and when a local file was found: the same lock must give the same files.

    :param others: the metadata of packages that uv has not installed.
    """
    for folder in _distributions(prefix):
        if folder in others:
            continue
        origin = folder / "direct_url.json"
        traces = [origin] if origin.exists() and b'"file:' in origin.read_bytes() else []
        traces += [each for each in [folder / "uv_cache.json"] if each.exists()]
        if traces:
            _drop(traces, folder / "RECORD")
    (prefix / ".lock").unlink(missing_ok=True)


def _drop(files: Iterable[Path], record: Path) -> None:
    """Remove ``files``, and what a package's record says of them."""
    rows = list(csv.reader(io.StringIO(record.read_text(encoding="utf-8"))))
    names = {f"{each.parent.name}/{each.name}" for each in files}
    kept = io.StringIO()
    csv.writer(kept, lineterminator="\n").writerows(row for row in rows if row and row[0] not in names)
    # The file may be a hard link into uv's cache, which is not ours to edit.
    fresh = record.with_name("RECORD.new")
    fresh.write_text(kept.getvalue(), encoding="utf-8")
    os.replace(fresh, record)  # noqa: PTH105
    for each in files:
        each.unlink()


def is_for(platform: Platform, request: BuildRequest) -> bool:
    """Whether a prefix of that platform can be made here."""
    return request.kind == "prefix" and platform == Platform.here()
