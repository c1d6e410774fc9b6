"""TOML, and the line that something stands in: the parser of the standard library does not tell."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from envbuild.reading.sources import Place, Sources

_ERROR_AT = re.compile(r"\s*\(at (?:line (\d+), column \d+|end of document)\)")


@dataclass(frozen=True, slots=True)
class Toml:
    """What a TOML document says, as it stands from line ``first`` of a file."""

    file: Path
    value: Mapping[str, Any]
    text: str
    first: int = 1

    def place(self, text: str, *, after: str = "") -> Place:
        """Where ``text`` stands, as a value or a key; looked for behind the table ``after`` first."""
        lines = self.text.splitlines()
        escaped = re.escape(text)
        patterns = (f"\"{escaped}\"|'{escaped}'", rf"^\s*{escaped}\s*[=.]|^\s*\[+[^\]]*\b{escaped}\s*\]", escaped)
        start = next((n for n, line in enumerate(lines) if after and line.strip().startswith(f"[{after}")), 0)
        for begin in dict.fromkeys((start, 0)):
            for pattern in patterns:
                for number, line in enumerate(lines[begin:], start=begin + self.first):
                    if re.search(pattern, line.split(" #")[0]):
                        return Place(self.file, number)
        return Place(self.file)

    def places_in(self, table: str) -> Callable[[str], Place]:
        """Find the places of parts of ``table``, such as ``options.index_url``."""

        def place(part: str) -> Place:
            key = re.sub(r"\[\d+\]", "", part).rpartition(".")[2]
            looked = (self.place(key, after=table), self.place(key.replace("_", "-"), after=table))
            return next((each for each in looked if each.line), self.place(table))

        return place


def load(text: str, file: Path, sources: Sources, *, first: int = 1) -> Toml:
    """Read ``text``; a mistake is noted, and then the value is empty.

    :param first: the line of the file that the text begins in.
    """
    import tomllib

    try:
        return Toml(file, tomllib.loads(text), text, first)
    except tomllib.TOMLDecodeError as error:
        found = _ERROR_AT.search(str(error))
        line = int(found[1]) if found and found[1] else text.count("\n") + 1
        sources.wrong(Place(file, line + first - 1), f"not TOML: {_ERROR_AT.sub('', str(error))}")
    except RecursionError:
        sources.wrong(Place(file), "values within values within values: nothing that deep can be meant")
    return Toml(file, {}, text, first)


def table(value: Mapping[str, Any], *keys: str) -> Mapping[str, Any]:
    """The table at ``keys``; empty where there is none.

    >>> table({"tool": {"envbuild": {"gpu": 1}}}, "tool", "envbuild")
    {'gpu': 1}
    """
    found: Any = value
    for key in keys:
        found = found.get(key) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else {}
