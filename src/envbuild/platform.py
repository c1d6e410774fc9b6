"""Platforms: what kind of machine an environment is for.

A platform is written ``linux-x86_64``, ``linux-aarch64-musl``, ``macos-arm64`` or ``windows-x86_64``.
What a plugin's engine calls it (``x86_64-unknown-linux-gnu``, ``linux-64``) is that plugin's business.
"""

from __future__ import annotations

import platform as _machine
import sys
import sysconfig
from dataclasses import dataclass

_SYSTEMS = ("linux", "macos", "windows")
_CONDA = {"linux-64": "linux-x86_64", "osx-64": "macos-x86_64", "osx-arm64": "macos-arm64", "win-64": "windows-x86_64"}
"""What conda calls them, which many have at hand."""
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
        """Read the written form; the usual other names of a processor are understood.

        :raises ValueError: ``text`` is not ``SYSTEM-MACHINE`` or ``linux-MACHINE-musl``.
        """
        system, _, rest = _CONDA.get(text.lower(), text.lower()).partition("-")
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
