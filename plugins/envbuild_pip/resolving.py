"""Resolving: from what is asked for to exact artifacts, wheels first.

uv takes an old source release without a word when no wheel of a newer one fits (``pandas<1`` on Python 3.11 is
locked to a source archive of 2019). Here a package is built from source only if no version of it has a wheel
that fits and no newer one has wheels for others, or if the definition names the very archive, or if somebody has
said that it may be; who has said so once need not repeat it while the lock keeps the package.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import tomli_w
from packaging.utils import canonicalize_name

from envbuild import (
    Definition,
    LockRequest,
    Package,
    Platform,
    PythonNotFound,
    Requirement,
    Resolution,
    ResolutionFailed,
)
from envbuild_pip import answering, asking, extras, interpreters, projects, provided, tool_uv
from envbuild_pip.credentials import filled_in, with_indexes, write_private
from envbuild_pip.extras import Extras
from envbuild_pip.uv import is_network_trouble, run_uv

_LACKING = re.compile(r"Wheels are required for `([^`]+)`")
"""How uv names a package that it would have to build."""

_NAME_OF = re.compile(r"[<>=!~\s\[;]")

_TOO_NEW = re.compile(
    r"`([^`]+)` was filtered by `exclude-newer`.* The latest version satisfying the requirement is v?"
    r"([^\s,]*[^\s,.])(?:, published at (\d{4}-\d\d-\d\d))?"
)
"""How uv says that a package has versions that came after the day that is asked for."""

_TRIES = 8
"""How often packages may turn out to need building before we give up; each try forbids it for more of them."""


def pin_python(definition: Definition, platform: Platform, resolution: Resolution) -> None:
    """Fix the Python of the environment, unless a plugin before has.

    The one of the previous lock stays where the definition still admits it, even if this machine lacks it.

    :raises PythonNotFound: none fits.
    """
    if resolution.python is not None:
        return
    request, wanted = resolution.request, definition.python_range
    asked = definition.python or "any version"
    previous = request.previous
    upgrade = request.upgrade is True or "python" in request.upgrade
    if previous and not upgrade and previous.python in wanted:
        known = interpreters.exactly(previous.python, request.variables)
        resolution.pin_python(previous.python, known.path if known else None)
    elif platform == Platform.here():
        found = interpreters.find(wanted, asked, request.variables)
        resolution.pin_python(str(found.version), found.path)
    else:
        _pin_foreign_python(definition, platform, resolution)


def _pin_foreign_python(definition: Definition, platform: Platform, resolution: Resolution) -> None:
    """For another machine: the version that this one would use, else the newest that fits."""
    wanted, variables = definition.python_range, resolution.request.variables
    own = interpreters.own()
    found = interpreters.choose(wanted, [*([own] if own else []), *interpreters.installed(variables)])
    version = found.version if found else interpreters.latest_known(wanted, variables)
    if version is None:
        raise PythonNotFound(
            f"no Python release fits {definition.python!r} for {platform}", hint="ask for another in the definition"
        )
    resolution.pin_python(str(version), None)


def resolve(definition: Definition, platform: Platform, resolution: Resolution) -> tuple[Package, ...]:
    """Pin the pip requirements and the dependencies of private wheels, around what is pinned already.

    :raises ResolutionFailed: nothing satisfies the definition, or only something that has to be built from source
        and may not be.
    """
    call = _Compile(definition, platform, resolution)
    request = resolution.request
    allowed: set[str] = {canonicalize_name(name) for name in (*definition.options.source, *request.source)}
    allowed |= _built_before(request)
    direct = any(each.is_path or "://" in each.text for each in definition.pip)
    if not allowed and not direct and not definition.options.no_binary:
        found, complaint = call.run([":all:"])
        if found is not None:
            return found
        if not _is_for_want_of_wheels(complaint):
            raise _failure(complaint, definition)
        lacking = [canonicalize_name(name) for name in _LACKING.findall(complaint)]
        # What has a fitting wheel in another version is not even looked into: that would run its code.
        return _with_sources(call, allowed, {name for name in lacking if call.has_wheels(name)})
    allowed |= {canonicalize_name(name) for name in definition.options.no_binary}
    return _with_sources(call, allowed, set())


def _built_before(request: LockRequest) -> set[str]:
    """The packages that the previous lock has from source and that are to stay."""
    if request.previous is None or request.upgrade is True:
        return set()
    sources = {each.name for each in request.previous.of_kind("pip") if each.artifact.kind == "sdist"}
    return sources - {canonicalize_name(name) for name in request.upgrade}


def _with_sources(call: _Compile, allowed: set[str], forbidden: set[str]) -> tuple[Package, ...]:
    """Let packages be built that have no fitting wheel in any version; forbid it for the others, until that is all."""
    for _ in range(_TRIES):
        found, complaint = call.run(sorted(forbidden))
        if found is None:
            if forbidden:
                raise ResolutionFailed(
                    f"no wheel fits: {', '.join(sorted(forbidden))} would have to be built from source\n"
                    + _without_hints(complaint),
                    hint="admit another version, or say that it may be built: envbuild lock "
                    + " ".join(f"--allow-source {name}" for name in sorted(forbidden)),
                )
            raise _failure(complaint, call.definition)
        built = [each for each in found if each.artifact.kind == "sdist" and each.name not in allowed | forbidden]
        refused = {each.name for each in built if ":all:" not in allowed and call.passes_over_wheels(each)}
        if not refused:
            return found
        forbidden |= refused
    raise ResolutionFailed(
        f"no set of packages was found in which only {', '.join(sorted(allowed)) or 'nothing'} is built from source",
        hint="pin some of: " + ", ".join(sorted(forbidden)),
    )


def _without_hints(complaint: str) -> str:
    """What uv said, without such advice as is in terms of its own command line and settings."""
    said, *hints = complaint.split("\nhint:")
    told = []
    for name, version, day in _TOO_NEW.findall(complaint):
        when = f"of {day}" if day else "and its index does not tell of which day it is"
        told.append(f"the newest {name} that is asked for is {version}, {when}")
    said = said.replace("published after the exclude newer time", "published after the day that is asked for")
    kept = [each for each in hints if "`--" not in each and "`exclude-newer" not in each]
    return "\nhint:".join(["\n".join([said.rstrip(), *told]), *kept]).rstrip()


def _is_for_want_of_wheels(complaint: str) -> bool:
    return "no usable wheels" in complaint or "Wheels are required" in complaint or "has no wheels" in complaint


def _failure(complaint: str, definition: Definition) -> ResolutionFailed:
    if "Git operation failed" in complaint:
        return ResolutionFailed(
            f"a repository could not be fetched\n{complaint}", hint="check its address, and that git may read it"
        )
    if is_network_trouble(complaint):
        return ResolutionFailed(
            f"an index, or a file, could not be reached\n{_without_hints(complaint)}",
            hint="check its address, and the network",
        )
    if "--offline" in complaint or "network was disabled" in complaint.lower():
        return ResolutionFailed(
            f"not everything that is needed is cached\n{_without_hints(complaint)}",
            hint="run it once without --offline",
        )
    told = _without_hints(complaint)
    if definition.as_of and "exclude-newer" in complaint:
        return ResolutionFailed(
            f"nothing satisfies the definition as of {definition.as_of}\n{told}",
            hint="say a later day with --as-of, or in the definition; 'envbuild lock --upgrade' forgets that of a lock",
        )
    return ResolutionFailed(f"nothing satisfies the definition\n{told}")


class _Compile:
    """``uv pip compile`` for one definition, ready to be tried with different restrictions."""

    def __init__(self, definition: Definition, platform: Platform, resolution: Resolution) -> None:
        self.definition = definition
        self.resolution = resolution
        self.request = resolution.request
        self.variables = with_indexes(definition, resolution.request.variables)
        self.root = definition.root or Path.cwd()
        self.target = None if resolution.interpreter and platform == Platform.here() else platform
        interpreter = resolution.interpreter or _any_interpreter(self.request)
        self.interpreter = interpreter
        self.folders = {each.resolve() for each in asking.folders(definition, self.root)}
        self.private = {
            each.name: wheel_file(each, self.request.scratch, self.request.store) for each in self._wheels()
        }
        others = provided.by_distribution(resolution.packages)
        provided.check(definition, others)
        self.others = others
        self.extras: dict[str, Extras] = {}
        self.provided = provided.stand_ins(others, self._stand_ins)

    @property
    def _stand_ins(self) -> Path:
        """A folder for stand-ins; each time another, since uv knows again by its path what it has read before."""
        return self.request.scratch / "provided" / str(len(self.extras))

    def _wheels(self) -> list[Package]:
        return [each for each in self.resolution.packages if each.kind == "wheel"]

    def run(self, only_binary: Iterable[str]) -> tuple[tuple[Package, ...] | None, str]:
        """Try it: the packages, or ``None`` and uv's complaint."""
        asked = asking.requirements_file(self.definition, self.private, self.provided)
        bounds = [asking.line(each, self.root) for each in self.definition.constraints]
        constraints = asking.spelled_out("\n".join(bounds), self.definition)
        bound = [each for each in self.definition.pip if each.index]
        text, complaint = self._compile(asked, constraints, only_binary, self.request.previous is not None, bound)
        if text is None:
            return None, provided.explained(complaint, self.others)
        # What is missed of a wheel that has been looked into is missed by everybody who installs it.
        missed = {name: names for name, names in extras.missed(complaint).items() if name not in self.extras}
        if missed:
            self._look_into(missed)
            return self.run(only_binary)
        without = {*self.private, *self.provided}
        found = answering.packages(text, written_in=self.request.scratch, root=self.root, without=without)
        folders = projects.folders_of(found, self.root)
        come, self.folders = folders - self.folders, self.folders | folders
        if any(map(projects.is_dynamic, come)):
            # What these say of themselves may have come from uv's cache, and from another day.
            return self.run(only_binary)
        return found, ""

    def _look_into(self, missed: Mapping[str, Iterable[str]]) -> None:
        """Give the stand-ins of some distributions the extras that these have.

        :param missed: the extras that are asked for, by the distribution's name.
        :raises ResolutionFailed: nobody can say what an extra adds.
        """
        offline = self.request.offline
        command = asking.unpack_arguments(
            self.definition,
            python=str(self.resolution.python),
            interpreter=self.interpreter,
            platform=self.target,
            offline=offline,
        )
        for name, names in missed.items():
            package, folder = self.others[name], self.request.scratch / "extras" / name
            wanted = [f"--target={folder}", f"{name}=={provided.version_of(package)}"]
            code, _, complaint = run_uv([*command, *wanted], variables=self.variables, directory=self.request.scratch)
            if code != 0:
                raise extras.unknown(package, names, complaint, offline=offline)
            self.extras[name] = extras.of_wheel(folder)
        self.provided |= provided.stand_ins({name: self.others[name] for name in missed}, self._stand_ins, self.extras)

    def has_wheels(self, name: str) -> bool:
        """Whether some version of a package has a wheel that fits."""
        return self._wheels_of(name)[0]

    def passes_over_wheels(self, package: Package) -> bool:
        """Whether ``package``, a source archive, stands in for wheels: one that fits, or newer ones that do not."""
        fits, _ = self._wheels_of(package.name)
        if fits:
            return True
        newer, complaint = self._wheels_of(f"{package.name}>{package.version}")
        return newer or "no wheels with a matching" in complaint

    def _wheels_of(self, wanted: str) -> tuple[bool, str]:
        name = canonicalize_name(_NAME_OF.split(wanted, maxsplit=1)[0])
        bound = [_only(wanted, each) for each in self.definition.pip if each.index and each.name == name]
        bound = bound or [Requirement(wanted, index=each) for each in tool_uv.indexes_of(name, self.folders)]
        plain = "" if bound else f"{wanted}\n"
        text, complaint = self._compile(plain, "", [":all:"], False, bound, extra=["--no-deps"])
        return text is not None, complaint

    def _compile(
        self,
        asked: str,
        constraints: str,
        only_binary: Iterable[str],
        previous: bool,
        bound: Sequence[Requirement] = (),
        extra: Iterable[str] = (),
    ) -> tuple[str | None, str]:
        scratch = self.request.scratch
        source, bounds, output = scratch / "requirements.in", scratch / "constraints.txt", scratch / "pylock.toml"
        write_private(source, asked)
        write_private(bounds, constraints + "\n")
        output.unlink(missing_ok=True)
        if previous and self.request.previous:
            # uv keeps the versions, and the commits, that it finds in its output file.
            output.write_text(_kept(self.request.previous.of_kind("pip")), encoding="utf-8")
        arguments = asking.compile_arguments(
            self.definition,
            python=str(self.resolution.python),
            interpreter=self.interpreter,
            platform=self.target,
            only_binary=only_binary,
            upgrade=self.request.upgrade if self.request.upgrade is True else self.request.upgrade - {"python"},
            offline=self.request.offline,
        )
        # uv takes the metadata of a project for current as long as its pyproject.toml stays the same.
        names = [projects.name_of(folder) for folder in sorted(self.folders)]
        arguments += [f"--refresh-package={name}" for name in names if name]
        files = [str(source)]
        for number, project in enumerate(asking.bound_projects(bound, self.definition)):
            # uv knows a file of this kind by its name.
            file = scratch / f"bound-{number}" / "pyproject.toml"
            file.parent.mkdir(exist_ok=True)
            write_private(file, filled_in(project, self.request.variables))
            files.append(str(file))
        # A warning is all that uv has to say of an extra that a stand-in lacks.
        arguments += [] if self.provided else ["--quiet"]
        command = [*arguments, *extra, f"--constraints={bounds}", f"--output-file={output}", *files]
        code, _, complaint = run_uv(command, variables=self.variables, directory=scratch)
        if code != 0:
            return None, complaint.replace(str(scratch) + "/", "")
        return output.read_text(encoding="utf-8"), complaint


def _only(wanted: str, requirement: Requirement) -> Requirement:
    """``requirement`` with other versions."""
    _, semicolon, marker = requirement.text.partition(";")
    return replace(requirement, text=f"{wanted} {semicolon} {marker.strip()}".rstrip())


def _kept(packages: Iterable[Package]) -> str:
    """A lock that says which versions and commits there were, and nothing else."""
    kept = []
    for each in packages:
        artifact = each.artifact
        if artifact.kind == "vcs":
            repository = {
                "type": artifact.vcs,
                "url": artifact.url,
                "requested-revision": artifact.requested_revision,
                "commit-id": artifact.revision,
            }
            kept.append({"name": each.name, "vcs": {key: value for key, value in repository.items() if value}})
        elif each.version:
            kept.append({"name": each.name, "version": each.version})
    return tomli_w.dumps({"lock-version": "1.0", "created-by": "envbuild", "packages": kept})


def _any_interpreter(request: LockRequest) -> Path:
    own = interpreters.own()
    if own:
        return own.path
    found = interpreters.installed(request.variables)
    if not found:
        raise PythonNotFound("no Python was found on this machine", hint="install one")
    return found[0].path


def wheel_file(package: Package, scratch: Path, store: Path) -> Path:
    """Lay a private wheel out under its file name, as installers want it.

    :raises NotFound: this workspace does not hold it.
    :raises Damaged: what it holds is not that wheel.
    """
    from envbuild import Store

    artifact = package.artifact
    if artifact.digest is None or artifact.filename is None:
        raise ResolutionFailed(f"{package}: a private wheel without digest or file name")
    folder = scratch / "wheels" / artifact.digest.hex
    file = folder / artifact.filename
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        Store(store).copy_to(artifact.digest, file)
    return file
