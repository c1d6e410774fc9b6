"""Rendering: what commands found out, as text for people. Machines get the same as JSON."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from envbuild.supervise import visible

if TYPE_CHECKING:
    from envbuild.lock import Change, Package


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Lay rows out in columns.

    >>> print(table(["NAME", "VERSION"], [["iris", 2], ["a", 10]]))
    NAME  VERSION
    iris  2
    a     10
    """
    cells = [[str(each) for each in head], *([_cell(each) for each in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells)
    return "\n".join(lines)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, datetime.datetime):
        return moment(value)
    return visible(str(value))


def facts(pairs: Mapping[str, Any]) -> str:
    """Lay names and values out, one a line; the values of a list stand below each other.

    >>> print(facts({"id": "sha256:…", "python": ["3.11.7", "3.12.1"]}))
    id      sha256:…
    python  3.11.7
            3.12.1
    """
    width = max((len(name) for name in pairs), default=0)
    below = f"\n{' ' * width}  "
    return "\n".join(
        f"{visible(name).ljust(width)}  {below.join(map(_cell, value if isinstance(value, list) else [value]))}"
        for name, value in pairs.items()
    )


def lines(text: str) -> list[str]:
    r"""The lines of a text, for `facts`; those at the end with nothing on them are left out.

    >>> lines("one\n\n\ttwo\n")
    ['one', '', '        two']
    """
    return text.rstrip().expandtabs().splitlines()


def moment(value: datetime.datetime) -> str:
    """A time as people read it, in their own zone."""
    return value.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def size(count: float) -> str:
    """A number of bytes as people read it.

    >>> size(512), size(1536), size(3 * 2**30)
    ('512 B', '1.5 KiB', '3.0 GiB')
    """
    if count < 1024:
        return f"{count:.0f} B"
    for unit in ("KiB", "MiB", "GiB"):
        count /= 1024
        if count < 1024:
            return f"{count:.1f} {unit}"
    return f"{count / 1024:.1f} TiB"


def changes(found: Iterable[Change]) -> str:
    """What became of packages, one a line."""
    return "\n".join(f"  {each}" for each in found)


def package(each: Package) -> dict[str, Any]:
    """A package of a lock, as JSON has it."""
    artifact = each.artifact
    form = {
        "name": each.name,
        "version": each.version,
        "kind": each.kind,
        "artifact": artifact.kind,
        "url": artifact.url,
        "path": artifact.path,
        "digest": str(artifact.digest) if artifact.digest else None,
        "size": artifact.size,
        "revision": artifact.revision,
        "editable": artifact.editable or None,
    }
    return {key: value for key, value in form.items() if value is not None}


def ages(seconds: float) -> str:
    """How long ago, roughly.

    >>> ages(5), ages(7200), ages(200000)
    ('5 s', '2 h', '2 d')
    """
    for length, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= length:
            return f"{seconds // length:.0f} {unit}"
    return f"{seconds:.0f} s"
