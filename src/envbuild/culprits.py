"""Culprits: which of many changes make something fail, found in few tries.

The changes lead from what is good to what is bad. Some of them need others, so that not every selection can be tried:
one that can is *closed*, whatever a change in it needs is in it too (`Ties`). `search` is told for closed selections
whether they are good or bad, and asks for as few as it can: a single culprit among ``n`` takes about ``log2(n)``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

Verdict = Literal["good", "bad", "skip"]
"""What is said of a selection; ``skip`` where it cannot be told."""

Changes = frozenset[int]
"""A selection of changes, by their numbers."""

Ask = Callable[[Changes, int], Verdict]
"""Tries a closed selection; the second argument is about how many more will be asked for after it."""


@dataclass(frozen=True, slots=True)
class Ties:
    """Which of the changes 0, 1, … can only be made together with others.

    :param closures: for each change, itself and all that it needs, directly or not.
    :param groups: the changes in groups of those that need each other, each behind all that it needs.
    """

    closures: tuple[Changes, ...]
    groups: tuple[Changes, ...]

    @classmethod
    def of(cls, count: int, needs: Iterable[tuple[int, int]]) -> Ties:
        """The ties between ``count`` changes.

        :param needs: pairs of a change and one that it needs.

        >>> [sorted(each) for each in Ties.of(4, [(0, 2), (1, 3), (3, 1)]).groups]
        [[2], [0], [1, 3]]
        """
        direct: list[set[int]] = [set() for _ in range(count)]
        for change, needed in needs:
            direct[change].add(needed)
        closures = tuple(_reached(each, direct) for each in range(count))
        groups = {
            frozenset(other for other in closures[each] if each in closures[other]): len(closures[each])
            for each in range(count)
        }
        # What needs another group reaches more than that one does.
        ordered = sorted(groups, key=lambda group: (groups[group], min(group)))
        return cls(closures, tuple(ordered))

    @property
    def everything(self) -> Changes:
        """All changes."""
        return frozenset(range(len(self.closures)))

    def with_needed(self, changes: Iterable[int]) -> Changes:
        """The smallest closed selection with ``changes`` in it."""
        return frozenset[int]().union(*(self.closures[each] for each in changes))

    def without(self, selection: Changes, changes: Changes) -> Changes:
        """The largest closed selection within ``selection`` that has none of ``changes``."""
        return frozenset(each for each in selection if not self.closures[each] & changes)

    def between(self, low: Changes, high: Changes) -> list[Changes]:
        """The groups by which two closed selections differ, in order."""
        return [each for each in self.groups if each <= high - low]


def _reached(start: int, direct: list[set[int]]) -> Changes:
    found, waiting = {start}, [start]
    while waiting:
        news = direct[waiting.pop()] - found
        found |= news
        waiting += news
    return frozenset(found)


@dataclass(frozen=True, slots=True)
class Culprits:
    """What `search` has found.

    :param blamed: the changes that are all needed for the failure; those of one set could not be told apart.
    :param bad: the smallest selection that is bad: what is blamed, and what cannot be made without.
    :param good: the largest selection within it that is good.
    :param certain: whether each set in ``blamed`` is of changes that can only be made together, and without it all is
        good; otherwise selections had to be skipped, and some of what is blamed may be innocent.
    """

    blamed: tuple[Changes, ...]
    bad: Changes
    good: Changes
    certain: bool

    @property
    def needed(self) -> Changes:
        """The changes that are only there because those that are blamed need them."""
        return self.bad.difference(*self.blamed)


def search(ties: Ties, ask: Ask) -> Culprits:
    """Find a smallest set of changes that is bad, given that none of them is good and all of them are bad.

    Where adding a change never makes good what was bad, no smaller closed selection within the answer is bad, unless
    it had to be skipped. ``ask`` is never asked twice for the same.

    >>> hidden = {3, 12}
    >>> found = search(Ties.of(16, []), lambda selection, left: "bad" if hidden <= selection else "good")
    >>> sorted(map(sorted, found.blamed))
    [[3], [12]]
    """
    known: dict[Changes, Verdict] = {ties.everything: "bad", frozenset(): "good"}

    def told(selection: Changes, left: int) -> Verdict:
        if selection not in known:
            known[selection] = ask(selection, left)
        return known[selection]

    bad = ties.everything
    while True:
        blamed, bad = _isolated(ties, bad, told)
        fewer = [ties.without(bad, each) for each in blamed]
        smaller = next((each for each in fewer if told(each, len(fewer) - 1) == "bad"), None)
        if smaller is None:
            break
        bad = smaller
    certain = all(each in ties.groups and known[ties.without(bad, each)] == "good" for each in blamed)
    return Culprits(tuple(sorted(blamed, key=sorted)), bad, _largest_good(known, bad), certain)


def narrowed(known: Mapping[Changes, Verdict]) -> tuple[Changes, Changes]:
    """The smallest selection that is known to be bad, and the largest within it that is known to be good.

    >>> good, bad = narrowed({frozenset(): "good", frozenset({0}): "good", frozenset({0, 1, 2}): "bad"})
    >>> sorted(bad - good)
    [1, 2]
    """
    bad = min((each for each, verdict in known.items() if verdict == "bad"), key=_size)
    return _largest_good(known, bad), bad


def _largest_good(known: Mapping[Changes, Verdict], within: Changes) -> Changes:
    return max((each for each, verdict in known.items() if verdict == "good" and each < within), key=_size)


def _size(selection: Changes) -> tuple[int, list[int]]:
    return len(selection), sorted(selection)


def _isolated(ties: Ties, bad: Changes, told: Ask) -> tuple[list[Changes], Changes]:
    """The sets of changes that together, with what they need, are bad: one after the other by bisection.

    Each of them made the difference beside the ones before; what came behind it in order plays no part any more.
    """
    blamed: list[Changes] = []
    kept: Changes = frozenset()
    while kept != bad and told(kept, 0) != "bad":
        low, bad = _narrow(ties, kept, bad, told)
        blamed.append(bad - low)
        kept = ties.with_needed(kept | blamed[-1])
    return blamed, kept


def _narrow(ties: Ties, low: Changes, high: Changes, told: Ask) -> tuple[Changes, Changes]:
    """Bring a bad selection and one within it that is not as near to each other as verdicts allow."""
    while True:
        left = (len(ties.between(low, high)) - 1).bit_length()
        for candidate in _candidates(ties, low, high):
            verdict = told(candidate, left)
            if verdict == "bad":
                high = candidate
            elif verdict == "good":
                low = candidate
            if verdict != "skip":
                break
        else:
            return low, high


def _candidates(ties: Ties, low: Changes, high: Changes) -> Iterator[Changes]:
    """Closed selections between two others, the most telling first; later ones are for when those are skipped."""
    rest = ties.between(low, high)
    for position in _spread(len(rest)):
        yield low.union(*rest[:position])
    if len(rest) > 1:
        yield from (found for each in rest if (found := low | ties.with_needed(each)) != high)
        yield from (found for each in rest if (found := ties.without(high, each)) > low)


def _spread(count: int) -> Iterator[int]:
    """The places between ``count`` things: the middle, then the middles of the halves, and so on.

    What lies beside a selection that had to be skipped is likely to be skipped too.

    >>> list(_spread(8))
    [4, 2, 6, 1, 3, 5, 7]
    """
    waiting = deque([(0, count)])
    while waiting:
        low, high = waiting.popleft()
        middle = (low + high) // 2
        if low < middle:
            yield middle
            waiting += [(low, middle), (middle, high)]
