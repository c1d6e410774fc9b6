"""Platforms: what kind of machine an environment is for.

A platform is written ``linux-x86_64``, ``linux-aarch64-musl``, ``macos-arm64`` or ``windows-x86_64``. What conda calls
it (``linux-64``) many have at hand, and whole files are written in it, so that is known here; what else a plugin's
engine calls it (``x86_64-unknown-linux-gnu``) is that plugin's business.
"""

from __future__ import annotations

import platform as _machine
import sys
import sysconfig
from dataclasses import dataclass

from envbuild.errors import LockError

_SYSTEMS = ("linux", "macos", "windows")
_CONDAS_SYSTEMS = {"linux": "linux", "osx": "macos", "win": "windows"}
_CONDAS_MACHINES = {"64": "x86_64", "32": "i686", "arm64": "aarch64"}
_SYNONYMS = {"amd64": "x86_64", "x64": "x86_64", "arm64": "aarch64"}


@dataclass(frozen=True, order=True, slots=True)
class Platform:
    """An operating system, a processor and, on Linux, a C library.

    :raises ValueError: a system that is not one of linux, macos and windows, or a libc outside Linux.

    >>> str(Platform.parse("linux-amd64"))
    'linux-x86_64'
    >>> str(Platform.parse("macos-aarch64")), str(Platform.parse("osx-arm64"))
    ('macos-arm64', 'macos-arm64')
    """

    system: str
    machine: str
    libc: str = "gnu"

    def __post_init__(self) -> None:
        if self.system not in _SYSTEMS:
            raise ValueError(f"unknown system {self.system!r}: one of {', '.join(_SYSTEMS)}")
        if not self.machine.replace("_", "").isalnum():
            raise ValueError(f"not a processor: {self.machine!r}")
        if self.libc not in ("gnu", "musl"):
            raise ValueError(f"unknown C library {self.libc!r}: gnu or musl")
        if self.libc != "gnu" and self.system != "linux":
            raise ValueError(f"{self.system} has no C library to choose")

    def __str__(self) -> str:
        # Apple says arm64 where everyone else says aarch64, and its users look for that word.
        machine = "arm64" if (self.system, self.machine) == ("macos", "aarch64") else self.machine
        return f"{self.system}-{machine}" + ("-musl" if self.libc == "musl" else "")

    @classmethod
    def parse(cls, text: str) -> Platform:
        """Read the written form; conda's, and the usual other names of a processor, are understood.

        :raises ValueError: ``text`` is not ``SYSTEM-MACHINE`` or ``linux-MACHINE-musl``.
        """
        system, _, rest = text.lower().partition("-")
        if system in _CONDAS_SYSTEMS and rest in _CONDAS_MACHINES:
            return platform_of_subdir(text.lower())
        machine, _, libc = rest.partition("-")
        if not machine:
            raise ValueError(f"not a platform: {text!r} (linux-x86_64, macos-arm64, … are)")
        return cls(system, _SYNONYMS.get(machine, machine), libc or "gnu")

    @classmethod
    def here(cls) -> Platform:
        """The platform that this program runs on."""
        system = {"darwin": "macos", "win32": "windows"}.get(sys.platform, "linux")
        machine = _machine.machine().lower()
        musl = system == "linux" and "musl" in str(sysconfig.get_config_var("HOST_GNU_TYPE"))
        return cls(system, _SYNONYMS.get(machine, machine), "musl" if musl else "gnu")


def subdir_of(platform: Platform) -> str:
    """What conda calls ``platform``: the folder of a channel that has its packages.

    :raises LockError: conda has no packages for it.

    >>> subdir_of(Platform.parse("linux-x86_64")), subdir_of(Platform.parse("macos-arm64"))
    ('linux-64', 'osx-arm64')
    """
    if platform.libc == "musl":
        raise LockError(f"there are no conda packages for {platform}", hint="lock for a Linux with glibc")
    system = next(theirs for theirs, ours in _CONDAS_SYSTEMS.items() if ours == platform.system)
    if platform.machine == "aarch64" and system == "linux":
        return "linux-aarch64"
    theirs = (each for each, ours in _CONDAS_MACHINES.items() if ours == platform.machine)
    return f"{system}-{next(theirs, platform.machine)}"


def platform_of_subdir(subdir: str) -> Platform:
    """The platform that conda calls ``subdir``.

    :raises ValueError: it is none that environments are built for.

    >>> str(platform_of_subdir("linux-64")), str(platform_of_subdir("osx-arm64"))
    ('linux-x86_64', 'macos-arm64')
    """
    system, _, machine = subdir.partition("-")
    if system not in _CONDAS_SYSTEMS or not machine:
        raise ValueError(f"{subdir!r} is no platform of conda's that environments are built for")
    return Platform(_CONDAS_SYSTEMS[system], _CONDAS_MACHINES.get(machine, machine))
