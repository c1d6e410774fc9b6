"""``envbuild bisect``."""

from __future__ import annotations

import argparse

from envbuild import bisection, execution, supervise
from envbuild.cli.context import Context
from envbuild.cli.running import keep_bound
from envbuild.cli.usage import UsageError, variables


def bisect(arguments: argparse.Namespace, context: Context) -> int:
    """Find the change between two environments that breaks a command."""
    command = tuple(arguments.words[1:])
    if not command:
        raise UsageError("no command to run: it stands behind --", hint="envbuild bisect GOOD BAD -- pytest -x")
    if not command[0]:
        raise UsageError("the command is an empty word", hint="is the variable set that should name it?")
    question = bisection.Question(
        good=arguments.good,
        bad=arguments.bad,
        command=command,
        directory=context.directory,
        repeat=arguments.repeat,
        timeout=arguments.timeout,
        experiment=execution.checked_experiment(arguments.name),
        variables=variables(arguments.variable),
        secrets=tuple(arguments.secret),
    )

    def say(line: str) -> None:
        if not arguments.quiet:
            supervise.say(f"{line}\n")

    found = bisection.bisect(question, context.workspace, context.plugins, context.wishes, say)
    if any(each.built for each in found.steps):
        keep_bound(context)
    context.show(found.to_dict(), str(found))
    return 0 if found.culprits.certain else 1
