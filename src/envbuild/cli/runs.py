"""``envbuild runs …``."""

from __future__ import annotations

import argparse
import datetime
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from envbuild import layout, render, supervise
from envbuild.cli.context import Context
from envbuild.cli.usage import variables
from envbuild.errors import NotFound, Refused


def list_(arguments: argparse.Namespace, context: Context) -> int:
    """List runs, the newest first."""
    sought = "such runs" if arguments.name or arguments.status else "runs"
    found = context.found(sought, lambda: _runs(arguments, context))
    columns: dict[str, Callable[[dict[str, Any]], Any]] = {
        "RUN": lambda run: run["id"],
        "NAME": lambda run: run.get("name"),
        "STATUS": lambda run: run["status"],
        "ENVIRONMENT": _environment,
        "STARTED": lambda run: _when(_started(run)),
        "RAN": _lasted,
        "EXIT": lambda run: run["exit_code"],
    }
    if not any(run.get("name") for run in found):
        del columns["NAME"]
    rows = [[column(run) for column in columns.values()] for run in found]
    context.show(list(found), render.table(list(columns), rows))
    return 0


def _runs(arguments: argparse.Namespace, context: Context) -> Sequence[dict[str, Any]]:
    with context.workspace.recorded() as catalogue:
        if arguments.name and not context.json:
            try:
                catalogue.experiment(arguments.name)
            except NotFound as error:
                context.progress.note(f"{error} ({error.hint})")
        top = not arguments.children
        return catalogue.runs(arguments.name, arguments.status, top=top, limit=arguments.limit)


def _started(run: dict[str, Any]) -> str | None:
    """When a run began, if it did; what was recorded before envbuild had a queue began at once."""
    found: str | None = run.get("started_at", run["created_at"])
    return found


def _environment(run: dict[str, Any]) -> str:
    environment = run["environment"]
    version = f":{environment['version']}" if environment["version"] else ""
    # A run that waits to be started has an environment, and does not know its id yet.
    identity = (environment["id"] or "").removeprefix("sha256:")[:12]
    return f"{environment['name'] or ''}{version} {identity}".strip()


def _when(text: str | None) -> str | None:
    return render.moment(datetime.datetime.fromisoformat(text)) if text else None


def _lasted(run: dict[str, Any]) -> str | None:
    seconds = run["seconds"].get("running")
    return f"{seconds:.2f} s" if seconds is not None else None


def show(arguments: argparse.Namespace, context: Context) -> int:
    """Show a run."""
    from envbuild.metrics import read_metrics, read_notes

    run = context.workspace.run(arguments.run)
    folder = context.workspace.run_folder(run["id"])
    metrics, notes = read_metrics(folder).values, read_notes(folder, run.get("tags"), run.get("properties"))
    with context.workspace.recorded() as catalogue:
        children = catalogue.runs(parent=run["id"])[::-1]
    result = {
        **run,
        "metrics": dict(metrics),
        "tags": dict(notes.tags),
        "properties": dict(notes.properties),
        "children": [each["id"] for each in children],
    }
    why, *more = render.lines(run.get("reason") or "") or [""]
    facts = {
        "run": run["id"],
        "name": run.get("name"),
        "experiment": run["experiment"],
        "parent": run.get("parent"),
        "description": render.lines(run.get("description") or ""),
        "status": run["status"] + (f" ({why})" if why else ""),
        "reason": more,
        "errors": [line for each in notes.errors if each != run.get("reason") for line in render.lines(each)],
        "hint": run.get("hint"),
        "exit code": run["exit_code"],
        "command": " ".join(run["command"]),
        "environment": f"{_environment(run).split(' ')[0]}  {run['environment']['id'] or ''}".strip(),
        "snapshot": run["snapshot"],
        "submitted": _when(run["created_at"]) if _started(run) != run["created_at"] else None,
        "started": _when(_started(run)),
        "ended": _when(run["ended_at"]),
        "time": ", ".join(f"{step} {took:.2f} s" for step, took in run["seconds"].items()),
        "git": _git(run["git"]),
        "variables": ", ".join(run["variables"]) or None,
        "folder": str(folder),
        "children": [_child(each) for each in children],
        **{f"tag {name}": value for name, value in notes.tags.items()},
        **{f"metric {name}": _series(value) for name, value in metrics.items()},
        **{
            f"output {path}": f"{render.size(found['size'])}  {found['digest']}"
            for path, found in (run.get("outputs") or {}).items()
        },
    }
    known = {name: value for name, value in facts.items() if value is not None and value != []}
    context.show(result, render.facts(known))
    return 0


def _child(run: dict[str, Any]) -> str:
    return "  ".join(filter(None, (run["id"], run["status"], run.get("name"))))


def _git(found: dict[str, Any]) -> str | None:
    if not found:
        return None
    return f"{found['commit'][:12]} {found.get('branch', '')}{' (with changes)' if found['dirty'] else ''}"


def _series(value: Any) -> str:
    if isinstance(value, list) and len(value) > 5:
        return f"{len(value)} values, the last {value[-1]}"
    return str(value)


def logs(arguments: argparse.Namespace, context: Context) -> int:
    """Show what a run printed."""
    workspace = context.workspace
    run = workspace.run(arguments.run)
    folder = workspace.run_folder(run["id"])
    path = folder / layout.LOG
    while arguments.follow and not path.exists() and workspace.is_supervised(run["id"]):
        time.sleep(0.1)
    if not path.exists() and (folder / layout.PREPARING).exists():
        # It has not come further than its environment.
        path = folder / layout.PREPARING
    if not path.exists():
        raise NotFound(f"run {run['id']} has no log: {path} is not there")
    if context.json:
        context.show({"id": run["id"], "file": str(path), "text": path.read_text("utf-8", "replace")}, "")
        return 0
    sys.stdout.flush()
    with path.open("rb") as stream:
        while True:
            alive = workspace.is_supervised(run["id"])
            while data := stream.read(1 << 16):
                sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
            if not (arguments.follow and alive):
                return 0
            time.sleep(0.2)


def cancel(arguments: argparse.Namespace, context: Context) -> int:
    """Stop runs, and wait until that has been recorded."""
    workspace = context.workspace
    # Nothing is stopped before it is clear what is meant by all of them.
    runs = list(dict.fromkeys(workspace.run(each)["id"] for each in arguments.runs))
    stopped = [run for run in runs if workspace.cancel(run)]
    for run in stopped:
        with context.progress.step(f"Waiting for {run} to end"):
            while workspace.is_supervised(run):
                time.sleep(0.05)
    ended = [workspace.run(run) for run in stopped]
    over = [workspace.run(run) for run in runs if run not in stopped]
    if over:
        for each in ended:
            context.progress.note(_ended(each))
        said = "; ".join(f"run {each['id']} is over already: {each['status']}" for each in over)
        raise Refused(said)
    context.show(ended[0] if len(runs) == 1 else ended, "\n".join(_ended(each) for each in ended))
    return 0


def _ended(run: dict[str, Any]) -> str:
    return f"{run['id']}  {run['status']}"


def delete(arguments: argparse.Namespace, context: Context) -> int:
    """Forget runs, with their logs and outputs."""
    gone = [context.workspace.delete_run(each)["id"] for each in arguments.runs]
    context.show({"deleted": gone}, f"deleted {', '.join(gone)}")
    return 0


def compare(arguments: argparse.Namespace, context: Context) -> int:
    """Show in what two runs differ."""
    from envbuild.runs import compare as compare_runs

    a, b = (context.workspace.run(each) for each in (arguments.a, arguments.b))
    found = compare_runs(a, b, context.workspace)
    rows = [[each.subject, each.a, each.b] for each in found]
    text = render.table(["", a["id"], b["id"]], rows) if rows else "the two runs differ in nothing but their times"
    context.show([each._asdict() for each in found], text)
    return 0


def reproduce(arguments: argparse.Namespace, context: Context) -> int:
    """Repeat a run; 1 if an output comes out differently."""
    from envbuild.execution import reproduce as repeat
    from envbuild.runs import output_verdicts

    out = (2, 2) if context.json else (1, 2)
    given = variables(arguments.variable)
    before, outcome = repeat(arguments.run, context.workspace, context.plugins, context.wishes, out, given)
    if not arguments.quiet:
        supervise.say(outcome.summary)
    after = context.workspace.run(outcome.run)
    found = output_verdicts(before, after)
    rows = [[each.path, each.verdict, _short(each.before), _short(each.after)] for each in found]
    rows.append(
        ["(exit code)", _same(before["exit_code"], after["exit_code"]), before["exit_code"], after["exit_code"]]
    )
    result = {
        "reproduces": before["id"],
        "run": after,
        "outputs": [
            {"path": each.path, "verdict": each.verdict, "before": _text(each.before), "after": _text(each.after)}
            for each in found
        ],
        "identical": all(row[1] == "identical" for row in rows),
    }
    context.show(result, render.table(["OUTPUT", "VERDICT", "BEFORE", "AFTER"], rows))
    return 0 if result["identical"] else 1


def _same(before: Any, after: Any) -> str:
    return "identical" if before == after else "different"


def _short(digest: Any) -> str | None:
    return digest.short if digest else None


def _text(digest: Any) -> str | None:
    return str(digest) if digest else None
