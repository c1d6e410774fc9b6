"""Forms: nested data, as YAML and TOML give it, being read; problems are gathered with the places they are at."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields
from typing import Any, TypeVar
from unicodedata import normalize

from envbuild.errors import Problem
from envbuild.requirement import PipOptions, Requirement

T = TypeVar("T")


def plain(value: Any) -> Any:
    """``value`` with every mapping a dict and every sequence a list, as YAML and JSON writers want it."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


def twins(value: Any, place: str, depth: int = 200) -> Iterator[tuple[str, str]]:
    r"""Where in nested data two keys are one text to whoever reads them, and two to a program; and what to say of it.

    ``é`` is one character, or an ``e`` and an accent (Unicode normal forms C and D), and digests are taken of form C.

    >>> [*twins({"a": [{"\u00e9": 1, "e\u0301": 2}]}, "azure")]
    [('azure.a[0]', "'\\xe9' and 'e\\u0301' are two spellings of one key: leave one of them out")]
    """
    if not depth:
        # Deeper than anything meant, or within itself: whoever takes the digest refuses it.
        return
    if isinstance(value, Mapping):
        seen: dict[str, str] = {}
        for key, item in value.items():
            other = seen.setdefault(normalize("NFC", str(key)), key)
            if other != key:
                yield place, two_spellings(other, key)
            yield from twins(item, f"{place}.{key}", depth - 1)
    elif isinstance(value, (list, tuple)):
        for position, item in enumerate(value):
            yield from twins(item, f"{place}[{position}]", depth - 1)


def two_spellings(one: str, other: str) -> str:
    """What to say of two keys that look alike: where they differ."""
    return f"{one!a} and {other!a} are two spellings of one key: leave one of them out"


def text(value: Any) -> str:
    """Read a text.

    :raises ValueError: it is none, or an empty one.
    """
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"a text is wanted, not {value!r}")
    return value.strip()


def day(value: Any) -> datetime.date:
    """Read a day, written or as YAML and TOML know it.

    :raises ValueError: it is none.
    """
    if isinstance(value, datetime.datetime):
        raise ValueError(f"a day is wanted (2026-01-31), not a time: {value}")
    if isinstance(value, datetime.date):
        return value
    try:
        return datetime.date.fromisoformat(text(value))
    except ValueError as error:
        raise ValueError(f"not a day: {value!r} (2026-01-31 is)") from error


def requirement(value: Any) -> Requirement:
    """Read a requirement: a text, or a mapping of ``requirement``, ``editable``, ``hashes`` and ``index``.

    :raises ValueError: it is none.
    """
    if isinstance(value, Mapping):
        unknown = set(value) - {"requirement", "editable", "hashes", "index"}
        if unknown or "requirement" not in value:
            raise ValueError("a requirement is a text, or a mapping of requirement, editable, hashes and index")
        hashes = value.get("hashes", ())
        return Requirement.parse(
            text(value["requirement"]),
            editable=bool(value.get("editable")),
            hashes=[text(h) for h in hashes],
            index=text(value["index"]) if "index" in value else "",
        )
    return Requirement.parse(text(value))


class Form:
    """The full form being read: values come out, problems are gathered with the place they are at."""

    def __init__(self, form: Mapping[str, Any]) -> None:
        self.form = form
        self.problems: list[Problem] = []

    def wrong(self, place: str, message: object) -> None:
        """Note a problem."""
        self.problems.append(Problem(place, None, str(message)))

    def only(self, *known: str) -> None:
        """Note every key that is not ``known``."""
        for key in self.form:
            if key not in known:
                self.wrong(str(key), f"unknown key {str(key)!r}{did_you_mean(str(key), known)}")

    def one(self, key: str, read: Callable[[Any], T]) -> T | None:
        """What ``read`` makes of a value; ``None`` where there is none, or a wrong one."""
        value = self.form.get(key)
        if value is None:
            return None
        try:
            return read(value)
        except ValueError as error:
            self.wrong(key, error)
            return None

    def text(self, key: str) -> str | None:
        """A text."""
        value = self.form.get(key)
        if isinstance(value, float):
            self.wrong(key, f"put quotes around it: YAML reads {value} as a number, and 3.10 as 3.1")
            return None
        return self.one(key, text)

    def each(self, key: str, read: Callable[[Any], T]) -> tuple[T, ...]:
        """What ``read`` makes of each item of a list."""
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
        """A mapping with texts as keys."""
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
        """The environment variables; a number that YAML could have changed is a problem."""
        found = {}
        for name, value in self.mapping("variables").items():
            if isinstance(value, (bool, float)) or not isinstance(value, (str, int)):
                self.wrong(f"variables.{name}", f"put quotes around it: {value!r} is not a text")
            else:
                found[name] = str(value)
        return found

    def options(self) -> PipOptions:
        """Pip's options."""
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
                inner = Form({place: [value] if isinstance(value, str) else value})
                found[name] = inner.each(place, text)
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
