"""Extras: what those get who ask for more of a distribution that another plugin installs (``httpx[http2]``).

A conda package brings what its distribution needs, and does not say what its extras would add; the wheel of the same
version does. It is looked into for those distributions alone of which uv misses an extra.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from importlib.metadata import PathDistribution
from pathlib import Path
from typing import NamedTuple

from envbuild import Package, ResolutionFailed
from envbuild_pip.uv import is_network_trouble

_MISSED = re.compile(
    r"^warning: The package `(\S+) @ file://\S*/provided/\S+\.whl` does not have an extra named `([^`]+)`", re.MULTILINE
)
"""How uv names an extra that a stand-in lacks."""

_OF_AN_EXTRA = re.compile(r";.*\bextra\b")


class Extras(NamedTuple):
    """The extras of a distribution; as text, the lines of its ``METADATA`` that are about them.

    :param names: all that it has.
    :param requires: what they add, as metadata has it: each requirement with a marker that says for which extra.
    """

    names: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()

    def __str__(self) -> str:
        told = [f"Provides-Extra: {each}" for each in self.names] + [f"Requires-Dist: {each}" for each in self.requires]
        return "".join(f"{line}\n" for line in told)


def missed(told: str) -> dict[str, list[str]]:
    """The extras that uv was asked for and stand-ins lack, by the distribution's name; ``told`` is what it has said.

    >>> missed("warning: The package `a @ file:///p/provided/0/a-1-py3-none-any.whl` does not have an extra named `x`")
    {'a': ['x']}
    """
    found: dict[str, list[str]] = {}
    for name, extra in _MISSED.findall(told):
        found.setdefault(name, []).append(extra)
    return found


def of_wheel(folder: Path) -> Extras:
    """The extras of the one distribution that is unpacked in ``folder``."""
    (info,) = folder.glob("*.dist-info")
    said = PathDistribution(info).metadata
    # What everybody gets is for whoever installs the distribution to see to.
    requires = (" ".join(each.split()) for each in said.get_all("Requires-Dist") or ())
    return Extras(
        names=tuple(said.get_all("Provides-Extra") or ()),
        requires=tuple(each for each in requires if _OF_AN_EXTRA.search(each)),
    )


def unknown(package: Package, names: Iterable[str], complaint: str, *, offline: bool) -> ResolutionFailed:
    """The error for extras of which nobody can say what they add.

    :param complaint: why uv does not have the wheel.
    """
    asked = f"{package.provides}[{','.join(sorted(names))}]"
    if offline:
        hint = "run it once without --offline"
    elif is_network_trouble(complaint):
        hint = "check the address of the index, and the network"
    else:
        hint = (
            f"have pip asked by name for the packages that the extra adds, rather than for {asked}; "
            f"or leave {package.provides} to pip, with all its extras"
        )
    return ResolutionFailed(
        f"pip is asked for {asked}, and {package.kind} installs {package}, which does not say what the extra adds: "
        f"that stands in the wheel of this version, and there is none to be had\n{complaint}",
        hint=hint,
    )
