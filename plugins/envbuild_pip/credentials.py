"""Credentials: what opens private indexes and repositories, put where uv finds it for one call and nowhere else.

A definition has them apart from its URLs, or as ``${NAME}`` in them; a lock has none. For whatever has to be fetched
they are found again by its host, as pip does.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import takewhile
from pathlib import Path
from urllib.parse import SplitResult, quote, unquote, urlsplit, urlunsplit

from envbuild import Definition
from envbuild_pip.asking import URL, located, spelled_out
from envbuild_pip.uv import settings

_VARIABLE = re.compile(r"\$\{([A-Z0-9_]+)\}")


def write_private(file: Path, text: str) -> None:
    """Write a file that may hold credentials: nobody else can read it."""
    file.unlink(missing_ok=True)
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as stream:
        stream.write(text)


def filled_in(text: str, variables: Mapping[str, str]) -> str:
    """``text`` with the values of its ``${NAME}``; one that nobody has set stays.

    >>> filled_in("https://me:${TOKEN}@host.test/${OTHER}", {"TOKEN": "t"})
    'https://me:t@host.test/${OTHER}'
    """
    return _VARIABLE.sub(lambda found: variables.get(found[1], found[0]), text)


def opened(url: str, definition: Definition, variables: Mapping[str, str]) -> str:
    """``url`` with the credentials that the definition has for its host; the nearest of several.

    >>> from envbuild import Requirement
    >>> asked = Definition(pip=(Requirement.parse("demo @ git+https://me:${TOKEN}@host.test/demo.git@main"),))
    >>> opened("https://host.test/demo.git", asked, {"TOKEN": "t"})
    'https://me:t@host.test/demo.git'
    """
    return _with(url, _nearest(url, _of_definition(definition, variables)))


def with_indexes(definition: Definition, variables: Mapping[str, str]) -> dict[str, str]:
    """``variables`` with the definition's indexes as uv's own; an index of the definition replaces the machine's.

    On the command line everybody on this machine could read the credentials in them.
    """
    found, options = settings(variables), definition.options
    if options.index_url:
        found["UV_DEFAULT_INDEX"] = _told(options.index_url, definition, variables)
        found.pop("UV_INDEX_URL", None)
    if options.extra_index_urls:
        extra = [_told(url, definition, variables) for url in options.extra_index_urls]
        found["UV_INDEX"] = " ".join([*extra, *found.get("UV_INDEX", "").split()])
    if options.find_links:
        links = [_told(located(each, definition.root), definition, variables) for each in options.find_links]
        found["UV_FIND_LINKS"] = ",".join([*links, *filter(None, [found.get("UV_FIND_LINKS")])])
    return found


def _told(url: str, definition: Definition, variables: Mapping[str, str]) -> str:
    return filled_in(spelled_out(url, definition), variables)


def user_and_password(url: str, definition: Definition, variables: Mapping[str, str]) -> str | None:
    """``user:password`` for ``url``: from the definition, uv's or pip's variables, or netrc; ``None`` for none."""
    known = [*_of_definition(definition, variables), *_of_variables(variables)]
    found = _nearest(url, known)
    return unquote(found) if found else _of_netrc(url, variables)


def _of_definition(definition: Definition, variables: Mapping[str, str]) -> Iterator[str]:
    options = definition.options
    texts = [each.text for each in (*definition.pip, *definition.constraints)]
    texts += [options.index_url or "", *options.extra_index_urls, *options.find_links]
    texts += [each.index for each in definition.pip]
    urls = (found for text in texts for found in URL.findall(text))
    yield from (filled_in(url, variables) for url in (*definition.credentials.values(), *urls) if "@" in url)


def _of_variables(variables: Mapping[str, str]) -> Iterator[str]:
    names = ("UV_INDEX", "UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "PIP_INDEX_URL",
             "PIP_EXTRA_INDEX_URL")  # fmt: skip
    for word in (word for name in names for word in variables.get(name, "").split()):
        name, equals, url = word.partition("=")
        if not equals or "/" in name:
            yield word
            continue
        prefix = f"UV_INDEX_{re.sub(r'[^A-Z0-9]', '_', name.upper())}"
        user, password = (variables.get(f"{prefix}_{what}", "") for what in ("USERNAME", "PASSWORD"))
        yield _with(url, f"{quote(user, '')}:{quote(password, '')}" if user or password else "")


def _of_netrc(url: str, variables: Mapping[str, str]) -> str | None:
    """What netrc has for the host of ``url``; it knows no ports, and nothing that says whether to trust the way there.

    pip and uv send it in plain text too. Whoever listens on the way must not get it, unless there is no way.
    """
    import netrc

    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme != "https" and not _is_here(host):
        return None
    file = variables.get("NETRC") or os.path.join(variables.get("HOME", "/"), ".netrc")  # noqa: PTH118
    try:
        found = netrc.netrc(file).authenticators(host)
    except (OSError, UnicodeDecodeError, netrc.NetrcParseError):
        return None
    return f"{found[0]}:{found[2]}" if found else None


def _is_here(host: str) -> bool:
    """Whether what is said to ``host`` does not leave this machine."""
    return host == "localhost" or host == "::1" or re.fullmatch(r"127(\.\d+){3}", host) is not None


def _nearest(url: str, known: Iterable[str]) -> str:
    """The user information of the URL in ``known`` that has the server of ``url`` and shares most of its path."""
    wanted, nearest, user = urlsplit(url), -1, ""
    for each in known:
        found = urlsplit(each)
        its_user, _, _ = found.netloc.rpartition("@")
        shared = _shared(wanted.path, found.path)
        if its_user and _server(found) == _server(wanted) and shared > nearest:
            nearest, user = shared, its_user
    return user


def _server(url: SplitResult) -> tuple[str, str]:
    """Scheme, host and port: what is meant for one server is sent to no other, nor in plain text.

    >>> _server(urlsplit("git+https://me:pw@Host.test:443/demo.git")) == _server(urlsplit("https://host.test/demo"))
    True
    """
    scheme = url.scheme.rpartition("+")[2]
    host = url.netloc.rpartition("@")[2].lower()
    return scheme, host.removesuffix({"https": ":443", "http": ":80"}.get(scheme, ":"))


def _shared(one: str, other: str) -> int:
    pairs = zip(one.split("/"), other.split("/"), strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def _with(url: str, user: str) -> str:
    parts = urlsplit(url)
    if not user:
        return url
    return urlunsplit(parts._replace(netloc=f"{user}@{parts.netloc.rpartition('@')[2]}"))
