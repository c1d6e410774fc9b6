"""Virtual packages: what packages may ask of the machine itself, as conda spells it (``__glibc=2.28=0``).

This machine's are what they are; for another platform those are taken that the systems still under support have.
``CONDA_OVERRIDE_GLIBC``, ``CONDA_OVERRIDE_CUDA`` and the like say otherwise for both, and with no value that the
machine has none.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from envbuild import ResolutionFailed

_ASSUMED = {
    # What the pip side assumes too: manylinux_2_28, macOS 14.
    "linux": ("__unix=0=0", "__linux=5.10=0", "__glibc=2.28=0"),
    "osx": ("__unix=0=0", "__osx=14.0=0"),
    "win": ("__win=10.0=0",),
}
_OVERRIDES = {
    "GLIBC": "__glibc",
    "CUDA": "__cuda",
    "LINUX": "__linux",
    "OSX": "__osx",
    "WIN": "__win",
    "ARCHSPEC": "__archspec",
}
_VERSION = re.compile(r"\d{1,9}(?:\.\d{1,9}){0,5}")
_ARCHITECTURE = re.compile(r"\w{1,40}", re.ASCII)
_ARCHITECTURES = {"64": "x86_64", "arm64": "m1", "aarch64": "aarch64", "ppc64le": "ppc64le"}


def assumed(subdir: str) -> tuple[str, ...]:
    """The virtual packages of a machine that is not this one.

    >>> assumed("osx-arm64")
    ('__unix=0=0', '__osx=14.0=0', '__archspec=1=m1')
    """
    system, _, machine = subdir.partition("-")
    return (*_ASSUMED.get(system, ()), f"__archspec=1={_ARCHITECTURES.get(machine, machine)}")


def overridden(packages: Iterable[str], variables: Mapping[str, str]) -> tuple[str, ...]:
    """``packages`` as the user's ``CONDA_OVERRIDE_…`` has them.

    >>> overridden(["__unix=0=0", "__glibc=2.36=0"], {"CONDA_OVERRIDE_GLIBC": "", "CONDA_OVERRIDE_CUDA": "12.4"})
    ('__unix=0=0', '__cuda=12.4=0')
    """
    found = {each.split("=")[0]: each for each in packages}
    for suffix, name in _OVERRIDES.items():
        said = variables.get(f"CONDA_OVERRIDE_{suffix}")
        if said is None:
            continue
        found.pop(name, None)
        if said.strip():
            # The version of an architecture says nothing: it is its build that has the name.
            found[name] = f"{name}=1={said.strip()}" if name == "__archspec" else f"{name}={said.strip()}=0"
    return tuple(found.values())


def check(variables: Mapping[str, str]) -> None:
    """See to it that the user's ``CONDA_OVERRIDE_…`` say something.

    :raises ResolutionFailed: one says what is no version, or no architecture.
    """
    for suffix in _OVERRIDES:
        said = variables.get(f"CONDA_OVERRIDE_{suffix}", "")
        wanted = _ARCHITECTURE if suffix == "ARCHSPEC" else _VERSION
        if said and not wanted.fullmatch(said.strip()):
            example = "an architecture, such as x86_64_v3" if suffix == "ARCHSPEC" else "a version, such as 12.4"
            raise ResolutionFailed(
                f"CONDA_OVERRIDE_{suffix} is {said[:40]!r}, and not {example}",
                hint="leave it empty for a machine that has none, or unset it",
            )


def asked_for(packages: Iterable[str], specs: Iterable[str]) -> tuple[str, ...]:
    """Those of ``packages`` that one of ``specs`` says something about: only they had a part in the solution.

    >>> asked_for(["__glibc=2.36=0", "__unix=0=0"], ["__glibc >=2.17,<3.0.a0", "zlib"])
    ('__glibc=2.36=0',)
    """
    named = {re.split(r"[\s=<>!~\[]", each, maxsplit=1)[0] for each in specs}
    return tuple(each for each in packages if each.split("=")[0] in named)
