"""Collected: what a worker says of the tests that it has found."""

from __future__ import annotations

from typing import Any, NamedTuple

from _pytest.outcomes import Skipped

from envbuild.pytest_plugin import marks


class SkippedInside(Skipped):
    """A file was skipped as a whole.

    :param skipped: the file in which, the line on which, and the reason for which it was.
    """

    def __init__(self, skipped: tuple[str, int, str]) -> None:
        super().__init__(skipped[2], allow_module_level=True)
        self.skipped = skipped


class Test(NamedTuple):
    """A test as a worker describes it; the fields are those of pytest's items, in the order in which they are sent.

    :param number: its place in the order in which the worker would run all tests.
    :param occurrence: tells apart what has the same node id.
    :param parents: what it is gathered in below its file, such as the name of a class.
    :param marks: name, arguments and named arguments of each, and how deep down it was put; the nearest first.
    """

    number: int
    occurrence: int
    path: str
    nodeid: str
    parents: list[str]
    name: str
    kind: str
    original: str | None
    location: list[Any]
    doc: str | None
    marks: list[list[Any]]
    keywords: list[str]
    fixtures: list[str]

    @property
    def key(self) -> tuple[str, int]:
        """What another worker knows it by."""
        return self.nodeid, self.occurrence

    @property
    def specs(self) -> tuple[str, ...] | None:
        """The environments that its nearest mark names; ``None`` where it has none."""
        ours = [each for each in self.marks if each[0] == marks.NAME]
        if not ours:
            return None
        if self.wrong:
            return ()
        nearest = max(each[3] for each in ours)
        return tuple(spec for each in ours if each[3] == nearest for spec in each[1])

    @property
    def wrong(self) -> str:
        """What is wrong with its marks; empty if they are as they should be."""
        ours = (each for each in self.marks if each[0] == marks.NAME)
        return next((reason for _, args, kwargs, _ in ours if (reason := marks.wrong(args, kwargs))), "")
