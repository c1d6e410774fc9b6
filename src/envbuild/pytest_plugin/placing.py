"""Placing: tests with a mark that can only be seen when they have been collected here.

A mark may be worked out when a module runs, come with a base class, with a parameter, or from a hook. A test that has
one is collected in the environments that it names, and what they have of it takes its place.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from envbuild import EnvbuildError
from envbuild.pytest_plugin import marks
from envbuild.pytest_plugin.environments import located
from envbuild.pytest_plugin.nodes import InsideFile, InsideTest
from envbuild.pytest_plugin.standins import Unavailable

if TYPE_CHECKING:
    from envbuild.pytest_plugin.hosting import Hosting


def place(hosting: Hosting, session: pytest.Session, items: list[pytest.Item]) -> None:
    """Put what environments have of tests with marks in their place.

    What cannot be had is reported as an error of its file.
    """
    marked = [each for each in items if not isinstance(each, InsideTest) and each.get_closest_marker(marks.NAME)]
    if not marked:
        return
    asked = {item: _asked(hosting, item) for item in marked}
    there = _there(hosting, session, items, asked)
    placed: list[pytest.Item] = []
    for item in items:
        if item in asked:
            placed += [found for spec in asked[item] if (found := there.get((spec, item.nodeid))) is not None]
        else:
            placed.append(item)
    items[:] = placed


def _asked(hosting: Hosting, item: pytest.Item) -> list[str]:
    """The environments that the nearest mark of a test names, as `located` gives them."""
    nearest = next(node for node, _ in item.iter_markers_with_node(marks.NAME))
    found = [mark for node, mark in item.iter_markers_with_node(marks.NAME) if node is nearest]
    reasons = [reason for mark in found if (reason := marks.wrong(mark.args, mark.kwargs))]
    if reasons:
        if not hosting.is_told_wrong(item.path):
            _tell(item, [item], reasons[0])
        return []
    folders = (item.path.parent, hosting.config.rootpath)
    return list(dict.fromkeys(located(spec, *folders) for mark in found for spec in mark.args))


def _there(
    hosting: Hosting, session: pytest.Session, items: Iterable[pytest.Item], asked: dict[pytest.Item, list[str]]
) -> dict[tuple[str, str], InsideTest]:
    """What environments have of the tests, but for those that have been collected there already."""
    known = {(each.inside.spec, each.test.nodeid) for each in items if isinstance(each, InsideTest)}
    files: dict[tuple[str, Path], list[pytest.Item]] = {}
    for item, specs in asked.items():
        for spec in specs:
            if (spec, item.nodeid) not in known:
                files.setdefault((spec, item.path), []).append(item)
    found: dict[tuple[str, str], InsideTest] = {}
    for (spec, path), wanted in files.items():
        try:
            inside = hosting.covering(spec, path)
        except EnvbuildError as error:
            if spec not in hosting.specs(path):
                _tell(wanted[0], wanted, error.message)
            continue
        names = frozenset(each.nodeid for each in wanted)
        file = InsideFile.from_parent(_folder(wanted[0]), path=path, inside=inside, only=names)
        found |= {(spec, each.test.nodeid): each for each in session.genitems(file) if isinstance(each, InsideTest)}
        missing = [each for each in wanted if (spec, each.nodeid) not in found]
        if missing and inside.has_collected(path):
            _tell(missing[0], missing, f"not found inside {inside.environment}")
    return found


def _tell(item: pytest.Item, items: Iterable[pytest.Item], reason: str) -> None:
    """Report why tests cannot be run."""
    lines = [f"{place}:{(line or 0) + 1}: {name}" for place, line, name in (each.location for each in items)]
    said = "\n".join([*lines, reason])
    node = Unavailable.from_parent(_folder(item), path=item.path, reason=said)
    # There are no tests in it; that it cannot be collected is reported on the way.
    list(item.session.genitems(node))


def _folder(item: pytest.Item) -> pytest.Collector:
    """What a test's file was collected in."""
    file = item.getparent(pytest.File)  # type: ignore[type-abstract]
    parent = file.parent if file is not None else None
    return parent if isinstance(parent, pytest.Collector) else item.session
