"""``envbuild plugins`` and ``envbuild doctor``."""

from __future__ import annotations

import argparse

from envbuild import render
from envbuild.checkup import checkup
from envbuild.cli.context import Context
from envbuild.cli.terminal import emphasis


def plugins(arguments: argparse.Namespace, context: Context) -> int:  # noqa: ARG001
    """List who answers which hook."""
    found = [
        {
            "name": each.name,
            "module": each.module,
            "distribution": each.distribution,
            "hooks": list(each.hooks),
            "error": each.error,
        }
        for each in context.plugins.found
    ]
    rows = [
        [each["name"], ", ".join(each["hooks"]) or f"broken: {each['error']}", each["distribution"], each["module"]]
        for each in found
    ]
    context.show(found, render.table(["PLUGIN", "ANSWERS", "FROM", "MODULE"], rows))
    return 0


def doctor(arguments: argparse.Namespace, context: Context) -> int:  # noqa: ARG001
    """Check the machine; 1 if something does not work."""
    import sys

    found = list(checkup(context.workspace, context.plugins))
    colours = {"ok": "green", "warning": "yellow", "error": "red"}
    lines = []
    for each in found:
        lines.append(f"{emphasis(each.state.ljust(7), colours[each.state], sys.stdout)}  {each.subject}: {each.found}")
        if each.remedy:
            lines.append(f"         → {each.remedy}")
    context.show([each._asdict() for each in found], "\n".join(lines))
    return 1 if any(each.state == "error" for each in found) else 0
