"""Starting: how the pytest in a worker is set up, after the one outside.

It sees the same folders, configuration and options, but for what is the business of the pytest outside: selecting
tests, counting failures, distributing, measuring, and writing reports.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

from envbuild.pytest_plugin import terminal
from envbuild.pytest_plugin.environments import Environment
from envbuild.pytest_plugin.inside import at_once
from envbuild.pytest_plugin.passed import Passed
from envbuild.pytest_plugin.worker import Worker

_OUTSIDE: dict[str, Any] = {
    "plugins": [], "keyword": "", "markexpr": "", "deselect": None, "stepwise": False,
    "stepwise_skip": False, "lf": False, "failedfirst": False, "newfirst": False, "cacheclear": False,
    "cacheshow": None,
    "collectonly": False, "xmlpath": None, "junitprefix": None, "pastebin": None, "strict_config": False, "debug": None,
    "traceconfig": False, "looponfail": False, "numprocesses": None, "dist": "no", "tx": [], "distload": False,
    "maxprocesses": None, "durations": None, "report_log": None, "htmlpath": None,
    "splits": None, "group": None, "store_durations": False, "shard_id": 0, "num_shards": 1,
    "test_group_count": None, "test_group": None,
}  # fmt: skip
"""Options that are heeded outside, with what they are inside."""

_INSIDE_ONLY = "--envbuild-args"
"""The option by which options are passed on that nothing outside knows."""

_BOTH = {"-p", "-o", "--override-ini", "-W", "--pythonwarnings"}
"""pytest's own options that may be meant for the pytest inside alone."""

_DONE_OUTSIDE = (
    "--envbuild", "-n", "--numprocesses", "--maxprocesses", "--dist", "--tx", "--looponfail", "--cov", "--no-cov",
    "--html", "--report-log", "--json-report", "--splits", "--group",
)  # fmt: skip
"""How options of other plugins begin that count, distribute, measure or report, which is done outside."""

_SETTINGS = ("addopts=", "required_plugins=", "strict_config=false")
"""Settings that are meant for the pytest outside: what they name need not exist inside."""

_WIDTH = 80
"""How many columns there are where there is no terminal."""

_MOST = 30
"""How long the name of a folder for temporary folders is at most, without the number behind it."""

_NOT_PASSED_ON = ("PYTEST_ADDOPTS", "PYTEST_CURRENT_TEST", "PYTEST_VERSION")


class Starter:
    """Starts workers for a session.

    :param options: those of the command line, as far as they are known.
    :param inis: the settings that only the plugin outside knows.
    :param passed_on: the options that only a conftest.py inside knows.
    :param has_terminal: whether there is somebody to talk to debuggers.
    """

    def __init__(
        self,
        config: pytest.Config,
        options: argparse.Namespace,
        inis: Sequence[str],
        passed_on: Sequence[str],
        *,
        has_terminal: bool,
    ) -> None:
        self.config = config
        self.options = options
        self.passed_on = passed_on
        self.has_terminal = has_terminal
        self.inis = inis
        self.passed: Passed | None = None
        self._folders = 0
        self._early: dict[str, tuple[Worker, Sequence[int]]] = {}

    @property
    def can_debug(self) -> bool:
        """Whether somebody can talk to a debugger in a worker."""
        return self.has_terminal and not self._wrapper

    @property
    def arguments(self) -> list[str]:
        """What pytest outside was asked to collect, without the names of tests."""
        return [each.partition("::")[0] for each in self.config.args]

    @cached_property
    def added(self) -> list[str]:
        """The words of options that are given for pytests inside alone.

        :raises UsageError: one of them is no such option.
        """
        return _added(self.config)

    def start_early(self, environment: Environment) -> None:
        """Start a worker, which imports pytest while this one is still being set up; `start` makes use of it."""
        self._early[environment.label] = self._worker(environment)

    def close(self) -> None:
        """End what was started early for nothing."""
        for worker, _ in self._early.values():
            worker.kill()
        self._early.clear()

    def start(self, environment: Environment, files: Sequence[str] | None, ignored: Sequence[str] = ()) -> Worker:
        """Start a worker, which begins to collect.

        :param files: what to collect; ``None`` for what pytest outside was asked for.
        :param ignored: files that are not to be collected.
        :raises EnvbuildError: it cannot be started, or there is no pytest for it.
        """
        early = self._early.pop(environment.label) if environment.label in self._early else None
        worker, descriptors = early or self._worker(environment)
        message = self._message(files, ignored, descriptors)
        if self.passed is not None:
            known = {**message["options"], _INSIDE_ONLY: [*self.passed_on, *self.added]}
            message["seen"] = self.passed.seen(environment, known)
        worker.send("start", message)
        return worker

    def _worker(self, environment: Environment) -> tuple[Worker, Sequence[int]]:
        """A process in an environment, and the descriptors that it was given."""
        wrapper = self._wrapper
        # Without the plugin for it there is no such option.
        heard = getattr(self.options, "capture", "no") != "fd"
        # With what wraps it, the process may be anywhere; ours has no descriptors there.
        descriptors = (os.dup(1),) if heard and not wrapper else ()
        try:
            worker = Worker(
                [*wrapper, environment.interpreter],
                {name: value for name, value in environment.process_variables.items() if not _is_ours(name)},
                self.config.invocation_params.dir,
                environment.lent,
                secrets=environment.masked,
                heard=heard,
                passed=descriptors,
            )
            return worker, descriptors
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    @cached_property
    def _wrapper(self) -> list[str]:
        asked = self.options.envbuild_wrapper or self.config.getini("envbuild_wrapper") or ""
        try:
            found = shlex.split(asked)
        except ValueError as error:
            raise pytest.UsageError(f"--envbuild-wrapper: {asked!r} is no command: {error}") from error
        if found and shutil.which(found[0]) is None:
            raise pytest.UsageError(f"--envbuild-wrapper: there is no program {found[0]!r}")
        return found

    def _message(
        self, files: Sequence[str] | None, ignored: Sequence[str], descriptors: Sequence[int]
    ) -> dict[str, Any]:
        config = self.config
        invoked = config.invocation_params.dir
        plugins = list(config.option.plugins or ())
        settings = ["--rootdir", str(config.rootpath), *(("-c", str(config.inipath)) if config.inipath else ())]
        blocked = [word for each in plugins if each.startswith("no:") for word in ("-p", each)]
        reporter: Any = config.pluginmanager.get_plugin("terminalreporter")
        arguments = self.arguments if files is None else list(files)
        return {
            "directory": str(invoked),
            # As with `pytest`, unless it was `python -m pytest`, which has the folder first.
            "path": [str(invoked)] if {str(invoked), ""} & set(sys.path[:2]) else [],
            "args": [*settings, *blocked, "-p", "no:envbuild", *self.passed_on, *self.added, "--", *arguments],
            "plugins": [each for each in plugins if not each.startswith("no:") and not self._is_outside(each)],
            "options": self._options(ignored),
            "inis": list(self.inis),
            "workerinput": self._workerinput(),
            "argv": list(sys.argv),
            "dont_write_bytecode": sys.dont_write_bytecode,
            "markup": bool(reporter and reporter._tw.hasmarkup),
            "width": reporter._tw.fullwidth if reporter else _WIDTH,
            "encoding": sys.stdout.encoding,
            "pause": bool(config.getoption("maxfail") or config.getoption("stepwise", False)),
            "at_once": at_once(config),
            "stdout": descriptors[0] if descriptors else None,
            "terminal": terminal.PATH if self.can_debug else None,
            "wrapped": bool(self._wrapper),
            "coverage": self._coverage(),
            "junit": config.getini("junit_family") if config.getoption("xmlpath") else None,
            "contexts": bool(config.getoption("cov_context", None)),
        }

    def _options(self, ignored: Sequence[str]) -> dict[str, Any]:
        given = {
            name: value
            for name, value in vars(self.config.option).items()
            if not name.startswith(("envbuild", "cov", "no_cov", "file_or_dir")) and _is_plain(value)
        }
        unknown = "ignore:Unknown config option:pytest.PytestConfigWarning"
        return {
            **given,
            **{name: value for name, value in _OUTSIDE.items() if name in given},
            "override_ini": [*(given.get("override_ini") or ()), *_SETTINGS],
            # Settings of plugins that are only outside.
            "pythonwarnings": [*(given.get("pythonwarnings") or ()), unknown],
            "basetemp": None,
            "ignore": [*(given.get("ignore") or ()), *ignored],
        }

    def basetemp(self, environment: Environment) -> str:
        """A folder of a worker's own for ``tmp_path``, below the one that the session has."""
        factory: Any = self.config._tmp_path_factory  # type: ignore[attr-defined]
        # As of the name of a test in such a folder's name, there is only so much room for it.
        name = "".join(letter if letter.isalnum() else "-" for letter in environment.label)[-_MOST:].lstrip("-")
        self._folders += 1
        return str(factory.getbasetemp() / f"{name}-{self._folders}")

    def _workerinput(self) -> dict[str, Any]:
        """What pytest-xdist tells its workers, and plugins look for to know that they are in one."""
        given: Mapping[str, Any] = getattr(self.config, "workerinput", {})
        names = ("workerid", "workercount", "testrunuid", "randomly_seed")
        passed_on = {name: given[name] for name in names if name in given}
        return {"workerid": "master", "workercount": 1, "randomly_seed": self.seed, **passed_on}

    @cached_property
    def seed(self) -> int:
        """What pytest-randomly shuffles by: as it was asked to outside, else by chance, in all processes alike."""
        asked = getattr(self.options, "randomly_seed", None)
        given: Mapping[str, Any] = getattr(self.config, "workerinput", {})
        if isinstance(asked, int):
            return asked
        return random.Random(given.get("testrunuid")).getrandbits(32)  # noqa: S311

    def _is_outside(self, name: str) -> bool:
        """Whether a plugin is one of ours, which the environment need not have."""
        from importlib.metadata import entry_points

        return any(each.name == name or each.value == name for each in entry_points(group="pytest11"))

    def _coverage(self) -> dict[str, Any] | None:
        """What the worker is to measure for pytest-cov, which combines all files of that name when it is done."""
        if not measures(self.options):
            return None
        plugin: Any = self.config.pluginmanager.get_plugin("_cov")
        controller = plugin and plugin.cov_controller
        if controller is None:
            return None
        sources = self.config.getoption("cov_source")
        return {
            "source": None if True in sources else [each for each in sources if each is not True],
            "branch": self.config.getoption("cov_branch"),
            # Any other than the default has to be there.
            "config_file": self.config.getoption("cov_config") == ".coveragerc"
            or str(Path(self.config.getoption("cov_config")).absolute()),
            "data_file": os.path.abspath(controller.cov.config.data_file),  # noqa: PTH100
            "data_suffix": True,
        }


def _added(config: pytest.Config) -> list[str]:
    words = list(config.getini("envbuild_args"))
    for text in config.getoption("envbuild_args") or ():
        try:
            words += shlex.split(text)
        except ValueError as error:
            raise pytest.UsageError(f"{_INSIDE_ONLY}: {text!r} is not quoted as for a shell: {error}") from error
    own = _own_options() if words else frozenset()
    for word in words:
        option = word.partition("=")[0] if word.startswith("--") else word[:2]
        if option == "--":
            raise pytest.UsageError(f"{_INSIDE_ONLY}: {word!r} is no option of a plugin")
        if option.startswith(_DONE_OUTSIDE) or option in own:
            raise pytest.UsageError(f"{_INSIDE_ONLY}: {option} is for pytest itself, which heeds it for all tests")
    return words


def _own_options() -> frozenset[str]:
    """The options that pytest has without any other plugin, but for those that may be for the one inside alone."""
    from _pytest.config import get_config

    parser: Any = get_config()._parser
    return frozenset(name for group in parser._groups for each in group.options for name in each.names()) - _BOTH


def measures(options: argparse.Namespace) -> bool:
    """Whether pytest-cov measures which lines are executed."""
    return bool(getattr(options, "cov_source", None)) and not getattr(options, "no_cov", False)


def _is_ours(variable: str) -> bool:
    return variable in _NOT_PASSED_ON or variable.startswith("COV_CORE_")


def _is_plain(value: Any) -> bool:
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        return False
    return True
