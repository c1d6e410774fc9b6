"""Telling: what was measured, as a table for people and as JSON for machines."""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Iterator, Sequence
from typing import Any

from benchmarks.measuring import Row, Section

_HEADS = ("", "min", "median", "cpu", "rounds", "envbuild takes", "(of medians)")


def machine() -> str:
    """What the numbers were taken on, in a line."""
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, load {load}, Python {_python()}"


def _python() -> str:
    return platform.python_version()


def table(section: Section) -> str:
    """A section as text."""
    subject = next(each for each in section.rows if each.name == section.subject)
    heads = [*_HEADS, "a second"] if section.rates else list(_HEADS)
    cells = [heads, *(_cells(each, subject, section.rates) for each in section.rows)]
    widths = [max(len(row[column]) for row in cells if column < len(row)) for column in range(len(heads))]
    lines = [_line(row, widths) for row in cells]
    return "\n".join([section.title, "-" * len(section.title), *lines, *(f"  {note}" for note in section.notes)])


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    first, *rest = row
    padded = (text.rjust(width) for text, width in zip(rest, widths[1:], strict=False))
    return "  ".join([first.ljust(widths[0]), *padded]).rstrip()


def _cells(row: Row, subject: Row, rates: bool) -> list[str]:
    if not row.taken:
        return [row.name, row.missing]
    compared = row is not subject and bool(subject.taken)
    return [
        row.name,
        seconds(row.wall),
        seconds(row.median),
        seconds(row.cpu),
        str(len(row.taken)),
        f"{subject.wall / row.wall:.2f} × this" if compared else "",
        f"{subject.median / row.median:.2f} ×" if compared else "",
        *([f"{1 / row.wall:,.0f}"] if rates else []),
    ]


def seconds(value: float) -> str:
    """A time as people say it.

    >>> seconds(0.0281), seconds(0.000004), seconds(3.2)
    ('28.1 ms', '4.0 µs', '3.20 s')
    """
    if math.isnan(value):
        return "-"
    if value >= 1:
        return f"{value:.2f} s"
    return f"{value * 1e3:.1f} ms" if value >= 1e-3 else f"{value * 1e6:.1f} µs"


def as_json(sections: Sequence[Section]) -> dict[str, Any]:
    """All that was measured, in seconds."""
    return {"machine": machine(), "sections": [_section(each) for each in sections]}


def _section(section: Section) -> dict[str, Any]:
    rows = {each.name: dict(_row(each)) for each in section.rows}
    return {"title": section.title, "subject": section.subject, "rows": rows, "notes": list(section.notes)}


def _row(row: Row) -> Iterator[tuple[str, Any]]:
    if row.missing:
        yield "missing", row.missing
        return
    yield "min", row.wall
    yield "median", row.median
    if not math.isnan(row.cpu):
        yield "cpu", row.cpu
    yield "all", [each.wall for each in row.taken]
