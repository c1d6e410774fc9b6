"""Built environments, as tests hold them: what is in them, and ways to have something done in them."""

from __future__ import annotations

import json
import os
import shlex
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import CompletedProcess
from typing import TYPE_CHECKING, Any, TypeVar

from envbuild import EnvbuildError, NotFound, inside_path
from envbuild.pytest_plugin import commands
from envbuild.pytest_plugin.commands import CommandFailed, told
from envbuild.pytest_plugin.environments import Environment, Environments, located
from envbuild.pytest_plugin.masking import masked

if TYPE_CHECKING:
    from envbuild.lock import Lock
    from envbuild.pytest_plugin.scripts import RecordedRun

_Result = TypeVar("_Result")

_PYTHONS = ("python", "python3")
"""What always means the environment's own interpreter."""


@dataclass(frozen=True, slots=True)
class BuiltEnvironment:
    """An environment that is ready; it stays so until the session ends.

    :param spec: what it was asked for by, paths from the root.
    """

    environment: Environment = field(repr=False, compare=False)
    spec: str
    environments: Environments = field(repr=False, compare=False)

    def __str__(self) -> str:
        return str(self.environment)

    @property
    def name(self) -> str:
        """What tests in it are called by: the definition as seen from the root folder, or a registered name."""
        return self.environment.label

    @property
    def id(self) -> str:
        """Its id, ``sha256:…``."""
        return self.environment.id

    @property
    def path(self) -> Path:
        """Its folder. It belongs to all who ask for the same environment: nothing is to be written there."""
        return Path(self.environment.prefix)

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return Path(self.environment.interpreter)

    @property
    def versions(self) -> Mapping[str, str]:
        """The version of each package by its name as the lock has it; empty for one that has no version."""
        return self.environment.packages

    @property
    def lock(self) -> Lock:
        """Its lock: every package with its version, where it is from, and its digest.

        :raises NotFound: it is not kept any more.
        """
        from envbuild.pipeline import kept_lock
        from envbuild.platform import Platform
        from envbuild.project import open_registered

        workspace = self.environments.workspace
        found = kept_lock(open_registered(self.id, workspace), workspace, Platform.here())
        if found is None:
            raise NotFound(f"the lock of {self} is not kept any more")
        return found

    def run(
        self,
        *command: str | os.PathLike[str] | list[str | os.PathLike[str]],
        check: bool = True,
        input: str | None = None,  # noqa: A002  as subprocess.run calls it
        timeout: float | None = None,
        cwd: str | os.PathLike[str] | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> CompletedProcess[str]:
        """Run a command in the environment, and wait for it: ``run("python", "-m", "json.tool", input="[]")``.

        It has the environment activated, the definition's variables and secrets, and the variables of the test; it
        reads nothing unless ``input`` is given. Nothing is recorded.

        :param command: its words, or one list of them; ``python`` is the environment's.
        :param check: raise if its exit code is not 0.
        :param timeout: the seconds after which it is killed, with all that it has started.
        :param cwd: the folder that it runs in; by default the current one.
        :param variables: environment variables that come on top.
        :returns: exit code, stdout and stderr, these as texts and as they are: secrets are not covered in them.
        :raises CommandFailed: it failed, and ``check`` is on, or it took too long. The message has what it printed.
        :raises NotFound: there is no such program.
        """
        __tracebackhide__ = True
        words = [os.fspath(each) for given in command for each in (given if isinstance(given, list) else [given])]
        if not words:
            raise EnvbuildError("no command was given")
        program = str(self.python) if words[0] in _PYTHONS else words[0]
        done = self._run(
            [program, *words[1:]], {**self.environment.process_variables, **(variables or {})}, input, timeout, cwd
        )
        if check and done.returncode:
            raise self._failure(f"{shlex.join(words)} {_ended(done.returncode)}", done)
        return done

    def call(self, function: Callable[..., _Result], /, *args: Any, **kwargs: Any) -> _Result:
        """Call a function in the environment, in a process of its own, and give back what it returns.

        The function has to stand for itself: its source is sent, so modules are imported *in* it, and of what is around
        it nothing is there. Arguments and result are plain data: ``None``, truth values, numbers, texts, and lists,
        tuples and dicts of them. What it prints, the test prints, secrets covered.

        :raises CallRefused: it is no function that stands for itself, or an argument or the result is no plain data.
        :raises CommandFailed: it raised something, and the message has the traceback; or its process died.
        """
        __tracebackhide__ = True
        from envbuild.inside.envbuild.call import read
        from envbuild.pytest_plugin.calling import refused_result, request

        asked = request(function, args, kwargs)
        with tempfile.TemporaryDirectory(prefix="envbuild-call-") as folder:
            told_, answer = Path(folder, "asked.json"), Path(folder, "answer.json")
            told_.write_text(json.dumps(asked), encoding="ascii")
            program = Path(inside_path(), "envbuild", "call.py")
            words = [str(self.python), str(program), str(told_), str(answer)]
            done = self._run(words, self.environment.process_variables, None, None, None)
            came = json.loads(answer.read_bytes()) if answer.exists() else None
        if came is None:
            said = f"{asked['name']} did not come back: its process {_ended(done.returncode)}"
            raise self._failure(said, done)
        for stream, text in ((sys.stdout, done.stdout), (sys.stderr, done.stderr)):
            stream.write(masked(text, self.environment.masked))
        if "raised" in came:
            said = f"{asked['name']} raised {came['type']} inside {self}\n{came['raised']}"
            raise CommandFailed(masked(said, self.environment.masked))
        if "refused" in came:
            raise refused_result(function, came["refused"])
        result: _Result = read(came["result"])
        return result

    def run_script(
        self,
        script: str | os.PathLike[str],
        *arguments: object,
        check: bool = True,
        timeout: float | None = None,
        source: str | os.PathLike[str] | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> RecordedRun:
        """Run a Python script as ``envbuild run`` does, and record it in the session's workspace.

        :param script: as seen from the current folder, else from the root folder.
        :param arguments: the script's own, as texts.
        :param check: raise if its exit code is not 0.
        :param timeout: the seconds after which it is stopped.
        :param source: the folder of which a snapshot is taken, by default the script's; it runs in a copy of that.
        :param variables: environment variables that come on top of the definition's.
        :returns: what came of it. The run's experiment is ``pytest``.
        :raises CommandFailed: it failed, and ``check`` is on. The message has its log.
        :raises EnvbuildError: it could not be started.
        """
        __tracebackhide__ = True
        from envbuild.pytest_plugin import scripts

        file = Path(located(os.fspath(script), Path.cwd(), self.environments.root))
        run = scripts.run(
            file,
            [str(each) for each in arguments],
            self.spec,
            self.environments,
            source=Path(source) if source else file.parent,
            limit=timeout,
            variables=variables or {},
        )
        if check and run.status != "Completed":
            raise CommandFailed(
                told(f"{file.name}: {run.status}, {run.reason} (run {run.id})", log=run.log), run.exit_code
            )
        return run

    def _run(
        self,
        words: list[str],
        variables: Mapping[str, str],
        stdin: str | None,
        timeout: float | None,
        cwd: str | os.PathLike[str] | None,
    ) -> CompletedProcess[str]:
        masks = self.environment.masked
        return commands.run(words, variables, directory=cwd, stdin=stdin, timeout=timeout, masks=masks)

    def _failure(self, headline: str, done: CompletedProcess[str]) -> CommandFailed:
        said = told(f"{headline}\n(inside {self})", stdout=done.stdout, stderr=done.stderr)
        return CommandFailed(masked(said, self.environment.masked), done.returncode)


def _ended(code: int) -> str:
    return f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
