"""Private wheels: packages that are on no index, and are known by their bytes.

A wheel is looked at before anything trusts it (`inspect`), kept in the store under its digest, and pinned by it.
What it depends on is left to pip, which sees the wheel in the resolution.
"""

from __future__ import annotations

from pathlib import Path

from envbuild import Artifact, Definition, Package, Platform, Resolution, Store, WheelRef, hookimpl


@hookimpl
def resolve_dependencies(
    definition: Definition,
    platform: Platform,  # noqa: ARG001
    resolution: Resolution,
) -> tuple[str, ...] | None:
    """Pin every private wheel by its digest, and keep its bytes."""
    if not definition.wheels:
        return None
    from envbuild_wheel import inspect

    store = Store(resolution.request.store)
    for wheel in definition.wheels:
        inspect.keep(wheel, definition.root, store)
    resolution.add(*(_package(each, store) for each in definition.wheels))
    return ("wheels",)


def check(path: Path) -> WheelRef:
    """Look into a wheel, and name it by its bytes.

    :raises Damaged: it is no wheel that may be installed.
    """
    from envbuild_wheel import inspect

    return inspect.check(path)


def _package(wheel: WheelRef, store: Store) -> Package:
    from packaging.utils import parse_wheel_filename

    return Package(
        name=wheel.name,
        version=str(parse_wheel_filename(wheel.filename)[1]),
        kind="wheel",
        marker=wheel.marker or None,
        artifact=Artifact(
            kind="wheel",
            url=wheel.url,
            path=wheel.path,
            digest=wheel.digest,
            size=store.path(wheel.digest).stat().st_size,
            filename=wheel.filename,
        ),
    )
