"""The contract of ``build_image``."""

from __future__ import annotations

import itertools
import shutil
import stat
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from envbuild.definition import Definition
from envbuild.digest import Digest
from envbuild.errors import Damaged, EnvbuildError
from envbuild.image import BuildRequest, Image, ImageKind
from envbuild.lock import Artifact, Lock, Package
from envbuild.pipeline import Wishes, build
from envbuild.plugins import Plugins
from envbuild.process import run_program
from envbuild.project import Project
from envbuild.store import delete_tree
from envbuild.testing import elsewhere
from envbuild.testing.contract import PluginContract, said_by
from envbuild.testing.fakes import fill_prefix
from envbuild.testing.leaks import leaks
from envbuild.testing.watching import listening, naming, tree, unlike, watched
from envbuild.workspace import Workspace

ID = Digest.of(b"envbuild.testing")
"""The id of whatever is built: a builder takes it as it is."""

_THEIRS = Package(
    name="theirs",
    version="1",
    kind="somebody-elses",
    artifact=Artifact(kind="archive", url="https://host.test/theirs-1", digest=Digest.of(b"theirs"), size=6),
)
_VERSION = "import platform; print(platform.python_version())"


class BuildImageContract(PluginContract):
    """What ``build_image`` promises.

    A subclass gives the fixtures ``plugin``, ``definition`` and ``lock``, of which the plugin builds all by itself. If
    the lock is for bytes that are in a store, it gives ``workspace`` too, with those bytes in it.
    """

    hook = "build_image"

    @pytest.fixture
    def definition(self) -> Definition:
        """What was asked for."""
        return Definition()

    @pytest.fixture
    def lock(self) -> Lock:
        """What to install; its artifacts can be had as often as they are asked for."""
        self.lacks("lock", "one that the plugin builds, all by itself")

    @pytest.fixture
    def kind(self) -> ImageKind:
        """What the plugin makes of it."""
        return "prefix"

    @pytest.fixture
    def tampered(self, lock: Lock) -> Lock | None:
        """The lock with other digests than its artifacts have; ``None`` where nothing in it has one."""
        wrong = tuple(_tampered(each) for each in lock.packages)
        return replace(lock, packages=wrong) if wrong != lock.packages else None

    @pytest.fixture
    def request_of(
        self, kind: ImageKind, workspace: Workspace, variables: dict[str, str], tmp_path: Path
    ) -> Callable[..., BuildRequest]:
        """Make a request with folders of its own; further arguments are those of `BuildRequest`."""
        numbers = itertools.count()

        def make(lock: Lock, **told: Any) -> BuildRequest:
            workspace.store.prepare()
            # Of another length each time, so that it shows where a place is written down.
            place = tmp_path / f"build-{'x' * next(numbers)}"
            for name in ("destination", "scratch"):
                (place / name).mkdir(parents=True)
            return BuildRequest(
                **{
                    "kind": kind,
                    "platform": lock.platform,
                    "destination": place / "destination",
                    "home": workspace.images.home(ID),
                    "store": workspace.store.root,
                    "scratch": place / "scratch",
                    "variables": dict(variables),
                    **told,
                }
            )

        return make

    @pytest.fixture
    def make(
        self, plugin: Any, definition: Definition, request_of: Callable[..., BuildRequest]
    ) -> Callable[..., tuple[BuildRequest, Image]]:
        """Have the plugin build a lock that is its own."""

        def ask(lock: Lock, **told: Any) -> tuple[BuildRequest, Image]:
            request = request_of(lock, **told)
            image = self.ask(plugin, definition=definition, lock=lock, id=ID, request=request)
            if image is None:
                self.broken("it declines the lock that is said to be its own; it answers None")
            return request, image

        return ask

    def test_other_kinds_are_declined(
        self,
        plugin: Any,
        kind: ImageKind,
        definition: Definition,
        lock: Lock,
        request_of: Callable[..., BuildRequest],
        tmp_path: Path,
    ) -> None:
        """It says ``None`` to the kind of image that it does not make, and to packages that it does not know.

        As `build_image` says: "that kind of image, or what this lock holds, is not mine".
        """
        other: ImageKind = "oci" if kind == "prefix" else "prefix"
        foreign = replace(lock, packages=(_THEIRS,))
        for said, found, request in (
            (f"an image of kind {other}", lock, request_of(lock, kind=other)),
            ("packages of a kind that is somebody else's", foreign, request_of(foreign)),
        ):
            with self.nothing_left(tmp_path) as seen:
                image = self.ask(plugin, definition=definition, lock=found, id=ID, request=request)
            if image is not None:
                self.broken(f"asked for {said}, it answers {image!r}, not None")
            left = [*request.destination.iterdir(), *request.scratch.iterdir(), *seen.asked]
            if left:
                self.broken(f"asked for {said}, it does something before it declines", *left)

    def test_what_another_builder_has_put_there_stays(
        self,
        plugin: Any,
        kind: ImageKind,
        definition: Definition,
        lock: Lock,
        request_of: Callable[..., BuildRequest],
    ) -> None:
        """Where others have begun it adds to that, or declines, or refuses; their files stay as they are.

        As `build_image` says: "its files are in ``request.destination``, and belong to the packages that brought them."
        """
        both = replace(lock, packages=(*lock.packages, _THEIRS))
        request = request_of(both)
        fill_prefix(request.destination)
        (request.destination / "theirs.txt").write_text("theirs\n", encoding="utf-8")
        before = tree(request.destination)
        base = Image(
            kind=kind, id=ID, platform=lock.platform, path=request.destination, kinds=frozenset({_THEIRS.kind})
        )
        asked = {"definition": definition, "lock": both, "id": ID, "request": replace(request, base=base)}
        with suppress(EnvbuildError), self.may_refuse():
            self.ask(plugin, **asked)
        after = tree(request.destination)
        kept = {path: content for path, content in after.items() if path in before}
        self._alike("it changes what another builder has put there", before, kept)

    def test_the_image_says_what_was_built(
        self, kind: ImageKind, lock: Lock, make: Callable[..., tuple[BuildRequest, Image]]
    ) -> None:
        """The answer has the id, kind and platform that were asked for, and its path is in the destination.

        As `build_image` says: "the image, with its path inside ``request.destination``."
        """
        request, image = make(lock)
        if not isinstance(image, Image):
            self.broken(f"it answers {image!r}, which is not an envbuild.Image")
        wanted = {"kind": kind, "id": ID, "platform": lock.platform}
        self.same("its image is not what was asked for", wanted, {name: getattr(image, name) for name in wanted})
        if kind == "prefix":
            if image.path is None or not image.path.resolve().is_relative_to(request.destination.resolve()):
                self.broken(f"the path of its image is {image.path}, and not inside of {request.destination}")
            if Path(image.python).is_absolute() or not image.interpreter.exists():
                self.broken(f"the interpreter of its image is {image.python}, and there is no such file below its path")
        elif image.digest is None:
            self.broken("its image has no digest, by which the store would know it")

    def test_two_builds_hold_the_same_files(self, lock: Lock, make: Callable[..., tuple[BuildRequest, Image]]) -> None:
        """Built in another folder a second later, it is the same: every file, mode and link.

        As `build_image` says: "two builds of one lock on two machines hold the same files, byte for byte."
        """
        first, _ = make(lock)
        # Long enough for a time in whole seconds to be another.
        time.sleep(1.1)
        second, _ = make(lock)
        self._alike("two builds of one lock differ", tree(first.destination), tree(second.destination))

    def test_whoever_builds_makes_no_difference(
        self,
        reference: str,
        definition: Definition,
        lock: Lock,
        workspace: Workspace,
        variables: dict[str, str],
        tmp_path_factory: pytest.TempPathFactory,
    ) -> None:
        """On another machine, by somebody else, with another umask, it is the same: every file and link.

        What others than the owner may do with it is the business of whoever builds, and their umask.

        As `build_image` says: "It is shared by everybody who asks for that id, so nothing in it may depend on who
        asked."
        """
        workspace.store.prepare()
        before = tmp_path_factory.mktemp("before") / "workspace"
        shutil.copytree(workspace.root, before, symlinks=True)
        made = []
        for machine in elsewhere.MACHINES:
            # At the same place, which may be written in it.
            delete_tree(workspace.root)
            shutil.copytree(before, workspace.root, symlinks=True)
            theirs = {**variables, "HOME": str(tmp_path_factory.mktemp("home"))}
            asked = {"definition": definition, "lock": lock, "id": ID, "root": workspace.root}
            ended = elsewhere.ask("build", reference, variables=theirs, machine=machine, **asked)
            if ended.error:
                with self.no_refusal():
                    raise ended.error
            made.append(_installed(workspace, stat.S_IRWXU))
        one, other = elsewhere.MACHINES
        self._alike(f"built with {one}, and with {other}, it is not the same", *made)

    def test_it_holds_all_its_files_itself(
        self,
        definition: Definition,
        lock: Lock,
        kind: ImageKind,
        make: Callable[..., tuple[BuildRequest, Image]],
    ) -> None:
        """But for its Python, no link leads out of it, and no file is one of the project's, which people edit.

        Where the definition names an interpreter, what lies around that is the environment.

        As `build_image` says: "The environment is what the lock says and nothing else".
        """
        request, image = make(lock)
        python = image.interpreter.resolve() if kind == "prefix" else None
        inside = [request.destination.resolve(), request.home.resolve()]
        if definition.interpreter:
            inside.append(((definition.root or Path()) / definition.interpreter).parent.parent.resolve())
        theirs = {_inode(each): each for root in {definition.root, lock.root} if root for each in _files(root)}
        found = []
        for path in sorted(request.destination.rglob("*")):
            name = path.relative_to(request.destination)
            if path.is_symlink():
                end = path.resolve()
                if end != python and not any(map(end.is_relative_to, inside)):
                    found.append(f"{name}: a link to {path.readlink()}")
            elif path.is_file() and _inode(path) in theirs:
                found.append(f"{name}: the same file as {theirs[_inode(path)]}")
        if found:
            self.broken("what is outside of the environment is part of it", *found[:10])

    def test_nothing_names_the_place_where_it_was_built(
        self, lock: Lock, make: Callable[..., tuple[BuildRequest, Image]]
    ) -> None:
        """Neither a file nor a link in it leads to the folder in which it was built, which goes away.

        As `BuildRequest` says: "the core moves it to ``home`` once it is whole, so nothing in it may name
        ``destination``."
        """
        request, _ = make(lock)
        found = naming(
            request.destination,
            {str(each) for one in (request.destination, request.scratch) for each in (one, one.resolve())},
        )
        if found:
            self.broken(f"these name {request.destination.parent}, which goes away", *found[:10])

    def test_it_writes_only_where_it_was_told(
        self,
        plugin: Any,
        definition: Definition,
        lock: Lock,
        workspace: Workspace,
        caches: tuple[Path, ...],
        request_of: Callable[..., BuildRequest],
    ) -> None:
        """Nothing is written but in the destination, the scratch folder and the store.

        As docs/plugins.md says: "**Write only where you were told**: `request.scratch`, `request.destination`, and the
        store through `envbuild.Store`"
        """
        request = request_of(lock)
        told = (request.destination, request.scratch, workspace.store.root, *caches)
        watch = (definition.root, lock.root if lock.root != definition.root else None)
        with self.nothing_left(*told, watch=watch):
            self.ask(plugin, definition=definition, lock=lock, id=ID, request=request)

    def test_what_it_was_given_stays_as_it_was(
        self,
        definition: Definition,
        lock: Lock,
        variables: dict[str, str],
        make: Callable[..., tuple[BuildRequest, Image]],
    ) -> None:
        """Neither its arguments nor the variables and the folder of this process are changed.

        As docs/plugins.md says: "Nothing that a plugin is given changes behind its back, and it keeps no state between
        calls."
        """
        given = dict(variables)
        with self.nothing_changed(definition, lock, given):
            make(lock, variables=given)

    def test_an_artifact_that_is_not_the_locked_one_is_refused(
        self, tampered: Lock | None, make: Callable[..., tuple[BuildRequest, Image]]
    ) -> None:
        """Bytes that do not have the digest that the lock says are not installed; the error is `Damaged`.

        As `build_image` says: "every artifact is checked against its digest".
        """
        wrong = self.if_any("tampered", tampered, "nothing in the lock has a digest")
        if wrong is None:
            return
        try:
            with self.may_refuse():
                make(wrong)
        except Damaged:
            return
        except EnvbuildError as error:
            self.broken(f"an artifact with another digest is refused with {type(error).__name__}, not Damaged: {error}")
        self.broken("it installs artifacts that have other digests than the lock says")

    def test_no_secret_is_in_it(
        self,
        lock: Lock,
        tampered: Lock | None,
        secret: str,
        make: Callable[..., tuple[BuildRequest, Image]],
        capfd: pytest.CaptureFixture[str],
    ) -> None:
        """What opens an index is neither in a file of the environment nor in a log or an error.

        Nor is it there in base64 or another spelling, or in a member of a compressed file.

        As `build_image` says: "It is shared by everybody who asks for that id, so nothing in it may depend on who
        asked."
        """
        with self.nothing_overheard(secret, capfd):
            request, image = make(lock)
        found = leaks(request.destination, secret)
        if found:
            self.broken("the value of ${ENVBUILD_TESTING_SECRET} is in the environment", *found[:10])
        self.keeps(secret, "its image", repr(image))
        if tampered:
            with self.nothing_overheard(secret, capfd), pytest.raises(EnvbuildError) as raised, self.may_refuse():
                make(tampered)
            self.keeps(secret, "its error", said_by(raised.value))

    def test_nothing_goes_on_when_it_has_answered(
        self, lock: Lock, helpers: frozenset[str], make: Callable[..., tuple[BuildRequest, Image]]
    ) -> None:
        """No thread and no program that it has begun goes on, whoever its parent has become.

        As docs/plugins.md says: "**Nothing goes on behind an answer.**"
        """
        with self.nothing_goes_on(helpers):
            make(lock)

    def test_offline_asks_nobody(
        self, lock: Lock, variables: dict[str, str], make: Callable[..., tuple[BuildRequest, Image]]
    ) -> None:
        """Offline it builds from what is cached, or fails; it asks no network, and neither do its programs.

        As `BuildRequest` says: "use what is cached, and fail rather than ask the network."
        """
        first, _ = make(lock)
        with watched() as seen, listening() as (proxy, met):
            try:
                with self.may_refuse():
                    second, _ = make(lock, offline=True, variables={**variables, **proxy})
            except EnvbuildError:
                second = first
        if met or seen.asked:
            self.broken("told to stay offline, it asks the network", *met, *seen.asked)
        self._alike("offline it builds something else", tree(first.destination), tree(second.destination))

    def test_it_works_where_it_lives(
        self,
        plugin: Any,
        kind: ImageKind,
        definition: Definition,
        lock: Lock,
        workspace: Workspace,
        variables: dict[str, str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """Once it has been moved to its home its Python runs, and is the locked one.

        As `BuildRequest` says: "where the environment will live at run time, as seen from inside its target."
        """
        if kind != "prefix":
            pytest.skip("what is in a container runs in a container")
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        plugins = Plugins(())
        plugins.register(plugin, "tested")
        with self.no_refusal():
            image, _ = build(_project(definition), lock, ID, workspace, plugins, Wishes(platform=lock.platform))
        done = run_program([image.interpreter, "-I", "-c", _VERSION], timeout=60)
        if done.code != 0:
            self.broken(f"its Python does not run: it ends with {done.code}", done.stderr)
        self.same("its Python is not the one that was locked", lock.python, done.stdout.strip())

    def test_a_build_that_was_killed_can_be_made_again(
        self,
        reference: str,
        definition: Definition,
        lock: Lock,
        workspace: Workspace,
        variables: dict[str, str],
        tmp_path_factory: pytest.TempPathFactory,
    ) -> None:
        """Whenever its process is killed, the next build is as if there had been none before.

        As `build_image` says: "what was in ``request.destination`` when the hook raised, or when the process was
        killed, is thrown away."
        """
        workspace.store.prepare()
        before = tmp_path_factory.mktemp("before") / "workspace"
        shutil.copytree(workspace.root, before, symlinks=True)
        asked: dict[str, Any] = {"definition": definition, "lock": lock, "id": ID, "root": workspace.root}
        began = time.monotonic()
        ended = elsewhere.ask("build", reference, variables=variables, **asked)
        seconds = time.monotonic() - began
        if ended.error:
            with self.no_refusal():
                raise ended.error
        wanted = _installed(workspace)
        for moment in sorted({0, 1, max(1, ended.steps // 2), max(1, ended.steps - 1)}):
            # At the same place, which may be written in it.
            delete_tree(workspace.root)
            shutil.copytree(before, workspace.root, symlinks=True)
            question = elsewhere.Question("build", reference, variables=variables, killed_at=moment, **asked)
            if not moment:
                time.sleep(seconds / 2)
                question.kill()
            question.end()
            said = f"killed {f'at its step {moment} of {ended.steps}' if moment else 'half-way'}"
            again = elsewhere.ask("build", reference, variables=variables, **asked)
            if again.error:
                self.broken(f"{said}, it cannot be built again: {again.error!r}")
            found = unlike(wanted, _installed(workspace)) + [str(each) for each in workspace.store.verify()]
            if found:
                self.broken(f"{said} and built again, it is another", *found[:10])

    def test_of_many_processes_one_builds(
        self,
        reference: str,
        definition: Definition,
        lock: Lock,
        workspace: Workspace,
        variables: dict[str, str],
    ) -> None:
        """Processes that ask for the same environment at once wait for the one that builds it.

        As `build_image` says: "The core has made sure that nobody else builds the same id meanwhile, and publishes the
        answer in one step".
        """
        asked: dict[str, Any] = {"definition": definition, "lock": lock, "id": ID, "variables": variables}
        started = [elsewhere.Question("build", reference, root=workspace.root, **asked) for _ in range(3)]
        ended = [each.end() for each in started]
        errors = [repr(each.error) for each in ended if each.error]
        if errors:
            self.broken("of three processes that build the same, some fail", *errors)
        built = [each.answer[0] for each in ended if each.answer[1]]
        if len(built) != 1:
            self.broken(f"of three processes that ask for the same environment {len(built)} build it, not one")

    def _alike(self, broken: str, one: dict[str, str], other: dict[str, str]) -> None:
        """See to it that two trees are the same; ``broken`` says what it means if they are not."""
        found = unlike(one, other)
        if found:
            self.broken(broken, *found[:10])


def _tampered(package: Package) -> Package:
    artifact = package.artifact
    if artifact.digest is None or artifact.kind == "installed":
        return package
    return replace(package, artifact=replace(artifact, digest=Digest.of(b"another")))


def _files(folder: Path) -> list[Path]:
    return [each for each in folder.rglob("*") if each.is_file() and not each.is_symlink()]


def _inode(file: Path) -> tuple[int, int]:
    facts = file.stat()
    return facts.st_dev, facts.st_ino


def _project(definition: Definition) -> Project:
    return Project(definition=definition, spec="tested")


def _installed(workspace: Workspace, permissions: int = 0o7777) -> dict[str, str]:
    """What is in the environment; times that modules were compiled at are of nobody's making."""
    found = tree(workspace.images.home(ID), permissions)
    return {path: content for path, content in found.items() if "__pycache__" not in path}
