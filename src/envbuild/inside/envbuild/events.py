"""Events: what a run says of itself, one line of JSON each.

A line is ``{"name", "value", "step", "at", "kind"}``, and ``"description"`` where there is one; ``at`` is in
seconds since 1970, ``step`` is null where none was given. What ``value`` is depends on ``kind``:

    metric      a number, a truth value or a text
    list        a list of these
    row         a mapping of these by column
    table       a mapping of lists by column
    image       the path of a file in the run's folder
    confusion_matrix, accuracy_table, residuals, predictions    as given

These are metrics. Notes are of the kinds in `NOTED`, and have a file of their own, for they are few:

    tag, property       a text
    untag               null: the tag is gone
    display_name, description    a text; the last one counts
    error               a text: why the script gave itself up
    child               null: the name is the id of a run that this one is the parent of
    cancel              null: somebody has asked the run to end

JSON has no numbers for what is not finite, so these are the texts ``NaN``, ``Infinity`` and ``-Infinity``, and
whoever reads one of them takes it for the number. Nothing is nested deeper than a hundred times.

`File` and `Memory` take events, `read` gives back what can be read of a file, `Logged` and `Noted` are what the events
of a run amount to. Both ends of the file use this module: the script's Python, and envbuild when it shows a run.
"""

from __future__ import annotations

import os
import time

from .files import open_file, open_to_append

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from typing import Any

NOTED = frozenset(("tag", "untag", "property", "error", "display_name", "description", "child", "cancel"))
"""The kinds of events that are notes; all others are metrics."""

_NOT_FINITE = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}
_TEXTS = frozenset(("tag", "property", "error", "display_name", "description"))
_TABLES = frozenset(("row", "table"))
_DEEPEST = 100
_BLOCK = 1 << 18
_MOST_KEPT = 32
_kept: set[int] = set()
"""The descriptors that are kept open between one event and the next; forks have copies of their own."""


def event(kind: str, name: str, value: Any, step: Any = None, description: str = "") -> dict[str, Any]:
    """Make an event of now."""
    found = {"name": name, "value": value, "step": step, "at": round(time.time(), 6), "kind": kind}
    if description:
        found["description"] = description
    return found


class File:
    """Appends events to a file; threads, processes and forks of them may do so at the same time.

    An event is one write at the end of the file, which no other write can come between. The file is made with the
    first event, and the first few dozen files stay open for more.

    :raises OSError: the event could not be written, as when the disk is full or no file is at that path.
    """

    def __init__(self, path: str) -> None:
        import json

        self.path = path
        self._encode: Callable[[Any], str] = json.JSONEncoder(
            ensure_ascii=False, separators=(",", ":"), allow_nan=False
        ).encode
        self._opened: list[int] = []
        self._torn = False

    def append(self, found: dict[str, Any]) -> None:
        """Write an event."""
        line = self._encode(found).encode("utf-8", "backslashreplace") + b"\n"
        if self._torn:
            # Half an event is lost; the next one must not be lost with it.
            line = b"\n" + line
        if self._opened or self._stays_open():
            written = os.write(self._opened[0], line)
        else:
            # Not one that is closed for another's sake: a thread might be about to write to that.
            descriptor = open_to_append(self.path)
            try:
                written = os.write(descriptor, line)
            finally:
                os.close(descriptor)
        self._torn = written != len(line)
        if self._torn:
            raise OSError(f"{self.path}: only {written} of {len(line)} bytes could be written")

    def events(self) -> Iterable[dict[str, Any]]:
        """What was written so far, by whomever."""
        return read(self.path)

    def _stays_open(self) -> bool:
        if len(_kept) >= _MOST_KEPT:
            return False
        descriptor = open_to_append(self.path)
        _kept.add(descriptor)
        # Of two threads that come here at a time both open it, and from then on use the first.
        self._opened.append(descriptor)
        return True

    def __del__(self, close: Callable[[int], None] = os.close, kept: set[int] = _kept) -> None:
        for descriptor in getattr(self, "_opened", ()):
            kept.discard(descriptor)
            close(descriptor)


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
    stream = open_file(path)
    if stream is None:
        return
    with stream:
        while True:
            lines = stream.readlines(_BLOCK)
            if not lines:
                return
            for found in _parsed(lines):
                if _is_event(found):
                    yield found


def _is_event(found: Any) -> bool:
    if found.__class__ is not dict or "value" not in found or found.get("name").__class__ is not str:
        return False
    kind, value = found.get("kind", "metric"), found["value"]
    if kind == "metric" and value.__class__ is float:
        # What most of them are.
        return True
    if not isinstance(kind, str) or not _is_shallow(value):
        return False
    if kind in _TEXTS or kind == "image":
        return isinstance(value, str)
    if kind == "list":
        return isinstance(value, list)
    return kind not in _TABLES or isinstance(value, dict)


def _is_shallow(value: Any) -> bool:
    """Whether lists and mappings are nested no deeper than whoever takes them apart can go."""
    level = [value]
    for _ in range(_DEEPEST):
        level = [
            each
            for many in level
            if isinstance(many, (list, dict))
            for each in (many.values() if isinstance(many, dict) else many)
        ]
        if not level:
            return True
    return False


def _parsed(lines: list[bytes]) -> list[Any]:
    """What the lines say that say something; many at once, which takes a third of the time."""
    import json

    try:
        # Strings hold no line ends, and no whole line is a part of a list: what is torn cannot come out as whole.
        found = json.loads("[" + b",".join(lines).decode("utf-8") + "]")
    except (ValueError, RecursionError):
        pass
    else:
        if len(found) == len(lines):
            return list(found)
    found = []
    for line in lines:
        try:
            found.append(json.loads(line.decode("utf-8", "replace")))
        except (ValueError, RecursionError):
            continue
    return found


class Noted:
    """What the notes of a run amount to.

    :param tags: the tags that the run was started with, ``properties`` likewise.
    :ivar tags: the tags as they are now, ``properties`` likewise.
    :ivar errors: why the script gave itself up, if it said so.
    :ivar display_name: what the run has been called since; `None` if nothing, ``description`` likewise.
    :ivar children: the ids of the runs that this one is the parent of, in the order in which they were made.
    :ivar cancel: whether somebody has asked the run to end.
    """

    def __init__(
        self,
        events: Iterable[dict[str, Any]] = (),
        tags: Mapping[str, str] | None = None,
        properties: Mapping[str, str] | None = None,
    ) -> None:
        self.tags = _texts(tags)
        self.properties = _texts(properties)
        self.errors: list[str] = []
        self.display_name: str | None = None
        self.description: str | None = None
        self.children: list[str] = []
        self.cancel = False
        for each in events:
            self._add(each.get("kind"), each["name"], each["value"])

    def _add(self, kind: str | None, name: str, value: Any) -> None:
        if kind == "tag":
            self.tags[name] = value
        elif kind == "untag":
            self.tags.pop(name, None)
        elif kind == "property":
            # Properties do not change: of two processes that set one, the first has.
            self.properties.setdefault(name, value)
        elif kind == "error":
            self.errors.append(value)
        elif kind == "display_name":
            self.display_name = value
        elif kind == "description":
            self.description = value
        elif kind == "child":
            self.children.append(name)
        elif kind == "cancel":
            self.cancel = True


class Logged:
    """What the metrics of a run amount to.

    :ivar images: the paths of the images by metric, in the order in which they were logged.
    """

    def __init__(self, events: Iterable[dict[str, Any]] = ()) -> None:
        self.images: dict[str, list[str]] = {}
        self._metrics: dict[str, list[tuple[str, Any]]] = {}
        for each in events:
            kind, name, value = each.get("kind", "metric"), each["name"], each["value"]
            if kind in NOTED:
                continue
            if kind == "image":
                self.images.setdefault(name, []).append(value)
            if value.__class__ is not float:
                value = _finite(value)
            if name in self._metrics:
                self._metrics[name].append((kind, value))
            else:
                self._metrics[name] = [(kind, value)]

    @property
    def metrics(self) -> dict[str, Any]:
        """Each metric as Azure ML gives it.

        What was logged once is its value, what was logged more often the list of its values; lists are joined,
        and rows and tables become a mapping of each column to all of its values.
        """
        return {name: _together(logged) for name, logged in self._metrics.items()}


def _texts(found: Mapping[str, Any] | None) -> dict[str, str]:
    return {key: value for key, value in (found or {}).items() if isinstance(value, str)}


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
