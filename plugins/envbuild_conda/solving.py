"""Solving: from what conda is asked for to exact packages, Python among them."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable
from typing import Any

from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from envbuild import Definition, LockRequest, Platform, Resolution, ResolutionFailed, bare_url, subdir_of
from envbuild_conda import channels, engine, locked, sound, virtual
from envbuild_conda.channels import Channel

_CHANNEL = re.compile(r"(?P<channel>\S+?)::(?P<rest>.+)", re.S)
_EXTRAS = re.compile(r"\[[^\]=]*\]")


def pin(definition: Definition, platform: Platform, resolution: Resolution) -> None:
    """Pin the conda packages.

    :raises ResolutionFailed: nothing satisfies the definition, or a channel cannot be read.
    """
    request = resolution.request
    virtual.check(request.variables)
    named = channels.channels(definition, platform, request.variables)
    specs, others = _specs(definition, platform, request)
    known = tuple({each.url: each for each in (*named, *others)}.values())
    answer = _solve(definition, platform, request, specs, known)
    by_url = {each.url: each for each in known}
    for each in answer["records"]:
        _check(each)
    packages = [locked.package(each, _channel_of(each, by_url), definition.root) for each in answer["records"]]
    python = next((each for each in packages if each.name == "python"), None)
    if python is None or python.version is None:
        raise ResolutionFailed("the channels have no Python", hint="add one that has, such as conda-forge")
    resolution.pin_python(python.version, None)
    resolution.add(*packages)
    resolution.taken_for(*virtual.asked_for(answer["virtual"], [*specs, *locked.needs(packages)]))


def _check(record: dict[str, Any]) -> None:
    try:
        sound.check_record(record)
    except sound.Unsound as error:
        raise ResolutionFailed(
            f"{record['name']} {record['version']} is not a sound package: {error}",
            hint="do not install it; tell whoever keeps its channel",
        ) from error


def _specs(definition: Definition, platform: Platform, request: LockRequest) -> tuple[list[str], list[Channel]]:
    """What is asked for in rattler's words, and the channels that single packages are to come from."""
    specs = [python_spec(definition.python_range)]
    others: list[Channel] = []
    # Where not all can be had in their newest versions, the first come first; their order in a file means nothing.
    for each in sorted(map(match_spec, definition.conda)):
        found = _CHANNEL.fullmatch(each.strip())
        if not found:
            specs.append(each)
            continue
        meant = channels.channel(found["channel"], definition, platform, request.variables)
        if len(meant) != 1:
            raise ResolutionFailed(f"{each!r}: {found['channel']!r} is {len(meant)} channels", hint="name one of them")
        others += meant
        specs.append(f"{meant[0].url}::{found['rest']}")
    return specs, others


def match_spec(asked: str) -> str:
    """``asked`` as rattler has it: extras of pip's mean nothing to conda, and are in many files nonetheless.

    >>> match_spec("versioneer[toml]=0.28"), match_spec("numpy[version='>=2']")
    ('versioneer=0.28', "numpy[version='>=2']")
    """
    return _EXTRAS.sub("", asked)


def python_spec(wanted: SpecifierSet) -> str:
    """What a definition asks of Python, as a match spec.

    >>> python_spec(SpecifierSet("==3.11.*")), python_spec(SpecifierSet(">=3.10,<3.13")), python_spec(SpecifierSet())
    ('python 3.11.*', 'python <3.13,>=3.10', 'python')
    """
    clauses = sorted(str(each) for each in wanted)
    return " ".join(
        ["python", *([",".join(re.sub(r"^==(.*\.\*)$", r"\1", each) for each in clauses)] if clauses else [])]
    )


def _solve(
    definition: Definition, platform: Platform, request: LockRequest, specs: list[str], known: tuple[Channel, ...]
) -> Any:
    subdir = subdir_of(platform)
    until = _end_of(definition.as_of) if definition.as_of else None
    question = {
        "ask": "solve",
        "sources": [each.url for each in known],
        "opened": {each.url: each.opened for each in known},
        "specs": specs,
        "platforms": [subdir, "noarch"],
        "virtual": None if platform == Platform.here() else virtual.assumed(subdir),
        "kept": [each for each in _kept(request, definition, known) if until is None or each["timestamp"] < until],
        "until": until,
        "offline": request.offline,
    }
    with request.progress.step(f"Solving for {len(specs)} conda packages"):
        try:
            return engine.ask(
                question,
                known=known,
                variables=request.variables,
                scratch=request.scratch,
                progress=request.progress,
            )
        except engine.EngineFailed as error:
            raise _failure(error, request, known) from error


def _kept(request: LockRequest, definition: Definition, known: Iterable[Channel]) -> Iterable[dict[str, Any]]:
    """The packages of the previous lock that are to stay where nothing forbids it."""
    if request.previous is None or request.upgrade is True:
        return
    moved = {canonicalize_name(name) for name in request.upgrade}
    named = {each.url for each in known}
    for each in request.previous.of_kind(locked.KIND):
        found = locked.record(each, request.previous.root or definition.root)
        if canonicalize_name(each.name) not in moved and found["channel"] in named:
            yield {"timestamp": 0, **found, "channel": f"{found['channel']}/"}


def _channel_of(record: dict[str, Any], known: dict[str, Channel]) -> Channel:
    url = bare_url(record["channel"].rstrip("/"))
    return known.get(url) or Channel(url.rpartition("/")[2], url, url)


def _end_of(day: datetime.date) -> int:
    """The moment at which ``day`` ends in UTC, in milliseconds since 1970.

    >>> _end_of(datetime.date(1970, 1, 1))
    86400000
    """
    midnight = datetime.datetime.combine(day + datetime.timedelta(days=1), datetime.time(), datetime.UTC)
    return int(midnight.timestamp() * 1000)


def _failure(error: engine.EngineFailed, request: LockRequest, known: Iterable[Channel]) -> ResolutionFailed:
    said = str(error).strip()
    if error.kind == "Unsolvable":
        said = said.removeprefix("Cannot solve the request because of: ")
        lacking = re.search(r"__(\w+) .*no candidates", said)
        searched = ", ".join(each.name for each in known)
        hint = (
            f"for a machine that has it: CONDA_OVERRIDE_{lacking[1].upper()}=VERSION envbuild lock"
            if lacking
            else f"searched was {searched}; a package that only PyPI has belongs below 'pip:'"
        )
        return ResolutionFailed(f"nothing satisfies the definition\n{said}", hint=hint)
    if error.kind == "Spec":
        return ResolutionFailed(f"not a conda package: {said}", hint="numpy, numpy=2.1 and 'numpy>=2,<3' are")
    if request.offline:
        return ResolutionFailed(
            f"not everything that is needed is cached\n{said}", hint="run it once without --offline"
        )
    if error.kind in ("GatewayError", "FetchRepoDataError", "InvalidChannelError", "InvalidUrlError"):
        if re.search(r"\b40[13]\b", said):
            return ResolutionFailed(
                f"a channel does not open\n{said}",
                hint="put what opens it into .netrc, or a variable of yours into its URL: https://me:${TOKEN}@host/…",
            )
        listed = ", ".join(each.url for each in known)
        return ResolutionFailed(
            f"a channel cannot be read\n{said}", hint=f"check the channels ({listed}) and the network"
        )
    return ResolutionFailed(f"conda packages cannot be solved: {error.kind}\n{said}")
