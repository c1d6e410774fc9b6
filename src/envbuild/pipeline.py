"""The pipeline: from a project to its lock, its id and its image, one short function a step.

This is the story that all doors tell; the plugins do the work, through the hooks and nothing else.
"""

from __future__ import annotations

import datetime
import errno
import os
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from packaging.utils import canonicalize_name

from envbuild.catalogue import EnvironmentVersion
from envbuild.definition import Definition, python_range
from envbuild.digest import Digest
from envbuild.errors import BuildFailed, EnvbuildError, LockError, LockOutdated, NotFound, StoreError
from envbuild.fingerprint import definition_document, differences, environment_document, lock_document
from envbuild.form import did_you_mean
from envbuild.image import BuildRequest, Image
from envbuild.layout import PREFIX
from envbuild.lock import Lock, LockRequest, Package, Resolution
from envbuild.platform import Platform
from envbuild.plugins import Plugins
from envbuild.process import run_program
from envbuild.progress import QUIET, Progress, counted
from envbuild.project import Project
from envbuild.reading.locks import locks_in, own_lock
from envbuild.requirement import WheelRef
from envbuild.staleness import changed_inputs
from envbuild.warm import facts_of
from envbuild.workspace import Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """How a user wants locking and building to go.

    :param upgrade: packages to bring up to date (``python`` among them), or ``True`` for all.
    :param locked: refuse to change a lock that is stale, rather than making it anew.
    :param source: packages that may be built from source although wheels of other versions fit.
    :param as_of: releases after that day do not count, in addition to what the definition says.
    :param python: the Python to lock for, within what the definition admits.
    """

    platform: Platform = field(default_factory=Platform.here)
    upgrade: frozenset[str] | Literal[True] = frozenset()
    offline: bool = False
    locked: bool = False
    source: frozenset[str] = frozenset()
    as_of: datetime.date | None = None
    python: str | None = None
    progress: Progress = QUIET

    @property
    def changes_lock(self) -> bool:
        """Whether even a lock that fits is to be made anew."""
        return bool(self.upgrade or self.as_of or self.python or self.source)


@dataclass(frozen=True, slots=True, kw_only=True)
class Locked:
    """A project with its lock.

    :param reasons: why it was resolved anew; empty where the lock that there was still holds.
    :param before: the lock that there was.
    :param file: where the lock is; ``None`` where the workspace keeps it.
    :param written: if it was written just now, what `envbuild.warm.facts_of` said of it then.
    """

    lock: Lock
    reasons: tuple[str, ...] = ()
    before: Lock | None = None
    file: Path | None = None
    written: tuple[str, str, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """An environment that is ready to be used, and how it came to be.

    :param built: whether it was built just now, rather than found.
    :param seconds: how long ``resolving`` and ``building`` took.
    """

    project: Project
    locked: Locked
    id: Digest
    definition_digest: Digest
    image: Image
    built: bool
    seconds: Mapping[str, float]


# -- locking -------------------------------------------------------------------------------------------------


def stale(lock: Lock, project: Project, workspace: Workspace, plugins: Plugins) -> tuple[str, ...]:
    """Say what has changed since ``lock`` was made; nothing, if it still fits the definition."""
    asked = lock_document(project.definition)
    if lock.made_from is None:
        return ("the lock does not say what it was made from",)
    if lock.made_from != asked.digest:
        try:
            before = workspace.document(lock.made_from).content
        except NotFound:
            return (f"the definition has changed since the lock was made (from {lock.made_from})",)
        return tuple(str(each) for each in differences(before, asked.content))
    root = lock.root or project.definition.root or Path()
    return (*changed_inputs(lock, root), *plugins.outdated(project.definition, lock))


def kept_lock(project: Project, workspace: Workspace, platform: Platform) -> Lock | None:
    """The lock that a project has for ``platform``: beside its definition, else in the workspace."""
    if project.lock_file is not None:
        lock = project.read_lock(platform)
        if lock is not None or os.access(project.lock_file.parent, os.W_OK):
            return lock
    if project.id is not None:
        found = workspace.catalogue.resolution_of(project.id)
    elif project.definition.pylock and project.definition.source:
        return None
    elif project.version is not None:
        found = workspace.resolution_of(project.version, str(platform))
    else:
        digest = definition_document(project.definition).digest
        found = workspace.catalogue.latest_resolution(digest, str(platform))
    if found is None or found.platform != str(platform):
        return None
    data = workspace.store.read(Digest.parse(found.lock_digest))
    return Lock.parse(data, where=f"the lock of {project.spec}", root=project.definition.root)


def lock(project: Project, workspace: Workspace, plugins: Plugins, wishes: Wishes) -> Locked:
    """Find the project's lock, or make it; only one process at a time does so for one lock.

    Another tool's lock is taken as it stands, and never written to.

    :raises LockOutdated: ``wishes.locked``, and the lock is stale or absent.
    :raises ResolutionFailed: nothing satisfies the definition.
    """
    if project.definition.pylock and project.definition.source:
        return Locked(lock=resolve(project, workspace, plugins, wishes), file=project.definition.source)
    name = str(project.lock_file or definition_document(project.definition).digest.hex)
    found = None if wishes.changes_lock else _fitting(project, workspace, plugins, wishes)
    if found is not None:
        return found
    with workspace.store.locked(f"lock-{Digest.of(os.fsencode(name)).short}"):
        found = None if wishes.changes_lock else _fitting(project, workspace, plugins, wishes)
        return found or _lock_anew(project, workspace, plugins, wishes)


def _fitting(project: Project, workspace: Workspace, plugins: Plugins, wishes: Wishes) -> Locked | None:
    present = kept_lock(project, workspace, wishes.platform)
    if present is None or stale(present, project, workspace, plugins):
        return None
    return Locked(lock=present, file=project.lock_target(present.platform))


def _lock_anew(project: Project, workspace: Workspace, plugins: Plugins, wishes: Wishes) -> Locked:
    before = kept_lock(project, workspace, wishes.platform)
    reasons = stale(before, project, workspace, plugins) if before else ("there is no lock yet",)
    if before and wishes.changes_lock:
        reasons = (*reasons, "asked for")
    if wishes.locked:
        raise LockOutdated(
            f"{project.spec}: the lock is not that of the definition: {'; '.join(reasons)}",
            hint="run 'envbuild lock' and commit the lock with the definition",
        )
    if project.id and before and before.is_observed:
        raise LockOutdated(
            f"{project.id.short} cannot be had any more: {'; '.join(reasons)}",
            hint="put the interpreter back as it was, or use it as it is now by its definition",
        )
    made = resolve(project, workspace, plugins, wishes, before)
    workspace.keep(lock_document(project.definition))
    # A lock of which no id can be taken would lie there as if it could be used.
    identify(project, made, workspace, plugins)
    file = write_lock(made, project, wishes)
    written = facts_of(str(file)) if file else None
    return Locked(lock=made, reasons=reasons, before=before, file=file, written=written)


def resolve(
    project: Project, workspace: Workspace, plugins: Plugins, wishes: Wishes, before: Lock | None = None
) -> Lock:
    """Ask the plugins to pin the definition.

    :raises PluginMissing: a section of the definition is nobody's.
    """
    definition = project.definition
    if definition.pylock:
        given = _as_it_stands(project, wishes.platform)
        if given is not None:
            return given
    as_of = wishes.as_of or definition.as_of or (before.as_of if before and not wishes.upgrade else None)
    asked = replace(definition, as_of=as_of, python=_both(definition.python, wishes.python))
    count = len(definition.pip) + len(definition.wheels) + len(definition.conda)
    wanted = [f"plugins.{each}" for each in sorted(definition.plugins)]
    if count or not wanted:
        wanted.insert(0, counted(count, "requirement"))
    doing = f"Resolving {' and '.join(wanted)} of {project.name}"
    if definition.pylock:
        doing = f"Reading {project.spec}"
    elif definition.interpreter:
        doing = f"Looking at {definition.interpreter}"
    with workspace.store.scratch("lock") as scratch, wishes.progress.step(doing):
        request = LockRequest(
            scratch=scratch,
            store=workspace.store.root,
            previous=before,
            upgrade=True if wishes.upgrade is True else wishes.upgrade | ({"python"} if wishes.python else set()),
            offline=wishes.offline,
            source=wishes.source,
            variables=dict(os.environ),
            progress=wishes.progress,
        )
        resolution = Resolution(request=request)
        try:
            taken = _ask_resolvers(asked, resolution, wishes.platform, plugins)
        except LockError as error:
            missing = _nobodys(asked, request, wishes.platform, plugins)
            raise plugins.missing("section", missing) if missing else error from error
    for section in definition.sections:
        if section not in taken:
            raise plugins.missing("section", section)
    if resolution.python is None:
        raise plugins.missing("section", "python")
    if wishes.upgrade is not True:
        _check_upgraded(wishes.upgrade, resolution.packages)
    return Lock(
        python=resolution.python,
        platform=wishes.platform,
        packages=resolution.packages,
        made_from=lock_document(definition).digest,
        definition=definition.source.name if definition.source and project.lock_file else None,
        as_of=as_of,
        inputs={path: str(digest) for path, digest in resolution.inputs.items()},
        system=resolution.system,
        root=definition.root,
    )


def _as_it_stands(project: Project, platform: Platform) -> Lock | None:
    """The lock in a file of which no plugin has to make anything; ``None`` where one has to select from it.

    :raises LockError: it is not for this platform.
    """
    definition = project.definition
    if definition.pylock is None or definition.source is None:
        raise LockError(
            f"{project.spec} was made of another tool's lock, and that was not for {platform}",
            hint="register a lock that is, under the same name",
        )
    if definition.source.suffix == ".toml":
        own = own_lock(definition.source)
        if own is None:
            return None
        found = {own.platform: own}
    else:
        found = locks_in(definition.source, definition.pylock.part)
    if platform not in found:
        raise LockError(
            f"{project.spec} is for {', '.join(map(str, found))}, not for {platform}",
            hint="make it again for this platform with the tool that made it",
        )
    made_from = lock_document(definition).digest
    return replace(found[platform], made_from=made_from, definition=None, inputs={}, root=definition.root)


def _both(asked: str | None, wished: str | None) -> str | None:
    """The Pythons that the definition admits and the command line asks for."""
    if asked is None or wished is None:
        return wished or asked
    both = f"{python_range(asked)},{python_range(wished)}"
    releases = (f"3.{minor}.{patch}" for minor in range(40) for patch in range(40))
    if not any(release in python_range(both) for release in releases):
        raise LockError(f"the definition asks for Python {asked}, and that does not admit {wished}")
    return both


def _ask_resolvers(definition: Definition, resolution: Resolution, platform: Platform, plugins: Plugins) -> set[str]:
    """Let the plugins pin what is theirs.

    :returns: the sections that somebody has taken on.
    """
    return plugins.taken(definition=definition, platform=platform, resolution=resolution)


def _nobodys(definition: Definition, request: LockRequest, platform: Platform, plugins: Plugins) -> str | None:
    """The section that no plugin takes on, once resolving has failed: pip may miss what conda would have brought."""
    rest = replace(definition, pip=(), constraints=(), wheels=(), pylock=None)
    answering = {each.name for each in plugins.found if "resolve_dependencies" in each.hooks}
    if answering.issuperset(rest.sections):
        return None
    try:
        taken = _ask_resolvers(rest, Resolution(request=request), platform, plugins)
    except EnvbuildError:
        return None
    return next((section for section in rest.sections if section not in taken), None)


def _check_upgraded(names: Iterable[str], packages: Iterable[Package]) -> None:
    locked = {canonicalize_name(each.name) for each in packages}
    for name in sorted(names):
        if name != "python" and canonicalize_name(name) not in locked:
            raise LockError(
                f"{name!r} cannot be upgraded: the environment has no such package{did_you_mean(name, locked)}",
                hint="name one that is in the lock, or give --upgrade without a name for all",
            )


def write_lock(lock: Lock, project: Project, wishes: Wishes) -> Path | None:
    """Write the lock beside its definition, whole or not at all; ``None`` where the workspace keeps it.

    :raises StoreError: the disk is full or fails.
    """
    target = project.lock_target(lock.platform)
    if target is None:
        return None
    beside = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        beside.write_text(lock.to_toml(), encoding="utf-8")
        beside.replace(target)
    except PermissionError:
        _keep_aside(target, wishes)
        return None
    except OSError as error:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
        if error.errno == errno.EROFS:
            _keep_aside(target, wishes)
            return None
        raise StoreError(f"{target} cannot be written: {error.strerror}") from error
    return target


def _keep_aside(target: Path, wishes: Wishes) -> None:
    wishes.progress.note(f"{target.parent} cannot be written: the lock is kept in the workspace instead")


# -- identity ------------------------------------------------------------------------------------------------


def identify(project: Project, lock: Lock, workspace: Workspace, plugins: Plugins) -> Digest:
    """The environment's id; the document that it is taken of is kept, so that it can be explained."""
    return workspace.keep(environment_document(lock, plugins.facts(project.definition, lock)))


# -- building ------------------------------------------------------------------------------------------------


def build(
    project: Project, lock: Lock, environment: Digest, workspace: Workspace, plugins: Plugins, wishes: Wishes
) -> tuple[Image, bool]:
    """Find the image of an environment, or build it; of many processes that ask at once, one builds.

    :returns: the image, and whether it was built just now.
    :raises BuildFailed: it cannot be built; nothing half-done stays behind.
    """
    found = _sound(workspace.images.find(environment), lock)
    if found:
        return found, False
    progress = wishes.progress
    waiting = lambda: progress.note(f"waiting for another process that builds {environment.short}")  # noqa: E731
    with workspace.store.locked(f"image-{environment.hex}", waiting):
        found = workspace.images.find(environment)
        if found and _sound(found, lock):
            return found, False
        if found:
            progress.note(f"{environment.short} has lost its Python {lock.python}: it is built again")
            workspace.images.remove(environment, force=True)
        doing = f"Building {project.name} ({counted(len(lock.packages), 'package')})"
        with workspace.images.stage(environment) as stage, progress.step(doing):
            image = make_image(project, lock, environment, stage / PREFIX, workspace, plugins, wishes)
            _check_unchanged(project, lock, environment, workspace, plugins)
            facts = image.interpreter.stat()
            noted = {**image.details, "python": f"{facts.st_size} {facts.st_mtime_ns}"}
            return workspace.images.publish(stage, replace(image, details=noted)), True


def _sound(image: Image | None, lock: Lock) -> Image | None:
    """``image``, unless its Python has gone, or is another version than it was made with.

    The file that it leads to belongs to the system: it changes when that is upgraded.
    """
    if image is None or image.kind != "prefix":
        return image
    interpreter = image.interpreter
    try:
        facts = interpreter.stat()
    except OSError:
        return None
    if image.details.get("python") == f"{facts.st_size} {facts.st_mtime_ns}":
        return image
    asked = run_program([interpreter, "-I", "-c", "import platform; print(platform.python_version())"], timeout=60)
    return image if asked.stdout.strip() == lock.python else None


def _check_unchanged(project: Project, lock: Lock, environment: Digest, workspace: Workspace, plugins: Plugins) -> None:
    """Local projects are measured before they are built; an edit in between would be in the wrong environment."""
    is_local = any(each.artifact.kind == "directory" for each in lock.packages)
    if not is_local:
        return
    now = identify(project, lock, workspace, plugins)
    if now != environment:
        changed = differences(workspace.document(environment).content, workspace.document(now).content)
        # The last word of a place is the file's name; before it stand a plugin, a package, and what it says of it.
        files = ", ".join(sorted({each.path[-1] for each in changed}))
        raise BuildFailed(
            f"a local project was edited while it was built: {files}",
            hint="build again; what grows there and is no part of it is named in .envbuildignore, or lies elsewhere",
        )


def make_image(
    project: Project,
    lock: Lock,
    environment: Digest,
    destination: Path,
    workspace: Workspace,
    plugins: Plugins,
    wishes: Wishes,
    *,
    anew: bool = False,
) -> Image:
    """Have the plugins build a prefix in ``destination``.

    :param anew: from artifacts fetched anew, since what is cached may be damaged.
    :raises PluginMissing: no plugin builds what the lock holds.
    """
    with workspace.store.scratch("build") as scratch:
        request = BuildRequest(
            kind="prefix",
            platform=lock.platform,
            destination=destination,
            home=workspace.images.home(environment),
            store=workspace.store.root,
            scratch=scratch,
            offline=wishes.offline,
            anew=anew,
            variables=dict(os.environ),
            progress=wishes.progress,
        )
        image, missing = _ask_builders(project, lock, environment, request, plugins)
    if image is None:
        if lock.platform != Platform.here():
            raise LockError(
                f"the lock is for {lock.platform}, and this machine is {Platform.here()}",
                hint="lock again without --platform",
            )
        kinds = sorted(missing - {"pip", "wheel"}) or sorted(missing)
        raise plugins.missing("packages of kind", kinds[0] if kinds else "prefix")
    return image


def _ask_builders(
    project: Project, lock: Lock, environment: Digest, request: BuildRequest, plugins: Plugins
) -> tuple[Image | None, set[str]]:
    """Have one plugin after another build what the ones before have left, until all of the lock is there.

    Where nobody begins, an environment without packages is asked for first: whoever installs a kind of packages need
    not know how to make a prefix for them.

    :returns: the image, or ``None`` and the kinds of packages that nobody takes on.
    """
    ask = partial(plugins.first, "build_image", Image, definition=project.definition, id=environment)
    missing = {each.kind for each in lock.packages}
    image: Image | None = ask(lock=lock, request=request)
    if image is None and missing and not lock.brings_python:
        bare: Image | None = ask(lock=replace(lock, packages=()), request=request)
        image = bare and replace(bare, kinds=frozenset())
    while image is not None:
        left = set() if image.kinds is None else missing - image.kinds
        if not left:
            return replace(image, kinds=None), left
        if left == missing and request.base is not None:
            # It would be asked for ever. Who begins may have made the prefix, and nothing of what the lock holds.
            break
        missing, request = left, replace(request, base=image)
        image = ask(lock=lock, request=request)
    return None, missing


def prepare(project: Project, workspace: Workspace, plugins: Plugins, wishes: Wishes) -> Prepared:
    """Lock, identify and build: after this the environment can be used."""
    started = time.perf_counter()
    locked = lock(project, workspace, plugins, wishes)
    environment = identify(project, locked.lock, workspace, plugins)
    resolved = time.perf_counter()
    image, built = build(project, locked.lock, environment, workspace, plugins, wishes)
    definition_digest = record_resolution(project, locked.lock, environment, workspace)
    return Prepared(
        project=project,
        locked=locked,
        id=environment,
        definition_digest=definition_digest,
        image=image,
        built=built,
        seconds={"resolving": resolved - started, "building": time.perf_counter() - resolved},
    )


def record_resolution(
    project: Project, lock: Lock, environment: Digest, workspace: Workspace, source: str | None = None
) -> Digest:
    """Note that the definition was resolved to this lock, and which environment that is.

    :param source: what remembers it, where that is not the project's own file or name.
    :returns: the definition digest.
    """
    definition = workspace.keep(definition_document(project.definition))
    text = workspace.store.put(lock.to_toml().encode())
    workspace.catalogue.record_resolution(
        definition, str(lock.platform), lock.python, text, environment, source or project.source
    )
    return definition


def keep_wheel(path: Path, workspace: Workspace, plugins: Plugins) -> WheelRef:
    """Keep a private wheel, as long as something asks for it.

    :raises NotFound: there is no such file.
    :raises Damaged: it is no wheel that may be installed.
    :raises PluginMissing: no plugin knows wheels.
    """
    if not path.is_file():
        raise NotFound(f"no such file: {path}")
    plugin: Any = plugins.manager.get_plugin("wheel")
    if plugin is None:
        raise plugins.missing("section", "wheels")
    wheel: WheelRef = plugin.check(path)
    workspace.store.put_file(path, expected=wheel.digest)
    return wheel


def add_wheel(path: Path, workspace: Workspace, plugins: Plugins) -> WheelRef:
    """Keep a private wheel, so that definitions may come to ask for it by its URL; otherwise as `keep_wheel`."""
    wheel = keep_wheel(path, workspace, plugins)
    workspace.add_wheel(wheel.digest)
    return wheel


def register(
    project: Project, workspace: Workspace, name: str | None = None, description: str = "", *, pinned: bool = False
) -> EnvironmentVersion:
    """Record a project's definition under its name, unless that is where it came from.

    :param pinned: somebody asked for it, and gc is to leave its environment alone.
    """
    if project.version is not None and name in (None, project.version.name) and not (pinned or description):
        return project.version
    return workspace.register(name or project.name, project.definition, description=description, pinned=pinned)


def settle(
    version: EnvironmentVersion, project: Project, lock: Lock, environment: Digest, workspace: Workspace
) -> Digest:
    """Note which environment a version stands for, unless that has been noted already: it does not change by itself.

    :returns: that environment.
    """
    noted = workspace.catalogue.history(str(version), str(lock.platform), limit=1)
    if noted:
        return Digest.parse(noted[0].environment_id)
    record_resolution(project, lock, environment, workspace, source=str(version))
    return environment
