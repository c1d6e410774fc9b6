"""What is looked at before hatchling builds for a project, and what becomes of the archives that it has built."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from hatchling.bridge.app import Application

from envbuild import distributions
from envbuild.errors import DefinitionError, LockError, LockOutdated, Problem

_LOCK = "pylock.toml"
_WISHES = ("warn", "check", "require")
SETTING = "tool.envbuild.build"


def check(root: str) -> None:
    """See to it that a project can be built, before anything is; a lock that is stale is told of, or refused.

    What is in an unpacked sdist was compared when the sdist was built, and need not be all that the lock was made from.

    :raises LockError: the lock cannot be read or has credentials in it, or the project wants one and there is none.
    :raises LockOutdated: the lock is stale, and the project wants it refused then.
    :raises DefinitionError: the project wants what there is not.
    :raises EnvbuildError: ``SOURCE_DATE_EPOCH`` is no time.
    """
    distributions.epoch(os.environ)
    wish, lock = _wish(Path(root)), lock_file(root)
    if lock is None:
        if wish == "require":
            raise LockError(
                f"{root}: there is no {_LOCK}, and [{SETTING}] requires one",
                hint="run 'envbuild lock' and commit the lock",
            )
        return
    # Without a lock, a project is built with hatchling and nothing else.
    from envbuild import sbom, staleness

    _, ours = sbom.read(lock.read_bytes(), where=str(lock))
    if ours is None or Path(root, "PKG-INFO").is_file():
        return
    reasons = staleness.outdated(ours, Path(root))
    if reasons:
        said = f"{lock}: the lock is not that of the definition any more: {'; '.join(reasons)}"
        hint = "run 'envbuild lock' and commit the lock with the definition"
        if wish != "warn":
            raise LockOutdated(said, hint=hint)
        Application().display_warning(f"warning: {said}\nhint: {hint}")


def refuse(root: str, *said: str) -> NoReturn:
    """Say what is wrong in the project's settings.

    :raises DefinitionError: with that.
    """
    file = str(Path(root, "pyproject.toml"))
    raise DefinitionError(*(Problem(file, None, each) for each in said))


def build_wheel(root: str, directory: str) -> str:
    """Build a wheel, whole, and say what it is called.

    :raises EnvbuildError: as `check`, `envbuild.backend.building.see_to_files` and `settle_wheel`.
    """
    check(root)
    from envbuild.backend.building import Wheel

    builder = Wheel(root)
    made = Path(next(builder.build(directory=directory, versions=["standard"])))
    settle_wheel(root, made, reproducible=builder.config.reproducible)
    return made.name


def build_sdist(root: str, directory: str) -> str:
    """Build an sdist, whole, and say what it is called.

    :raises EnvbuildError: as `check` and `envbuild.backend.building.see_to_files`.
    """
    check(root)
    from envbuild.backend.building import Sdist

    builder = Sdist(root)
    made = Path(next(builder.build(directory=directory, versions=["standard"])))
    settle_sdist(root, made, reproducible=builder.config.reproducible)
    return made.name


def settle_wheel(root: str, wheel: Path, *, reproducible: bool) -> None:
    """Add the lock and the SBOM to a wheel, and make it the same as everybody's.

    :raises LockError: the lock cannot be read, or has credentials in it; then there is no wheel any more.
    """
    with _all_or_nothing(wheel):
        added = sboms(root, distributions.metadata(wheel)) if lock_file(root) else {}
        distributions.settle_wheel(wheel, added, _when(reproducible))


def settle_sdist(root: str, sdist: Path, *, reproducible: bool) -> None:
    """Add the lock to an sdist, and make it the same as everybody's."""
    with _all_or_nothing(sdist):
        lock = lock_file(root)
        added = {lock.name: lock.read_bytes()} if lock else {}
        distributions.settle_sdist(sdist, added, _when(reproducible), Path(root))


def add_sboms(root: str, info: str) -> None:
    """Add to a ``.dist-info`` folder what it is to have of the lock.

    :raises LockError: the lock cannot be read, or has credentials in it.
    """
    for name, data in sboms(root, Path(info, "METADATA").read_bytes()).items():
        file = Path(info, name)
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(data)


def sboms(root: str, metadata: bytes) -> dict[str, bytes]:
    """The files for the ``.dist-info`` folder that has this ``METADATA``; none where there is no lock.

    :raises LockError: the lock cannot be read, or has credentials in it.
    """
    lock = lock_file(root)
    if lock is None:
        return {}
    from envbuild import sbom

    return sbom.sboms(lock.read_bytes(), *sbom.told(metadata), where=str(lock))


def lock_file(root: str) -> Path | None:
    """The project's lock, if it has one.

    :raises LockError: what is called so is no file.
    """
    found = Path(root, _LOCK)
    if found.is_file():
        return found
    if os.path.lexists(found):
        raise LockError(f"{found}: not a file, nor a link to one", hint="restore it, or remove it and lock again")
    return None


@contextmanager
def _all_or_nothing(archive: Path) -> Iterator[None]:
    """Leave no archive that is hatchling's alone: whoever uploads a folder would upload it."""
    try:
        yield
    except BaseException:
        archive.unlink()
        raise


def _wish(root: Path) -> str:
    """What the project wants of its lock."""
    form: Any = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    passed: list[str] = []
    for name in SETTING.split("."):
        form = form.get(name, {})
        passed.append(name)
        if not isinstance(form, dict):
            refuse(str(root), f"[{'.'.join(passed)}] is a table, and not {form!r}")
    wish = form.get("lock", "warn")
    if wish not in _WISHES or set(form) - {"lock"}:
        refuse(str(root), *_wrong(wish, [key for key in form if key != "lock"]))
    return str(wish)


def _wrong(wish: object, unknown: Iterable[str]) -> Iterator[str]:
    from envbuild.form import did_you_mean

    for key in unknown:
        yield f"unknown key {key!r} in [{SETTING}]{did_you_mean(key, ['lock'])}"
    if wish not in _WISHES:
        yield f"lock in [{SETTING}] is one of {', '.join(_WISHES)}, and not {wish!r}{did_you_mean(str(wish), _WISHES)}"


def _when(reproducible: bool) -> int | None:
    return distributions.epoch(os.environ) if reproducible else None
