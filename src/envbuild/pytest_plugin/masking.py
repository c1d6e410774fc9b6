"""Masking: values that nobody may see, covered in what is told of tests."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

_COVER = "***"

_STRUCTURE = frozenset(("$report_type", "category", "outcome", "path", "style", "type", "when"))
"""What has to stay as it is for a message to be understood, even if a secret is as short as a letter."""


_PHASES = frozenset(("setup", "call", "teardown"))
"""What begins the report of a phase that passed, of which no more is told than how long it took."""


def masked(text: str, secrets: Iterable[str]) -> str:
    """``text`` with every secret in it covered.

    >>> masked("password: hunter2, user: hunter", ["hunter", "hunter2"])
    'password: ***, user: ***'
    >>> masked(repr({"key": "line 1" + chr(10) + "line 2"}), ["line 1" + chr(10) + "line 2"])
    "{'key': '***'}"
    """
    for each in _forms(tuple(secrets)):
        text = text.replace(each, _COVER)
    return text


@lru_cache(maxsize=16)
def _forms(secrets: tuple[str, ...]) -> list[str]:
    """What secrets look like as they are, in what ``repr`` and JSON make of them, and in the names of tests."""
    found = set(secrets)
    for each in secrets:
        found |= {
            repr(each)[1:-1],
            ascii(each)[1:-1],
            json.dumps(each)[1:-1],
            json.dumps(each, ensure_ascii=False)[1:-1],
        }
        found.add(each.encode("unicode_escape").decode())
    return sorted(found, key=len, reverse=True)


def masked_in(value: Any, secrets: Iterable[str]) -> Any:
    """Part of a worker's message with every secret in its texts covered; names of fields stay.

    >>> masked_in({"outcome": "passed", "sections": [["log", "pass: e"]]}, ["e", "pass"])
    {'outcome': 'passed', 'sections': [['log', '***: ***']]}
    """
    if isinstance(value, str):
        return value if value in _PHASES else masked(value, secrets)
    if isinstance(value, list):
        return [masked_in(each, secrets) for each in value]
    if isinstance(value, dict):
        return {key: _field(key, each, secrets) for key, each in value.items()}
    return value


def _field(key: str, value: Any, secrets: Iterable[str]) -> Any:
    if key == "tests":
        # What begins the description of a test is its file.
        return [[each[0], *masked_in(each[1:], secrets)] for each in value]
    return value if key in _STRUCTURE else masked_in(value, secrets)
