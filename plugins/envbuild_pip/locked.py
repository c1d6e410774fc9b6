"""Locked: what to install of another tool's ``pylock.toml``, which may be for many machines at once (PEP 751)."""

from __future__ import annotations

import platform as machine
from dataclasses import replace
from pathlib import Path

from packaging.markers import Environment
from packaging.pylock import PylockSelectError
from packaging.tags import Tag, compatible_tags, cpython_tags, mac_platforms

from envbuild import Definition, Package, Platform, Resolution, ResolutionFailed, from_pylock, read_pylock


def select(definition: Definition, platform: Platform, resolution: Resolution) -> tuple[Package, ...]:
    """The packages of the lock that its markers and tags give to ``platform`` and the environment's Python.

    :raises ResolutionFailed: it is for other machines, or has no artifact that fits.
    """
    if definition.pylock is None:
        return ()
    path = definition.source or Path(definition.pylock.path or "pylock.toml")
    pylock = read_pylock(path.read_bytes(), where=path.name)
    version = str(resolution.python)
    try:
        chosen = list(pylock.select(environment=environment(version, platform), tags=tags(version, platform)))
        found = [from_pylock(package, artifact) for package, artifact in chosen]
    except (PylockSelectError, ValueError) as error:
        raise ResolutionFailed(
            f"{path.name} cannot be installed on {platform} with Python {version}: {error}",
            hint="make it again for this platform with the tool that made it",
        ) from error
    return tuple(_rooted(each, path.parent, definition.root or path.parent) for each in found)


def _rooted(package: Package, there: Path, root: Path) -> Package:
    """``package`` with its path told from ``root``."""
    import os.path

    path = package.artifact.path
    if path is None:
        return package
    return replace(package, artifact=replace(package.artifact, path=os.path.relpath(there / path, root)))


def environment(version: str, platform: Platform) -> Environment:
    """The values of environment markers there (PEP 508)."""
    systems = {"linux": ("posix", "Linux", "linux"), "macos": ("posix", "Darwin", "darwin"),
               "windows": ("nt", "Windows", "win32")}  # fmt: skip
    os_name, system, sys_platform = systems[platform.system]
    return {
        "implementation_name": "cpython",
        "implementation_version": version,
        "os_name": os_name,
        "platform_machine": str(platform).split("-")[1] if platform.system == "macos" else platform.machine,
        "platform_python_implementation": "CPython",
        "platform_release": machine.release() if platform == Platform.here() else "",
        "platform_system": system,
        "platform_version": machine.version() if platform == Platform.here() else "",
        "python_full_version": version,
        "python_version": ".".join(version.split(".")[:2]),
        "sys_platform": sys_platform,
    }


def tags(version: str, platform: Platform) -> list[Tag]:
    """The wheel tags that fit there, the best first."""
    numbers = tuple(int(part) for part in version.split(".")[:2])
    platforms = list(_platform_tags(platform))
    found = list(cpython_tags(numbers, platforms=platforms))
    return [*found, *compatible_tags(numbers, f"cp{numbers[0]}{numbers[1]}", platforms)]


def _platform_tags(platform: Platform) -> list[str]:
    if platform == Platform.here():
        from packaging.tags import platform_tags

        return list(platform_tags())
    if platform.system == "macos":
        return list(mac_platforms((14, 0), "arm64" if platform.machine == "aarch64" else platform.machine))
    if platform.system == "windows":
        return ["win_arm64" if platform.machine == "aarch64" else "win_amd64"]
    if platform.libc == "musl":
        return [f"musllinux_1_{minor}_{platform.machine}" for minor in (2, 1, 0)] + [f"linux_{platform.machine}"]
    # glibc 2.28 is the oldest that the distributions still under support have; uv assumes it too.
    newest = [f"manylinux_2_{minor}_{platform.machine}" for minor in range(28, 4, -1)]
    named = ("manylinux2014", "manylinux2010", "manylinux1", "linux")
    return newest + [f"{name}_{platform.machine}" for name in named]
