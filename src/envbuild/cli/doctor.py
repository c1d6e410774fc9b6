"""``envbuild doctor``."""

from __future__ import annotations

import argparse

from envbuild.checkup import checkup
from envbuild.cli.context import Context
from envbuild.cli.terminal import emphasis


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
