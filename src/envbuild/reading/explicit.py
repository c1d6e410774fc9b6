"""``@EXPLICIT``: a list of the URLs of conda packages, with digests behind ``#``.

Comments like ``# pip NAME @ URL#sha256=…``, which conda-lock and envbuild write, say what pip is to install.
"""

from __future__ import annotations

import re

from envbuild.conda import package_at
from envbuild.lock import Package
from envbuild.platform import Platform, platform_of_subdir
from envbuild.reading import pip_artifact

_PLATFORM = re.compile(r"#\s*platform:\s*(\S+)\s*")
_PIP = re.compile(r"#\s*pip\s+(?P<name>[A-Za-z0-9][\w.-]*)\s*@\s*(?P<url>\S+)\s*")
_HINT = "'conda list --explicit --sha256' writes them"


def parse(text: str) -> dict[Platform, tuple[Package, ...]]:
    """The packages of a list.

    :raises ValueError: a line is wrong; the message says which.
    """
    asked: str | None = None
    packages: list[Package] = []
    lines: dict[str, int] = {}
    for number, written in enumerate(text.splitlines(), start=1):
        line = written.strip()
        platform = _PLATFORM.fullmatch(line)
        if platform:
            asked = platform[1]
            continue
        try:
            made = _package(line)
            first = lines.setdefault(made.label, number) if made else number
            if made and first != number:
                raise ValueError(f"{made.label} stands in line {first} already; one of each name is wanted")
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from error
        packages += [made] if made else []
    return {_platform(asked, packages): tuple(packages)}


def _package(line: str) -> Package | None:
    by_pip = _PIP.fullmatch(line)
    if by_pip:
        return pip_artifact.package(by_pip["name"], None, by_pip["url"])
    if not line or line == "@EXPLICIT" or line.startswith("#"):
        return None
    url, _, digest = line.partition("#")
    if not digest:
        raise ValueError(f"{url.rpartition('/')[2]}: no digest behind the URL; {_HINT}")
    kind, _, value = digest.rpartition(":")
    is_sha256 = kind == "sha256" or len(value) == 64
    return package_at(url, sha256=value if is_sha256 else None, md5=None if is_sha256 else value)


def _platform(asked: str | None, packages: list[Package]) -> Platform:
    """What the list is for: it says so itself, or its packages do."""
    said = {each.details["subdir"] for each in packages if each.kind == "conda"} - {"noarch"}
    if asked and asked != "noarch":
        said.add(asked)
    if len(said) != 1:
        raise ValueError(f"it is for {' and '.join(sorted(said)) or 'no platform that it would name'}; one is wanted")
    return platform_of_subdir(said.pop())
