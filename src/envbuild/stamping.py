"""Stamping: noting what a repetition of a run may rely on, for `envbuild.warm` to read.

A stamp is only left where a later look at sizes, times and inodes cannot miss a change: not if a file was changed
so shortly before that a further change might get the same time.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from envbuild import git, layout, reading, snapshot
from envbuild.project import for_platform
from envbuild.source import writes_to
from envbuild.warm import FORMAT, facts, facts_of, installation

if TYPE_CHECKING:
    from envbuild.blame import Handle
    from envbuild.pipeline import Prepared
    from envbuild.workspace import Workspace

_GRAIN = 20_000_000
"""Two changes within this time, in nanoseconds, may leave a file with the same time of change: file systems count in
ticks of the kernel, of which there are at least a hundred a second."""


def leave(
    stamp: Path,
    *,
    began: int,
    record: Mapping[str, Any],
    variables: Mapping[str, str],
    prepared: Prepared,
    handle: Handle,
    lease: Path,
    source: snapshot.Source,
    taken: snapshot.Snapshot,
    noted: Mapping[str, tuple[str, str, str]],
) -> None:
    """Write the stamp of a run, or remove it where a repetition could not be told from a change.

    :param record: what the run's folder says was run.
    :param variables: what it was given besides the definition's variables and secrets.
    :param handle: the run, which says what starts it again, if anything does.
    :param lease: what a process that uses the environment holds.
    :param began: when the run's definition was looked at first, in nanoseconds since 1970.
    :param noted: files that this run itself has put in their place, and what `facts_of` said right after that.
    """
    files = list(_files(source, taken))
    own = [(str(source.root / each.path).rstrip("/"), facts(each.stat)) for each in source.folders]
    other = {path: facts_of(path) for path in _looked_at(prepared, source) if path not in noted}
    seen = [known for _, _, known in files] + [known for _, known in own]
    if (
        handle.starter is None
        or not _shows_in_files(prepared)
        # `envbuild.warm` has no word for these.
        or prepared.image.activated
        or _newest(seen) > source.looked_at - _GRAIN
        or (_newest(other.values()) > began - _GRAIN)
    ):
        stamp.unlink(missing_ok=True)
        return
    checks = sorted({**other, **dict(own), **noted}.items())
    environment = record["environment"]
    words = [
        *(FORMAT, installation(), handle.starter, str(prepared.image.path)),
        str(lease),
        "" if handle.owner.is_ours else "\n".join(handle.owner[:2]),
        *(record["experiment"], record["target"], str(source.root), record["snapshot"]),
        "\n".join(str(environment[key] or "") for key in ("id", "name", "version", "definition_digest")),
        record["source"],
        *_counted((key, _told(value)) for key, value in record["git"].items()),
        *_counted((word,) for word in record["command"][: record["head"]]),
        *_counted((name,) for name in record["secrets"]),
        *_counted({**prepared.project.definition.variables, **variables}.items()),
        *_counted((path, *known) for path, known in checks),
        *_counted((path, kind, *known) for path, kind, known in files),
        "end",
    ]
    stamp.parent.mkdir(parents=True, exist_ok=True)
    beside = stamp.with_name(f"{stamp.name}.{os.getpid()}")
    beside.write_text("\0".join(words), encoding="utf-8", errors="surrogateescape")
    beside.replace(stamp)


def signs(prepared: Prepared, workspace: Workspace, began: int) -> dict[str, tuple[str, str, str]] | None:
    """The files that show whether what was asked for still means this environment, and what `facts_of` says of them.

    :param began: when the definition was looked at first, in nanoseconds since 1970.
    :returns: ``None`` where no files can show it.
    """
    noted = written(prepared, workspace)
    folders = {each.absolute().parent for each in prepared.project.inputs}
    other = {path: facts_of(path) for path in _environments(prepared, folders) if path not in noted}
    if not _shows_in_files(prepared) or _newest(other.values()) > began - _GRAIN:
        return None
    return other | noted


def written(prepared: Prepared, workspace: Workspace) -> dict[str, tuple[str, str, str]]:
    """What making the environment ready has put in its place itself: a change from here on is somebody else's."""
    names = str(workspace.root / layout.NAMES)
    noted = {names: facts_of(names)}
    if prepared.locked.file and prepared.locked.written:
        noted[str(prepared.locked.file)] = prepared.locked.written
    return noted


def _shows_in_files(prepared: Prepared) -> bool:
    """Whether a change of what was asked for cannot but show in files."""
    # An interpreter that is somebody else's has to be asked; an id means what the workspace says.
    asked = prepared.project.id or prepared.locked.lock.is_observed
    if asked or any(_uses_variables(each) for each in prepared.project.inputs):
        return False
    # What this process writes to in a local project did not count, and does for the next one.
    return not any(writes_to(each) for each in _local_projects(prepared))


def _uses_variables(file: Path) -> bool:
    """Whether a definition may mean something else when a variable does: ``${NAME}`` in it."""
    return file.suffix != ".whl" and b"${" in file.read_bytes()


def _newest(known: Iterable[tuple[str, str, str]]) -> int:
    return max((int(changed) for _, changed, _ in known if changed), default=0)


def _told(fact: str | bool) -> str:
    return fact if isinstance(fact, str) else "yes" if fact else "no"


def _counted(rows: Iterable[tuple[str, ...]]) -> list[str]:
    listed = list(rows)
    return [str(len(listed)), *(word for row in listed for word in row)]


def _files(source: snapshot.Source, taken: snapshot.Snapshot) -> Iterator[tuple[str, str, tuple[str, str, str]]]:
    for each in source.files:
        kept = taken.files[each.path]
        kind = "link" if "link" in kept else "executable" if kept.get("executable") else "file"
        yield each.path, kind, facts(each.stat)


def _looked_at(prepared: Prepared, source: snapshot.Source) -> Iterator[str]:
    """Every path besides the snapshot's files whose change might make it another run."""
    yield from (str(source.root / name) for name in snapshot.IGNORE_FILES)
    inputs = (each.absolute().parent for each in prepared.project.inputs)
    yield from _environments(prepared, {source.root, *prepared.project.searched, *inputs})
    yield from _repository(source.root)


def _environments(prepared: Prepared, folders: Iterable[Path]) -> Iterator[str]:
    """Every path whose change might make it another environment.

    :param folders: where a definition may yet appear that would come before the one that was found.
    """
    project = prepared.project
    for each in project.inputs:
        # A link, and what it leads to, may both change.
        yield from (str(each.absolute()), os.path.realpath(each))
    yield os.path.realpath(prepared.image.interpreter)
    if project.lock_file:
        yield str(project.lock_file)
        yield str(for_platform(project.lock_file, prepared.locked.lock.platform))
    for folder in folders:
        yield from (str(folder / name) for name in reading.DEFINITION_FILES)
    root = _root(prepared)
    yield from (os.path.abspath(root / path) for path in prepared.locked.lock.inputs)  # noqa: PTH100
    for each in _local_projects(prepared):
        yield from _project_files(each)


def _root(prepared: Prepared) -> Path:
    """What the paths in the lock are relative to."""
    return prepared.locked.lock.root or prepared.project.definition.root or Path()


def _local_projects(prepared: Prepared) -> Iterator[Path]:
    for package in prepared.locked.lock.packages:
        if package.artifact.kind == "directory":
            yield (_root(prepared) / (package.artifact.path or ".")).resolve()


def _repository(folder: Path) -> Iterator[str]:
    """What changes with the commit that ``folder`` is at, or when it comes to lie in a repository."""
    yield from map(str, git.changing(folder))
    if git.repository(folder) is None:
        yield from (str(each / ".git") for each in (folder, *folder.parents))


def _project_files(folder: Path) -> Iterator[str]:
    found = snapshot.look(folder)
    for each in found.files:
        yield str(folder / each.path)
        if each.is_link:
            yield os.path.realpath(folder / each.path)
    yield from _repository(folder)
    yield from (str(folder / each.path).rstrip("/") for each in found.folders)
