"""Staleness: what has changed since a lock was made, as far as the files beside it tell.

`envbuild.pipeline.stale` knows more: it asks the workspace what the definition was before, and the plugins what they
know. What stands here needs neither.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import InvalidRequirement
from packaging.requirements import Requirement as Pep508

from envbuild import reading
from envbuild.definition import Definition
from envbuild.digest import Digest
from envbuild.errors import EnvbuildError
from envbuild.fingerprint import lock_document
from envbuild.lock import Lock


def changed_inputs(lock: Lock, root: Path) -> tuple[str, ...]:
    """Say which files besides the definition have changed since ``lock`` was made.

    :param root: the folder from which their paths are meant.
    """
    found = []
    for path, digest in lock.inputs.items():
        file = root / path
        if not file.is_file():
            found.append(f"{path} is not there any more")
        elif str(Digest.of(file.read_bytes())) != digest:
            found.append(f"{path} has changed")
    return tuple(found)


def outdated(lock: Lock, root: Path) -> tuple[str, ...]:
    """Say what has changed in the folder of ``lock`` since it was made; nothing, if it still fits.

    The lock has only a digest of what the definition was. So it is told that there is a change, and then which
    requirements without a marker the locked packages do not meet.
    """
    if lock.made_from is None or lock.definition is None:
        return ()
    name = Path(lock.definition).name
    if not (root / name).is_file():
        return (f"{name} is not there any more",)
    try:
        definition = reading.read(root / name)
    except EnvbuildError as error:
        return (f"{name} cannot be read: {error}",)
    changed = changed_inputs(lock, root)
    if lock_document(definition).digest != lock.made_from:
        changed = (f"{name} has changed", *(each for each in changed if each != f"{name} has changed"))
    return (*changed, *_unmet(definition, lock)) if changed else ()


def _unmet(definition: Definition, lock: Lock) -> Iterator[str]:
    if not definition.python_range.contains(lock.python, prereleases=True):
        yield f"Python {definition.python} is asked for, {lock.python} is locked"
    for asked in _requirements(definition):
        found = lock.find(asked.name)
        if found is None:
            yield f"{asked.name} is not locked"
        elif found.version and not asked.specifier.contains(found.version, prereleases=True):
            yield f"{asked} is asked for, {found.version} is locked"


def _requirements(definition: Definition) -> Iterator[Pep508]:
    """What is asked for by name and everywhere, by the definition and by the project that it installs."""
    texts = [each.text for each in definition.pip if each.name]
    if (
        definition.source
        and definition.source.name == "pyproject.toml"
        and any(each.is_path for each in definition.pip)
    ):
        project = tomllib.loads(definition.source.read_text(encoding="utf-8")).get("project", {})
        texts += [str(each) for each in project.get("dependencies", ())]
    for text in texts:
        try:
            asked = Pep508(text)
        except InvalidRequirement:
            # Whoever reads the project's metadata says so, and better.
            continue
        if asked.marker is None and asked.url is None:
            yield asked
