"""Git: which commit a source folder is at, as a run records it, and what a file held in an earlier one."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from envbuild.errors import EnvbuildError, NotFound
from envbuild.process import Finished, run_program
from envbuild.requirement import without_credentials

_ELSEWHERE = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY", "GIT_PREFIX")
"""What git tells its hooks: with these it would answer for their repository, wherever it is asked."""


def facts(folder: Path) -> Mapping[str, Any]:
    """The commit, branch and remote of ``folder``, and whether files in it differ from that commit.

    :returns: ``commit``, ``branch``, ``repository`` (without credentials) and ``dirty``; empty outside of a
        repository, before its first commit, and where git is not there or does not answer in time.
    """
    if repository(folder) is None:
        return {}
    try:
        commit = _git(folder, "rev-parse", "HEAD")
        if not commit:
            return {}
        found: dict[str, Any] = {
            "commit": commit,
            "branch": _git(folder, "symbolic-ref", "--short", "-q", "HEAD"),
            "repository": without_credentials(_git(folder, "config", "--get", "remote.origin.url")),
        }
        changed = _git(folder, "status", "--porcelain", "--untracked-files=normal", "--", ".")
    except EnvbuildError:
        return {}
    return {key: value for key, value in found.items() if value} | {"dirty": bool(changed)}


def repository(folder: Path) -> Path | None:
    """The folder of git's own files that answers for ``folder``, if it lies in a repository."""
    for each in (folder, *folder.parents):
        found = each / ".git"
        if found.is_dir():
            return found
        if found.is_file():
            # A worktree, and a submodule, has its own elsewhere.
            return each / _read(found).removeprefix("gitdir:").strip()
    return None


def changing(folder: Path) -> tuple[Path, ...]:
    """Files of which one at least changes when `facts` does, by a commit, a switch or another remote."""
    found = repository(folder)
    if found is None:
        return ()
    shared = found / _read(found / "commondir").strip()
    head = _read(found / "HEAD")
    branch = head.removeprefix("ref:").strip() if head.startswith("ref:") else "HEAD"
    return (found / "HEAD", found / "index", shared / branch, shared / "packed-refs", shared / "config")


def content_at(file: Path, revision: str) -> bytes:
    """What ``file`` held in a commit, which is named as git has it (``v1.2``, ``HEAD~3``).

    :raises NotFound: there is no such commit, it has no such file, or git is not there.
    """
    folder = file.absolute().parent
    said = "the file lies in no repository"
    if not folder.is_dir():
        said = "there is no such folder"
    elif repository(folder) is not None:
        # No revision begins with a dash, and git would take it for an option.
        named = f"{revision.lstrip('-')}:./{file.name}"
        done = _run(folder, "cat-file", "blob", named)
        if done.code == 0:
            return done.out
        said = done.stderr.strip().removeprefix("fatal: ")
    raise NotFound(f"{file} cannot be read as of {revision!r}: {said}", hint="a revision stands as in 'git log REV'")


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return ""


def _git(folder: Path, *arguments: str) -> str:
    done = _run(folder, *arguments)
    return done.stdout.strip() if done.code == 0 else ""


def _run(folder: Path, *arguments: str) -> Finished:
    # Optional locks off: looking must not get in the way of somebody's commit.
    variables = {name: value for name, value in os.environ.items() if name not in _ELSEWHERE}
    return run_program(["git", "--no-optional-locks", "-C", folder, *arguments], variables=variables, timeout=30)
