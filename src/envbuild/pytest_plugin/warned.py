"""Warned: which warnings of collecting are news, where several workers in turn collect the same."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any


class Warned:
    """The warnings that workers of one environment have given while they were set up and collected."""

    def __init__(self) -> None:
        self._told: Counter[str] = Counter()
        self._again: Counter[str] = Counter()

    def begin(self) -> None:
        """Another worker collects: what it says first has been said by the one before."""
        self._again.clear()

    def is_news(self, told: dict[str, Any]) -> bool:
        """Whether no worker before has given this warning as often as this one has by now."""
        if told["when"] == "runtest":
            return True
        key = json.dumps(told, sort_keys=True)
        self._again[key] += 1
        if self._again[key] <= self._told[key]:
            return False
        self._told[key] = self._again[key]
        return True
