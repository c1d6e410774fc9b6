"""Selection: tests asked for by the name that they have in an environment's own pytest.

Outside, ``test_a.py::test_b[2]`` is ``test_a.py::test_b[2-environment.yml]``, once for each environment. Either may be
given on the command line.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from envbuild import EnvbuildError
from envbuild.pytest_plugin.nodes import InsideTest, named

if TYPE_CHECKING:
    from envbuild.pytest_plugin.hosting import Hosting
    from envbuild.pytest_plugin.inside import Inside

_SHOWN = 5
"""How many of the names that there are stand in an error."""


def understood(hosting: Hosting, arguments: Sequence[str]) -> list[str]:
    """The arguments of pytest, with the names that tests have here.

    :raises UsageError: a test was asked for that is in none of the environments which its file is for.
    """
    return list(dict.fromkeys(found for each in arguments for found in _names(hosting, each)))


def _names(hosting: Hosting, argument: str) -> list[str]:
    # As pytest takes it apart: whatever comes behind the first bracket is of the parameters.
    before, bracket, behind = argument.partition("[")
    file, *parents = before.split("::")
    path = Path(os.path.abspath(hosting.config.invocation_params.dir / file))  # noqa: PTH100  links stay as they are
    if not bracket or not parents or not path.is_file():
        return [argument]
    asked = parents.pop() + bracket + behind
    here: list[str] = []
    there: list[str] = []
    for inside in _insides(hosting, path):
        for test in inside.tests(path):
            if test.parents == parents:
                name = named(test.name, inside.label)
                there.append(name)
                here += [name] if asked in (name, test.name) else []
    if here:
        return ["::".join((file, *parents, name)) for name in here]
    if there and hosting.is_only_inside(path):
        raise pytest.UsageError(_not_found(argument, asked, there))
    return [argument]


def _insides(hosting: Hosting, path: Path) -> Iterator[Inside]:
    for spec in (*hosting.everywhere, *hosting.specs(path)):
        try:
            inside = hosting.covering(spec, path)
        except EnvbuildError:
            # Said when the file is collected.
            continue
        if inside.has_collected(path):
            yield inside


def _not_found(argument: str, asked: str, there: Sequence[str]) -> str:
    function = asked.partition("[")[0]
    alike = [each for each in there if each.partition("[")[0] == function]
    if not alike:
        return f"not found: {argument}\n(there is no {function} in the environments of that file)"
    more = f" and {len(alike) - _SHOWN} more" if len(alike) > _SHOWN else ""
    return f"not found: {argument}\n(there are {', '.join(alike[:_SHOWN])}{more})"


def deselect(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what ``--deselect`` names as an environment's own pytest would; pytest leaves out the rest."""
    prefixes = tuple(config.getoption("deselect") or ())
    out = [
        each for each in items if prefixes and isinstance(each, InsideTest) and each.test.nodeid.startswith(prefixes)
    ]
    if out:
        config.hook.pytest_deselected(items=out)
        left = set(out)
        items[:] = [each for each in items if each not in left]
