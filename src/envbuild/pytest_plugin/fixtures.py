"""Fixtures for users: environments to do something in, and a workspace of a test's own.

Tests that ask for them run outside, whatever ``--envbuild`` says: inside an environment there is no envbuild that could
build another (`envbuild/inside/envbuild/worker.py` has what says so there).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from envbuild import layout

if TYPE_CHECKING:
    from envbuild import Workspace
    from envbuild.pytest_plugin.built import BuiltEnvironment
    from envbuild.pytest_plugin.environments import Environments

NAMES = frozenset(("envbuild_environment", "envbuild_workspace"))
"""What the fixtures are called."""

_WORKSPACE = "envbuild-workspace"
"""The folder of a test's workspace, below its ``tmp_path``."""

_MADE: pytest.StashKey[Environments] = pytest.StashKey()

_FACTS = ("ENVBUILD_RUN_ID", "ENVBUILD_RUN_FOLDER", "ENVBUILD_EXPERIMENT")
"""What tells a process which run it is a part of; pytest itself may be in one."""


@pytest.fixture(scope="session")
def envbuild_environment(pytestconfig: pytest.Config) -> Callable[[str | os.PathLike[str]], BuiltEnvironment]:
    """Find or build an environment: ``envbuild_environment("environment.yml")``; see ``BuiltEnvironment``.

    SPEC is a definition's file as seen from the folder of the file that asks for it or from the root folder, a
    registered name[:version|@label], or an id. It is locked and built once per session.
    """
    from envbuild.pytest_plugin.built import BuiltEnvironment
    from envbuild.pytest_plugin.environments import located

    environments = _environments(pytestconfig)

    def environment(spec: str | os.PathLike[str]) -> BuiltEnvironment:
        __tracebackhide__ = True
        # A session's fixture has no test whose folder it could know; a mark means that of the file it stands in too.
        asking = Path(sys._getframe(1).f_code.co_filename).parent
        found = located(os.fspath(spec), asking, pytestconfig.rootpath)
        return BuiltEnvironment(environments.get(found), found, environments)

    return environment


@pytest.fixture
def envbuild_workspace(
    pytestconfig: pytest.Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Workspace]:
    """Use a workspace of the test's own: the ``Workspace`` of the SDK, and what ``ENVBUILD_WORKSPACE`` names meanwhile.

    It is empty, and lies below ``tmp_path``; what is built in it is linked from the cache of packages that every
    workspace has. Runs that go on when the test ends are stopped.
    """
    from envbuild import Workspace
    from envbuild.pytest_plugin.stopping import leave

    # The session's own environments stay where they are, also those that are still to come.
    _ = _environments(pytestconfig).home
    root = tmp_path / _WORKSPACE
    monkeypatch.setenv(layout.WORKSPACE_VARIABLE, str(root))
    for name in _FACTS:
        monkeypatch.delenv(name, raising=False)
    yield Workspace()
    leave(root)


def _environments(config: pytest.Config) -> Environments:
    """The environments that tests do something in; they are lent nothing, unlike those that tests run in."""
    from envbuild.pytest_plugin.environments import Environments
    from envbuild.pytest_plugin.telling import Told

    if _MADE not in config.stash:
        option = config.option
        made = Environments(
            config.rootpath, offline=option.envbuild_offline, locked=option.envbuild_locked, progress=Told(config)
        )
        config.add_cleanup(made.close)
        config.stash[_MADE] = made
    return config.stash[_MADE]
