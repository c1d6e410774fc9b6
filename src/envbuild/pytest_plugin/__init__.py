"""The pytest plugin: tests that run inside built environments.

``@pytest.mark.envbuild("environment.yml")``, or ``pytest --envbuild environment.yml`` for all tests. It is loaded by
every pytest beside which envbuild is installed, so what it needs is imported when it is needed.
"""

from __future__ import annotations

import argparse
from collections.abc import Generator
from typing import Any

import pytest

from envbuild.pytest_plugin.watching import Watching

_MARK = (
    "envbuild(SPEC, …): run the test inside these environments, one after the other; SPEC is a definition's file as "
    "seen from the test's folder or the root folder, a registered name[:version|@label], or an id"
)
_WATCHING = "envbuild-watching"
_INIS = (
    "envbuild", "envbuild_timeout", "envbuild_wrapper", "envbuild_args", "envbuild_skip_passed", "envbuild_depends"
)  # fmt: skip


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("envbuild", "tests inside environments")
    group.addoption(
        "--envbuild",
        action="append",
        metavar="SPEC",
        dest="envbuild",
        help="run all tests inside this environment; repeatable",
    )
    group.addoption(
        "--envbuild-timeout",
        type=_seconds,
        metavar="SECONDS",
        dest="envbuild_timeout",
        help="how long a test inside an environment, or collecting there, may take",
    )
    group.addoption(
        "--envbuild-wrapper",
        metavar="COMMAND",
        dest="envbuild_wrapper",
        help="start the Python of environments by way of this command",
    )
    group.addoption(
        "--envbuild-args",
        action="append",
        metavar="ARGS",
        dest="envbuild_args",
        help="options for plugins that only environments have, quoted as for a shell; repeatable",
    )
    group.addoption(
        "--envbuild-offline",
        action="store_true",
        dest="envbuild_offline",
        help="make environments of what is cached, never ask the network",
    )
    group.addoption(
        "--envbuild-locked",
        action="store_true",
        dest="envbuild_locked",
        help="fail if the lock of an environment is stale, rather than renew it",
    )
    group.addoption(
        "--envbuild-skip-passed",
        action="store_true",
        dest="envbuild_skip_passed",
        help="leave out tests that passed before in the same environment with the same files, and record those that do",
    )
    parser.addini("envbuild", "the environments that all tests run in", type="linelist")
    parser.addini("envbuild_timeout", "as --envbuild-timeout")
    parser.addini("envbuild_wrapper", "as --envbuild-wrapper")
    parser.addini("envbuild_args", "as --envbuild-args, which come behind them", type="args")
    parser.addini("envbuild_skip_passed", "as --envbuild-skip-passed", type="bool", default=False)
    parser.addini(
        "envbuild_depends", "patterns of files that no test is seen to read, and all depend on", type="linelist"
    )


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds (0 is for no limit)")
    return seconds


@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests(
    early_config: pytest.Config, parser: pytest.Parser, args: list[str]
) -> Generator[None, None, None]:
    """Watch from here on, first of all for a conftest.py that only environments can import."""
    watching = Watching(early_config, _INIS)
    # Before any conftest.py, so that it sees what they make of the tests.
    early_config.pluginmanager.register(watching, _WATCHING)
    watching.start_early()
    yield
    watching.conftests.pass_on(parser, args)


def pytest_configure(config: pytest.Config) -> None:
    """Tell of the mark."""
    config.addinivalue_line("markers", _MARK)
    from envbuild.pytest_plugin import fixtures

    config.pluginmanager.register(fixtures, "envbuild-fixtures")
    if not config.pluginmanager.has_plugin(_WATCHING):
        # A conftest.py has named the plugin.
        config.pluginmanager.register(Watching(config, _INIS), _WATCHING)


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_collection_modifyitems(
    session: pytest.Session, config: pytest.Config, items: list[pytest.Item]
) -> Generator[None, Any, Any]:
    """Look for marks once more, when those hooks have been called too that are to be called last."""
    result = yield
    watching: Any = config.pluginmanager.get_plugin(_WATCHING)
    watching.place(session, items)
    return result
