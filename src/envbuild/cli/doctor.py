"""``envbuild plugins`` and ``envbuild doctor``."""

from __future__ import annotations

import argparse

from envbuild import render
from envbuild.checkup import checkup
from envbuild.cli.context import Context
from envbuild.cli.terminal import emphasis
from envbuild.plugins import HOOKS


def plugins(arguments: argparse.Namespace, context: Context) -> int:  # noqa: ARG001
    """List who answers which hook, in which order they are asked, and what somebody should know of them."""
    asked = {hook: context.plugins.order(hook) for hook in HOOKS}
    found = [
        {
            "name": each.name,
            "module": each.module,
            "distribution": each.distribution,
            "hooks": list(each.hooks),
            "error": each.error,
            "warnings": list(each.warnings),
            "api": each.api,
            "seconds": round(each.seconds, 3),
            "asked": {hook: asked[hook].index(each.name) + 1 for hook in each.hooks},
        }
        for each in context.plugins.found
    ]
    rows = [
        [each.name, f"broken: {each.error}" if each.error else ", ".join(each.hooks), each.distribution, each.module]
        for each in context.plugins.found
    ]
    parts = [
        render.table(["PLUGIN", "ANSWERS", "FROM", "MODULE"], rows),
        render.table(["HOOK", "ASKED IN THIS ORDER"], [[hook, ", ".join(asked[hook]) or "-"] for hook in HOOKS]),
        "\n".join(f"{each.name}: {warning}" for each in context.plugins.found for warning in each.warnings),
    ]
    context.show(found, "\n\n".join(filter(None, parts)))
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
