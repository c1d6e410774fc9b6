"""``envbuild plugins`` and ``envbuild plugins new``."""

from __future__ import annotations

import argparse
import shlex

from envbuild import render
from envbuild.blame import shortened
from envbuild.cli.context import Context
from envbuild.plugins import HOOKS


def list_(arguments: argparse.Namespace, context: Context) -> int:  # noqa: ARG001
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
        [each.name, "broken, see below" if each.error else ", ".join(each.hooks), each.distribution, each.module]
        for each in context.plugins.found
    ]
    broken = [f"{each.name}: broken: {shortened(each.error)}" for each in context.plugins.found if each.error]
    parts = [
        render.table(["PLUGIN", "ANSWERS", "FROM", "MODULE"], rows),
        render.table(["HOOK", "ASKED IN THIS ORDER"], [[hook, ", ".join(asked[hook]) or "-"] for hook in HOOKS]),
        "\n".join(broken),
        "\n".join(f"{each.name}: {warning}" for each in context.plugins.found for warning in each.warnings),
    ]
    context.show(found, "\n\n".join(filter(None, parts)))
    return 0


def new(arguments: argparse.Namespace, context: Context) -> int:
    """Begin a plugin."""
    from envbuild import scaffold

    made = scaffold.Plan.of(arguments.name, arguments.hook or ["run_target"])
    folder = scaffold.write(made, context.directory / (arguments.output or made.distribution))
    files = [str(each.relative_to(folder)) for each in sorted(folder.rglob("*")) if each.is_file()]
    result = {"name": made.name, "hooks": list(made.hooks), "folder": str(folder), "files": files}
    steps = f"pip install --editable {shlex.quote(f'{folder}[test]')} && pytest {shlex.quote(str(folder))}"
    context.show(result, render.facts({"plugin": made.name, "folder": folder, "files": files, "next": steps}))
    return 0
