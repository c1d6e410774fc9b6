"""Fingerprints: how a definition and an environment get their digests, and why two of them differ.

A digest is only as good as the bytes it is taken of. Those bytes are one canonical document: JSON with sorted
keys, text in Unicode normal form C, no floats, no white space; before it a line that says what kind of
document it is, in which scheme, and how long. The document is kept in the store under its own digest, which is
why it can be read again, compared, and explained (`differences`).
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from envbuild.definition import Definition
from envbuild.digest import Digest
from envbuild.errors import Damaged
from envbuild.form import two_spellings
from envbuild.lock import Lock, Package

SCHEME = 1
"""The version of the canonical form; it is part of the hashed bytes."""

RECIPE = 1
"""The version of how prefixes are laid out; another one is another environment."""


_DEEPEST = 200
"""How deep values within values may nest: deeper than any file that is read, and less than what Python survives."""

_BITS = 14284
"""The longest whole number: what has more than 4300 digits Python does not read again, unless it is told to."""

_ONLY_RUNNING = ("variables", "secrets", "azure")
"""The parts of a definition that say nothing about what is installed."""

_DIGITS = re.compile(r"\b([0-9a-f]{12})[0-9a-f]{52}\b")
"""A digest: its beginning is enough for people to tell it from another."""


@dataclass(frozen=True, slots=True)
class Document:
    """A canonical document: ``kind`` is ``definition``, ``lock`` or ``environment``.

    >>> document = Document("definition", {"pip": ["numpy"]})
    >>> Document.parse(document.encoded) == document
    True
    """

    kind: str
    content: Mapping[str, Any]

    @property
    def encoded(self) -> bytes:
        """The bytes that are hashed and kept.

        :raises TypeError: as `canonical`.
        :raises ValueError: as `canonical`.
        """
        body = json.dumps(
            canonical(self.content, "content"), sort_keys=True, ensure_ascii=False, separators=(",", ":")
        ).encode()
        return b"envbuild %s %d %d\n%s" % (self.kind.encode(), SCHEME, len(body), body)

    @property
    def digest(self) -> Digest:
        """The digest of those bytes."""
        return Digest.of(self.encoded)

    @classmethod
    def parse(cls, data: bytes) -> Document:
        """Read `encoded`.

        :raises Damaged: the bytes are not a document.
        """
        head, _, body = data.partition(b"\n")
        try:
            tool, kind, _, length = head.split(b" ")
            if tool != b"envbuild" or int(length) != len(body):
                raise ValueError("not a document of envbuild's")
            return cls(kind.decode(), json.loads(body))
        except ValueError as error:
            raise Damaged(f"not a canonical document: {error}") from error


def definition_document(definition: Definition) -> Document:
    """What the definition digest is taken of."""
    return Document("definition", definition.content())


def lock_document(definition: Definition) -> Document:
    """What a lock depends on: everything but what only matters when something runs."""
    content = {key: value for key, value in definition.content().items() if key not in _ONLY_RUNNING}
    return Document("lock", content)


def environment_document(lock: Lock, answers: Mapping[str, Mapping[str, Any]]) -> Document:
    """What the environment's id is taken of: Python, platform, every artifact of the lock, and what plugins add.

    Where an artifact comes from does not count, nor which plugin installs it: the same bytes are the same package.

    :param answers: what each plugin's ``compute_hash`` gave, by the plugin's name; empty ones are left out, so
        that installing a plugin that has nothing to say about an environment does not change its id.
    """
    return Document(
        "environment",
        {
            "recipe": RECIPE,
            "python": lock.python,
            "platform": str(lock.platform),
            "packages": {each.label: _artifact(each) for each in lock.packages},
            "plugins": {name: answer for name, answer in answers.items() if answer},
        },
    )


def _artifact(package: Package) -> dict[str, Any]:
    artifact = package.artifact
    found = {
        "version": package.version,
        "sha256": artifact.digest.hex if artifact.digest else None,
        "revision": artifact.revision,
        "subdirectory": artifact.subdirectory,
        "details": dict(package.details) or None,
    }
    return {key: value for key, value in found.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Difference:
    """One place in which two documents differ: ``None`` where a document lacks it."""

    path: tuple[str, ...]
    before: Any
    after: Any

    def __str__(self) -> str:
        place = ": ".join(self.path)
        if self.before is None:
            return f"{place}: added {_short(self.after)}"
        if self.after is None:
            return f"{place}: removed {_short(self.before)}"
        return f"{place}: {_short(self.before)} → {_short(self.after)}"


def differences(before: Any, after: Any, path: tuple[str, ...] = ()) -> Iterator[Difference]:
    """Find what two documents' contents do not share; lists are compared as sets of their items.

    >>> [str(each) for each in differences({"pip": ["a", "b"], "python": "3.11"}, {"pip": ["b"], "python": "3.12"})]
    ['pip: removed a', 'python: 3.11 → 3.12']
    """
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in sorted(before.keys() | after.keys()):
            yield from differences(before.get(key), after.get(key), (*path, key))
    elif isinstance(before, Mapping) and after is None:
        for key in sorted(before):
            yield from differences(before[key], None, (*path, key))
    elif before is None and isinstance(after, Mapping):
        for key in sorted(after):
            yield from differences(None, after[key], (*path, key))
    elif isinstance(before, list) or isinstance(after, list):
        old, new = before or [], after or []
        yield from (Difference(path, each, None) for each in old if each not in new)
        yield from (Difference(path, None, each) for each in new if each not in old)
        if old != new and sorted(map(str, old)) == sorted(map(str, new)):
            yield Difference((*path, "order"), ", ".join(map(str, old)), ", ".join(map(str, new)))
    elif before != after:
        yield Difference(path, before, after)


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False)
    text = _DIGITS.sub(r"\1…", text)
    return text if len(text) <= 80 else text[:77] + "…"


def canonical(value: Any, place: str, depth: int = 0) -> Any:
    """``value`` in the one form that equal values share.

    :param place: what it is called in messages.
    :param depth: how many values it is within.
    :raises TypeError: it holds something of a kind that has no such form, such as a float; the message says where.
    :raises ValueError: it holds a text that is no Unicode, two keys that are one text, too long a number, or nests too
        deep, as in itself.
    """
    if depth > _DEEPEST:
        raise ValueError(f"{place[:60]}…: values within values within values, or a value within itself")
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        if value.bit_length() > _BITS:
            raise ValueError(f"{place}: a whole number of {value.bit_length()} bits is too long; say it as text")
        return value
    if isinstance(value, str):
        return _text(value, place)
    if isinstance(value, (list, tuple)):
        return [canonical(item, f"{place}[{position}]", depth + 1) for position, item in enumerate(value)]
    if isinstance(value, Mapping):
        found, written = {}, dict[str, str]()
        for key, item in value.items():
            if not isinstance(key, str):
                raise TypeError(f"{place}: a key is a text, not {key!r}")
            text = _text(key, place)
            if written.setdefault(text, key) != key:
                raise ValueError(f"{place}: {two_spellings(written[text], key)}")
            found[text] = canonical(item, f"{place}.{key}", depth + 1)
        return found
    # A float has no one spelling: 0.1 + 0.2 is written differently by different writers.
    raise TypeError(f"{place}: {type(value).__name__} has no canonical form; say it as text or a whole number")


def _text(text: str, place: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{place}: {text!r} has half of a surrogate pair, and is no text") from None
    return unicodedata.normalize("NFC", text)
