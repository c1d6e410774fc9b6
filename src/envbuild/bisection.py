"""Bisecting: which change of packages breaks a command, found by running it in environments in between two locks.

`bisect` runs the command in both environments, then in mixtures of them (`envbuild.mixture`) that `envbuild.culprits`
asks for. Every one of them is locked, built and recorded as any other, so it is reused, can be run again by its id,
and is collected when nobody needs it.
"""

from __future__ import annotations

import os
import shlex
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name

from envbuild import culprits, execution, git, layout, mixture, pipeline, snapshot
from envbuild.culprits import Changes, Culprits, Verdict
from envbuild.definition import Definition
from envbuild.digest import Digest
from envbuild.errors import BuildFailed, EnvbuildError, LockError, PythonNotFound, Stopped, TargetError
from envbuild.explain import fitting_lock
from envbuild.image import Image
from envbuild.lock import Lock, read_pylock
from envbuild.mixture import Distribution, End, Part
from envbuild.pipeline import Wishes
from envbuild.platform import Platform
from envbuild.plugins import Plugins
from envbuild.progress import QUIET
from envbuild.project import Project, open_spec
from envbuild.supervise import visible
from envbuild.workspace import Workspace

UNKNOWN = 125
"""The exit code by which a command says that it cannot tell, as for ``git bisect run``."""

_GRACE = 2.0
"""How many seconds a command may take to end when its time is up; of many steps, each may use them up."""

_TAIL = 20
"""How many lines of its output are shown of a command that should have passed."""

_NEVER_BUILT = (BuildFailed, LockError, PythonNotFound)
"""What makes an environment one that cannot be tried."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is to be found out.

    :param good: where the command passes: whatever names an environment, or ``LOCK@REVISION`` of git's.
    :param bad: where it fails.
    :param directory: the folder that the command is run on, in a copy of its own each time.
    :param repeat: how often a command that fails is run before that is believed.
    :param timeout: the seconds after which it counts as having failed.
    :param experiment: what the runs are gathered under.
    :param variables: environment variables on top of the definitions', in every step.
    :param secrets: the names of those that are passed on, and recorded by name only.
    """

    good: str
    bad: str
    command: tuple[str, ...]
    directory: Path
    repeat: int = 1
    timeout: float | None = None
    experiment: str = "bisect"
    variables: Mapping[str, str] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One environment in which the command was run.

    :param changes: what in it is as in the bad environment, by number.
    :param id: ``None`` where it could not even be identified.
    :param reason: why that was the verdict.
    :param hint: what to do about that, where the command could not be started.
    :param runs: the runs of the command, to be looked at with ``envbuild runs logs``.
    """

    number: int
    changes: Changes
    verdict: Verdict
    reason: str
    hint: str = ""
    id: Digest | None = None
    seconds: float = 0.0
    exit_code: int | None = None
    built: bool = False
    flaky: bool = False
    runs: tuple[str, ...] = ()

    def to_dict(self, exchanged: tuple[Part, ...]) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "number": self.number,
            "id": str(self.id) if self.id else None,
            "verdict": self.verdict,
            "reason": self.reason,
            "exit_code": self.exit_code,
            "seconds": self.seconds,
            "built": self.built,
            "flaky": self.flaky,
            "changes": [str(exchanged[each]) for each in sorted(self.changes)],
            "runs": list(self.runs),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Bisection:
    """What was found.

    :param parts: all that the two environments do not share.
    :param steps: what was run, in that order; the first two are the two environments themselves.
    :param secrets: the names of variables of which nobody may see the values.
    """

    question: Question
    parts: tuple[Part, ...]
    culprits: Culprits
    steps: tuple[Step, ...]
    secrets: frozenset[str] = frozenset()

    def at(self, changes: Changes) -> Step:
        """The step that tried a selection."""
        return next(each for each in self.steps if each.changes == changes)

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        found, question = self.culprits, self.question
        last, first = (self.at(each).to_dict(self.parts) for each in (found.good, found.bad))
        return {
            "good": {"spec": question.good, "id": str(self.steps[0].id)},
            "bad": {"spec": question.bad, "id": str(self.steps[1].id)},
            "command": list(question.command),
            "experiment": question.experiment,
            "variables": sorted(question.variables),
            "secrets": sorted(question.secrets),
            "changes": [_as_dict(each) for each in self.parts],
            "culprits": [[_as_dict(self.parts[each]) for each in sorted(group)] for group in found.blamed],
            "needed": [_as_dict(self.parts[each]) for each in sorted(found.needed)],
            "certain": found.certain,
            "last_good": last,
            "first_bad": first,
            "steps": [each.to_dict(self.parts) for each in self.steps],
        }

    def __str__(self) -> str:
        found = self.culprits
        lines = list(self._verdict())
        if found.needed:
            lines.append("together with what cannot be had without:")
            lines += [f"  {self.parts[each]}" for each in sorted(found.needed)]
        for word, changes in (("last good ", found.good), ("first bad ", found.bad)):
            step = self.at(changes)
            identity = step.id.short if step.id else "-"
            lines.append(f"{word}  {identity}  {for_bash(self._command(identity, changes))}")
        skipped = [each for each in self.steps if each.verdict == "skip"]
        flaky = sum(each.flaky for each in self.steps)
        told = f"{len(self.parts)} change{'s' if len(self.parts) > 1 else ''}, {len(self.steps)} steps"
        told += f", {len(skipped)} skipped" if skipped else ""
        told += f", {flaky} flaky" if flaky else ""
        lines.append(f"{told}; envbuild runs list --name {self.question.experiment}")
        return "\n".join(map(visible, (*lines, *self._advice())))

    def _command(self, identity: str, changes: Changes) -> tuple[str, ...]:
        """What runs the command again as it was run with ``changes``."""
        # Variables are no part of what an id stands for: two steps may have the same one.
        values: dict[str, str | None] = {
            each.variable: each.after if number in changes else each.before
            for number, each in enumerate(self.parts)
            if each.variable
        }
        values.update(self.question.variables)
        options, absent = [], []
        for name, value in values.items():
            if name in self.secrets:
                options += ["--secret", name]
            elif value is None:
                absent += ["-u", name]
            else:
                options += ["--variable", f"{name}={value}"]
        for name in self.question.secrets:
            options += ["--secret", name] if name not in values else []
        without = ["env", *absent] if absent else []
        return ("envbuild", "run", "-e", identity, *options, "--", *without, *self.question.command)

    def _verdict(self) -> Iterator[str]:
        blamed = [tuple(self.parts[each] for each in sorted(group)) for group in self.culprits.blamed]
        if not self.culprits.certain:
            yield "what breaks it is among these; what lies between could not be tried:"
        elif len(blamed) > 1:
            yield "only together do these break it:"
        elif len(blamed[0]) > 1:
            yield "these break it, and cannot be had one without the other:"
        else:
            yield "this breaks it:"
        for group in blamed:
            for each in group:
                yield f"  {each}"
                if each.kind == "conda" and len(each.changes) > 1:
                    yield from (f"    {package}" for package in each.packages)

    def _advice(self) -> Iterator[str]:
        groups = [[self.parts[each] for each in sorted(group)] for group in self.culprits.blamed]
        pinned = [pins for group in groups if (pins := _pins(group))]
        if not pinned or not self.culprits.certain:
            return
        which = "one of these" if len(pinned) > 1 else "all of these" if len(pinned[0]) > 1 else "this"
        yield f"until that is mended, have the definition ask for {which}: {', '.join(map(' and '.join, pinned))}"


def for_bash(command: Iterable[str]) -> str:
    r"""A command line that bash and zsh read as these words, in characters that a terminal may be shown.

    >>> print(for_bash(["grep", "-q", "it's", "a\nb\udcff"]))
    grep -q 'it'"'"'s' $'a\nb\xff'
    """
    return " ".join(shlex.quote(each) if each.isprintable() else f"$'{_escaped(each)}'" for each in command)


def _escaped(word: str) -> str:
    """What stands between ``$'`` and ``'``, where other than between plain quotes anything can be spelled out."""
    plain = {"\\": r"\\", "'": r"\'", "\n": r"\n", "\t": r"\t", "\r": r"\r"}
    return "".join(
        plain.get(each) or (each if each.isprintable() else "".join(f"\\x{byte:02x}" for byte in os.fsencode(each)))
        for each in word
    )


def _as_dict(part: Part) -> dict[str, Any]:
    packages = {"packages": list(part.packages)} if part.kind == "conda" else {}
    return {"kind": part.kind, "name": part.name, "before": part.before, "after": part.after, **packages}


def _pins(group: list[Part]) -> list[str]:
    """What a definition can ask for so that parts that go together stay as they were; nothing where it cannot.

    >>> _pins([Part(kind="python", name="Python", before="3.11.7", after="3.12.1")])
    ['python: "3.11" (envbuild lock --python 3.11)']
    """
    # What has come, or was only made for another Python, goes again with the others.
    python = any(each.kind == "python" for each in group)
    kept = [each for each in group if each.before and not (python and each.before == each.after)]
    pins = [_pin(each) for each in kept]
    return [each for each in pins if each] if all(pins) else []


def _pin(part: Part) -> str | None:
    if part.kind == "python" and part.before and part.after:
        minor = ".".join(part.before.split(".")[:2])
        wanted = part.before if part.after.startswith(f"{minor}.") else minor
        return f'python: "{wanted}" (envbuild lock --python {wanted})'
    change = part.changes[0] if part.kind == "package" else None
    if change is None or change.before is None or part.before == part.after:
        return None
    # Only indexes can be asked for a version.
    local = change.before.artifact.path or change.before.artifact.revision
    return f"{part.name}=={change.before.version}" if change.before.version and not local else None


def bisect(
    question: Question,
    workspace: Workspace,
    plugins: Plugins,
    wishes: Wishes,
    say: Callable[[str], object] = QUIET.note,
) -> Bisection:
    """Find the change between two environments that breaks a command.

    :param say: takes a line for each step.
    :raises LockError: one of the two cannot be locked, or is not for this machine.
    :raises EnvbuildError: there is nothing between the two, or the command does not pass in the good one or does not
        fail in the bad one.
    :raises KeyboardInterrupt: it, or the command, was stopped (`Stopped`: by which signal); what is known by then has
        been said.
    """
    with _stoppable():
        return _bisect(question, workspace, plugins, wishes, say)


def _bisect(
    question: Question, workspace: Workspace, plugins: Plugins, wishes: Wishes, say: Callable[[str], object]
) -> Bisection:
    before, after = (_end(each, workspace, plugins, wishes) for each in (question.good, question.bad))
    secrets = frozenset((*before.definition.secrets, *after.definition.secrets, *question.secrets))
    # What is the same in every step makes no difference, whatever the definitions say of it.
    given = {*question.variables, *question.secrets}
    exchanged = tuple(each for each in mixture.parts(before, after) if each.variable not in given)
    if not exchanged:
        raise EnvbuildError(
            f"{question.good} and {question.bad} are the same environment: there is nothing between them",
            hint="what makes the difference is the source, its data or the machine",
        )
    taken = snapshot.take(snapshot.look(question.directory, workspace.root), workspace.store).digest
    commit = git.facts(question.directory)
    trials = _Trials(question, exchanged, before, after, taken, commit, workspace, plugins, wishes, say)
    try:
        good, bad = trials.ends()
        before = replace(before, distributions=_installed(good.path))
        after = replace(after, distributions=_installed(bad.path))
        found = culprits.search(mixture.ties(exchanged, before, after), trials.verdict)
    except KeyboardInterrupt:
        say(trials.so_far())
        raise
    return Bisection(question=question, parts=exchanged, culprits=found, steps=tuple(trials.steps), secrets=secrets)


# -- the two ends --------------------------------------------------------------------------------------------


def _end(spec: str, workspace: Workspace, plugins: Plugins, wishes: Wishes) -> End:
    """The environment that ``spec`` means, with its lock.

    :raises LockError: it is for another machine, or was found rather than made.
    """
    path, revision = _at_revision(spec)
    if revision:
        with workspace.store.scratch("bisect") as scratch:
            definition, lock = _of_revision(path, revision, scratch, workspace, plugins, wishes)
    else:
        project = open_spec(spec, workspace)
        definition, lock = project.definition, _lock_of(project, workspace, plugins, wishes)
    if lock.platform != Platform.here():
        raise LockError(
            f"{spec} is for {lock.platform}, and this machine is {Platform.here()}",
            hint="bisect on a machine that it is for",
        )
    if lock.is_observed:
        raise LockError(
            f"{spec} is an interpreter as it was found, and nothing can be put together from that",
            hint="bisect between environments that are locked",
        )
    return End(definition=definition, lock=mixture.rooted(lock))


def _at_revision(spec: str) -> tuple[Path, str]:
    """A lock's path and the revision that it is meant as of; an empty one where ``spec`` is something else."""
    place, _, revision = spec.partition("@")
    path = Path(place)
    is_file = "/" in place or path.suffix in (".toml", ".lock", ".yml", ".yaml", ".txt")
    return (path, revision) if is_file and not Path(spec).exists() else (Path(spec), "")


def _of_revision(
    path: Path, revision: str, scratch: Path, workspace: Workspace, plugins: Plugins, wishes: Wishes
) -> tuple[Definition, Lock]:
    """The lock that a file held in a commit; a definition of that commit may name files that are not there now."""
    file = scratch / path.name
    file.write_bytes(git.content_at(path, revision))
    project = open_spec(str(file), workspace)
    if not project.definition.pylock:
        raise LockError(f"{path} is no lock", hint=f"name the lock that goes with it: pylock.toml@{revision}")
    lock = _lock_of(project, workspace, plugins, wishes)
    local = [str(each) for each in lock.packages if each.artifact.kind == "directory"]
    if local:
        raise LockError(
            f"{path} of {revision} has projects that are here as they are now: {', '.join(local)}",
            hint=f"lay the commit out, and name the lock there: git worktree add ../then {revision}",
        )
    return project.definition, replace(lock, root=path.absolute().parent)


def _lock_of(project: Project, workspace: Workspace, plugins: Plugins, wishes: Wishes) -> Lock:
    source = project.definition.source
    if project.definition.pylock and source and source.suffix == ".toml":
        data = source.read_bytes()
        if "envbuild" in (read_pylock(data, where=str(source)).tool or {}):
            # As it stands: other installers would take it for any machine and any patch of its Python.
            return Lock.parse(data, where=str(source), root=source.absolute().parent)
    if project.id is not None:
        found = pipeline.kept_lock(project, workspace, wishes.platform)
        if found is None:
            raise LockError(
                f"{project.id.short} is not for {wishes.platform}", hint="bisect on a machine that it is for"
            )
        return found
    return fitting_lock(project, workspace, plugins, wishes)


def _installed(prefix: Path | None) -> Mapping[str, Distribution]:
    """The Python distributions in a prefix, as they say of themselves."""
    found: dict[str, Distribution] = {}
    for site in sorted((prefix or Path()).glob("lib/python3*/site-packages")):
        for each in metadata.distributions(path=[str(site)]):
            said = each.metadata
            if "Name" in said and "Version" in said:
                found[canonicalize_name(said["Name"])] = Distribution(
                    name=said["Name"],
                    version=said["Version"],
                    requires=tuple(said.get_all("Requires-Dist") or ()),
                    requires_python=next(iter(said.get_all("Requires-Python") or ()), None),
                )
    return found


# -- trying --------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Trials:
    """The environments that have been tried, and how the next one is."""

    question: Question
    parts: tuple[Part, ...]
    before: End
    after: End
    source: Digest
    git: Mapping[str, Any]
    workspace: Workspace
    plugins: Plugins
    wishes: Wishes
    say: Callable[[str], object]
    steps: list[Step] = field(default_factory=list)

    @property
    def everything(self) -> Changes:
        """All that there is to be exchanged."""
        return frozenset(range(len(self.parts)))

    def ends(self) -> tuple[Image, Image]:
        """Run the command in both environments, which have to be good and bad; their images.

        :raises EnvbuildError: they are not.
        """
        about = 2 + len(self.parts).bit_length()
        images = []
        for changes, wanted in ((frozenset[int](), "good"), (self.everything, "bad")):
            # What is wrong with these two is for the user to mend, and no reason to skip anything.
            step = self._step(changes, about, skipped=())
            if step.verdict != wanted:
                raise self._refusal(step, wanted)
            project, _ = self._project(changes)
            images.append(pipeline.prepare(project, self.workspace, self.plugins, self.wishes).image)
        return images[0], images[1]

    def verdict(self, changes: Changes, left: int) -> Verdict:
        """Try a selection."""
        return self._step(changes, len(self.steps) + 1 + left).verdict

    def so_far(self) -> str:
        """What is known, for whoever stopped it."""
        known: dict[Changes, Verdict] = {each.changes: each.verdict for each in self.steps}
        if "bad" not in known.values() or known.get(frozenset()) != "good":
            return "stopped before anything was found out"
        good, bad = culprits.narrowed(known)
        ids = {each.changes: each.id.short for each in self.steps if each.id}
        left = [str(self.parts[each]) for each in sorted(bad - good)]
        return (
            f"stopped; so far {len(left)} of {len(self.parts)} changes are left: {_listed(left)}\n"
            f"the nearest: {ids.get(good)} is good, {ids.get(bad)} is bad"
        )

    def _step(self, changes: Changes, about: int, skipped: tuple[type[EnvbuildError], ...] = _NEVER_BUILT) -> Step:
        started = time.perf_counter()
        number = len(self.steps) + 1
        try:
            project, identity = self._project(changes)
            step = self._tried(project, Step(number=number, changes=changes, verdict="skip", reason="", id=identity))
        except skipped as error:
            step = Step(number=number, changes=changes, verdict="skip", reason=f"cannot be built: {error}")
        step = replace(step, seconds=time.perf_counter() - started)
        self.steps.append(step)
        self.say(self._told(step, max(about, number)))
        return step

    def _project(self, changes: Changes) -> tuple[Project, Digest]:
        """The environment of a selection as a project; its lock is recorded, and that is how its id leads to it."""
        definition, lock = mixture.mix([self.parts[each] for each in sorted(changes)], self.before, self.after)
        definition = definition.named(self.question.experiment)
        identity = pipeline.identify(
            Project(definition=definition, spec=self.question.experiment), lock, self.workspace, self.plugins
        )
        project = Project(definition=definition, spec=str(identity))
        pipeline.record_resolution(project, lock, identity, self.workspace)
        return project, identity

    def _tried(self, project: Project, step: Step) -> Step:
        """Run the command, again while it fails and is to be repeated."""
        for attempt in range(1, self.question.repeat + 1):
            with _nowhere() as nothing, _no_input():
                try:
                    outcome = execution.run(
                        project, self._order(step), self.workspace, self.plugins, self.wishes, (nothing, nothing)
                    )
                except TargetError as error:
                    # It was started in the good environment: this one lacks what it takes.
                    return replace(step, verdict="bad", reason=str(error), hint=error.hint)
            verdict, reason = self._judged(outcome)
            step = replace(
                step,
                verdict=verdict,
                reason=reason,
                exit_code=outcome.exit_code,
                built=step.built or outcome.built,
                runs=(*step.runs, outcome.run),
            )
            if verdict == "good" and attempt > 1:
                return replace(step, verdict="skip", flaky=True, reason=f"flaky: failed, and passed at try {attempt}")
            if verdict != "bad":
                return step
        return step

    def _order(self, step: Step) -> execution.Order:
        return execution.Order(
            command=self.question.command,
            head=0,
            source=self.question.directory,
            snapshot=self.source,
            experiment=self.question.experiment,
            variables=self.question.variables,
            secrets=self.question.secrets,
            git=self.git,
            known_as=(self.question.experiment, None),
            limit=self.question.timeout,
            grace=_GRACE,
            display_name=f"step {step.number}: {len(step.changes)} of {len(self.parts)} changes",
        )

    def _judged(self, outcome: execution.Outcome) -> tuple[Verdict, str]:
        if outcome.end.get("overdue"):
            return "bad", f"did not end within {self.question.timeout:g} s"
        if outcome.end["status"] == "Canceled":
            raise Stopped(outcome.end["stopped_by"])
        if outcome.exit_code == UNKNOWN:
            return "skip", f"exit code {UNKNOWN}: it cannot tell"
        return ("bad", outcome.end["reason"]) if outcome.exit_code else ("good", "")

    def _refusal(self, step: Step, wanted: str) -> EnvbuildError:
        question = self.question
        where, how = (question.good, "pass") if wanted == "good" else (question.bad, "fail")
        what = f"the command has to {how} in {where}, and it does not"
        what += f" ({step.reason})" if step.reason else ""
        run = step.runs[-1] if step.runs else None
        said = _end_of_log(self.workspace.run_folder(run) / layout.LOG) if run else ""
        if said:
            what += f"; the end of what it said:\n{said}"
        return EnvbuildError(what, hint=_mending(step, wanted))

    def _told(self, step: Step, about: int) -> str:
        made = [str(self.parts[each]) for each in sorted(step.changes)]
        what = f"{len(made)} of {len(self.parts)} changes: {_listed(made)}"
        ends = {frozenset[int](): self.question.good, self.everything: self.question.bad}
        reason = f" ({step.reason.splitlines()[0]})" if step.reason else ""
        identity = step.id.short if step.id else "-" * 12
        head = f"step {step.number} of about {about}: {step.verdict}{reason}"
        return visible(f"{head}  {identity}  {step.seconds:.2f} s  {ends.get(step.changes, what)}")


def _mending(step: Step, wanted: str) -> str:
    """What to do about an end that is not as it has to be."""
    log = f"envbuild runs logs {step.runs[-1]}" if step.runs else ""
    if step.flaky and wanted == "good":
        return f"have a command that never fails there: {log}"
    if step.flaky:
        return "have a command that fails always, or lower --repeat: without it, the first failure is believed"
    if step.verdict == "skip":
        return f"have a command that can tell there, and exits with something else than {UNKNOWN}: {log}"
    if wanted == "bad":
        return "if it fails there elsewhere, that is due to something else than the environment"
    return log or step.hint


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


@contextmanager
def _stoppable() -> Iterator[None]:
    """Have a request to end, or the closing of the terminal, come as `Stopped` where nobody else minds the signal."""

    def stop(number: int, _frame: object) -> None:
        raise Stopped(number)

    mine = threading.current_thread() is threading.main_thread()
    numbers = [each for each in (signal.SIGTERM, signal.SIGHUP) if mine and signal.getsignal(each) == signal.SIG_DFL]
    for each in numbers:
        signal.signal(each, stop)
    try:
        yield
    finally:
        for each in numbers:
            signal.signal(each, signal.SIG_DFL)


@contextmanager
def _nowhere() -> Iterator[int]:
    """A descriptor that takes what a command prints; its log has it too."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    try:
        yield nothing
    finally:
        os.close(nothing)


@contextmanager
def _no_input() -> Iterator[None]:
    """What is started meanwhile reads nothing: the first step would take the others' share, or wait for ever."""
    # A target hands on the standard input of this process, whatever that is.
    before = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    try:
        os.dup2(nothing, 0)
        yield
    finally:
        os.dup2(before, 0)
        os.close(nothing)
        os.close(before)


def _end_of_log(log: Path) -> str:
    try:
        with log.open("rb") as stream:
            stream.seek(max(0, log.stat().st_size - 8192))
            lines = stream.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return ""
    return "\n".join(visible(each.expandtabs()) for each in lines[-_TAIL:])
