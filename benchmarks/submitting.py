"""Submitting: how soon is a run under way, how many get through in a second, and how soon are many metrics read?

The script is ``pass``, in an environment without packages that is there already. Beside it, the same processes started
by hand, which no record is kept of, and which nobody could find again, stop or repeat.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.measuring import TIMEOUT, CommandFailed, Contender, Row, Section, Taken, in_turns, timed
from benchmarks.place import Place, write

if TYPE_CHECKING:
    from envbuild.sdk import Run, ScriptRunConfig, Workspace

ROUNDS = 15

_SUBMIT = "Experiment.submit"
_READ = "Run.get_metrics"
_LONG = 15
"""Many runs take a minute: they are had once in so many rounds."""

_LOGGING = """\
from envbuild import Run
run = Run.get_context()
for step in range({count}):
    run.log("loss", 1 / (step + 1), step=step)
"""


def measure(place: Place, rounds: int) -> list[Section]:
    """Submit one run, then many, then read what one has logged."""
    from envbuild.sdk import Environment, ScriptRunConfig, Workspace

    source = write(place.folder("submitting"), s_py="pass\n")
    with _variables(place.measured()):
        workspace = Workspace(place.folder("submitting-workspace"))
        environment = Environment("nothing")
        built = environment.build(workspace).wait_for_completion(show_output=False)
        config = ScriptRunConfig(source, "s.py", environment=environment)
        command = (str(built.path / "bin" / "python"), str(source / "s.py"))
        many = 20 if place.quick else 1000
        sections = [
            _one(workspace, config, command, rounds),
            _many(workspace, config, command, many, math.ceil(rounds / _LONG)),
            _metrics(workspace, config, 1000 if place.quick else 100_000, rounds),
        ]
        _settle(workspace)
    return sections


def _one(workspace: Workspace, config: ScriptRunConfig, command: Sequence[str], rounds: int) -> Section:
    from envbuild.sdk import Experiment

    experiment = Experiment(workspace, "one")
    submitted: list[Run] = []
    started: list[subprocess.Popen[bytes]] = []

    def submit() -> None:
        submitted.append(experiment.submit(config))

    def start() -> None:
        started.append(subprocess.Popen(command))

    def see_through() -> None:
        submit()
        submitted[-1].wait_for_completion()

    def settle() -> None:
        for run in submitted:
            run.wait_for_completion()
        for process in started:
            process.wait()

    # The first of a process starts what starts runs.
    see_through()
    del submitted[:]
    ways: Mapping[str, Callable[[], object]] = {
        _SUBMIT: submit,
        "subprocess.Popen, not waited for": start,
        "Experiment.submit and Run.wait_for_completion": see_through,
        "subprocess.run": partial(subprocess.run, command, check=True),
    }
    rows = in_turns([_contender(name, act, settle) for name, act in ways.items()], rounds)
    settle()
    _check(experiment.get_runs(), 2 * rounds + 1)
    return Section(title=f"Submitting `pass`, {rounds} rounds", subject=_SUBMIT, rows=rows)


def _many(workspace: Workspace, config: ScriptRunConfig, command: Sequence[str], count: int, rounds: int) -> Section:
    from envbuild.dispatch import parallel_runs
    from envbuild.sdk import Experiment

    experiment = Experiment(workspace, "many")
    at_once = parallel_runs()
    submitting: list[Taken] = []

    def submit_all() -> None:
        started = time.perf_counter()
        runs = [experiment.submit(config) for _ in range(count)]
        submitting.append(Taken((time.perf_counter() - started) / count, math.nan))
        for run in runs:
            run.wait_for_completion()

    def run_each(_: int = 0) -> None:
        subprocess.run(command, check=True)

    def one_by_one() -> None:
        for _ in range(count):
            run_each()

    def side_by_side() -> None:
        with ThreadPoolExecutor(at_once) as pool:
            list(pool.map(run_each, range(count)))

    subject = f"{count:,} runs submitted, and all of them waited for"
    ways = {
        subject: submit_all,
        "a loop of subprocess.run": one_by_one,
        f"concurrent.futures, {at_once} at once": side_by_side,
    }
    rows = in_turns([_contender(name, act, partial(_settle, workspace), count) for name, act in ways.items()], rounds)
    _check(experiment.get_runs(), count * rounds)
    return Section(
        title=f"{count:,} runs of `pass`, times for one of them, {rounds} round{'s' if rounds > 1 else ''}",
        subject=subject,
        rows=[rows[0], Row("of that, submitting", tuple(submitting)), *rows[1:]],
        rates=True,
        notes=(f"{at_once} at once; all {count * rounds:,} are recorded as completed, each with a number of its own.",),
    )


def _metrics(workspace: Workspace, config: ScriptRunConfig, count: int, rounds: int) -> Section:
    from envbuild.sdk import Experiment, ScriptRunConfig

    source = write(Path(config.source_directory), log_py=_LOGGING.format(count=count))
    logging = ScriptRunConfig(source, "log.py", environment=config.environment)
    run = Experiment(workspace, "metrics").submit(logging)
    run.wait_for_completion()
    if len(run.get_metrics()["loss"]) != count:
        raise CommandFailed(f"{len(run.get_metrics()['loss'])} of {count} points were read")
    file = run.folder / "metrics.jsonl"

    def lines() -> list[object]:
        return [json.loads(line) for line in file.read_bytes().splitlines()]

    ways: Mapping[str, Callable[[], object]] = {_READ: run.get_metrics, "json.loads of each line of its file": lines}
    contenders = [Contender(name=name, act=partial(timed, act)) for name, act in ways.items()]
    title = f"Reading {count:,} points of a metric, {rounds} rounds"
    return Section(title=title, subject=_READ, rows=in_turns(contenders, rounds))


def _contender(name: str, act: Callable[[], object], prepare: Callable[[], object], times: int = 1) -> Contender:
    """Something that takes place in other processes: what they take of the processor is not known here."""

    def clocked() -> Taken:
        started = time.perf_counter()
        act()
        return Taken((time.perf_counter() - started) / times, math.nan)

    return Contender(name=name, act=clocked, prepare=prepare)


def _check(runs: Iterator[Run], count: int) -> None:
    """See to it that all that was submitted has run.

    :raises CommandFailed: it has not.
    """
    found = list(runs)
    numbers = {run.number for run in found if run.get_status() == "Completed"}
    if len(numbers) != count:
        raise CommandFailed(f"of {count} runs, {len(found)} are recorded and {len(numbers)} have been completed")


def _settle(workspace: Workspace) -> None:
    """Wait until no process minds a run any more, so that none is in the way of what comes next.

    :raises CommandFailed: that takes too long.
    """
    deadline = time.monotonic() + TIMEOUT
    runs = workspace.root / "runs"
    for run in runs.iterdir() if runs.is_dir() else ():
        while workspace._core.is_supervised(run.name):
            if time.monotonic() > deadline:
                raise CommandFailed(f"run {run.name} is still going on")
            time.sleep(0.01)


@contextmanager
def _variables(wanted: Mapping[str, str]) -> Iterator[None]:
    """Let these be the environment variables of this process, and of what it starts."""
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(wanted)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
