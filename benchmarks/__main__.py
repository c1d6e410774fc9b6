"""``python -m benchmarks``: which benchmarks there are, and what is asked of them."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

from benchmarks import telling
from benchmarks.measuring import CommandFailed, Section
from benchmarks.place import Place

NAMES = ("running", "submitting", "building", "sharing", "conda", "testing", "listing", "hashing", "wheels", "starting")
"""The benchmarks, each a module of this package, in the order in which they are run."""

_QUICK = 2


class Benchmark(Protocol):
    """What a module with a benchmark offers."""

    ROUNDS: int
    """How many rounds are enough to tell the contenders apart."""

    def measure(self, place: Place, rounds: int) -> Sequence[Section]:
        """Set up, measure, and check that what was measured really happened."""


def main(words: Sequence[str] | None = None) -> int:
    """Measure what was asked for; 1 if some of it could not be measured."""
    asked = _parse(words)
    names = asked.only or NAMES
    print(telling.machine(), flush=True)
    with Place(quick=asked.quick) as place:
        if not place.is_settled():
            slower = "running, building, sharing, conda"
            print(f"another run has just ended: what makes folders ({slower}) may be slower than it is")
        found = [_measure(name, place, asked.rounds) for name in names]
    if asked.json:
        sections = [section for each in found for section in each]
        asked.json.write_text(json.dumps(telling.as_json(sections), indent=2) + "\n", encoding="utf-8")
    return 0 if all(found) else 1


def _measure(name: str, place: Place, rounds: int | None) -> Sequence[Section]:
    """Measure and show one benchmark; nothing, and why, if that is not possible."""
    benchmark = cast(Benchmark, import_module(f"benchmarks.{name}"))
    started = time.perf_counter()
    try:
        found = benchmark.measure(place, rounds or (_QUICK if place.quick else benchmark.ROUNDS))
    except (CommandFailed, FileNotFoundError) as error:
        print(f"\n{name} could not be measured: {error}", file=sys.stderr, flush=True)
        return ()
    print("\n" + "\n\n".join(telling.table(each) for each in found), flush=True)
    print(f"  ({name}: {time.perf_counter() - started:.0f} s, setting up included)", flush=True)
    return found


def _parse(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks/run", description="Measure envbuild beside its peers.")
    parser.add_argument("--only", action="append", choices=NAMES, metavar="NAME", help=f"one of {', '.join(NAMES)}")
    parser.add_argument("--rounds", type=int, metavar="N", help="that many rounds of each")
    parser.add_argument("--quick", action="store_true", help=f"small and {_QUICK} rounds: shows that all works")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all times there as well, in seconds")
    return parser.parse_args(words)


if __name__ == "__main__":
    sys.exit(main())
