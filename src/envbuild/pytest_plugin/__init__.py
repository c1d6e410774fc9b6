"""The pytest plugin: tests that run inside built environments.

``@pytest.mark.envbuild("environment.yml")``, or ``pytest --envbuild environment.yml`` for all tests. It is loaded by
every pytest beside which envbuild is installed, so what it needs is imported when it is needed.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from envbuild.pytest_plugin.hosting import Hosting

_MARK = (
    "envbuild(SPEC, …): run the test inside these environments, one after the other; SPEC is a definition's file as "
    "seen from the test's folder or the root folder, a registered name[:version|@label], or an id"
)
_INIS = ("envbuild", "envbuild_timeout", "envbuild_wrapper", "envbuild_skip_passed", "envbuild_depends")
_WITHOUT_WORKERS = (
    "numprocesses",
    "tx",
    "help",
    "version",
    "markers",
    "showfixtures",
    "show_fixtures_per_test",
    "cacheshow",
)


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
        type=float,
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
    parser.addini("envbuild_skip_passed", "as --envbuild-skip-passed", type="bool", default=False)
    parser.addini(
        "envbuild_depends", "patterns of files that no test is seen to read, and all depend on", type="linelist"
    )


_hosting: pytest.StashKey[Any] = pytest.StashKey()


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Start what can be started while pytest is still being set up."""
    known = early_config.known_args_namespace
    hosting = _host(early_config, known)
    # Others distribute the tests, or there are none to be run.
    if hosting.everywhere and not any(getattr(known, name, None) for name in _WITHOUT_WORKERS):
        hosting.start_early()


def pytest_configure(config: pytest.Config) -> None:
    """Host tests in environments, from here on."""
    config.addinivalue_line("markers", _MARK)
    hosting = config.stash.get(_hosting, None) or _host(config, config.option)
    config.pluginmanager.register(hosting, "envbuild-hosting")


def _host(config: pytest.Config, options: argparse.Namespace) -> Hosting:
    from envbuild.pytest_plugin.hosting import Hosting

    hosting = config.stash[_hosting] = Hosting(config, options, _INIS)
    return hosting
