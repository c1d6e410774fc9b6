"""Definitions: what an environment is asked to be, before anything is resolved.

A `Definition` is a frozen value. It knows no files and no network: `envbuild.reading` makes one of each kind
of file, and notes in `Definition.root` from which folder relative paths are meant. What counts for the
definition digest is `Definition.content`: the name, the place it was read from, the order of requirements and
the spelling of package names do not; private wheels count by their bytes, passwords in URLs never.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version

from envbuild import form as forms
from envbuild.digest import Digest
from envbuild.errors import DefinitionError, Problem
from envbuild.requirement import PipOptions, PylockFile, Requirement, WheelRef

_VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
ENVIRONMENT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}")
"""How environments are named."""

OWN_SECTIONS = ("conda", "wheels", "pip", "docker", "interpreter", "gpu", "spark")
"""The sections that have a key of their own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """What was asked for.

    :param name: what people call it; not part of its content.
    :param python: a version (``3.11``, ``3.11.7``) or a PEP 440 range (``>=3.10,<3.13``); ``None`` for any.
    :param pip: requirements for pip; ``constraints`` bound versions without asking for the package.
    :param wheels: private wheels, by their bytes.
    :param conda: conda match specs; ``channels`` in order of priority.
    :param variables: environment variables of every run; not part of the *environment's* id.
    :param secrets: names of variables whose values a run takes from its caller and nobody records.
    :param interpreter: a Python that somebody else looks after, to be taken as it is; excludes ``pip``,
        ``constraints``, ``wheels``, ``conda`` and ``pylock``. A name is looked for on the path of wherever it runs.
    :param docker: base image or Dockerfile and options, as written; with ``enabled: false`` it is kept, and not used.
    :param gpu: what is asked of a GPU, as written; ``spark`` likewise.
    :param azure: what only Azure ML makes something of (``databricks``, ``r``, ``inferencing_stack_version``), as
        written: kept, compared and given back.
    :param plugins: what is asked of plugins that envbuild does not bring, as written, by the name of the section.
    :param as_of: releases after that day do not count.
    :param pylock: install this lock as it stands; excludes ``pip``.
    :param root: the folder that relative paths are meant from; ``source`` the file it was read from.
    """

    name: str | None = None
    python: str | None = None
    pip: tuple[Requirement, ...] = ()
    constraints: tuple[Requirement, ...] = ()
    options: PipOptions = field(default_factory=PipOptions)
    wheels: tuple[WheelRef, ...] = ()
    conda: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()
    interpreter: str | None = None
    docker: Mapping[str, Any] = field(default_factory=dict)
    gpu: Mapping[str, Any] = field(default_factory=dict)
    spark: Mapping[str, Any] = field(default_factory=dict)
    azure: Mapping[str, Any] = field(default_factory=dict)
    plugins: Mapping[str, Any] = field(default_factory=dict)
    as_of: datetime.date | None = None
    pylock: PylockFile | None = None
    root: Path | None = field(default=None, compare=False)
    source: Path | None = field(default=None, compare=False)
    credentials: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)
    """Index URLs with the credentials that their file wrote into them, by the URL without; never written."""

    def __post_init__(self) -> None:
        problems = [Problem(*found) for found in self._wrong()]
        if problems:
            raise DefinitionError(*problems)
        for mapping in ("variables", "docker", "gpu", "spark", "azure", "plugins", "credentials"):
            object.__setattr__(self, mapping, MappingProxyType(dict(getattr(self, mapping))))

    def _wrong(self) -> Iterator[tuple[str, None, str]]:
        if self.name is not None and not ENVIRONMENT_NAME.fullmatch(self.name):
            yield (
                "name",
                None,
                f"{self.name!r} is not a name: letters, digits, '.', '_' and '-', a letter or digit first",
            )
        if self.python is not None:
            try:
                python_range(self.python)
            except ValueError as error:
                yield "python", None, str(error)
        for name in (*self.variables, *self.secrets):
            if not _VARIABLE_NAME.fullmatch(name):
                yield f"variables.{name}", None, f"{name!r} is not the name of an environment variable"
        for name in sorted(set(self.variables) & set(self.secrets)):
            yield f"secrets.{name}", None, f"{name!r} is both a variable with a value and a secret without one"
        for part in ("docker", "gpu", "spark", "azure", "plugins"):
            for place, said in forms.twins(getattr(self, part), part):
                yield place, None, said
        for name in (each for each in self.plugins if each in (*OWN_SECTIONS, "python")):
            yield f"plugins.{name}", None, f"{name} has a key of its own, and is no other plugin's"
        if self.pylock and (self.pip or self.wheels):
            yield "pylock", None, "a lock that is installed as it stands takes no further requirements"
        if self.interpreter is not None:
            excluded = ("pip", "constraints", "wheels", "conda", "pylock")
            installs = [name for name in excluded if getattr(self, name)]
            if installs:
                said = (
                    f"a Python that is taken as it is has nothing installed into it, and {' and '.join(installs)} would"
                )
                yield "interpreter", None, said

    @property
    def python_range(self) -> SpecifierSet:
        """Which Python versions fit."""
        return python_range(self.python) if self.python else SpecifierSet()

    @property
    def is_local(self) -> bool:
        """Whether it asks for files or folders of the machine that it was written on."""
        places = [*self.options.find_links, *(each.text for each in (*self.pip, *self.constraints))]
        places += [each.index for each in self.pip]
        places.append(_build_context(self.docker))
        return "/" in (self.interpreter or "") or any(place.startswith(("./", "../", "/")) for place in places)

    @property
    def relocking(self) -> str:
        """How its lock comes to hold what an artifact has become, in words for a hint."""
        if self.pylock is None:
            return "lock again with --upgrade NAME"
        return f"have the tool that made {self.pylock.path or 'the lock'} make it again"

    @property
    def sections(self) -> tuple[str, ...]:
        """The parts that some plugin has to take on, by the name of the field."""
        present = {
            "conda": self.conda,
            "wheels": self.wheels,
            "pip": self.pip or self.pylock,
            # First, since an interpreter of a container is for whoever takes on the container.
            "docker": self.docker if self.docker.get("enabled", True) else None,
            "interpreter": self.interpreter,
            "gpu": self.gpu,
            # Whether packages are fetched beforehand is nothing to take on where none are asked for.
            "spark": self.spark.keys() - {"precache_packages"},
        }
        return tuple(name for name, value in present.items() if value) + tuple(sorted(_asked(self.plugins)))

    def content(self) -> dict[str, Any]:
        """What the definition digest covers, as JSON-able data; what is not asked for is left out.

        The order of requirements, wheels, conda packages, variables and secrets says nothing and is dropped;
        that of channels and indexes is their priority and stays.
        """
        content: dict[str, Any] = {
            "python": str(self.python_range),
            "pip": sorted(_requirement_content(each) for each in set(self.pip)),
            "constraints": sorted(_requirement_content(each) for each in set(self.constraints)),
            "options": self.options.content(),
            "wheels": sorted(_wheel_content(each) for each in set(self.wheels)),
            "conda": sorted({" ".join(each.split()) for each in self.conda}),
            "channels": list(self.channels),
            "variables": dict(self.variables),
            "secrets": sorted(set(self.secrets)),
            "interpreter": self.interpreter or "",
            "docker": _docker_content(self.docker),
            "gpu": forms.plain(self.gpu),
            "spark": forms.plain(self.spark),
            "azure": forms.plain(self.azure),
            "plugins": forms.plain(_asked(self.plugins)),
            "as_of": self.as_of.isoformat() if self.as_of else "",
            "pylock": str(self.pylock) if self.pylock else "",
        }
        return {key: value for key, value in content.items() if value}

    def to_dict(self) -> dict[str, Any]:
        """The full form, as it stands in an ``envbuild.yml``; `from_dict` undoes it.

        Private wheels stand as their URL, so that the form does not depend on where they were found.
        """
        pip: list[Any] = []
        for each in self.pip:
            if each.editable or each.hashes or each.index:
                written: dict[str, Any] = {"requirement": each.text}
                if each.editable:
                    written["editable"] = True
                if each.hashes:
                    written["hashes"] = list(each.hashes)
                if each.index:
                    written["index"] = each.index
                pip.append(written)
            else:
                pip.append(each.text)
        form = {
            "name": self.name,
            "python": self.python,
            "pip": pip,
            "constraints": [each.text for each in self.constraints],
            "options": {k: list(v) if isinstance(v, tuple) else v for k, v in self.options.content().items()},
            "wheels": [str(each) for each in self.wheels],
            "conda": list(self.conda),
            "channels": list(self.channels),
            "variables": dict(self.variables),
            "secrets": list(self.secrets),
            "interpreter": self.interpreter,
            "docker": forms.plain(self.docker),
            "gpu": forms.plain(self.gpu),
            "spark": forms.plain(self.spark),
            "azure": forms.plain(self.azure),
            "plugins": forms.plain(self.plugins),
            "as_of": self.as_of.isoformat() if self.as_of else None,
            "pylock": str(self.pylock) if self.pylock else None,
        }
        return {key: value for key, value in form.items() if value}

    @classmethod
    def from_dict(cls, form: Mapping[str, Any], *, wheel: Callable[[str], WheelRef] = WheelRef.parse) -> Definition:
        """Read the full form.

        :param wheel: makes a `WheelRef` of what stands under ``wheels``; by default only the URLs that
            `to_dict` writes are understood, a reader of files adds paths.
        :raises DefinitionError: every problem at once; the ``file`` of each is the place in the form,
            such as ``pip[2]``.
        """
        reader = forms.Form(form)
        gpu = form.get("gpu")
        if gpu is True or (isinstance(gpu, int) and not isinstance(gpu, bool)):
            form = {**form, "gpu": {"count": "all" if gpu is True else gpu}}
        elif gpu is False:
            form = {**form, "gpu": None}
        reader = forms.Form(form)
        reader.only(
            "name", "python", "pip", "constraints", "options", "wheels", "conda", "channels", "variables",
            "secrets", "interpreter", "docker", "gpu", "spark", "azure", "plugins", "as_of", "pylock",
        )  # fmt: skip
        found: dict[str, Any] = {
            "name": reader.text("name"),
            "python": reader.text("python"),
            "pip": reader.each("pip", forms.requirement),
            "constraints": reader.each("constraints", forms.requirement),
            "options": reader.options(),
            "wheels": reader.each("wheels", lambda value: wheel(forms.text(value))),
            "conda": reader.each("conda", forms.text),
            "channels": reader.each("channels", forms.text),
            "variables": reader.variables(),
            "secrets": reader.each("secrets", forms.text),
            "interpreter": reader.text("interpreter"),
            "docker": reader.mapping("docker"),
            "gpu": reader.mapping("gpu"),
            "spark": reader.mapping("spark"),
            "azure": reader.mapping("azure"),
            "plugins": reader.mapping("plugins"),
            "as_of": reader.one("as_of", forms.day),
            "pylock": reader.one("pylock", lambda value: PylockFile.parse(forms.text(value))),
        }
        definition = None
        try:
            definition = cls(**found)
        except DefinitionError as error:
            reader.problems.extend(error.problems)
        if reader.problems or definition is None:
            raise DefinitionError(*reader.problems)
        return definition

    @classmethod
    def from_content(
        cls, content: Mapping[str, Any], *, name: str | None = None, root: Path | None = None
    ) -> Definition:
        """Make the definition that has this `content`.

        >>> bound = Requirement.parse("churn>=2", index="https://packages.host.test/simple")
        >>> asked = Definition(python="3.11", pip=(Requirement.parse("./lib", editable=True), bound))
        >>> Definition.from_content(asked.content()).content() == asked.content()
        True
        """
        form = dict(content)
        form["pip"] = [_requirement_form(each) for each in content.get("pip", ())]
        form["constraints"] = [_requirement_form(each) for each in content.get("constraints", ())]
        form["wheels"] = [_wheel_url(each) for each in content.get("wheels", ())]
        return replace(cls.from_dict(form), name=name, root=root)

    def named(self, name: str) -> Definition:
        """The same definition under another name."""
        return replace(self, name=name)


def python_range(text: str) -> SpecifierSet:
    """Which versions ``text`` admits: a bare version admits every release that begins with it.

    :raises ValueError: neither a version nor a PEP 440 range.

    >>> "3.11.7" in python_range("3.11"), "3.12.0" in python_range("3.11"), "3.12.0" in python_range(">=3.11")
    (True, False, True)
    """
    try:
        version = Version(text)
    except InvalidVersion:
        try:
            return SpecifierSet(text)
        except InvalidSpecifier as error:
            raise ValueError(f"{text!r} is neither a Python version nor a range of them (PEP 440)") from error
    return SpecifierSet(f"=={version}" if len(version.release) > 2 else f"=={version}.*")


def _asked(plugins: Mapping[str, Any]) -> dict[str, Any]:
    """The sections of ``plugins`` in which something is asked for."""
    return {name: value for name, value in plugins.items() if value}


def _docker_content(docker: Mapping[str, Any]) -> dict[str, Any]:
    """``docker`` in one form: whatever is said of a container is meant to be used, unless it says that it is not."""
    found: dict[str, Any] = forms.plain(docker)
    rest = {key: value for key, value in found.items() if key != "enabled"}
    if found.get("enabled", True):
        return rest or found
    return found if rest else {}


def _build_context(docker: Mapping[str, Any]) -> str:
    """The folder that an image is to be built in, where it is one of this machine; empty otherwise."""
    context = docker.get("build_context")
    place = context.get("location") if isinstance(context, Mapping) else context
    return place if isinstance(place, str) else ""


def _requirement_content(requirement: Requirement) -> str:
    flags = ("-e " if requirement.editable else "") + requirement.text
    index = [f"--index={requirement.index}"] if requirement.index else []
    return " ".join((flags, *index, *(f"--hash={digest}" for digest in requirement.hashes)))


def _requirement_form(written: str) -> dict[str, Any]:
    rest, *hashes = written.split(" --hash=")
    text, _, index = rest.partition(" --index=")
    form = {"requirement": text.removeprefix("-e "), "editable": text.startswith("-e "), "hashes": hashes}
    return form | ({"index": index} if index else {})


def _wheel_content(wheel: WheelRef) -> str:
    extras = f" [{','.join(wheel.extras)}]" if wheel.extras else ""
    return f"{wheel.digest} {wheel.filename}{extras}" + (f" ; {wheel.marker}" if wheel.marker else "")


def _wheel_url(written: str) -> str:
    wheel, _, marker = written.partition(" ; ")
    digest, filename, *extras = wheel.split(" ")
    names = tuple(extras[0].strip("[]").split(",")) if extras else ()
    return str(WheelRef(filename, Digest.parse(digest), names, marker))
