"""Events: what a run says of itself while it runs, one line of JSON each.

A line is ``{"name", "value", "step", "at", "kind"}``, and ``"description"`` where there is one; ``at`` is in
seconds since 1970, ``step`` is null where none was given. What ``value`` is depends on ``kind``:

    metric      a number, a truth value or a text       property    a text
    list        a list of these                         tag         a text
    row         a mapping of these by column            untag       null: the tag is gone
    table       a mapping of lists by column            error       a text: why the script gave itself up
    image       the path of a file in the run's folder
    confusion_matrix, accuracy_table, residuals, predictions    as given

JSON has no numbers for what is not finite, so these are the texts ``NaN``, ``Infinity`` and ``-Infinity``, and
whoever reads one of them takes it for the number.

`File` and `Memory` take events, `read` gives back what can be read of a file, `Told` is what the events of a run
amount to. Both ends of the file use this module: the script's Python, and envbuild when it shows a run.
"""

from __future__ import annotations

import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from typing import Any

_NOT_FINITE = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}


def event(kind: str, name: str, value: Any, step: Any = None, description: str = "") -> dict[str, Any]:
    """Make an event of now."""
    found = {"name": name, "value": value, "step": step, "at": round(time.time(), 6), "kind": kind}
    if description:
        found["description"] = description
    return found


class File:
    """Appends events to a file; threads, processes and forks of them may do so at the same time.

    An event is one write at the end of the file, which no other write can come between.

    :raises OSError: the event could not be written, as when the disk is full.
    """

    def __init__(self, path: str) -> None:
        import json

        self.path = path
        self._encode: Callable[[Any], str] = json.JSONEncoder(
            ensure_ascii=False, separators=(",", ":"), allow_nan=False
        ).encode
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0)
        self._descriptor = os.open(path, flags, 0o644)
        self._torn = False

    def append(self, found: dict[str, Any]) -> None:
        """Write an event."""
        line = self._encode(found).encode("utf-8", "backslashreplace") + b"\n"
        if self._torn:
            # Half an event is lost; the next one must not be lost with it.
            line = b"\n" + line
        written = os.write(self._descriptor, line)
        self._torn = written != len(line)
        if self._torn:
            raise OSError(f"{self.path}: only {written} of {len(line)} bytes could be written")

    def events(self) -> Iterable[dict[str, Any]]:
        """What was written so far, by whomever."""
        return read(self.path)


class Memory:
    """Keeps events for as long as the process lives."""

    def __init__(self) -> None:
        self._found: list[dict[str, Any]] = []

    def append(self, found: dict[str, Any]) -> None:
        """Keep an event."""
        self._found.append(found)

    def events(self) -> Iterable[dict[str, Any]]:
        """What was kept so far."""
        return tuple(self._found)


def read(path: str | os.PathLike[str]) -> Iterator[dict[str, Any]]:
    """Read the events of a file, in order; none if there is no file.

    A line that was torn by a crash, and anything else that is no event, is passed over.
    """
    import json

    try:
        stream = open(path, encoding="utf-8", errors="replace")  # noqa: SIM115 (closed below)
    except FileNotFoundError:
        return
    with stream:
        for line in stream:
            try:
                found = json.loads(line)
            except ValueError:
                continue
            if isinstance(found, dict) and isinstance(found.get("name"), str) and "value" in found:
                yield found


class Told:
    """What the events of a run amount to.

    :param tags: the tags that the run was started with.
    :ivar tags: the tags as they are now, ``properties`` likewise.
    :ivar images: the paths of the images by metric, in the order in which they were logged.
    :ivar errors: why the script gave itself up, if it said so.
    """

    def __init__(self, events: Iterable[dict[str, Any]] = (), tags: Mapping[str, str] | None = None) -> None:
        self.tags: dict[str, str] = dict(tags or {})
        self.properties: dict[str, str] = {}
        self.images: dict[str, list[str]] = {}
        self.errors: list[str] = []
        self._metrics: dict[str, list[tuple[str, Any]]] = {}
        for each in events:
            self._add(each.get("kind", "metric"), each["name"], each["value"])

    def _add(self, kind: str, name: str, value: Any) -> None:
        if kind == "tag":
            self.tags[name] = value
        elif kind == "untag":
            self.tags.pop(name, None)
        elif kind == "property":
            # Properties do not change: of two processes that set one, the first has.
            self.properties.setdefault(name, value)
        elif kind == "error":
            self.errors.append(value)
        else:
            if kind == "image":
                self.images.setdefault(name, []).append(value)
            self._metrics.setdefault(name, []).append((kind, _finite(value)))

    @property
    def metrics(self) -> dict[str, Any]:
        """Each metric as Azure ML gives it.

        What was logged once is its value, what was logged more often the list of its values; lists are joined,
        and rows and tables become a mapping of each column to all of its values.
        """
        return {name: _together(logged) for name, logged in self._metrics.items()}


def _finite(value: Any) -> Any:
    if isinstance(value, str):
        return _NOT_FINITE.get(value, value)
    if isinstance(value, list):
        return [_finite(each) for each in value]
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    return value


def _together(logged: list[tuple[str, Any]]) -> Any:
    kinds = {kind for kind, _ in logged}
    values = [value for _, value in logged]
    if len(values) == 1:
        return values[0]
    if kinds == {"list"}:
        return [each for value in values for each in value]
    if kinds <= {"row", "table"} and all(isinstance(value, dict) for value in values):
        columns: dict[str, list[Any]] = {}
        for value in values:
            for column, found in value.items():
                columns.setdefault(column, []).extend(found if isinstance(found, list) else [found])
        return columns
    return values
