"""Git: which commit a source folder is at, as a run records it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from envbuild.errors import NotFound
from envbuild.process import run_program
from envbuild.requirement import without_credentials


def facts(folder: Path) -> Mapping[str, Any]:
    """The commit, branch and remote of ``folder``, and whether files in it differ from that commit.

    :returns: ``commit``, ``branch``, ``repository`` (without credentials) and ``dirty``; empty outside of a
        repository, before its first commit, and where there is no git.
    """
    if repository(folder) is None:
        return {}
    try:
        commit = _git(folder, "rev-parse", "HEAD")
    except NotFound:
        return {}
    if not commit:
        return {}
    found: dict[str, Any] = {
        "commit": commit,
        "branch": _git(folder, "symbolic-ref", "--short", "-q", "HEAD"),
        "repository": without_credentials(_git(folder, "config", "--get", "remote.origin.url")),
    }
    changed = _git(folder, "status", "--porcelain", "--untracked-files=normal", "--", ".")
    return {key: value for key, value in found.items() if value} | {"dirty": bool(changed)}


def repository(folder: Path) -> Path | None:
    """The ``.git`` folder that answers for ``folder``, if it lies in a repository of the usual form."""
    for each in (folder, *folder.parents):
        if (each / ".git").exists():
            return each / ".git"
    return None


def _git(folder: Path, *arguments: str) -> str:
    # Optional locks off: looking must not get in the way of somebody's commit.
    done = run_program(["git", "--no-optional-locks", "-C", folder, *arguments], timeout=30)
    return done.stdout.strip() if done.code == 0 else ""
