"""Nodes: tests that run inside an environment, as pytest outside sees them.

They have the names, marks and places of those that a worker has collected, and nothing of their code: fixtures are set
up, and tests run, in the worker.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from functools import cached_property
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Literal

import pytest
from _pytest.mark.structures import Mark

if TYPE_CHECKING:
    from envbuild.pytest_plugin.collected import Test
    from envbuild.pytest_plugin.inside import Inside


class InsideFile(pytest.File):
    """The tests of one file in one environment.

    :param only: the names of those that are wanted; ``None`` for all that are for the environment.
    """

    def __init__(self, *, inside: Inside, only: Container[str] | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.inside = inside
        self.only = only

    def collect(self) -> Iterator[pytest.Item | pytest.Collector]:
        """Ask the worker for the tests.

        :raises CollectError: it could not collect the file.
        """
        yield from _nodes(self, self.inside.tests(self.path, self.only), 0)

    def __repr__(self) -> str:
        return f"<Module {self.name}>"


class InsideClass(pytest.Collector):
    """The tests of one class, or of whatever else a collector inside gathers them in.

    :param depth: how many such gatherings there are from the file down to this one.
    """

    def __init__(self, *, inside: Inside, depth: int, **options: Any) -> None:
        super().__init__(**options)
        self.inside = inside
        self.depth = depth
        self.tests: list[Test] = []

    def collect(self) -> Iterator[pytest.Item | pytest.Collector]:
        """Give what is in it."""
        yield from _nodes(self, self.tests, self.depth)

    def __repr__(self) -> str:
        return f"<Class {self.name}>"


def _nodes(
    parent: InsideFile | InsideClass, tests: Iterable[Test], depth: int
) -> Iterator[pytest.Item | pytest.Collector]:
    groups: dict[str, InsideClass] = {}
    for test in tests:
        if len(test.parents) == depth:
            yield InsideTest.from_parent(parent, inside=parent.inside, test=test)
            continue
        name = test.parents[depth]
        if name not in groups:
            groups[name] = InsideClass.from_parent(parent, name=name, inside=parent.inside, depth=depth + 1)
        groups[name].tests.append(test)
    # pytest asks them for what is in them when all of it is there.
    yield from groups.values()


_POSITIONS = count()


class InsideTest(pytest.Item):
    """A test that runs inside an environment.

    :param test: what the worker says of it.
    :ivar position: grows from one to the next, so that it shows whether anybody has put them in another order.
    """

    def __init__(self, *, inside: Inside, test: Test, parent: Any, **options: Any) -> None:
        name = named(test.name, inside.label)
        # As a text: pytest makes of it what it makes of a name that it has noted in an earlier session.
        super().__init__(name=name, parent=parent, nodeid=f"{parent.nodeid}::{name}", **options)
        self.inside = inside
        self.test = test
        self.position = next(_POSITIONS)
        for name, args, kwargs, _ in test.marks:
            mark = Mark(name, tuple(args), kwargs, _ispytest=True)
            self.own_markers.append(mark)
            self.keywords[name] = mark
        for word in test.keywords:
            self.keywords.setdefault(word, True)
        # What hooks in a conftest.py like to look at.
        self.originalname = test.original
        self.fixturenames = test.fixtures
        self.cls = None

    @cached_property
    def module(self) -> Any:
        """What stands for the module."""
        return SimpleNamespace(__name__=self.path.stem, __file__=str(self.path))

    @cached_property
    def obj(self) -> Any:
        """What stands for the function."""
        return SimpleNamespace(__name__=self.test.original or self.test.name, __doc__=self.test.doc)

    @property
    def function(self) -> Any:
        """The same, as pytest calls it too."""
        return self.obj

    @cached_property
    def report_keywords(self) -> dict[str, Literal[1]]:
        """The keywords, as reports have them."""
        return dict.fromkeys(self.keywords, 1)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        """Where the test stands, and what it is called."""
        place, line, name = self.test.location
        return self.config.rootpath / place, line, named(name, self.inside.label)

    def runtest(self) -> None:
        """Not called: the test runs in the worker."""
        raise RuntimeError(f"{self.nodeid} runs in a worker")

    def __repr__(self) -> str:
        return f"<{self.test.kind} {self.name}>"


def named(name: str, label: str) -> str:
    """The name of a test in one of several environments.

    >>> named("test_fit", "environment.yml"), named("test_fit[2-rbf]", "environment.yml")
    ('test_fit[environment.yml]', 'test_fit[2-rbf-environment.yml]')
    """
    return f"{name[:-1]}-{label}]" if name.endswith("]") and "[" in name else f"{name}[{label}]"
