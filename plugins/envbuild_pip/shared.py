"""Shared: a prefix that other packages are in already, which pip's may not touch.

What was there is told from what uv did by the files themselves: uv puts another one in the place of whatever it
overwrites. Whose a file is stands in the records of the prefix, pip's in ``RECORD``, conda's in ``conda-meta``.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from packaging.utils import canonicalize_name

from envbuild import Package, PackageClash

_SHEBANG = re.compile(rb"#!(?:/bin/sh\n'''exec' .*\n' '''\n|[^\n]*\bpython[0-9.]*\n)")
_FREE = b"#!/bin/sh\n'''exec' \"$(dirname -- \"$(realpath -- \"$0\")\")\"/'python' \"$0\" \"$@\"\n' '''\n"
"""How a script finds the Python beside it, wherever both are."""


@dataclass(frozen=True, slots=True)
class Inventory:
    """What was in a prefix.

    :param files: what is known of each file without reading it, by path.
    :param distributions: the folders with the metadata of Python distributions.
    """

    prefix: Path
    files: Mapping[str, tuple[int, ...]]
    distributions: frozenset[Path]

    @classmethod
    def of(cls, prefix: Path) -> Inventory:
        """Look at all of ``prefix``."""
        return cls(prefix, dict(_walk(prefix)), frozenset(prefix.glob("lib/python*/site-packages/*.dist-info")))

    def refuse_distributions(self, packages: Iterable[Package]) -> None:
        """See to it that none of ``packages`` is there under another name: uv would remove what it finds.

        :raises PackageClash: one is; both are named.
        """
        present = {canonicalize_name(each.name.split("-")[0]): each for each in self.distributions}
        for each in packages:
            folder = present.get(canonicalize_name(each.name))
            if folder is not None:
                path = folder.relative_to(self.prefix).as_posix()
                raise PackageClash(
                    f"{each} of {each.kind} is there already: {_owner(self.prefix, path)} brings {folder.name}",
                    hint=f"ask for {each.name} in one place only",
                )

    def refuse_overwritten(self) -> None:
        """See to it that everything is still there, as it was.

        :raises PackageClash: a package has put a file of its own in the place of another's; both are named.
        """
        now = dict(_walk(self.prefix))
        changed = sorted(path for path, facts in self.files.items() if now.get(path) != facts)
        if changed:
            one, other = self._installer(changed[0]), _owner(self.prefix, changed[0])
            raise PackageClash(
                f"{one} and {other} both have {changed[0]}"
                + (f", and {len(changed) - 1} more files" if len(changed) > 1 else ""),
                hint="ask for one of them only, or have pip install both",
            )

    def _installer(self, path: str) -> str:
        """Which of the packages that were not there before has ``path`` in its record."""
        for folder in self.prefix.glob("lib/python*/site-packages/*.dist-info"):
            if folder not in self.distributions and path in _recorded(folder):
                name, _, version = folder.name.removesuffix(".dist-info").partition("-")
                return f"{name} {version} (pip)"
        return "a package of pip's"


def _walk(prefix: Path) -> Iterator[tuple[str, tuple[int, ...]]]:
    waiting = [("", str(prefix))]
    for before, folder in waiting:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append((f"{before}{entry.name}/", entry.path))
                elif not entry.name.endswith(".pyc"):
                    facts = entry.stat(follow_symlinks=False)
                    yield before + entry.name, (facts.st_ino, facts.st_size, facts.st_mtime_ns)


def _owner(prefix: Path, path: str) -> str:
    """The package whose file ``path`` was."""
    for file in sorted(prefix.glob("conda-meta/*.json")):
        record = json.loads(file.read_bytes())
        if any(each == path or each.startswith(f"{path}/") for each in record["files"]):
            return f"{record['name']} {record['version']} (conda)"
    return "another package"


def _recorded(folder: Path) -> list[str]:
    """The files that a distribution's record names, from the prefix on."""
    site = folder.parent
    prefix = site.parent.parent.parent
    rows = csv.reader(io.StringIO((folder / "RECORD").read_text(encoding="utf-8")))
    return [os.path.relpath(site / row[0], prefix) for row in rows if row]


def free_scripts(prefix: Path, before: Inventory) -> None:
    """Let the scripts that were installed find their Python wherever the prefix is moved to.

    uv writes where the prefix is while it is built, which is nowhere later.
    """
    for folder in prefix.glob("lib/python*/site-packages/*.dist-info"):
        if folder not in before.distributions:
            _free_scripts_of(folder, prefix)


def _free_scripts_of(folder: Path, prefix: Path) -> None:
    record = folder / "RECORD"
    rows = [row for row in csv.reader(io.StringIO(record.read_text(encoding="utf-8"))) if row]
    freed = False
    for row in rows:
        script = Path(os.path.normpath(folder.parent / row[0]))
        if script.parent != prefix / "bin":
            continue
        content = script.read_bytes()
        made = _SHEBANG.sub(lambda _: _FREE, content, count=1) if os.fsencode(prefix) in content[:1024] else content
        if made != content:
            _replace(script, made)
            digest = base64.urlsafe_b64encode(hashlib.sha256(made).digest()).rstrip(b"=").decode()
            row[1:] = [f"sha256={digest}", str(len(made))]
            freed = True
    if freed:
        written = io.StringIO()
        csv.writer(written, lineterminator="\n").writerows(rows)
        _replace(record, written.getvalue().encode())


def _replace(file: Path, content: bytes) -> None:
    """Write another file in the place of ``file``, which may be a hard link to one in uv's cache."""
    fresh = file.with_name(f"{file.name}.new")
    fresh.write_bytes(content)
    fresh.chmod(file.stat().st_mode)
    fresh.replace(file)
