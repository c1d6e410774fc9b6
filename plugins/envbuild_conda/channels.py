"""Channels: where the packages of a name come from, in order of priority.

A definition names channels as conda does: ``conda-forge``, ``defaults``, a URL, a folder. Which server stands behind a
plain name is the user's own setting (``channel_alias``, ``custom_channels`` and ``default_channels`` of a ``.condarc``,
``CONDA_CHANNEL_ALIAS``), just as an index is for pip; which channels count, and in which order, is the definition's
alone: nothing is added to them, so that ``nodefaults`` is what everybody has anyway.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from envbuild import Definition, EnvbuildError, Platform, ResolutionFailed, bare_url, check_channel_url

ALIAS = "https://conda.anaconda.org"
"""Where conda looks for channels that are mere names."""

DEFAULTS = ("https://repo.anaconda.com/pkgs/main", "https://repo.anaconda.com/pkgs/r")
WINDOWS_DEFAULTS = (*DEFAULTS, "https://repo.anaconda.com/pkgs/msys2")
"""What conda means by ``defaults``."""

USUAL = "conda-forge"
"""The channel of definitions that name none."""

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_UNFIT = re.compile(r"%(?![0-9A-Fa-f]{2})|[^A-Za-z0-9._~!$&'()*+,;=:%-]")
"""What may not stand in a URL before its host as it is."""
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
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

        :raises ResolutionFailed: the file is not YAML, or says something else than conda's settings; so may the
            variable.
        """
        file = Path(variables.get("CONDARC") or Path(variables.get("HOME", "/")) / ".condarc")
        said = _condarc(file) if file.is_file() else {}
        by_variable = variables.get("CONDA_CHANNEL_ALIAS")
        if by_variable and not _is_url(by_variable):
            raise ResolutionFailed("CONDA_CHANNEL_ALIAS is not the URL of a server", hint=f"as in {ALIAS}")
        defaults = said.get("default_channels")
        return cls(
            alias=(by_variable or said.get("channel_alias") or ALIAS).rstrip("/"),
            defaults=None if defaults is None else tuple(defaults),
            custom=said.get("custom_channels") or {},
        )


def _condarc(file: Path) -> dict[str, Any]:
    import yaml

    try:
        said = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
        if not isinstance(said, dict):
            raise ValueError("not a mapping of conda's settings")
        _check_settings(said)
    except (yaml.YAMLError, ValueError, OSError) as error:
        raise ResolutionFailed(f"{file} cannot be read: {error}", hint="correct it, or set CONDARC") from error
    return said


def _check_settings(said: Mapping[str, Any]) -> None:
    defaults, custom = said.get("default_channels") or [], said.get("custom_channels") or {}
    if not _is_url(said.get("channel_alias") or ALIAS):
        raise ValueError(f"channel_alias: the URL of a server is wanted, such as {ALIAS}")
    if not isinstance(defaults, list) or not all(isinstance(each, str) and each for each in defaults):
        raise ValueError("default_channels: a list of channels is wanted")
    if "defaults" in defaults:
        raise ValueError("default_channels: 'defaults' cannot be one of the channels that it stands for")
    if not isinstance(custom, dict):
        raise ValueError("custom_channels: a mapping of names to URLs is wanted")
    for name, url in custom.items():
        if not isinstance(name, str) or not _is_url(url):
            raise ValueError(f"custom_channels: {name}: the URL of what the channel is in is wanted")


def _is_url(value: object) -> bool:
    if not isinstance(value, str) or "://" not in value:
        return False
    try:
        check_channel_url(value)
    except ValueError:
        return False
    return True


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
        try:
            folder = ((definition.root or Path.cwd()) / Path(written).expanduser()).resolve()
        except (RuntimeError, OSError, ValueError) as error:
            raise ResolutionFailed(f"the channel {written!r} is no folder: {error}") from error
        is_relative = not written.startswith(("/", "~"))
        yield Channel(folder.name, folder.as_uri(), folder.as_uri(), folder if is_relative else None)
    elif _SCHEME.match(written):
        raise ResolutionFailed(f"the channel {name!r} is no URL", hint="as in https://host/channel or file:///folder")
    else:
        first, _, rest = written.partition("/")
        base = settings.custom.get(written) or settings.custom.get(first)
        # conda keeps the name of a custom channel out of the address that it gives for it.
        yield _at(f"{(base or settings.alias).rstrip('/')}/{first}{'/' if rest else ''}{rest}", settings, variables)


def _at(url: str, settings: Settings, variables: Mapping[str, str]) -> Channel:
    opened = _SUBDIR.sub("", _filled_in(url, variables).rstrip("/"))
    try:
        check_channel_url(opened)
    except ValueError as error:
        raise ResolutionFailed(str(error), hint="correct it in the definition, or the variable it names") from error
    if re.search(r"[?#]", opened):
        raise ResolutionFailed(
            f"what stands behind '?' or '#' in the URL of the channel {bare_url(opened)} would not be sent",
            hint="what opens a channel goes before its host, into '/t/TOKEN/' behind it, or into .netrc",
        )
    bare = bare_url(opened)
    return Channel(_name(bare, bare_url(_filled_in(settings.alias, variables))), bare, opened)


def _filled_in(text: str, variables: Mapping[str, str]) -> str:
    """``text`` with the values of its variables, written as they have to be where they stand.

    >>> _filled_in("https://me:${PASSWORD}@host.test/${NAME}", {"PASSWORD": "a/b@c", "NAME": "main"})
    'https://me:a%2Fb%40c@host.test/main'
    """
    missing = [name for name in _VARIABLE.findall(text) if name not in variables]
    if missing:
        raise ResolutionFailed(
            f"a channel needs the variable {missing[0]}, which is not set", hint=f"set {missing[0]} and try again"
        )
    scheme, separator, rest = text.partition("://")
    authority, slash, path = rest.partition("/")
    user, at, host = authority.rpartition("@")
    # Whoever has encoded it already may have: that is how pip and conda take it.
    user = _VARIABLE.sub(lambda found: _UNFIT.sub(lambda char: quote(char[0], safe=""), variables[found[1]]), user)
    filled = f"{user}{at}" + _VARIABLE.sub(lambda found: variables[found[1]], f"{host}{slash}{path}")
    return f"{scheme}{separator}{filled}"


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
    token = re.search(r"/t/([^/]+)(?:/|$)", parts.path)
    found = [password, unquote(password), token[1] if token else ""]
    return [each for each in dict.fromkeys(found) if each]


def check_places(urls: Iterable[str], known: Collection[Channel]) -> None:
    """See to it that no credentials go to another server than that whose channel they open.

    rattler tells servers apart by their names alone when it asks what to say to them, not by scheme and port.

    :param urls: what is to be fetched.
    :raises EnvbuildError: something would be taken for a part of a channel with credentials, and is none.
    """
    opening = [each for each in known if _user(each)]
    for one in opening:
        for other in known:
            if _look_alike(one.url, other.url):
                raise EnvbuildError(
                    f"the password of the channel {one.url} would be sent to {other.url} too",
                    hint="give one of the servers another name, or put the password into .netrc",
                )
    for url in urls:
        if any(_seems_below(url, each.url) and not _is_below(url, each.url) for each in opening):
            raise EnvbuildError(
                f"{bare_url(url)} is in none of the channels, and would be sent the password of one",
                hint="find out who has written it into the lock, or lock again",
            )


def _user(channel: Channel) -> str | None:
    return urlsplit(channel.opened).username


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def _look_alike(one: str, other: str) -> bool:
    """Whether two channels cannot be told apart by host and path, and are on two servers all the same.

    >>> _look_alike("http://host.test:1/main", "http://host.test:2/main")
    True
    >>> _look_alike("http://host.test:1/main", "http://host.test:2/other")
    False
    """
    here, there = urlsplit(one), urlsplit(other)
    shorter, longer = sorted((f"{unquote(here.path)}/", f"{unquote(there.path)}/"), key=len)
    return here.hostname == there.hostname and _origin(one) != _origin(other) and longer.startswith(shorter)


def _is_below(url: str, channel: str) -> bool:
    """Whether ``url`` is in ``channel``, however it is written.

    >>> _is_below("https://host.test:443/a%62/noarch/x.conda", "https://host.test/ab")
    True
    >>> _is_below("https://host.test/ab/%2e%2e/x.conda", "https://host.test/ab")
    False
    """
    return _origin(url) == _origin(channel) and _is_plain(url) and _seems_below(url, channel)


def _seems_below(url: str, channel: str) -> bool:
    """Whether ``url`` may be in ``channel``, as far as host and path tell."""
    there, here = urlsplit(url), urlsplit(channel)
    is_inside = unquote(there.path).startswith(f"{unquote(here.path)}/") or not _is_plain(url)
    return there.hostname == here.hostname and is_inside


def _is_plain(url: str) -> bool:
    return not {".", ".."} & set(re.split(r"[/\\]", unquote(urlsplit(url).path)))
