"""Installing: a prefix filled by uv with exactly what a lock says."""

from __future__ import annotations

import csv
import fcntl
import io
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from packaging.version import Version

from envbuild import BuildFailed, BuildRequest, Damaged, Lock, Package, Platform, PythonNotFound
from envbuild_pip import interpreters
from envbuild_pip.resolving import wheel_file
from envbuild_pip.uv import is_network_trouble, run_uv


def interpreter_for(lock: Lock, request: BuildRequest) -> Path:
    """The Python that the lock was made for, to the patch.

    :raises PythonNotFound: this machine lacks it; the message lists what it has.
    """
    own = interpreters.own()
    if own and own.version == Version(lock.python):
        return own.path
    candidates = interpreters.installed(request.variables)
    for each in candidates:
        if each.version == Version(lock.python):
            return each.path
    listed = ", ".join(str(each) for each in candidates) or "none"
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


def install(lock: Lock, prefix: Path, request: BuildRequest) -> None:
    """Fill the prefix, every artifact checked against its digest.

    What uv has in its cache is used without asking the network whether it is still the newest: the digest says
    that it is the right one.

    :raises BuildFailed: an artifact cannot be had or installed.
    :raises Damaged: an artifact is not the one that was locked.
    """
    packages = lock.of_kind("pip", "wheel")
    if not packages:
        return
    file = request.scratch / "pylock.toml"
    file.write_text(replace(lock, packages=tuple(_here(each, lock, request) for each in packages)).to_toml(), "utf-8")
    sources = [each.name for each in lock.built_from_source]
    if request.anew:
        _forget_cached(packages, request)
    with known_place(prefix, lock.python, request.store) as known:
        command = ["pip", "sync", "--quiet", f"--python={known / 'bin/python'}", "--preview-features=pylock"]
        command += ["--no-build"] if not sources else [f"--only-binary={name}" for name in _without(packages, sources)]
        code, complaint = _sync([*command, "--offline"], file, request)
        if code != 0 and not request.offline and not _is_mismatch(complaint):
            code, complaint = _sync(command, file, request)
    if code != 0:
        raise _failure(complaint, request)
    strip_traces(prefix)


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


def _sync(command: list[str], file: Path, request: BuildRequest) -> tuple[int, str]:
    code, _, complaint = run_uv([*command, str(file)], variables=request.variables, directory=request.scratch)
    return code, complaint.replace(str(request.scratch) + "/", "")


def _here(package: Package, lock: Lock, request: BuildRequest) -> Package:
    """``package`` with its files where uv finds them on this machine."""
    artifact = package.artifact
    if package.kind == "wheel":
        path = wheel_file(package, request.scratch, request.store)
        return replace(package, artifact=replace(artifact, url=None, path=str(path)))
    if artifact.path is not None:
        path = ((lock.root or Path.cwd()) / artifact.path).resolve()
        if not path.exists():
            raise BuildFailed(f"{package}: {path} is not there any more", hint="put it back, or lock again")
        return replace(package, artifact=replace(artifact, path=str(path)))
    if artifact.url and "${" in artifact.url:
        return replace(package, artifact=replace(artifact, url=_filled_in(artifact.url, request)))
    return package


def _filled_in(url: str, request: BuildRequest) -> str:
    import re

    return re.sub(r"\$\{([A-Z0-9_]+)\}", lambda found: request.variables.get(found[1], found[0]), url)


def _is_mismatch(complaint: str) -> bool:
    return "hash mismatch" in complaint.lower()


def _failure(complaint: str, request: BuildRequest) -> BuildFailed | Damaged:
    if _is_mismatch(complaint):
        return Damaged(
            f"an artifact is not the one that was locked\n{complaint}",
            hint="somebody has replaced it: find out who, then lock again with --upgrade NAME",
        )
    if request.offline:
        return BuildFailed(f"not everything is cached\n{complaint}", hint="run it once without --offline")
    if is_network_trouble(complaint):
        return BuildFailed(f"an artifact could not be fetched\n{complaint}", hint="check the network and try again")
    return BuildFailed(f"the environment could not be installed\n{complaint}")


def strip_traces(prefix: Path) -> None:
    """Remove what uv notes of where and when a local file was found: the same lock must give the same files."""
    for trace in prefix.glob("lib/python*/site-packages/*.dist-info/uv_cache.json"):
        record = trace.with_name("RECORD")
        rows = list(csv.reader(io.StringIO(record.read_text(encoding="utf-8"))))
        name = f"{trace.parent.name}/{trace.name}"
        kept = io.StringIO()
        csv.writer(kept, lineterminator="\n").writerows(row for row in rows if row and row[0] != name)
        # The file may be a hard link into uv's cache, which is not ours to edit.
        fresh = record.with_name("RECORD.new")
        fresh.write_text(kept.getvalue(), encoding="utf-8")
        os.replace(fresh, record)  # noqa: PTH105
        trace.unlink()


def is_for(platform: Platform, request: BuildRequest) -> bool:
    """Whether a prefix of that platform can be made here."""
    return request.kind == "prefix" and platform == Platform.here()
