"""The contract of ``resolve_dependencies``."""

from __future__ import annotations

import itertools
import platform as machine
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from envbuild.definition import OWN_SECTIONS, Definition
from envbuild.digest import Digest
from envbuild.errors import Damaged, EnvbuildError, LockError, NotFound, PythonNotFound, ResolutionFailed
from envbuild.lock import Lock, LockRequest, Package, Resolution
from envbuild.platform import Platform
from envbuild.requirement import Requirement, WheelRef
from envbuild.testing import elsewhere
from envbuild.testing.contract import PluginContract, plain, said_by
from envbuild.testing.watching import listening, watched
from envbuild.workspace import Workspace

_WHEEL = WheelRef("theirs-1.0-py3-none-any.whl", Digest.of(b"theirs"))
_THEIRS: Mapping[str, Definition] = {
    "conda": Definition(conda=("theirs",), channels=("https://host.test/theirs",)),
    "wheels": Definition(wheels=(_WHEEL,)),
    "pip": Definition(pip=(Requirement.parse("theirs"),)),
    "docker": Definition(docker={"image": "host.test/theirs"}),
    "interpreter": Definition(interpreter="theirs"),
    "gpu": Definition(gpu={"count": 1}),
    "spark": Definition(spark={"packages": ["theirs"]}),
}
"""For each section a definition that has that one alone."""


@dataclass
class Told:
    """Progress that is kept."""

    lines: list[str] = field(default_factory=list)

    def step(self, doing: str) -> AbstractContextManager[None]:
        """Keep what is being done."""
        self.lines.append(doing)
        return nullcontext()

    def note(self, message: str) -> None:
        """Keep a message."""
        self.lines.append(message)


@dataclass(frozen=True)
class Answer:
    """What came of a resolution.

    :param sections: what the hook gave.
    :param told: the progress.
    """

    definition: Definition
    platform: Platform
    sections: tuple[str, ...] | None
    resolution: Resolution
    told: str = ""

    @property
    def content(self) -> Any:
        """All that ought to be equal where the question is."""
        found = self.resolution
        return {
            "answer": self.sections if self.sections is None else sorted(self.sections),
            "python": found.python,
            "packages": {each.label: plain(each) for each in found.packages},
            "inputs": plain(found.inputs),
            "system": list(found.system),
        }

    @property
    def lock(self) -> Lock:
        """The lock that envbuild makes of it; where the plugin leaves Python to others, for the one that runs here."""
        return Lock(
            python=self.resolution.python or machine.python_version(),
            platform=self.platform,
            packages=self.resolution.packages,
            inputs={path: str(digest) for path, digest in self.resolution.inputs.items()},
            system=self.resolution.system,
            root=self.definition.root,
        )


class ResolveDependenciesContract(PluginContract):
    """What ``resolve_dependencies`` promises.

    A subclass gives the fixtures ``plugin`` and ``definition``; the more that definition asks for, the more is
    proved. It may give ``foreign``, ``unsatisfiable``, ``reordered`` and ``release``, without which some tests are
    skipped.
    """

    hook = "resolve_dependencies"

    @pytest.fixture
    def definition(self) -> Definition:
        """A definition with something in it that is the plugin's, best of all two requirements."""
        self.lacks("definition", "one with something in it that is the plugin's")

    @pytest.fixture
    def sections(self, definition: Definition) -> tuple[str, ...]:
        """The sections in which there may be something of the plugin's; by default those that its definition has."""
        return definition.sections

    @pytest.fixture
    def foreign(self, sections: tuple[str, ...]) -> tuple[Definition, ...]:
        """Definitions in which nothing is the plugin's; by default those of all sections that it does not know.

        Their Python is pinned already when it is asked.
        """
        return (Definition(), *(_THEIRS[each] for each in OWN_SECTIONS if each not in sections))

    @pytest.fixture
    def unsatisfiable(self) -> Definition | None:
        """A definition that is the plugin's, and asks for what cannot be had."""
        return None

    @pytest.fixture
    def reordered(self, definition: Definition) -> Definition | None:
        """The definition, written in another order; by default so are pip's requirements, wheels and conda's packages.

        What is in a section of the plugin's own only its author can put in another order.
        """
        turned = reversed_definition(definition)
        return turned if plain(turned) != plain(definition) else None

    @pytest.fixture
    def release(self) -> Callable[[], object] | None:
        """A function that publishes newer versions of what the definition asks for, where the plugin looks."""
        return None

    @pytest.fixture
    def resolve(
        self, plugin: Any, platform: Platform, workspace: Workspace, variables: dict[str, str], tmp_path: Path
    ) -> Callable[..., Answer]:
        """Ask the plugin to pin a definition; further arguments are those of `LockRequest`."""
        numbers = itertools.count()

        def ask(definition: Definition, *pinned: Package, python: str | None = None, **wishes: Any) -> Answer:
            workspace.store.prepare()
            scratch = tmp_path / f"scratch-{next(numbers)}"
            scratch.mkdir()
            told = Told()
            wishes = {"variables": dict(variables), "progress": told, **wishes}
            request = LockRequest(scratch=scratch, store=workspace.store.root, **wishes)
            resolution = Resolution(request=request, packages=pinned, python=python)
            sections = self.ask(plugin, definition=definition, platform=platform, resolution=resolution)
            return Answer(definition, platform, sections, resolution, "\n".join(told.lines))

        return ask

    @pytest.fixture
    def resolve_elsewhere(
        self,
        reference: str,
        platform: Platform,
        workspace: Workspace,
        variables: dict[str, str],
        tmp_path_factory: pytest.TempPathFactory,
    ) -> Callable[..., Answer]:
        """The same in a fresh interpreter, which may be told that it is on another machine."""

        def ask(definition: Definition, **options: Any) -> Answer:
            scratch = tmp_path_factory.mktemp("elsewhere")
            request = LockRequest(scratch=scratch, store=workspace.store.root, variables=dict(variables))
            arguments = {"definition": definition, "platform": platform, "resolution": Resolution(request=request)}
            asked = {"name": self.hook, "arguments": arguments, **options}
            ended = elsewhere.ask("hook", reference, variables=variables, **asked)
            if ended.error:
                with self.no_refusal():
                    raise ended.error
            sections, after = ended.answer
            return Answer(definition, platform, sections, after["resolution"])

        return ask

    def test_what_is_not_its_own_is_declined(
        self, foreign: tuple[Definition, ...], resolve: Callable[..., Answer], tmp_path: Path
    ) -> None:
        """Of a definition in which nothing is its own it says ``None``, asks nobody and adds nothing.

        As `resolve_dependencies` says: "or ``None`` for "nothing in it is mine"".
        As docs/plugins.md says: "A plugin is asked about definitions and targets that have nothing to do with it."
        """
        for each in foreign:
            said = f"a definition with {' and '.join(each.sections) or 'nothing'} in it, which is not its own"
            with self.nothing_left(tmp_path) as seen:
                found = resolve(each, python=machine.python_version())
            if found.sections is not None:
                self.broken(f"it takes on {said}: it answers {found.sections!r}, not None")
            if found.resolution.packages or found.resolution.inputs:
                self.broken(f"it adds to {said}", *found.resolution.packages, *found.resolution.inputs)
            if any(found.resolution.request.scratch.iterdir()):
                self.broken(f"it writes files for {said}", *found.resolution.request.scratch.iterdir())
            if seen.asked or seen.started:
                self.broken(f"it asks around about {said}", *seen.asked, *seen.started)

    def test_it_says_which_sections_it_took_on(self, definition: Definition, resolve: Callable[..., Answer]) -> None:
        """It gives the names of sections that definitions have, and only of those; others go on to be asked for.

        As `resolve_dependencies` says: "the sections of the definition (see ``Definition.sections``) that are now taken
        care of".
        """
        sections = resolve(definition).sections
        if sections is None:
            self.broken("it declines the definition that is said to be its own; it answers None")
        if isinstance(sections, str) or not isinstance(sections, (tuple, list, set, frozenset)):
            self.broken(f"it answers {sections!r}, which is not a tuple of names of sections")
        known = (*OWN_SECTIONS, *definition.plugins)
        unknown = [each for each in sections if each not in known]
        if unknown:
            self.broken(f"it takes on {unknown}, and the sections are {', '.join(known)}")
        if not set(sections) & set(definition.sections):
            self.broken(f"it takes on {list(sections)}, and the definition has {list(definition.sections)}")

    def test_equal_questions_get_equal_answers(self, definition: Definition, resolve: Callable[..., Answer]) -> None:
        """What is asked twice is answered alike.

        As `resolve_dependencies` says: "Equal arguments get equal answers while the indexes do not change".
        """
        self.same(
            "asked the same twice, it answers differently", resolve(definition).content, resolve(definition).content
        )

    def test_every_machine_gives_the_same_answer(
        self,
        definition: Definition,
        resolve: Callable[..., Answer],
        resolve_elsewhere: Callable[..., Answer],
    ) -> None:
        """Host, user, hour, hash seed, time zone and language make no difference.

        As `resolve_dependencies` says: "Equal arguments get equal answers while the indexes do not change".
        """
        here = resolve(definition).content
        for each in elsewhere.MACHINES:
            there = resolve_elsewhere(definition, machine=each).content
            self.same(f"another process ({each}) answers differently", here, there)

    def test_no_lock_names_a_place_on_this_machine(
        self, definition: Definition, resolve: Callable[..., Answer]
    ) -> None:
        """What it locks in the project it names from there: a lock is committed, and used where the project is cloned.

        Places that the definition itself names are its author's.

        As `Artifact` says: "relative to the lock's folder, with ``/``."
        """
        found = resolve(definition)
        request, asked = found.resolution.request, str(definition.content())
        folders = [each for each in (definition.root, request.scratch, request.store) if each]
        places = {str(each) for folder in folders for each in (folder, folder.resolve()) if str(each) not in asked}
        wrong = [
            f"{each.label}: {each.artifact.place}"
            for each in found.resolution.packages
            # What is installed is where it is.
            if each.artifact.kind != "installed" and any(place in str(plain(each)) for place in places)
        ]
        wrong += [path for path in found.lock.inputs if Path(path).is_absolute()]
        if wrong:
            self.broken("it locks places that are on no other machine", *wrong)

    def test_the_order_of_what_is_asked_for_does_not_count(
        self, definition: Definition, reordered: Definition | None, resolve: Callable[..., Answer]
    ) -> None:
        """Requirements, packages and wheels are sets: written in another order, they are the same question.

        As `Definition.content` says: "The order of requirements, wheels, conda packages, variables and secrets says
        nothing and is dropped".
        """
        missing = "the fixture `definition` asks for less than two things, or its order is known to the plugin alone"
        turned = self.if_any("reordered", reordered, f"{missing}: give `reordered`")
        if turned is None:
            return
        found = resolve(definition), resolve(turned)
        self.same("asked in another order, it answers differently", *(each.content for each in found))

    def test_what_is_locked_stays(
        self,
        definition: Definition,
        resolve: Callable[..., Answer],
        release: Callable[[], object] | None,
    ) -> None:
        """What the previous lock has stays, although there is something newer, until it is to be upgraded.

        As `resolve_dependencies` says: "a package that ``resolution.request`` names in ``previous`` stays as it is
        there unless the definition or ``upgrade`` says otherwise".
        """
        before = resolve(definition)
        if release:
            release()
        after = resolve(definition, previous=before.lock)
        said = "with the previous lock at hand, it answers differently"
        self.same(said, before.content["packages"], after.content["packages"])
        if release and resolve(definition, previous=before.lock, upgrade=True).content == before.content:
            self.broken("told to upgrade, it keeps what was locked, although there is something newer (`release`)")

    def test_what_is_pinned_already_is_not_pinned_again(
        self, definition: Definition, resolve: Callable[..., Answer]
    ) -> None:
        """What plugins before have pinned stays: it fits in around that, or refuses.

        As `resolve_dependencies` says: "A package that is pinned already may not be pinned again".
        """
        for ours in resolve(definition).resolution.packages:
            theirs = replace(ours, version="0.0.0", artifact=replace(ours.artifact, digest=Digest.of(b"theirs")))
            try:
                with self.may_refuse():
                    found = resolve(definition, theirs).resolution.packages
            except LockError:
                continue
            same = [str(each) for each in found if each.label == ours.label]
            if theirs not in found or len(same) != 1:
                self.broken(f"{theirs} was pinned before it was asked, and afterwards there is", *(same or ["nothing"]))

    def test_a_python_that_is_fixed_already_stays(self, definition: Definition, resolve: Callable[..., Answer]) -> None:
        """Where a plugin before has fixed the Python, it resolves for that one, or refuses.

        As `Resolution.pin_python` says: "Fix the Python of the environment; the first plugin to do so decides."
        """
        try:
            with self.may_refuse():
                found = resolve(definition, python="3.99.1").resolution.python
        except EnvbuildError:
            return
        if found != "3.99.1":
            self.broken(f"Python 3.99.1 was fixed before it was asked, and afterwards it is {found}")

    def test_it_writes_only_where_it_was_told(
        self,
        definition: Definition,
        workspace: Workspace,
        caches: tuple[Path, ...],
        resolve: Callable[..., Answer],
        tmp_path: Path,
    ) -> None:
        """Nothing is written but in the scratch folder and the store; the project above all stays as it is.

        As `resolve_dependencies` says: "nothing written but in ``resolution.request.scratch`` and the store".
        """
        workspace.store.prepare()
        with self.nothing_left(tmp_path / "scratch-0", workspace.store.root, *caches, watch=(definition.root,)):
            resolve(definition)

    def test_what_it_was_given_stays_as_it_was(
        self, definition: Definition, variables: dict[str, str], resolve: Callable[..., Answer]
    ) -> None:
        """Neither its arguments nor the variables and the folder of this process are changed.

        As docs/plugins.md says: "Nothing that a plugin is given changes behind its back, and it keeps no state between
        calls."
        """
        given = dict(variables)
        with self.nothing_changed(definition, given):
            resolve(definition, variables=given)

    def test_one_call_knows_nothing_of_another(
        self,
        definition: Definition,
        resolve: Callable[..., Answer],
        resolve_elsewhere: Callable[..., Answer],
    ) -> None:
        """What was asked before makes no difference: a process that was never asked answers the same.

        As docs/plugins.md says: "it keeps no state between calls."
        """
        less = _less(definition)
        resolve(definition)
        here, again = resolve(less), resolve(definition)
        self.same(
            "after another question it answers differently from a new process",
            resolve_elsewhere(less).content,
            here.content,
        )
        self.same(
            "asked again, it answers differently from a new process",
            resolve_elsewhere(definition).content,
            again.content,
        )

    def test_nothing_goes_on_when_it_has_answered(
        self, definition: Definition, helpers: frozenset[str], resolve: Callable[..., Answer]
    ) -> None:
        """No thread and no program that it has begun goes on, whoever its parent has become.

        As docs/plugins.md says: "**Nothing goes on behind an answer.**"
        """
        with self.nothing_goes_on(helpers):
            resolve(definition)

    def test_every_artifact_can_be_verified(self, definition: Definition, resolve: Callable[..., Answer]) -> None:
        """Each package says where it comes from, and each file has its SHA-256 and its size.

        As `Lock` says: "Everything that will be installed."
        As `Artifact` says: "of the file; ``None`` for directories and repositories, which have none."
        """
        found = resolve(definition)
        wrong = [f"{each} {lack}" for each in found.resolution.packages for lack in _lacking(each)]
        if wrong:
            self.broken("a lock of it could not be verified", *wrong)
        lock = found.lock
        try:
            read = Lock.parse(lock.to_toml(), root=lock.root)
        except LockError as error:
            self.broken(f"written down, its lock cannot be read again: {error}")
        by_name = [{each.label: plain(each) for each in one.packages} for one in (lock, read)]
        self.same("written down and read again, its lock is another", *by_name)
        self.same("written down and read again, its lock is another", lock, read)

    def test_no_secret_is_told(
        self,
        definition: Definition,
        unsatisfiable: Definition | None,
        secret: str,
        resolve: Callable[..., Answer],
        capfd: pytest.CaptureFixture[str],
    ) -> None:
        """What opens an index is in no lock, message, log or error: locks are committed, and errors are mailed.

        Nor is it there in base64 or another spelling, which opens the index as well.

        As `Artifact` says: "never with credentials".
        """
        with self.nothing_overheard(secret, capfd):
            found = resolve(definition)
        self.keeps(secret, "what it has locked", found.lock.to_toml(), found.content)
        self.keeps(secret, "its progress", found.told)
        if unsatisfiable:
            with self.nothing_overheard(secret, capfd), pytest.raises(EnvbuildError) as raised, self.may_refuse():
                resolve(unsatisfiable)
            self.keeps(secret, "its error", said_by(raised.value))

    def test_what_cannot_be_had_is_refused_in_words(
        self, unsatisfiable: Definition | None, resolve: Callable[..., Answer]
    ) -> None:
        """A definition that nothing satisfies is refused with `ResolutionFailed`, which says why.

        What is wrong with one thing that it names may be said by an error of its own.

        As `resolve_dependencies` says: "nothing satisfies the definition; the message says why, in the user's terms."
        As `resolve_dependencies` says: "a file that the definition names is not there."
        As `resolve_dependencies` says: "a file that the definition names is not what it says."
        As `resolve_dependencies` says: "no interpreter on this machine fits."
        """
        impossible = self.if_any("unsatisfiable", unsatisfiable, "there is no fixture `unsatisfiable`")
        if impossible is None:
            return
        try:
            with self.may_refuse():
                found = resolve(impossible)
        except (ResolutionFailed, PythonNotFound, NotFound, Damaged) as error:
            if not str(error).strip():
                self.broken("it refuses what cannot be had without a word")
        except EnvbuildError as error:
            self.broken(f"what cannot be had is refused with {type(error).__name__}, not ResolutionFailed: {error}")
        else:
            self.broken("what cannot be had it pins", *found.resolution.packages)

    def test_offline_asks_nobody(
        self, definition: Definition, variables: dict[str, str], resolve: Callable[..., Answer]
    ) -> None:
        """Offline it answers from what is cached, or fails; it asks no network, and neither do its programs.

        As `LockRequest` says: "use what is cached, and fail rather than ask the network."
        """
        before = resolve(definition)
        with watched() as seen, listening() as (proxy, met):
            try:
                with self.may_refuse():
                    found = resolve(definition, offline=True, variables={**variables, **proxy})
            except EnvbuildError:
                found = before
        if met or seen.asked:
            self.broken("told to stay offline, it asks the network", *met, *seen.asked)
        self.same("offline it answers differently", before.content, found.content)


def reversed_definition(definition: Definition) -> Definition:
    """The same definition, written in another order."""
    turned: dict[str, Any] = {
        name: tuple(reversed(getattr(definition, name)))
        for name in ("pip", "constraints", "wheels", "conda", "secrets")
    }
    turned["variables"] = dict(reversed(list(definition.variables.items())))
    return replace(definition, **turned)


def _less(definition: Definition) -> Definition:
    """The definition with less in it."""
    lists = ("pip", "conda", "wheels")
    return replace(definition, **{name: getattr(definition, name)[1:] for name in lists})


def _lacking(package: Package) -> Iterator[str]:
    """What an artifact lacks to be found, and to be told from another."""
    artifact = package.artifact
    if artifact.kind == "installed":
        return
    if not artifact.place:
        yield "does not say where it comes from (url or path)"
    if artifact.kind == "vcs":
        if not artifact.revision:
            yield "has no revision"
    elif artifact.kind != "directory":
        if artifact.digest is None:
            yield "has no digest"
        if artifact.size is None:
            yield "has no size"
