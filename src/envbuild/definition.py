"""Definitions: what an environment is asked to be, before anything is resolved.

A `Definition` is a frozen value. It knows no files and no network: `envbuild.reading` makes one of each kind
of file, and notes in `Definition.root` from which folder relative paths are meant. What counts for the
definition digest is `Definition.content`: the name, the place it was read from, the order of requirements and
the spelling of package names do not; private wheels count by their bytes, passwords in URLs never.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any, TypeVar
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from packaging.markers import InvalidMarker, Marker
from packaging.requirements import InvalidRequirement
from packaging.requirements import Requirement as Pep508
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from envbuild.digest import Digest
from envbuild.errors import DefinitionError, Problem

WHEEL_SCHEME = "envbuild://wheels/"
"""How the URL of a private wheel begins: the digest of its bytes and its file name follow."""

_VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ENVIRONMENT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}")
_VARIABLE_USE = re.compile(r"\$\{[A-Z0-9_]+\}")

T = TypeVar("T")


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


@dataclass(frozen=True, order=True, slots=True)
class Requirement:
    """One thing that pip is asked for (PEP 508, or the forms of a requirements file).

    :param text: ``name[extra]>=1; marker``, ``name @ url``, a URL, or a path relative to the definition's
        folder that starts with ``./`` or ``../`` (an absolute path stays absolute).
    :param editable: install it so that edits of its source are seen (``-e``); paths only.
    :param hashes: ``sha256:…`` of the artifacts that may be installed for it; empty for any.
    """

    text: str
    editable: bool = False
    hashes: tuple[str, ...] = ()

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
    def parse(cls, text: str, *, editable: bool = False, hashes: Iterable[str] = ()) -> Requirement:
        """Read ``text`` and bring it into the one spelling that all equal requirements share.

        :raises ValueError: it is neither a PEP 508 requirement, nor a URL, nor a path.

        >>> Requirement.parse("Scikit_Learn [b,a] <2,>=1.0").text
        'scikit-learn[a,b]<2,>=1.0'
        """
        text = text.strip()
        ordered = tuple(sorted(hashes))
        if text.startswith(("./", "../", "/")):
            return cls(text.rstrip("/") or "/", editable, ordered)
        if "://" in re.split(r"[\s;@]", text, maxsplit=1)[0]:
            return cls(without_credentials(text), editable, ordered)
        try:
            parsed = Pep508(text)
        except InvalidRequirement as error:
            raise ValueError(str(error).splitlines()[0]) from error
        parsed.name = canonicalize_name(parsed.name)
        parsed.extras = {canonicalize_name(each) for each in parsed.extras}
        if parsed.url:
            parsed.url = without_credentials(parsed.url)
        return cls(str(parsed), editable, ordered)


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
    """A lock that another tool made, to be installed as it stands (PEP 751)."""

    digest: Digest
    path: str | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """What was asked for.

    :param name: what people call it; not part of its content.
    :param python: a version (``3.11``, ``3.11.7``) or a PEP 440 range (``>=3.10,<3.13``); ``None`` for any.
    :param pip: requirements for pip; ``constraints`` bound versions without asking for the package.
    :param wheels: private wheels, by their bytes.
    :param conda: conda match specs; ``channels`` in order of priority.
    :param variables: environment variables of every run; not part of the *environment's* id.
    :param secrets: names of variables whose values a run takes from its caller and nobody records.
    :param docker: base image or Dockerfile and options, as written.
    :param gpu: what is asked of a GPU, as written; ``spark`` likewise.
    :param as_of: releases after that day do not count.
    :param pylock: install this lock as it stands; excludes ``pip``.
    :param root: the folder that relative paths are meant from; ``source`` the file it was read from.
    """

    name: str | None = None
    python: str | None = None
    pip: tuple[Requirement, ...] = ()
    constraints: tuple[Requirement, ...] = ()
    options: PipOptions = PipOptions()
    wheels: tuple[WheelRef, ...] = ()
    conda: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()
    docker: Mapping[str, Any] = field(default_factory=dict)
    gpu: Mapping[str, Any] = field(default_factory=dict)
    spark: Mapping[str, Any] = field(default_factory=dict)
    as_of: datetime.date | None = None
    pylock: PylockFile | None = None
    root: Path | None = field(default=None, compare=False)
    source: Path | None = field(default=None, compare=False)
    credentials: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)
    """Index URLs with the credentials that their file wrote into them, by the URL without; never written."""

    def __post_init__(self) -> None:
        problems = [Problem(*found) for found in self._wrong()]
        if problems:
            raise DefinitionError(*problems)
        for mapping in ("variables", "docker", "gpu", "spark", "credentials"):
            object.__setattr__(self, mapping, MappingProxyType(dict(getattr(self, mapping))))

    def _wrong(self) -> Iterator[tuple[str, None, str]]:
        if self.name is not None and not _ENVIRONMENT_NAME.fullmatch(self.name):
            yield (
                "name",
                None,
                f"{self.name!r} is not a name: letters, digits, '.', '_' and '-', a letter or digit first",
            )
        if self.python is not None:
            try:
                python_range(self.python)
            except ValueError as error:
                yield "python", None, str(error)
        for name in (*self.variables, *self.secrets):
            if not _VARIABLE_NAME.fullmatch(name):
                yield f"variables.{name}", None, f"{name!r} is not the name of an environment variable"
        for name in sorted(set(self.variables) & set(self.secrets)):
            yield f"secrets.{name}", None, f"{name!r} is both a variable with a value and a secret without one"
        if self.pylock and (self.pip or self.wheels):
            yield "pylock", None, "a lock that is installed as it stands takes no further requirements"

    @property
    def python_range(self) -> SpecifierSet:
        """Which Python versions fit."""
        return python_range(self.python) if self.python else SpecifierSet()

    @property
    def is_local(self) -> bool:
        """Whether it asks for files or folders of the machine that it was written on."""
        places = (*self.options.find_links, *(each.text for each in (*self.pip, *self.constraints)))
        return any(place.startswith(("./", "../", "/")) for place in places)

    @property
    def sections(self) -> tuple[str, ...]:
        """The parts that some plugin has to take on, by the name of the field."""
        present = {
            "conda": self.conda,
            "wheels": self.wheels,
            "pip": self.pip or self.pylock,
            "docker": self.docker,
            "gpu": self.gpu,
            "spark": self.spark,
        }
        return tuple(name for name, value in present.items() if value)

    def content(self) -> dict[str, Any]:
        """What the definition digest covers, as JSON-able data; what is not asked for is left out.

        The order of requirements, wheels, conda packages, variables and secrets says nothing and is dropped;
        that of channels and indexes is their priority and stays.
        """
        content: dict[str, Any] = {
            "python": str(self.python_range),
            "pip": sorted(_requirement_content(each) for each in set(self.pip)),
            "constraints": sorted(_requirement_content(each) for each in set(self.constraints)),
            "options": self.options.content(),
            "wheels": sorted(_wheel_content(each) for each in set(self.wheels)),
            "conda": sorted({" ".join(each.split()) for each in self.conda}),
            "channels": list(self.channels),
            "variables": dict(self.variables),
            "secrets": sorted(set(self.secrets)),
            "docker": _plain(self.docker),
            "gpu": _plain(self.gpu),
            "spark": _plain(self.spark),
            "as_of": self.as_of.isoformat() if self.as_of else "",
            "pylock": str(self.pylock.digest) if self.pylock else "",
        }
        return {key: value for key, value in content.items() if value}

    def to_dict(self) -> dict[str, Any]:
        """The full form, as it stands in an ``envbuild.yml``; `from_dict` undoes it.

        Private wheels stand as their URL, so that the form does not depend on where they were found.
        """
        pip: list[Any] = []
        for each in self.pip:
            if each.editable or each.hashes:
                written: dict[str, Any] = {"requirement": each.text}
                if each.editable:
                    written["editable"] = True
                if each.hashes:
                    written["hashes"] = list(each.hashes)
                pip.append(written)
            else:
                pip.append(each.text)
        form = {
            "name": self.name,
            "python": self.python,
            "pip": pip,
            "constraints": [each.text for each in self.constraints],
            "options": {k: list(v) if isinstance(v, tuple) else v for k, v in self.options.content().items()},
            "wheels": [str(each) for each in self.wheels],
            "conda": list(self.conda),
            "channels": list(self.channels),
            "variables": dict(self.variables),
            "secrets": list(self.secrets),
            "docker": _plain(self.docker),
            "gpu": _plain(self.gpu),
            "spark": _plain(self.spark),
            "as_of": self.as_of.isoformat() if self.as_of else None,
            "pylock": str(self.pylock.digest) if self.pylock else None,
        }
        return {key: value for key, value in form.items() if value}

    @classmethod
    def from_dict(cls, form: Mapping[str, Any], *, wheel: Callable[[str], WheelRef] = WheelRef.parse) -> Definition:
        """Read the full form.

        :param wheel: makes a `WheelRef` of what stands under ``wheels``; by default only the URLs that
            `to_dict` writes are understood, a reader of files adds paths.
        :raises DefinitionError: every problem at once; the ``file`` of each is the place in the form,
            such as ``pip[2]``.
        """
        reader = _Form(form)
        gpu = form.get("gpu")
        if gpu is True or (isinstance(gpu, int) and not isinstance(gpu, bool)):
            form = {**form, "gpu": {"count": "all" if gpu is True else gpu}}
        elif gpu is False:
            form = {**form, "gpu": None}
        reader = _Form(form)
        reader.only(
            "name", "python", "pip", "constraints", "options", "wheels", "conda", "channels", "variables",
            "secrets", "docker", "gpu", "spark", "as_of", "pylock", "version",
        )  # fmt: skip
        found: dict[str, Any] = {
            "name": reader.text("name"),
            "python": reader.text("python"),
            "pip": reader.each("pip", _read_requirement),
            "constraints": reader.each("constraints", _read_requirement),
            "options": reader.options(),
            "wheels": reader.each("wheels", lambda value: wheel(_text(value))),
            "conda": reader.each("conda", _text),
            "channels": reader.each("channels", _text),
            "variables": reader.variables(),
            "secrets": reader.each("secrets", _text),
            "docker": reader.mapping("docker"),
            "gpu": reader.mapping("gpu"),
            "spark": reader.mapping("spark"),
            "as_of": reader.one("as_of", _date),
            "pylock": reader.one("pylock", lambda value: PylockFile(Digest.parse(_text(value)))),
        }
        definition = None
        try:
            definition = cls(**found)
        except DefinitionError as error:
            reader.problems.extend(error.problems)
        if reader.problems or definition is None:
            raise DefinitionError(*reader.problems)
        return definition

    @classmethod
    def from_content(
        cls, content: Mapping[str, Any], *, name: str | None = None, root: Path | None = None
    ) -> Definition:
        """Make the definition that has this `content`.

        >>> asked = Definition(python="3.11", pip=(Requirement.parse("./lib", editable=True),), secrets=("TOKEN",))
        >>> Definition.from_content(asked.content()).content() == asked.content()
        True
        """
        form = dict(content)
        form["pip"] = [_requirement_form(each) for each in content.get("pip", ())]
        form["constraints"] = [_requirement_form(each) for each in content.get("constraints", ())]
        form["wheels"] = [_wheel_url(each) for each in content.get("wheels", ())]
        return replace(cls.from_dict(form), name=name, root=root)

    def named(self, name: str) -> Definition:
        """The same definition under another name."""
        return replace(self, name=name)


def python_range(text: str) -> SpecifierSet:
    """Which versions ``text`` admits: a bare version admits every release that begins with it.

    :raises ValueError: neither a version nor a PEP 440 range.

    >>> "3.11.7" in python_range("3.11"), "3.12.0" in python_range("3.11"), "3.12.0" in python_range(">=3.11")
    (True, False, True)
    """
    try:
        version = Version(text)
    except InvalidVersion:
        try:
            return SpecifierSet(text)
        except InvalidSpecifier as error:
            raise ValueError(f"{text!r} is neither a Python version nor a range of them (PEP 440)") from error
    return SpecifierSet(f"=={version}" if len(version.release) > 2 else f"=={version}.*")


def _requirement_content(requirement: Requirement) -> str:
    flags = ("-e " if requirement.editable else "") + requirement.text
    return " ".join((flags, *(f"--hash={digest}" for digest in requirement.hashes)))


def _requirement_form(written: str) -> dict[str, Any]:
    text, *hashes = written.split(" --hash=")
    return {"requirement": text.removeprefix("-e "), "editable": text.startswith("-e "), "hashes": hashes}


def _wheel_content(wheel: WheelRef) -> str:
    return f"{wheel.digest} {wheel.filename}[{','.join(wheel.extras)}]{wheel.marker}"


def _wheel_url(written: str) -> str:
    digest, _, rest = written.partition(" ")
    filename, _, rest = rest.partition("[")
    extras, _, marker = rest.partition("]")
    return str(WheelRef(filename, Digest.parse(digest), tuple(filter(None, extras.split(","))), marker))


def _plain(value: Any) -> Any:
    """``value`` with every mapping a dict and every sequence a list, as YAML and JSON writers want it."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"a text is wanted, not {value!r}")
    return value.strip()


def _date(value: Any) -> datetime.date:
    if isinstance(value, datetime.datetime):
        raise ValueError(f"a day is wanted (2026-01-31), not a time: {value}")
    if isinstance(value, datetime.date):
        return value
    try:
        return datetime.date.fromisoformat(_text(value))
    except ValueError as error:
        raise ValueError(f"not a day: {value!r} (2026-01-31 is)") from error


def _read_requirement(value: Any) -> Requirement:
    if isinstance(value, Mapping):
        unknown = set(value) - {"requirement", "editable", "hashes"}
        if unknown or "requirement" not in value:
            raise ValueError("a requirement is a text, or a mapping of requirement, editable and hashes")
        hashes = value.get("hashes", ())
        return Requirement.parse(
            _text(value["requirement"]), editable=bool(value.get("editable")), hashes=[_text(h) for h in hashes]
        )
    return Requirement.parse(_text(value))


class _Form:
    """The full form being read: values come out, problems are gathered with the place they are at."""

    def __init__(self, form: Mapping[str, Any]) -> None:
        self.form = form
        self.problems: list[Problem] = []

    def wrong(self, place: str, message: object) -> None:
        self.problems.append(Problem(place, None, str(message)))

    def only(self, *known: str) -> None:
        for key in self.form:
            if key not in known:
                self.wrong(str(key), f"unknown key {str(key)!r}{did_you_mean(str(key), known)}")

    def one(self, key: str, read: Callable[[Any], T]) -> T | None:
        value = self.form.get(key)
        if value is None:
            return None
        try:
            return read(value)
        except ValueError as error:
            self.wrong(key, error)
            return None

    def text(self, key: str) -> str | None:
        value = self.form.get(key)
        if isinstance(value, float):
            self.wrong(key, f"put quotes around it: YAML reads {value} as a number, and 3.10 as 3.1")
            return None
        return self.one(key, _text)

    def each(self, key: str, read: Callable[[Any], T]) -> tuple[T, ...]:
        values = self.form.get(key)
        if values is None:
            return ()
        if not isinstance(values, (list, tuple)):
            self.wrong(key, f"a list is wanted, not {type(values).__name__}")
            return ()
        found = []
        for position, value in enumerate(values):
            try:
                found.append(read(value))
            except ValueError as error:
                self.wrong(f"{key}[{position}]", error)
        return tuple(found)

    def mapping(self, key: str) -> Mapping[str, Any]:
        value = self.form.get(key)
        if value is None:
            return {}
        if not isinstance(value, Mapping):
            self.wrong(key, f"a mapping is wanted, not {type(value).__name__}")
            return {}
        for name in value:
            if not isinstance(name, str):
                self.wrong(f"{key}.{name}", f"a key is a text, not {name!r}")
        return {str(name): item for name, item in value.items()}

    def variables(self) -> dict[str, str]:
        found = {}
        for name, value in self.mapping("variables").items():
            if isinstance(value, (bool, float)) or not isinstance(value, (str, int)):
                self.wrong(f"variables.{name}", f"put quotes around it: {value!r} is not a text")
            else:
                found[name] = str(value)
        return found

    def options(self) -> PipOptions:
        given = self.mapping("options")
        known = {each.name: each.default for each in fields(PipOptions)}
        found: dict[str, Any] = {}
        for name, value in given.items():
            place = f"options.{name}"
            if name not in known:
                self.wrong(place, f"unknown option {name!r}{did_you_mean(name, known)}")
            elif isinstance(known[name], bool):
                if isinstance(value, bool):
                    found[name] = value
                else:
                    self.wrong(place, f"true or false is wanted, not {value!r}")
            elif isinstance(known[name], tuple):
                inner = _Form({place: [value] if isinstance(value, str) else value})
                found[name] = inner.each(place, _text)
                self.problems.extend(inner.problems)
            elif isinstance(value, str):
                found[name] = value
            else:
                self.wrong(place, f"a text is wanted, not {value!r}")
        return PipOptions(**found)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Guess what was meant, to be put behind an error message; empty where nothing is near.

    >>> did_you_mean("chanels", ["channels", "conda"])
    "; did you mean 'channels'?"
    """
    import difflib

    near = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def split_url_credentials(url: str) -> tuple[str, str | None]:
    """``url`` without the credentials written into it, and the whole of it where there were any."""
    clean = without_credentials(url)
    return clean, (url if clean != url else None)


def url_host(url: str) -> str:
    """The host of ``url``, to be named in messages without path, query or credentials."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.hostname or "", "", "", ""))
