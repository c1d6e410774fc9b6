"""Masking: values that nobody may see, covered in what is told of tests."""

from __future__ import annotations

from collections.abc import Iterable
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
    """
    for each in sorted(secrets, key=len, reverse=True):
        text = text.replace(each, _COVER)
    return text


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
        return {key: each if key in _STRUCTURE else masked_in(each, secrets) for key, each in value.items()}
    return value
