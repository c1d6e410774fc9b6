"""``envbuild run``."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from envbuild import execution, layout, retention, supervise, warm
from envbuild.cli.context import Context
from envbuild.cli.usage import UsageError, variables
from envbuild.errors import EnvbuildError, NotFound, Refused
from envbuild.project import Project, normal, open_for, open_spec


def run(arguments: argparse.Namespace, context: Context) -> int:
    """Run a script, module or command; the exit code is its own."""
    _check_target(arguments.target, context)
    script, command, head = _command(arguments)
    directory = context.directory
    if script is not None and not script.exists():
        raise NotFound(f"no such script: {script}", hint="a command that is no script stands behind --")
    if script is not None and script.suffix == ".ipynb":
        raise Refused(
            f"{script} is a notebook, and no script",
            hint=f"'jupyter nbconvert --to script {script}' makes one; or let Jupyter run it, where the environment "
            f"has it: envbuild run -- jupyter execute {script}",
        )
    if arguments.environment:
        project = open_spec(arguments.environment, context.workspace)
    else:
        project = open_for(script, directory)
    source = _source(script, project, directory)
    if script is not None:
        path = os.path.relpath(script.absolute(), source)
        command = ["python", path, *command] if _is_python(script) else [os.path.join(".", path), *command]  # noqa: PTH118
    order = execution.Order(
        command=tuple(command),
        head=head,
        source=source,
        target=arguments.target,
        experiment=arguments.name,
        variables=variables(arguments.variable),
        secrets=tuple(arguments.secret),
    )
    # What is run prints to standard output itself; with --json that belongs to the result.
    out = (2, 2) if context.json else (1, 2)
    outcome = execution.run(
        project, order, context.workspace, context.plugins, context.wishes, out, stamp=_stamp(arguments, context)
    )
    if not arguments.quiet:
        supervise.say(outcome.summary)
    if outcome.built:
        keep_bound(context)
    if context.json:
        context.show(context.workspace.run(outcome.run), "")
    return outcome.exit_code


def _check_target(target: str, context: Context) -> None:
    """Refuse a target that takes other runs than this command's, before anything is built for it."""
    context.plugins.check_target(target)
    if target == "local":
        return
    try:
        content = json.loads((context.workspace.root / layout.COMPUTE).read_bytes())
    except (OSError, ValueError):
        return  # whoever asks for a target of the SDK's is told what is wrong with the file
    if target in content:
        raise Refused(
            f"{target!r} is a compute target of the SDK's, whose runs are submitted with Experiment.submit",
            hint="'envbuild run' runs here: leave -t out, or say -t local",
        )


def keep_bound(context: Context) -> None:
    """Make the store fit again, now that something was built for a run."""
    # The run has ended as it has, whatever comes of this.
    try:
        retention.keep_bound(context.workspace)
    except EnvbuildError as error:
        context.progress.note(str(error))


def _command(arguments: argparse.Namespace) -> tuple[Path | None, list[str], int]:
    """What to run: the script or none, the words behind it, and how many words are not the user's arguments."""
    words = list(arguments.words)
    if arguments.module:
        return None, ["python", "-m", arguments.module, *words], 3
    if words[:1] == ["--"]:
        if not words[1:]:
            raise UsageError("no command behind --", hint="see 'envbuild run --help'")
        return None, words[1:], 0
    if not words:
        raise UsageError("nothing to run", hint="name a script, -m MODULE, or -- COMMAND")
    script = Path(words[0])
    if script.suffix in _NO_SCRIPTS and not os.access(script, os.X_OK):
        raise UsageError(f"{script} is no script", hint="an environment is named with -e, and what to run behind it")
    return script, words[1:], 2 if _is_python(script) else 1


_NO_SCRIPTS = (".txt", ".in", ".toml", ".yml", ".yaml", ".json", ".whl", ".md")


def _is_python(script: Path) -> bool:
    """Whether Python is to run it, rather than the program that its first line names."""
    return script.suffix in (".py", ".pyz", ".zip") or script.is_dir() or not os.access(script, os.X_OK)


def _source(script: Path | None, project: Project, directory: Path) -> Path:
    """The folder that a run's snapshot is taken of: the definition's, if the script lies in it, else the script's."""
    if script is None:
        return directory
    here = normal(script).parent
    root = project.definition.root and normal(project.definition.root)
    if root and project.version is None and project.id is None and root in (here, *here.parents):
        return root
    return here


def _stamp(arguments: argparse.Namespace, context: Context) -> str | None:
    """Where a repetition of this command looks for what it may rely on; ``None`` if it does not look."""
    words = sys.argv[1:] if sys.argv[1:2] == ["run"] else []
    parsed = warm.parse(words[1:])
    if parsed is None or arguments.variable or arguments.secret:
        return None
    return warm.stamp_path(str(context.workspace.root), str(context.directory), parsed.asked)
