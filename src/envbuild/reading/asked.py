"""What has been asked for so far, and how the definition is made of it in the end."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from envbuild.definition import Definition
from envbuild.errors import DefinitionError
from envbuild.reading.options import OptionsSoFar
from envbuild.reading.requirement import path_of_url, spelled
from envbuild.reading.sources import Place, Sources
from envbuild.requirement import PipOptions, Requirement, WheelRef, check_channel_url, without_credentials

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://\S+")
_CONDA_TOKEN = re.compile(r"/t/(?!\$\{)[^/]+(?=/|$)")


@dataclass(slots=True)
class Asked:
    """What the lines read so far ask pip for; the dicts are sets that keep their order."""

    sources: Sources
    pip: dict[Requirement, None] = field(default_factory=dict)
    constraints: dict[Requirement, None] = field(default_factory=dict)
    wheels: dict[WheelRef, None] = field(default_factory=dict)
    options: OptionsSoFar = field(default_factory=OptionsSoFar)
    credentials: dict[str, str] = field(default_factory=dict)
    included: set[tuple[Path, bool]] = field(default_factory=set)
    replaced: set[tuple[Path, tuple[str, ...], str]] = field(default_factory=set)

    def add(self, found: Requirement | WheelRef, *, constraint: bool = False) -> None:
        """Ask for ``found`` too."""
        if isinstance(found, WheelRef):
            self.wheels[found] = None
        elif constraint:
            self.constraints[found] = None
        else:
            self.pip[found] = None

    def url(self, url: str) -> str:
        """``url`` as it may be written down; the credentials in it are kept aside."""
        clean = without_credentials(url)
        if clean != url:
            self.credentials[clean] = url
        return clean

    def urls_in(self, text: str) -> None:
        """Keep aside the credentials of all URLs in ``text``."""
        for found in _URL.finditer(text):
            self.url(found[0])

    def location(self, value: str, place: Place) -> str:
        """An index or a place with links to packages: a URL, or a path told from the definition's folder.

        :raises ValueError: it is a path, and there is nothing.
        """
        if not value.lower().startswith("file:") and ("://" in value or "${" in value):
            return self.url(value)
        path = path_of_url(value) if value.lower().startswith("file:") else value
        for folder in (place.folder, self.sources.root):
            if (folder / path).exists():
                return spelled(path, folder / path, self.sources.root)
        raise ValueError(f"neither a URL nor an existing file or folder: {value!r}")

    def channel(self, channel: str) -> str:
        """A conda channel as it may be written down, without the token in its URL.

        :raises ValueError: nobody can tell what in it is a secret; the message has nothing of it.
        """
        if "://" in channel:
            check_channel_url(channel)
        bare = bare_channel(channel)
        if bare != channel:
            self.credentials[bare] = channel
        return bare


def bare_channel(channel: str) -> str:
    """A conda channel without user name, password and token, and without what stands behind ``?``.

    >>> bare_channel("https://me:pw@conda.corp.test/t/tk-123/main")
    'https://conda.corp.test/main'
    """
    if "://" not in channel:
        return channel
    return _CONDA_TOKEN.sub("", re.split(r"[?#]", without_credentials(channel), maxsplit=1)[0])


def assemble(asked: Asked, form: Mapping[str, Any], at: Callable[[str], Place], **given: Any) -> Definition:
    """Make the definition of ``form``, without its ``pip``, ``constraints`` and ``wheels``, and what was asked for.

    :param at: where a part of the form stands, such as ``options.pre``.
    :param given: further fields of the definition.
    :raises DefinitionError: with everything that is wrong in any of the files.
    """
    sources = asked.sources
    definition = Definition()

    def wrong(part: str, message: str) -> None:
        place = at(part)
        sources.wrong(place, message if place.said or repr(part) in message else f"{part}: {message}")

    for part, message in _without_form(form):
        wrong(part, message)
    try:
        read = Definition.from_dict(form)
        definition = replace(
            read,
            pip=tuple(asked.pip),
            constraints=tuple(asked.constraints),
            options=asked.options.over(_located(read.options, asked, at)),
            wheels=tuple(asked.wheels),
            channels=tuple(_channels(read.channels, asked, wrong)),
            root=sources.root,
            **given,
        )
    except DefinitionError as error:
        for problem in error.problems:
            wrong(problem.file, problem.message)
    sources.check()
    return replace(definition, credentials=asked.credentials)


def _channels(channels: Iterable[str], asked: Asked, wrong: Callable[[str, str], None]) -> Iterator[str]:
    for position, each in enumerate(channels):
        try:
            yield asked.channel(each)
        except ValueError as error:
            wrong(f"channels[{position}]", str(error))


def _located(base: PipOptions, asked: Asked, at: Callable[[str], Place]) -> PipOptions:
    """``base`` with its URLs cleaned and its paths found."""

    def located(key: str, value: str) -> str:
        place = at(f"options.{key}")
        try:
            return asked.location(value, place)
        except ValueError as error:
            asked.sources.wrong(place, str(error) if place.said else f"options.{key}: {error}")
            return value

    return replace(
        base,
        index_url=located("index_url", base.index_url) if base.index_url else None,
        extra_index_urls=tuple(located("extra_index_urls", each) for each in base.extra_index_urls),
        find_links=tuple(located("find_links", each) for each in base.find_links),
    )


def _without_form(form: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The values of the free parts that have no one written form, and so could not be compared."""

    def walk(value: Any, place: str) -> Iterator[tuple[str, str]]:
        if isinstance(value, Mapping):
            for key, item in value.items():
                yield from walk(item, f"{place}.{key}")
        elif isinstance(value, list):
            for position, item in enumerate(value):
                yield from walk(item, f"{place}[{position}]")
        elif value is not None and not isinstance(value, (str, int, bool)):
            yield place, f"put quotes around it: {value!s} is neither a text nor a whole number"

    for key in ("docker", "gpu", "spark", "azure", "plugins"):
        yield from walk(form.get(key), key)
