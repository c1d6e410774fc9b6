"""The words of the command line, and what each of them is for."""

from __future__ import annotations

import argparse
import datetime
from typing import Any, NoReturn

from envbuild import __version__
from envbuild.cli.usage import UsageError
from envbuild.exporting import FORMATS

_SPEC = (
    "a file (environment.yml, requirements.txt, pyproject.toml[:group], envbuild.yml, a script with a PEP 723 block, "
    "another tool's lock), a folder, a registered name[:version|@label], or an id"
)

_STATUSES = (
    "NotStarted", "Queued", "Preparing", "Running", "CancelRequested", "Finalizing", "Completed", "Failed", "Canceled",
)  # fmt: skip
"""How far a run may have come; the words are Azure ML's."""

HOOK_NAMES = ("resolve_dependencies", "compute_hash", "build_image", "run_target", "deploy_target")
"""The hooks; whoever types a command need not wait for what they are made of."""


def _status(text: str) -> str:
    """The status as Azure ML spells it, however it is typed; what is none stays as it is, and is refused."""
    return next((each for each in _STATUSES if each.lower() == text.lower()), text)


class _Parser(argparse.ArgumentParser):
    """Complains in our words: what is wrong, then what to do."""

    runs = ""
    """From where on words are another program's and left as they are: from a ``script`` (``-m``, ``--``), or ``--``."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        if not self.runs:
            return super().parse_known_args(args, namespace)
        end = self._own(args)
        parsed, unknown = super().parse_known_args(args[:end], namespace)
        parsed.words = args[end:]
        return parsed, unknown

    def _own(self, words: list[str]) -> int:
        """How many words are envbuild's own."""
        if self.runs == "--":
            return words.index("--") if "--" in words else len(words)
        position = 0
        while position < len(words) and words[position].startswith("-") and words[position] != "--":
            word = words[position]
            option = self._option_string_actions.get(word)
            position += 2 if option is not None and option.nargs is None else 1
            if word.startswith("-m"):
                break
        return position

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message}\nhint: see '{self.prog} --help'\n")


def make_parser() -> argparse.ArgumentParser:
    """The whole command line; ``command`` of what it parses names the function that does the work."""
    parser = _Parser(
        prog="envbuild",
        description="One definition, one lock, one id: the same environment everywhere, every run recorded with it.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"envbuild {__version__}")
    common = argparse.ArgumentParser(add_help=False)
    _everywhere(common)
    commands = _Commands(parser.add_subparsers(metavar="COMMAND", required=True, parser_class=_Parser), common)
    _running(commands)
    _making(commands)
    _environments(commands.group("env", "register, list and compare environments"))
    _runs(commands.group("runs", "list, inspect, cancel, compare and repeat runs"))
    _models(commands.group("models", "files under a name and a version, with the run that they came from"))
    _store(commands.group("store", "what is on disk: usage, gc, verify"))
    _wheels(commands.group("wheels", "private wheels, kept by their bytes"))
    _wheel(commands.group("wheel", "what a wheel that was built here says of itself"))
    _plugins(commands)
    commands.add("doctor", "doctor:doctor", "check this machine, and say how to mend what is wrong")
    return parser


def _everywhere(common: argparse.ArgumentParser) -> None:
    common.add_argument("--json", action="store_true", help="write the result as JSON")
    common.add_argument("-q", "--quiet", action="store_true", help="show no progress")


class _Commands:
    """Subcommands, each with the options that all have."""

    def __init__(self, subparsers: Any, common: argparse.ArgumentParser) -> None:
        self.subparsers = subparsers
        self.common = common

    def add(self, name: str, command: str, text: str, **options: Any) -> _Parser:
        parser: _Parser = self.subparsers.add_parser(
            name,
            parents=[self.common],
            help=text,
            description=text[0].upper() + text[1:] + ".",
            allow_abbrev=False,
            **options,
        )
        parser.set_defaults(command=command)
        return parser

    def group(self, name: str, text: str) -> _Commands:
        description = text[0].upper() + text[1:] + "."
        parser = self.subparsers.add_parser(name, help=text, description=description, allow_abbrev=False)
        return _Commands(parser.add_subparsers(metavar="COMMAND", required=True, parser_class=_Parser), self.common)


def _running(commands: _Commands) -> None:
    run = commands.add(
        "run",
        "running:run",
        "run a script, module or command in its environment, and record it",
        usage="envbuild run [-e SPEC] [-t TARGET] [--name EXPERIMENT] [options] SCRIPT|-m MODULE|-- COMMAND [ARGS…]",
    )
    run.add_argument("-e", "--environment", type=_spec, metavar="SPEC", help=f"the environment: {_SPEC}")
    run.add_argument("-t", "--target", default="local", help="where to run it (default: local)")
    run.add_argument("--name", type=_named, metavar="EXPERIMENT", help="what to gather the run under")
    run.add_argument("-m", dest="module", metavar="MODULE", help="run a module, as python -m does")
    _given(run, "set an environment variable for this run")
    _how(run)
    run.add_argument("words", nargs="*", metavar="SCRIPT [ARGS…]", help="what to run")
    run.runs = "script"


def _given(parser: argparse.ArgumentParser, text: str) -> None:
    parser.add_argument("--variable", action="append", metavar="NAME=VALUE", default=[], help=text)
    parser.add_argument(
        "--secret", action="append", metavar="NAME", default=[], help="pass on a variable, recorded by name only"
    )


def _how(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--offline", action="store_true", help="use what is cached, never the network")
    parser.add_argument("--locked", action="store_true", help="fail if the lock is stale, rather than renew it")


def _making(commands: _Commands) -> None:
    build = commands.add("build", "making:build", "lock and build an environment")
    build.add_argument("spec", type=_spec, metavar="SPEC", nargs="?", default=".", help=_SPEC)
    build.add_argument("-t", "--target", default="local", help="what to build it for (default: local)")
    _how(build)
    lock = commands.add("lock", "making:lock", "pin every artifact of a definition, with its hash")
    lock.add_argument("spec", type=_spec, metavar="SPEC", nargs="?", default=".", help=_SPEC)
    lock.add_argument("--check", action="store_true", help="change nothing; exit 1 and say why if the lock is stale")
    lock.add_argument(
        "--upgrade",
        action="append",
        nargs="?",
        metavar="PKG",
        help="bring one package up to date, or all of them ('python' moves the Python)",
    )
    lock.add_argument("--as-of", type=_day, metavar="DATE", help="ignore what was released after that day")
    lock.add_argument("--platform", type=_platform, metavar="PLATFORM", help="for another machine: linux-aarch64, …")
    lock.add_argument("--python", metavar="VERSION", help="for another Python that the definition admits")
    lock.add_argument(
        "--allow-source", action="append", metavar="PKG", help="build this package from source if no wheel fits"
    )
    lock.add_argument("--offline", action="store_true", help="use what is cached, never the network")
    why = commands.add(
        "why", "making:why", "say which input makes two environments differ, or why one was built or reused"
    )
    why.add_argument("a", type=_spec, metavar="A", nargs="?", default=".", help=_SPEC)
    why.add_argument("b", type=_spec, metavar="B", nargs="?", help="another environment to compare it with")
    _bisecting(commands)
    verify = commands.add("verify", "storing:verify_environment", "compare an environment with what was installed")
    verify.add_argument("spec", type=_spec, metavar="SPEC", nargs="?", default=".", help=_SPEC)
    verify.add_argument("--heal", action="store_true", help="replace files that were edited or removed")
    verify.add_argument("--offline", action="store_true", help="use what is cached, never the network")


def _bisecting(commands: _Commands) -> None:
    bisect = commands.add(
        "bisect",
        "bisecting:bisect",
        "find the package that breaks a command, by running it in environments between two locks",
        usage="envbuild bisect [options] GOOD BAD -- COMMAND [ARGS…]",
    )
    bisect.add_argument(
        "good", type=_spec, metavar="GOOD", help=f"where the command passes: {_SPEC}; or LOCK@REVISION of git's"
    )
    bisect.add_argument("bad", type=_spec, metavar="BAD", help="where it fails")
    bisect.add_argument(
        "--repeat",
        type=_times,
        default=1,
        metavar="N",
        help="believe a failure that comes N times in a row (default: 1)",
    )
    bisect.add_argument(
        "--timeout", type=_seconds, metavar="SECONDS", help="a command that takes longer is stopped, and has failed"
    )
    bisect.add_argument(
        "--name", type=_named, default="bisect", metavar="EXPERIMENT", help="what to gather the runs under"
    )
    _given(bisect, "set an environment variable for every step")
    bisect.add_argument("--offline", action="store_true", help="use what is cached, never the network")
    bisect.add_argument(
        "words", nargs="*", metavar="-- COMMAND [ARGS…]", help="what to run; it may say 125: cannot tell"
    )
    bisect.runs = "--"


def _environments(commands: _Commands) -> None:
    register = commands.add("register", "envs:register", "give an environment a name and a version")
    register.add_argument("spec", type=_spec, metavar="SPEC", nargs="?", default=".", help=_SPEC)
    register.add_argument("--name", type=_named, help="by default the definition's own, else that of its folder")
    register.add_argument("--description", default="", help="what it is for")
    listed = commands.add("list", "envs:list_", "list the registered environments")
    listed.add_argument("name", metavar="NAME", nargs="?", help="list all versions of this one")
    listed.add_argument("--all", action="store_true", help="all versions of all names")
    listed.add_argument("--archived", action="store_true", help="archived ones too")
    listed.add_argument("--limit", type=int, metavar="N", help="at most N")
    show = commands.add("show", "envs:show", "show a definition with its lock and id")
    show.add_argument("spec", type=_spec, metavar="SPEC", help=_SPEC)
    diff = commands.add("diff", "making:why", "show what two environments do not share")
    diff.add_argument("a", type=_spec, metavar="A", help=_SPEC)
    diff.add_argument("b", type=_spec, metavar="B", help=_SPEC)
    label = commands.add("label", "envs:label", "put labels on a version; each is on one version of a name at a time")
    label.add_argument("spec", metavar="NAME[:VERSION]")
    label.add_argument("labels", metavar="LABEL", nargs="+")
    label.add_argument("--remove", action="store_true", help="take them off")
    for name, text in (("archive", "hide versions from lists; they stay usable"), ("restore", "undo archive")):
        command = commands.add(name, f"envs:{name}", text)
        command.add_argument("spec", metavar="NAME[:VERSION]")
    delete = commands.add(
        "delete", "envs:delete", "delete versions that no run uses; their numbers are not given again"
    )
    delete.add_argument("spec", metavar="NAME[:VERSION]")
    delete.add_argument("--force", action="store_true", help="even if runs use it; they keep their records")
    export = commands.add(
        "export", "envs:export", "write an environment for other machines, or its lock in the words of other tools"
    )
    export.add_argument("spec", type=_spec, metavar="SPEC", help=_SPEC)
    export.add_argument(
        "--format",
        choices=FORMATS,
        help="what to write; without it a bundle of definition, lock and private wheels, which import reads",
    )
    export.add_argument(
        "-o", "--output", metavar="FILE", help="a bundle goes to NAME-VERSION.tar by default, all else to stdout"
    )
    export.add_argument("--no-builds", action="store_true", help="conda: only the versions of packages")
    export.add_argument("--md5", action="store_true", help="explicit: for a conda that knows no SHA-256")
    export.add_argument("--platform", type=_platform, metavar="PLATFORM", help="for another machine: linux-aarch64, …")
    export.add_argument("--offline", action="store_true", help="use what is cached, never the network")
    imported = commands.add(
        "import", "envs:import_", "register what export or another tool wrote, or describe a conda environment"
    )
    imported.add_argument(
        "file", metavar="FILE", nargs="?", help="a bundle, conda-lock.yml, pixi.lock[:ENVIRONMENT] or @EXPLICIT list"
    )
    imported.add_argument("--name", type=_named, help="register it under another name")
    imported.add_argument(
        "--from-conda",
        type=_named,
        metavar="NAME|PREFIX",
        help="instead of a FILE: an environment of conda's, mamba's or pixi's, written to an environment.yml",
    )
    imported.add_argument(
        "--history-only", action="store_true", help="of that, only what somebody asked for, as they asked for it"
    )
    imported.add_argument(
        "-o", "--output", metavar="FILE", default="environment.yml", help="another one; envbuild.yml gets the full form"
    )


def _runs(commands: _Commands) -> None:
    listed = commands.add("list", "runs:list_", "list runs, the newest first")
    listed.add_argument("--name", metavar="EXPERIMENT", help="of this experiment only")
    listed.add_argument(
        "--status", type=_status, choices=_STATUSES, metavar="STATUS", help=f"one of {', '.join(_STATUSES)}"
    )
    listed.add_argument("--children", action="store_true", help="runs that are a part of another as well")
    listed.add_argument("--limit", type=int, default=30, metavar="N", help="at most N (default: 30)")
    show = commands.add("show", "runs:show", "show a run with its metrics and outputs")
    show.add_argument("run", metavar="RUN", help="a run's id, or enough of its beginning")
    logs = commands.add("logs", "runs:logs", "show what a run printed")
    logs.add_argument("run", metavar="RUN")
    logs.add_argument("-f", "--follow", action="store_true", help="go on until it ends")
    cancel = commands.add("cancel", "runs:cancel", "stop runs, and wait for their end")
    cancel.add_argument("runs", metavar="RUN", nargs="+")
    delete = commands.add("delete", "runs:delete", "forget runs, with their logs and outputs; gc then frees the room")
    delete.add_argument("runs", metavar="RUN", nargs="+")
    compare = commands.add("compare", "runs:compare", "show in what two runs differ")
    compare.add_argument("a", metavar="RUN")
    compare.add_argument("b", metavar="RUN")
    reproduce = commands.add(
        "reproduce", "runs:reproduce", "run the same id, snapshot and arguments again, and compare the outputs"
    )
    reproduce.add_argument("run", metavar="RUN")
    reproduce.add_argument(
        "--variable", action="append", metavar="NAME=VALUE", default=[], help="a variable that the run was given"
    )
    reproduce.add_argument("--offline", action="store_true", help="use what is cached, never the network")


def _models(commands: _Commands) -> None:
    register = commands.add("register", "models:register", "keep a file or folder under a name, as its next version")
    register.add_argument("name", type=_named, metavar="NAME", help="letters, digits, '.', '_' and '-'")
    register.add_argument("path", metavar="PATH", nargs="?", help="a file or folder; with --run by default NAME")
    register.add_argument(
        "--run", metavar="RUN", help="PATH is a file or folder of this run, such as outputs/model.pkl"
    )
    register.add_argument("--tag", action="append", metavar="NAME=VALUE", default=[], help="to find it by; can change")
    register.add_argument(
        "--property", action="append", metavar="NAME=VALUE", default=[], help="as a tag, but it stays"
    )
    register.add_argument("--description", default="", help="what it is for")
    register.add_argument("--framework", metavar="NAME", help="what made it, such as ScikitLearn")
    register.add_argument("--framework-version", metavar="VERSION")
    listed = commands.add("list", "models:list_", "list the models, of each the latest version")
    listed.add_argument("name", metavar="NAME", nargs="?", help="list all versions of this one")
    listed.add_argument("--all", action="store_true", help="all versions of all names")
    listed.add_argument("--run", metavar="RUN", help="all versions that came from this run")
    listed.add_argument("--tag", action="append", metavar="NAME[=VALUE]", default=[], help="only those with this tag")
    listed.add_argument("--archived", action="store_true", help="archived ones too")
    listed.add_argument("--limit", type=int, metavar="N", help="at most N")
    show = commands.add("show", "models:show", "show a model with its files, its run and its environment")
    show.add_argument("model", metavar="NAME[:VERSION]")
    download = commands.add("download", "models:download", "write a model's files, checked, into a folder")
    download.add_argument("model", metavar="NAME[:VERSION]")
    download.add_argument("folder", metavar="DIR", nargs="?", default=".", help="by default the one that you are in")
    download.add_argument("--exist-ok", action="store_true", help="replace files that are there already")
    for name, text in (("archive", "hide versions from lists; they stay usable"), ("restore", "undo archive")):
        command = commands.add(name, f"models:{name}", text)
        command.add_argument("model", metavar="NAME[:VERSION]")
    delete = commands.add("delete", "models:delete", "delete a version; its number is not given again")
    delete.add_argument("models", metavar="NAME:VERSION", nargs="+")


def _store(commands: _Commands) -> None:
    commands.add("usage", "storing:usage", "show what takes how much room")
    gc = commands.add("gc", "storing:gc", "remove what nobody needs, and the least recently used beyond the size bound")
    gc.add_argument(
        "--max-size", type=_bytes, metavar="SIZE", help="the bound, such as 20GiB (default: ENVBUILD_STORE_MAX_SIZE)"
    )
    gc.add_argument("--dry-run", action="store_true", help="only say what would go")
    verify = commands.add("verify", "storing:verify", "compare everything with its digests, and mend what is damaged")
    verify.add_argument("--no-heal", action="store_true", help="only say what is damaged")
    verify.add_argument("--offline", action="store_true", help="use what is cached, never the network")


def _wheels(commands: _Commands) -> None:
    add = commands.add("add", "envs:add_wheel", "keep a private wheel, and say the URL that definitions may use for it")
    add.add_argument("file", metavar="WHEEL")


def _plugins(commands: _Commands) -> None:
    """List plugins, unless a subcommand says otherwise."""
    parser = commands.add("plugins", "plugins:list_", "list who answers which hook, in which order, and who brings it")
    # What is said before the subcommand counts as well.
    common = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    _everywhere(common)
    below = _Commands(parser.add_subparsers(metavar="COMMAND", parser_class=_Parser), common)
    new = below.add("new", "plugins:new", "begin a plugin: a distribution of its own, whole, with tests that pass")
    new.add_argument("name", metavar="NAME", help="the plugin's name: lower-case letters, digits and single hyphens")
    new.add_argument(
        "--hook",
        action="append",
        choices=HOOK_NAMES,
        metavar="HOOK",
        help="a hook that it answers (default: run_target); those that belong together are begun in one go "
        f"(--hook resolve_dependencies --hook build_image); one of {', '.join(HOOK_NAMES)}",
    )
    new.add_argument("-o", "--output", metavar="DIR", type=_folder, help="the folder to make (default: envbuild-NAME)")


def _wheel(commands: _Commands) -> None:
    show = commands.add("show", "wheels:show", "say in which environment a wheel was tested")
    show.add_argument("file", metavar="FILE", help="a wheel that envbuild.backend or its hook has built")


def _day(text: str) -> datetime.date:
    try:
        return datetime.date.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"not a day: {text!r} (2026-01-31 is)") from error


def _times(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"not a number of times: {text!r}")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    # Neither nothing, nor for ever, nor no number at all.
    if not 0 < seconds < 1e9:
        raise argparse.ArgumentTypeError(f"not a number of seconds: {text!r}")
    return seconds


def _named(text: str) -> str:
    if not text:
        raise argparse.ArgumentTypeError("no name: is the variable set that should hold it?")
    return text


def _spec(text: str) -> str:
    if not text:
        raise UsageError("SPEC is empty", hint="is the variable set that should name it?")
    return text


def _folder(text: str) -> str:
    if not text:
        raise argparse.ArgumentTypeError("no folder: is the variable set that should name it?")
    return text


def _platform(text: str) -> Any:
    from envbuild.platform import Platform

    try:
        return Platform.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _bytes(text: str) -> int:
    from envbuild.retention import parse_size

    try:
        return parse_size(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
