"""Requirements: what a definition may ask pip for, and where it is to be looked for.

All of them are frozen values in one spelling: equal requirements are equal values, and no value holds a password.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from packaging.markers import InvalidMarker, Marker
from packaging.requirements import InvalidRequirement
from packaging.requirements import Requirement as Pep508
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from envbuild.digest import Digest

WHEEL_SCHEME = "envbuild://wheels/"
"""How the URL of a private wheel begins: the digest of its bytes and its file name follow."""

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s'\"]+")
_VARIABLE_USE = re.compile(r"\$\{[A-Z0-9_]+\}")
_IN_PERCENT = "in a password, '/', '?', '#' and '@' are written as %2F, %3F, %23 and %40"
_CHANNEL_TOKEN = re.compile(r"/t/[^/]+(?=/|$)")


def without_credentials(url: str) -> str:
    """Drop a user name and password from ``url``; one that is only a ``${VARIABLE}`` stays, as its name.

    >>> without_credentials("https://me:pw@pypi.corp.test/simple")
    'https://pypi.corp.test/simple'
    >>> without_credentials("https://me:${TOKEN}@pypi.corp.test/simple")
    'https://me:${TOKEN}@pypi.corp.test/simple'
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        return url
    authority, slash, path = rest.partition("/")
    user, at, host = authority.rpartition("@")
    if not at:
        return url
    name, _, password = user.partition(":")
    secret = password or name
    # `git@host` is the name of an account that everybody shares, not a credential.
    kept = _VARIABLE_USE.fullmatch(secret) or (not password and name == "git")
    return f"{scheme}://{user + at if kept else ''}{host}{slash}{path}"


def bare_url(url: str) -> str:
    """Drop all that may open ``url``: user and password, the token of a conda channel, what stands behind ``?``.

    >>> bare_url("https://me:pw@conda.corp.test/t/tk-1/main/noarch/demo-1-0.conda?sig=x")
    'https://conda.corp.test/main/noarch/demo-1-0.conda'
    >>> bare_url("https://conda.corp.test/t/tk-1")
    'https://conda.corp.test'
    """
    return _CHANNEL_TOKEN.sub("", re.split(r"[?#]", without_credentials(url), maxsplit=1)[0], count=1)


def check_channel_url(url: str) -> None:
    """See to it that what opens a channel can be told from where it is.

    :raises ValueError: it cannot; the message has nothing of ``url``, as anything of it may be a secret.
    """
    try:
        parts = urlsplit(re.sub(r"\$\{\w+\}", "0", url))
        is_sound = parts.port != 0 or "${" in url
    except ValueError:
        is_sound = False
    if not is_sound or not (parts.hostname or parts.scheme.lower() == "file"):
        raise ValueError(f"the URL of a channel has no host and port that could be understood; {_IN_PERCENT}")
    if "@" in f"{parts.path}?{parts.query}#{parts.fragment}":
        raise ValueError(f"the URL of a channel has an '@' behind its host; {_IN_PERCENT}")


def without_credentials_in(text: str) -> str:
    """Drop the credentials of every URL in ``text``, whatever else it says.

    >>> without_credentials_in("cannot reach 'https://me:pw@host.test/simple'")
    "cannot reach 'https://host.test/simple'"
    """
    return _URL.sub(lambda found: without_credentials(found[0]), text)


@dataclass(frozen=True, order=True, slots=True)
class Requirement:
    """One thing that pip is asked for (PEP 508, or the forms of a requirements file).

    :param text: ``name[extra]>=1; marker``, ``name @ url``, a URL, or a path relative to the definition's
        folder that starts with ``./`` or ``../`` (an absolute path stays absolute).
    :param editable: install it so that edits of its source are seen (``-e``); paths only.
    :param hashes: ``sha256:…`` of the artifacts that may be installed for it; empty for any.
    :param index: the one index that the package may come from, a URL or a path as in `PipOptions`; empty for any of
        the definition's. Only a package that is asked for by name can have one.
    """

    text: str
    editable: bool = False
    hashes: tuple[str, ...] = ()
    index: str = ""

    def __post_init__(self) -> None:
        if self.index and (self.editable or self.name is None or "@" in self.text.partition(";")[0]):
            raise ValueError(f"only a package that is asked for by name comes from an index: {self.text!r}")

    @property
    def is_path(self) -> bool:
        """Whether it names a file or folder rather than a package or a URL."""
        return self.text.startswith(("./", "../", "/"))

    @property
    def name(self) -> str | None:
        """The normalised name of the package (PEP 503), or ``None`` where only its metadata would tell."""
        if self.is_path or "://" in self.text.split(" ", 1)[0]:
            return None
        return canonicalize_name(Pep508(self.text).name)

    @classmethod
    def parse(cls, text: str, *, editable: bool = False, hashes: Iterable[str] = (), index: str = "") -> Requirement:
        """Read ``text`` and bring it into the one spelling that all equal requirements share.

        :raises ValueError: it is neither a PEP 508 requirement, nor a URL, nor a path.

        >>> Requirement.parse("Scikit_Learn [b,a] <2,>=1.0").text
        'scikit-learn[a,b]<2,>=1.0'
        """
        text = text.strip()
        ordered = tuple(sorted(hashes))
        if text.startswith(("./", "../", "/")):
            return cls(text.rstrip("/") or "/", editable, ordered, index)
        if "://" in re.split(r"[\s;@]", text, maxsplit=1)[0]:
            return cls(without_credentials(text), editable, ordered, index)
        try:
            parsed = Pep508(text)
        except InvalidRequirement as error:
            raise ValueError(str(error).splitlines()[0]) from error
        parsed.name = canonicalize_name(parsed.name)
        parsed.extras = {canonicalize_name(each) for each in parsed.extras}
        if parsed.url:
            parsed.url = without_credentials(parsed.url)
        return cls(str(parsed), editable, ordered, without_credentials(index))


@dataclass(frozen=True, order=True, slots=True)
class WheelRef:
    """A private wheel: bytes that are on no index, and so are known by their digest alone.

    :param filename: as PEP 427 spells it; the same name with other bytes is another wheel.
    :param path: where it was found, relative to the definition's folder; not content.
    """

    filename: str
    digest: Digest
    extras: tuple[str, ...] = ()
    marker: str = ""
    path: str | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if PurePosixPath(self.filename).name != self.filename:
            raise ValueError(f"not a file name: {self.filename!r}")
        try:
            parse_wheel_filename(self.filename)
        except InvalidWheelFilename as error:
            raise ValueError(f"{self.filename!r} is not the file name of a wheel (PEP 427)") from error

    @property
    def name(self) -> str:
        """The normalised name of the package."""
        return parse_wheel_filename(self.filename)[0]

    @property
    def url(self) -> str:
        """The name by which any definition in this workspace may ask for these bytes.

        >>> ref = WheelRef("demo-1.0-py3-none-any.whl", Digest.of(b""))
        >>> WheelRef.parse(ref.url) == ref
        True
        """
        return f"{WHEEL_SCHEME}{self.digest.hex}/{quote(self.filename)}"

    def __str__(self) -> str:
        extras = f"[{','.join(self.extras)}]" if self.extras else ""
        plain = self.url if not extras else f"{self.name}{extras} @ {self.url}"
        return plain + (f" ; {self.marker}" if self.marker else "")

    @classmethod
    def parse(cls, text: str) -> WheelRef:
        """Read what `str` or `url` gave.

        :raises ValueError: it does not begin with `WHEEL_SCHEME`, a digest and the file name of a wheel.
        """
        text, _, marker = text.partition(" ; ")
        requirement, _, named = text.partition(" @ ")
        url, extras = (named, Pep508(requirement).extras) if named else (text, set[str]())
        if not url.startswith(WHEEL_SCHEME):
            raise ValueError(f"not the URL of a private wheel: {url!r}")
        digits, _, filename = url.removeprefix(WHEEL_SCHEME).partition("/")
        if marker:
            try:
                marker = str(Marker(marker))
            except InvalidMarker as error:
                raise ValueError(str(error).splitlines()[0]) from error
        return cls(unquote(filename), Digest(digits), tuple(sorted(extras)), marker)


@dataclass(frozen=True, slots=True)
class PipOptions:
    """Where packages are looked for, and which of their artifacts may be used (pip's options of that name).

    :param source: packages that may be built from source although wheels of other versions fit.
    """

    index_url: str | None = None
    extra_index_urls: tuple[str, ...] = ()
    find_links: tuple[str, ...] = ()
    no_index: bool = False
    pre: bool = False
    no_binary: tuple[str, ...] = ()
    only_binary: tuple[str, ...] = ()
    require_hashes: bool = False
    source: tuple[str, ...] = ()

    def content(self) -> dict[str, Any]:
        """What is not as by default; URLs without credentials, names in any order."""
        found: dict[str, Any] = {}
        for each in fields(self):
            value = getattr(self, each.name)
            if value == each.default:
                continue
            if each.name in ("no_binary", "only_binary", "source"):
                value = sorted(name if name.startswith(":") else canonicalize_name(name) for name in value)
            elif each.name in ("extra_index_urls", "find_links"):
                value = [without_credentials(url) for url in value]
            elif each.name == "index_url":
                value = without_credentials(value)
            found[each.name] = value
        return found


@dataclass(frozen=True, slots=True)
class PylockFile:
    """A lock that another tool made, to be installed as it stands.

    :param part: of a lock for several environments (``pixi.lock``), the one that is meant.

    >>> str(PylockFile.parse(f"{Digest.of(b'')} test")).endswith(" test")
    True
    """

    digest: Digest
    part: str = ""
    path: str | None = field(default=None, compare=False)

    def __str__(self) -> str:
        return f"{self.digest} {self.part}".rstrip()

    @classmethod
    def parse(cls, text: str) -> PylockFile:
        """Read what `str` gave.

        :raises ValueError: it does not begin with a digest.
        """
        digest, _, part = text.partition(" ")
        return cls(Digest.parse(digest), part)
