"""Hashing: how many definitions, ids and files are digested in a second?

Each beside the least that could do it: SHA-256 of sorted JSON for documents, and a plain copy for files.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.measuring import Contender, Section, Taken, in_turns, timed
from benchmarks.place import Place, write

ROUNDS = 15

_DEFINITION = "definition digest, 50 requirements"
_SNAPSHOT = "snapshot, into an empty store"


def measure(place: Place, rounds: int) -> list[Section]:
    """Digest documents, then files."""
    return [_documents(place, rounds), _files(place, rounds)]


def _documents(place: Place, rounds: int) -> Section:
    from envbuild import reading
    from envbuild.fingerprint import Document, definition_document, environment_document, lock_document
    from envbuild.plugins import load_plugins

    lines = "".join(f"package-{number}[extra] >=1.{number},<2 ; python_version >= '3.9'\n" for number in range(50))
    file = write(place.folder("hashing"), requirements_txt=lines) / "requirements.txt"
    definition = reading.read(file)
    lock, plugins = lock_of(50), load_plugins()
    content = definition.content()

    def environment_id() -> Document:
        return environment_document(lock, plugins.gather("compute_hash", definition=definition, lock=lock))

    times = 5 if place.quick else 100
    calls: Mapping[str, Callable[[], Any]] = {
        _DEFINITION: lambda: definition_document(definition).digest,
        "what a lock depends on, 50 requirements": lambda: lock_document(definition).digest,
        "environment id, 50 locked packages": lambda: environment_id().digest,
        "read requirements.txt, 50 requirements": lambda: reading.read(file),
        "sha256 of json.dumps of the same definition": lambda: _plain(content),
    }
    contenders = [Contender(name=name, act=_calling(call, times)) for name, call in calls.items()]
    title = f"Digesting documents, {rounds} rounds of {times}"
    return Section(title=title, subject=_DEFINITION, rows=in_turns(contenders, rounds), rates=True)


def _calling(call: Callable[[], object], times: int = 1) -> Callable[[], Taken]:
    return lambda: timed(call, times)


def _plain(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def lock_of(count: int) -> Any:
    """A lock of so many packages, none of which exists."""
    from envbuild import Artifact, Digest, Lock, Package, Platform

    packages = (
        Package(
            name=f"package-{number}",
            version=f"1.{number}",
            kind="pip",
            artifact=Artifact(
                kind="wheel",
                url=f"https://files.test/package_{number}-1.{number}-py3-none-any.whl",
                digest=Digest.of(str(number).encode()),
                size=1000 + number,
                filename=f"package_{number}-1.{number}-py3-none-any.whl",
            ),
        )
        for number in range(count)
    )
    return Lock(python="3.11.7", platform=Platform.here(), packages=tuple(packages))


def _files(place: Place, rounds: int) -> Section:
    from envbuild import Store
    from envbuild.snapshot import look, take
    from envbuild.source import source_files

    count = 50 if place.quick else 1000
    source, known = _source(place, count), Store(place.folder("known"))
    take(look(source), known)
    calls: Mapping[str, Callable[[], object]] = {
        _SNAPSHOT: lambda: take(look(source), Store(place.folder("store"))),
        "snapshot, into a store that has the files": lambda: take(look(source), known),
        "digest of each file, keeping nothing": lambda: source_files(source),
        "finding the files": lambda: look(source),
        "a plain copy (shutil.copytree)": lambda: shutil.copytree(source, place.folder("copy"), dirs_exist_ok=True),
    }
    contenders = [Contender(name=name, act=_calling(call)) for name, call in calls.items()]
    title = f"A snapshot of {count} files of 4 KiB, {rounds} rounds"
    return Section(title=title, subject=_SNAPSHOT, rows=in_turns(contenders, rounds))


def _source(place: Place, count: int) -> Path:
    source = place.folder("source")
    for number in range(count):
        folder = source / f"package{number % 20}"
        folder.mkdir(exist_ok=True)
        (folder / f"module{number}.py").write_text(f"# {number}\n" * 500, encoding="utf-8")
    return source
