"""Runs: what two of them do not share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from envbuild.digest import Digest
from envbuild.errors import Damaged, NotFound
from envbuild.fingerprint import differences
from envbuild.metrics import read_metrics
from envbuild.outcome import Verdict, verdicts
from envbuild.snapshot import Snapshot
from envbuild.workspace import Workspace


class RunDifference(NamedTuple):
    """One thing in which two runs differ; ``None`` where a run lacks it."""

    subject: str
    a: Any
    b: Any


def output_verdicts(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[Verdict, ...]:
    """Compare the outputs of two runs by digest."""
    return verdicts(_outputs(before), _outputs(after))


def _outputs(run: Mapping[str, Any]) -> dict[str, Digest]:
    return {path: Digest.parse(found["digest"]) for path, found in (run.get("outputs") or {}).items()}


def compare(a: Mapping[str, Any], b: Mapping[str, Any], workspace: Workspace) -> tuple[RunDifference, ...]:
    """Find in what two runs differ: environment, source, command, status, metrics and outputs, but not times."""
    return tuple(
        each
        for part in (_heads(a, b), _environments(a, b, workspace), _sources(a, b, workspace), _metrics(a, b, workspace))
        for each in part
    ) + tuple(
        RunDifference(f"output {each.path}", each.before and each.before.short, each.after and each.after.short)
        for each in output_verdicts(a, b)
        if each.verdict != "identical"
    )


def _heads(a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[RunDifference]:
    for key in ("status", "exit_code", "target"):
        if a[key] != b[key]:
            yield RunDifference(key.replace("_", " "), a[key], b[key])
    if a["command"] != b["command"]:
        yield RunDifference("command", " ".join(a["command"]), " ".join(b["command"]))
    for key in ("commit", "dirty"):
        if a["git"].get(key) != b["git"].get(key):
            yield RunDifference(f"git {key}", a["git"].get(key), b["git"].get(key))


def _environments(a: Mapping[str, Any], b: Mapping[str, Any], workspace: Workspace) -> Iterator[RunDifference]:
    one, other = a["environment"], b["environment"]
    for key in ("name", "version", "id"):
        if one[key] != other[key]:
            yield RunDifference(f"environment {key}", one[key], other[key])
    if one["id"] != other["id"]:
        try:
            documents = [workspace.document(Digest.parse(each["id"])).content for each in (one, other)]
        except NotFound:
            return
        for found in differences(documents[0], documents[1]):
            yield RunDifference(" ".join(found.path[1:] or found.path), found.before, found.after)


def _sources(a: Mapping[str, Any], b: Mapping[str, Any], workspace: Workspace) -> Iterator[RunDifference]:
    if a["snapshot"] == b["snapshot"] or not (a["snapshot"] and b["snapshot"]):
        return
    try:
        one, other = (Snapshot.parse(workspace.store.read(Digest.parse(run["snapshot"]))).files for run in (a, b))
    except (NotFound, Damaged):
        yield RunDifference("source", a["snapshot"], b["snapshot"])
        return
    for path in sorted(one.keys() | other.keys()):
        if one.get(path) != other.get(path):
            yield RunDifference(f"source {path}", _told(one.get(path)), _told(other.get(path)))


def _told(file: Mapping[str, Any] | None) -> str | None:
    if file is None:
        return None
    return f"→ {file['link']}" if "link" in file else str(file["sha256"][:12])


def _metrics(a: Mapping[str, Any], b: Mapping[str, Any], workspace: Workspace) -> Iterator[RunDifference]:
    one, other = (read_metrics(workspace.run_folder(run["id"])).values for run in (a, b))
    for name in sorted(one.keys() | other.keys()):
        # By their text, since a metric that is not a number is not equal to itself.
        if repr(one.get(name)) != repr(other.get(name)):
            yield RunDifference(f"metric {name}", one.get(name), other.get(name))
