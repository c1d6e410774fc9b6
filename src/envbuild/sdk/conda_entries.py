"""Entries: what one line of a conda or pip list asks for, and what two of them come to together.

Whatever is asked for twice is asked for with both: `joined` says so in one entry, or refuses if nothing could
satisfy both. Versions are compared as PEP 440 has them; a conda spec that PEP 440 cannot say goes by its text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

from packaging.requirements import Requirement as Pep508
from packaging.specifiers import SpecifierSet
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import Version

from envbuild.definition import python_range
from envbuild.reading.conda import python_version
from envbuild.reading.options import take_apart
from envbuild.reading.requirement import Direct
from envbuild.requirement import WHEEL_SCHEME, Requirement, WheelRef, without_credentials

_SPEC = re.compile(r"(?:(?P<channel>\S+?)::)?(?P<name>[A-Za-z0-9_][A-Za-z0-9_.-]*)\s*(?P<rest>|[=<>!~\[*\d].*)", re.S)
_BUILD = re.compile(r"(?<=[\w*])(?:=|\s+)([\w*]*[A-Za-z*][\w*.]*)$")
_COMPARED = re.compile(r"(?:^|(?<=[,|(]))\s*([=<>!~]+)\s*([^\s,|)]?)")
_OPERATORS = ("==", ">=", "<=", "!=", "~=", "=", ">", "<")
_BRACKETED = re.compile(r"\[[^\]]*\]\s*$")
_EGG = re.compile(r"#(?:.*&)?egg=([A-Za-z0-9._-]+)")
_COMMENT = re.compile(r"(?:^|\s)#.*$", re.S)
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s'\"]+")
_TOKEN = re.compile(r"/t/(?!\$\{)[^/?]+(?=[/?]|$)")
_QUERY = re.compile(r"\?[^#]*")


@dataclass(frozen=True, slots=True)
class Entry:
    """What one line of a list asks for.

    :param name: the normalised name of the package (PEP 503); ``None`` where only its metadata would tell.
    :param versions: which versions fit; empty for any.
    :param fixed: what else it says and another entry cannot add to: a URL, a path, hashes, a conda channel or build.
    """

    text: str
    name: str | None
    versions: SpecifierSet = field(default_factory=SpecifierSet)
    fixed: str = ""
    extras: frozenset[str] = frozenset()
    marker: str = ""
    is_conda: bool = False


@lru_cache(4096)
def read_conda(text: str) -> Entry:
    """Read a conda match spec.

    :raises ValueError: it is none.

    >>> read_conda("conda-forge::NumPy >=1.2,<2").text
    'conda-forge::numpy >=1.2,<2'
    """
    found = _SPEC.fullmatch(text.strip())
    if not found or "@" in text.partition("[")[0]:
        raise ValueError(f"not a conda package: {shown(text)!r}; numpy, numpy=2.1 and 'numpy>=2,<3' are")
    name, rest = found["name"].lower(), found["rest"].strip()
    channel = f"{found['channel']}::" if found["channel"] else ""
    written = channel + name + text.strip()[found.end("name") - found.start() :]
    build = _BUILD.search(rest)
    fixed = channel + (build[1] if build else "")
    try:
        said = python_version(rest)
        versions = python_range(said) if said else SpecifierSet()
    except ValueError:
        versions, fixed = SpecifierSet(), channel + rest
    return Entry(written, canonicalize_name(name), versions, fixed, is_conda=True)


def read_new_conda(text: str) -> Entry:
    """The same of what is asked for only now: comparisons that conda does not know are refused at once.

    A file may have them, and its packages are still to be found by their names; there, locking refuses them.

    :raises ValueError: it is no match spec, or compares in a way that there is none.
    """
    found = read_conda(text)
    said = _BRACKETED.sub("", text.strip()).rpartition("::")[2]
    for operator, version in _COMPARED.findall(re.sub(r"^[\w.-]+", "", said)):
        if operator not in _OPERATORS:
            meant = next((each for each in _OPERATORS if each != operator and sorted(each) == sorted(operator)), None)
            guess = f"; did you mean {meant!r}?" if meant else ""
            raise ValueError(f"not a conda package: {shown(text)!r}: conda has no {operator!r}{guess}")
        if not version:
            raise ValueError(f"not a conda package: {shown(text)!r}: no version stands behind {operator!r}")
    return found


@lru_cache(4096)
def read_pip(text: str) -> Entry:
    """Read a line that asks pip for a package; whether what a path names is there is not looked at.

    :raises ValueError: it is no requirement.

    >>> read_pip("Pillow >=9 ; python_version < '3.12'").name
    'pillow'
    """
    line = without_comment(text)
    requirement, options = take_apart(line)
    if not requirement:
        raise ValueError(f"an option, not a package: {shown(line)!r}")
    hashes = " ".join(f"{each.name}={each.value}" for each in options)
    direct = Direct.parse(requirement)
    if direct:
        return _read_direct(line, direct, hashes)
    try:
        Requirement.parse(requirement)
    except ValueError as error:
        meant = "; did you mean '=='?" if re.search(r"(?<![=<>!~])=(?!=)", requirement.partition(";")[0]) else ""
        raise ValueError(f"not a requirement: {requirement!r} ({error}){meant}") from error
    parsed = Pep508(requirement)
    extras = frozenset(canonicalize_name(each) for each in parsed.extras)
    marker = str(parsed.marker or "")
    return Entry(line, canonicalize_name(parsed.name), parsed.specifier, hashes, extras, marker)


def without_comment(line: str) -> str:
    """``line`` of a requirements file without the comment behind it.

    >>> without_comment("demo==1  # the last good one"), without_comment("https://host.test/#egg=x")
    ('demo==1', 'https://host.test/#egg=x')
    """
    return _COMMENT.sub("", line).strip()


def shown(text: str) -> str:
    """``text`` as it may be shown: URLs lose passwords, tokens and queries.

    >>> shown("--index-url https://me:pw@host.test/t/tk-1/simple?sig=x")
    '--index-url https://host.test/t/…/simple?…'
    """

    def bare(found: re.Match[str]) -> str:
        return _QUERY.sub("?…", _TOKEN.sub("/t/…", without_credentials(found[0])))

    return _URL.sub(bare, text)


def contradict(one: Entry, other: Entry) -> bool:
    """Whether no version of the package could satisfy both, wherever both apply."""
    if one.name is None or one.name != other.name:
        return False
    if one.marker and other.marker and one.marker != other.marker:
        return False
    if one.is_conda != other.is_conda and any(each.fixed and not each.is_conda for each in (one, other)):
        # A package that conda provides, and another of its name from a URL, a path, or with hashes of an index.
        return True
    return not any(
        one.versions.contains(each, prereleases=True) and other.versions.contains(each, prereleases=True)
        for each in _witnesses(one.versions, other.versions)
    )


def joined(one: Entry, other: Entry) -> str | None:
    """One entry of the same list that says what both say, or ``None`` where that needs two or cannot be."""
    if _says_all(one, other):
        return one.text
    if _says_all(other, one):
        return other.text
    if one.fixed or other.fixed or contradict(one, other):
        return None
    clauses = sorted({*map(str, one.versions), *map(str, other.versions)}, reverse=True)
    if one.is_conda:
        # conda drops the '.*' of '==1.2.*' and then wants 1.2 itself.
        said = ",".join(re.sub(r"^==(.*\.\*)$", r"\1", each) for each in clauses)
        return f"{_spelling(one)}{' ' if said[0].isdigit() else ''}{said}"
    extras = ",".join(sorted(one.extras | other.extras))
    behind = f" ; {one.marker}" if one.marker else ""
    return f"{_spelling(one)}{f'[{extras}]' if extras else ''}{','.join(clauses)}{behind}"


def _says_all(one: Entry, other: Entry) -> bool:
    """Whether whoever asks for ``one`` gets what ``other`` asks for."""
    if other.fixed not in ("", one.fixed) or not one.extras >= other.extras:
        return False
    exact = [each for each in one.versions if each.operator in ("==", "===") and not each.version.endswith(".*")]
    within = any(other.versions.contains(each.version, prereleases=True) for each in exact)
    return within or set(other.versions) <= set(one.versions)


def _witnesses(*ranges: SpecifierSet) -> Iterator[str]:
    """Versions of which one fits all ``ranges`` if any does: each bound, what comes just behind it, and the first."""
    yield "0"
    for clause in (clause for each in ranges for clause in each):
        if clause.operator == "===":
            yield clause.version
            continue
        bound = Version(clause.version.removesuffix(".*"))
        yield str(bound)
        yield bound.base_version
        yield f"{bound.base_version}.0.0.0.1"


def _spelling(entry: Entry) -> str:
    """The name as the entry spells it."""
    found = re.match(r"[A-Za-z0-9_][A-Za-z0-9._-]*", entry.text)
    return found[0] if found else entry.text


def _read_direct(line: str, direct: Direct, hashes: str) -> Entry:
    name, version = direct.name, None
    filename = unquote(PurePosixPath(urlsplit(direct.target.partition("#")[0]).path).name)
    egg = _EGG.search(direct.target)
    if direct.target.startswith(WHEEL_SCHEME):
        WheelRef.parse(direct.target)
    if filename.endswith(".whl"):
        try:
            of_wheel, version, _, _ = parse_wheel_filename(filename)
        except InvalidWheelFilename as error:
            raise ValueError(f"{filename!r} is not the file name of a wheel (PEP 427)") from error
        if name and canonicalize_name(name) != of_wheel:
            raise ValueError(f"{filename!r} is a wheel of {of_wheel}, not of {name}")
        name = of_wheel
    elif egg and not name:
        name = egg[1]
    versions = SpecifierSet(f"=={version}") if version else SpecifierSet()
    fixed = f"{direct.target} {hashes}".strip()
    return Entry(
        line, canonicalize_name(name) if name else None, versions, fixed, frozenset(direct.extras), direct.marker
    )
