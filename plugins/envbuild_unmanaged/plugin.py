"""A Python that somebody else looks after, taken as it is: recorded when it is used, never touched.

`observing` finds it and asks it, by running `probe` in it; `recording` writes the answer into a lock and compares;
`prefix` makes the folder through which runs get at it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from envbuild import (
    BuildFailed,
    BuildRequest,
    Definition,
    Digest,
    EnvbuildError,
    Image,
    Lock,
    LockError,
    Platform,
    Resolution,
    hookimpl,
)


@hookimpl
def resolve_dependencies(definition: Definition, platform: Platform, resolution: Resolution) -> tuple[str, ...] | None:
    """Record what the interpreter is and has."""
    if not _is_here(definition):
        return None
    from envbuild_unmanaged import observing, recording

    if platform != Platform.here():
        raise LockError(
            f"the interpreter {definition.interpreter!r} is one of this machine, and cannot be locked for {platform}",
            hint="lock there, without --platform",
        )
    request = resolution.request
    found = observing.observe(definition, request.variables)
    named = frozenset() if request.upgrade is True else request.upgrade - {"python"}
    if named:
        raise LockError(
            f"{', '.join(sorted(named))} cannot be upgraded: {found.executable} is taken as it is",
            hint="upgrade it there; the next use records what has become of it",
        )
    resolution.pin_python(found.version, found.executable)
    resolution.add(*recording.packages(found))
    return ("interpreter",)


@hookimpl
def build_image(definition: Definition, lock: Lock, id: Digest, request: BuildRequest) -> Image | None:  # noqa: A002
    """Make a folder of ways into the interpreter, if it still is what was recorded."""
    if not _is_here(definition):
        return None
    from envbuild_unmanaged import observing, prefix, recording

    if request.kind != "prefix" or request.base or {each.kind for each in lock.packages} != {recording.KIND}:
        return None
    if lock.platform != Platform.here():
        return None
    try:
        found = observing.observe(definition, request.variables)
    except EnvbuildError as error:
        raise BuildFailed(f"the interpreter has gone since it was recorded: {error}", hint=error.hint) from error
    changed = "; ".join(recording.differences(lock, found))
    if changed:
        raise BuildFailed(
            f"{found.executable} was changed since it was recorded: {changed}",
            hint="once nobody changes it any more, try again",
        )
    prefix.fill(request.destination, found)
    return Image(
        kind="prefix", id=id, platform=lock.platform, path=request.destination, activated=prefix.activated(found)
    )


def outdated(definition: Definition, lock: Lock, variables: Mapping[str, str]) -> Iterator[str]:
    """Ask the interpreter again, and say in what it is not what was recorded."""
    if not _is_here(definition) or lock.platform != Platform.here():
        return
    from envbuild_unmanaged import observing, recording

    try:
        found = observing.observe(definition, variables)
    except EnvbuildError as error:
        yield f"its interpreter cannot be used any more: {error}"
        return
    yield from recording.differences(lock, found)


def _is_here(definition: Definition) -> bool:
    """Whether it asks for an interpreter of this machine; a container's own is for whoever takes on the container."""
    return definition.interpreter is not None and "docker" not in definition.sections
