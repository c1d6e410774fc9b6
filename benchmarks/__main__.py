"""``python -m benchmarks``: which benchmarks there are, and what is asked of them."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import cast

from benchmarks import telling
from benchmarks.measuring import Benchmark, CommandFailed, Section
from benchmarks.place import Place

NAMES = ("running", "building", "sharing", "listing", "hashing", "starting")
"""The benchmarks, each a module of this package, in the order in which they are run."""

_QUICK = 2


def main(words: Sequence[str] | None = None) -> int:
    """Measure what was asked for; 1 if some of it could not be measured."""
    asked = _parse(words)
    place = Place(quick=asked.quick)
    print(telling.machine(), flush=True)
    sections: list[Section] = []
    failed = False
    for name in asked.only or NAMES:
        started = time.perf_counter()
        benchmark = cast(Benchmark, import_module(f"benchmarks.{name}"))
        rounds = asked.rounds or (_QUICK if asked.quick else benchmark.ROUNDS)
        try:
            found = benchmark.measure(place, rounds)
        except (CommandFailed, FileNotFoundError) as error:
            print(f"\n{name} could not be measured: {error}", file=sys.stderr, flush=True)
            failed = True
            continue
        sections += found
        print("\n" + "\n\n".join(telling.table(each) for each in found), flush=True)
        print(f"  ({name}: {time.perf_counter() - started:.0f} s with all that it takes to set up)", flush=True)
    if asked.json:
        asked.json.write_text(json.dumps(telling.as_json(sections), indent=2) + "\n", encoding="utf-8")
    return 1 if failed else 0


def _parse(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks/run", description="Measure envbuild beside its peers.")
    parser.add_argument("--only", action="append", choices=NAMES, metavar="NAME", help=f"one of {', '.join(NAMES)}")
    parser.add_argument("--rounds", type=int, metavar="N", help="that many rounds of each")
    parser.add_argument("--quick", action="store_true", help=f"small and {_QUICK} rounds: shows that all works")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all times there as well, in seconds")
    return parser.parse_args(words)


if __name__ == "__main__":
    sys.exit(main())
