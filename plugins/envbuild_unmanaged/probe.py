"""What a Python says of itself: run by that Python, with nothing but its standard library, and only to look.

The answer stands behind the word that it is called with, since others may print as that Python starts or ends.
It is given to any Python that somebody names, so it is written for those that are too old as well: they say so.
"""

import json
import os
import stat
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

_UNSAID = ("/INSTALLER,", "/REQUESTED,", "/direct_url.json,", "/uv_cache.json,")
"""Rows of a RECORD that tell how something was installed rather than what."""


def facts() -> "dict[str, Any]":
    """All that is recorded of this interpreter."""
    found = {"version": _version(), "executable": sys.executable}  # type: dict[str, Any]
    if sys.version_info >= (3, 8):
        import sysconfig

        found["executable"] = _usual(sys.executable)
        found["prefix"] = sys.prefix
        found["virtual"] = os.path.exists(os.path.join(sys.prefix, "pyvenv.cfg"))
        found["conda"] = os.path.isdir(os.path.join(sys.prefix, "conda-meta"))
        found["implementation"] = sys.implementation.name
        found["abi"] = sysconfig.get_config_var("SOABI") or ""
        found["platform"] = sysconfig.get_platform()
        found["scripts"] = sysconfig.get_path("scripts")
        found["distributions"] = list(_distributions())
    return found


def _version() -> str:
    early = {"alpha": "a", "beta": "b", "candidate": "rc"}
    info = sys.version_info
    return "%d.%d.%d" % tuple(info[:3]) + (early[info[3]] + str(info[4]) if info[3] in early else "")


def _usual(executable: str) -> str:
    """The most telling of the names that this very Python goes by, so that each of them leads to the same record."""
    program = os.path.realpath(executable)
    # A virtual environment is of one Python, though its names may be copies rather than links.
    is_virtual = os.path.exists(os.path.join(sys.prefix, "pyvenv.cfg"))
    for name in ("python%d.%d" % sys.version_info[:2], "python3", "python"):
        candidate = os.path.join(sys.prefix, "bin", name)
        if os.path.realpath(candidate) == program or (is_virtual and os.access(candidate, os.X_OK)):
            return candidate
    return executable


def _distributions() -> "Iterator[dict[str, Any]]":
    seen = set()
    for folder in dict.fromkeys(map(os.path.realpath, sys.path)):
        try:
            entries = sorted(os.listdir(folder))
        except OSError:
            continue
        for entry in entries:
            if entry.endswith((".dist-info", ".egg-info")):
                found = _distribution(os.path.join(folder, entry))
                # The first on the path is the one that is imported.
                if found and found["name"] not in seen:
                    seen.add(found["name"])
                    yield found


def _distribution(place: str) -> "dict[str, Any] | None":
    told = next(filter(None, (_read(os.path.join(place, name)) for name in ("METADATA", "PKG-INFO"))), None)
    # Of old, a file was all that an installer left.
    name, version = _named(_read(place) if told is None else told)
    if not name or not version:
        return None
    record = _read(os.path.join(place, "RECORD"))
    return {
        "name": "-".join(filter(None, name.lower().replace("_", "-").replace(".", "-").split("-"))),
        "version": version,
        "record": _digest(record) if record else None,
        "origin": _origin(os.path.join(place, "direct_url.json")),
        "scripts": sorted(set(_scripts(record or "", _read(os.path.join(place, "entry_points.txt")) or ""))),
    }


def _named(metadata: "str | None") -> "tuple[str | None, str | None]":
    name = version = None
    for line in (metadata or "").splitlines():
        if not line.strip():
            break
        key, _, value = line.partition(":")
        if key.lower() == "name":
            name = value.strip()
        elif key.lower() == "version":
            version = value.strip()
    return name, version


def _digest(record: str) -> str:
    """A digest over the rows that vouch for a file's content, in whatever order they stand."""
    import hashlib

    rows = (row.strip() for row in record.splitlines())
    kept = sorted(row for row in rows if ",sha256=" in row and not any(each in row for each in _UNSAID))
    return hashlib.sha256("\n".join(kept).encode("utf-8", "surrogateescape")).hexdigest()


def _origin(place: str) -> "dict[str, Any] | None":
    try:
        found = json.loads(_read(place) or "null")
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or not isinstance(found.get("url"), str):
        return None
    repository, folder = found.get("vcs_info") or {}, found.get("dir_info") or {}
    if not isinstance(repository, dict) or not isinstance(folder, dict):
        return None
    vcs, commit = repository.get("vcs") or "", repository.get("commit_id") or ""
    if not isinstance(vcs, str) or not isinstance(commit, str):
        return None
    return {"url": found["url"], "vcs": vcs, "commit": commit, "editable": bool(folder.get("editable"))}


def _scripts(record: str, points: str) -> "Iterator[str]":
    for row in record.splitlines():
        path = row.split(",")[0]
        if path.startswith("../") and os.path.basename(os.path.dirname(path)) == "bin":
            yield os.path.basename(path)
    section = ""
    for line in points.splitlines():
        if line.startswith("["):
            section = line.strip()
        elif section in ("[console_scripts]", "[gui_scripts]") and "=" in line:
            yield line.partition("=")[0].strip()


def _read(place: str) -> "str | None":
    try:
        with open(place, encoding="utf-8", errors="surrogateescape", opener=_at_once) as stream:
            return stream.read() if stat.S_ISREG(os.fstat(stream.fileno()).st_mode) else None
    except OSError:
        return None


def _at_once(place: str, flags: int) -> int:
    # A pipe would keep us until somebody writes into it.
    return os.open(place, flags | os.O_NONBLOCK)


if __name__ == "__main__":
    # Not by way of sys.stdout: what prints as Python starts may have put something else there.
    with open(1, "w", encoding="ascii", closefd=False) as answer:
        answer.write("\n%s%s\n" % (sys.argv[1], json.dumps(facts())))
