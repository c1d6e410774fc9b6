"""Channels: where the packages of a name come from, in order of priority.

A definition names channels as conda does: ``conda-forge``, ``defaults``, a URL, a folder. Which server stands behind a
plain name is the user's own setting (``channel_alias``, ``custom_channels`` and ``default_channels`` of a ``.condarc``,
``CONDA_CHANNEL_ALIAS``), just as an index is for pip; which channels count, and in which order, is the definition's
alone: nothing is added to them, so that ``nodefaults`` is what everybody has anyway.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from envbuild import Definition, Platform, ResolutionFailed, without_credentials

ALIAS = "https://conda.anaconda.org"
"""Where conda looks for channels that are mere names."""

DEFAULTS = ("https://repo.anaconda.com/pkgs/main", "https://repo.anaconda.com/pkgs/r")
WINDOWS_DEFAULTS = (*DEFAULTS, "https://repo.anaconda.com/pkgs/msys2")
"""What conda means by ``defaults``."""

USUAL = "conda-forge"
"""The channel of definitions that name none."""

_TOKEN = re.compile(r"/t/[^/]+(?=/)")
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_SUBDIR = re.compile(r"/(?:noarch|(?:linux|osx|win|emscripten|wasi|freebsd|zos)-[a-z0-9_]+)$")


@dataclass(frozen=True, slots=True)
class Channel:
    """One channel.

    :param name: what people call it: no host, no folder of one machine, no credentials.
    :param url: where it is, without credentials and without a slash at its end.
    :param opened: the same with the credentials that open it; never to be shown or kept.
    :param folder: where it is on this machine, if the definition says so with a relative path.
    """

    name: str
    url: str
    opened: str = field(repr=False)
    folder: Path | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    """What the user's own configuration makes of names."""

    alias: str = ALIAS
    defaults: tuple[str, ...] | None = None
    custom: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, variables: Mapping[str, str]) -> Settings:
        """Read the user's ``.condarc``, or the file that ``CONDARC`` names, and ``CONDA_CHANNEL_ALIAS``.

        :raises ResolutionFailed: the file is not YAML, or says something else than conda's settings.
        """
        file = Path(variables.get("CONDARC") or Path(variables.get("HOME", "/")) / ".condarc")
        said = _condarc(file) if file.is_file() else {}
        alias = variables.get("CONDA_CHANNEL_ALIAS") or said.get("channel_alias") or ALIAS
        defaults = said.get("default_channels")
        return cls(
            alias=str(alias).rstrip("/"),
            defaults=None if defaults is None else tuple(map(str, defaults)),
            custom={str(name): str(url) for name, url in (said.get("custom_channels") or {}).items()},
        )


def _condarc(file: Path) -> dict[str, Any]:
    import yaml

    try:
        said = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
        if not isinstance(said, dict) or not isinstance(said.get("default_channels") or [], list):
            raise ValueError("not a mapping of conda's settings")
        if not isinstance(said.get("custom_channels") or {}, dict):
            raise ValueError("custom_channels is not a mapping")
    except (yaml.YAMLError, ValueError, OSError) as error:
        raise ResolutionFailed(f"{file} cannot be read: {error}", hint="correct it, or set CONDARC") from error
    return said


def channels(definition: Definition, platform: Platform, variables: Mapping[str, str]) -> tuple[Channel, ...]:
    """The channels of a definition, the first before all others.

    :raises ResolutionFailed: one cannot be meant, or its credentials are not set.
    """
    named = [each for each in definition.channels if each != "nodefaults"] or [USUAL]
    settings = Settings.of(variables)
    found = (each for name in named for each in _meant(name, settings, definition, platform, variables))
    return tuple({each.url: each for each in found}.values())


def channel(name: str, definition: Definition, platform: Platform, variables: Mapping[str, str]) -> tuple[Channel, ...]:
    """What one name stands for: ``defaults`` is several channels, everything else is one."""
    return tuple(_meant(name, Settings.of(variables), definition, platform, variables))


def _meant(
    name: str, settings: Settings, definition: Definition, platform: Platform, variables: Mapping[str, str]
) -> Iterator[Channel]:
    if name == "defaults":
        usual = WINDOWS_DEFAULTS if platform.system == "windows" else DEFAULTS
        for each in usual if settings.defaults is None else settings.defaults:
            yield from _meant(each, settings, definition, platform, variables)
        return
    if name == "local":
        raise ResolutionFailed(
            "the channel 'local' is another one on each machine", hint="give its folder: file:///…/conda-bld"
        )
    written = definition.credentials.get(name, name)
    if "://" in written:
        yield _at(written, settings, variables)
    elif written.startswith((".", "/", "~")):
        folder = ((definition.root or Path.cwd()) / Path(written).expanduser()).resolve()
        is_relative = not written.startswith(("/", "~"))
        yield Channel(folder.name, folder.as_uri(), folder.as_uri(), folder if is_relative else None)
    else:
        first, _, rest = written.partition("/")
        base = settings.custom.get(written) or settings.custom.get(first)
        # conda keeps the name of a custom channel out of the address that it gives for it.
        yield _at(f"{(base or settings.alias).rstrip('/')}/{first}{'/' if rest else ''}{rest}", settings, variables)


def _at(url: str, settings: Settings, variables: Mapping[str, str]) -> Channel:
    opened = _SUBDIR.sub("", _filled_in(url, variables).rstrip("/"))
    bare = bare_url(opened)
    return Channel(_name(bare, bare_url(_filled_in(settings.alias, variables))), bare, opened)


def _filled_in(text: str, variables: Mapping[str, str]) -> str:
    missing = [name for name in _VARIABLE.findall(text) if name not in variables]
    if missing:
        raise ResolutionFailed(
            f"a channel needs the variable {missing[0]}, which is not set", hint=f"set {missing[0]} and try again"
        )
    return _VARIABLE.sub(lambda found: variables[found[1]], text)


def bare_url(url: str) -> str:
    """``url`` as it may be written down: without user, password and token.

    >>> bare_url("https://me:pw@conda.corp.test/t/tk-1/main/noarch/demo-1-0.conda")
    'https://conda.corp.test/main/noarch/demo-1-0.conda'
    """
    return _TOKEN.sub("", without_credentials(url), count=1)


def _name(url: str, alias: str) -> str:
    """What people call the channel at ``url``.

    >>> _name("https://conda.corp.test/api/main", "https://conda.anaconda.org")
    'api/main'
    """
    if url.startswith(f"{alias}/"):
        return url[len(alias) + 1 :]
    path = unquote(urlsplit(url).path).strip("/")
    return path.rpartition("/")[2] if url.startswith("file:") else path


def hidden(text: str, known: Iterable[Channel]) -> str:
    """``text`` without the credentials of the channels, however they got there."""
    for each in known:
        text = text.replace(each.opened, each.url)
        for secret in secrets(each.opened):
            text = text.replace(secret, "****")
    return text


def secrets(url: str) -> list[str]:
    """The parts of ``url`` that nobody else may see.

    >>> secrets("https://me:pass%21@host.test/t/tk-1/main")
    ['pass%21', 'pass!', 'tk-1']
    """
    parts = urlsplit(url)
    # Where there is no password, what stands for a user is one.
    password = parts.password or parts.username or ""
    token = re.search(r"/t/([^/]+)/", url)
    found = [password, unquote(password), token[1] if token else ""]
    return [each for each in dict.fromkeys(found) if each]
