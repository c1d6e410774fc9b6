"""Environments (``azureml.core.environment``): what a script is to find where it runs, under a name and a version.

An `Environment` is what a user edits; behind it stands a frozen `envbuild.definition.Definition`, made when it is
registered, built or used for a run. Registering an unchanged one gives the version that it has, and an edited one the
next; what a version means never changes. Every method that takes a workspace takes a `Workspace`, its name, its path,
or nothing for the one that the environment came from, else the default one.
"""

from __future__ import annotations

import copy
import datetime
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from envbuild import reading
from envbuild.catalogue import EnvironmentVersion
from envbuild.definition import ENVIRONMENT_NAME, Definition
from envbuild.errors import Damaged, NotFound, PluginMissing
from envbuild.fingerprint import definition_document
from envbuild.form import day
from envbuild.platform import Platform
from envbuild.progress import counted
from envbuild.sdk import azure_files, building, definitions
from envbuild.sdk.absent import missing
from envbuild.sdk.building import DockerImageDetails, ImageBuildDetails
from envbuild.sdk.conda_dependencies import CondaDependencies
from envbuild.sdk.container_registry import ContainerRegistry
from envbuild.sdk.exceptions import UserErrorException, user_errors
from envbuild.sdk.guard import Checked, Guarded, number, one_of, optional, optional_text, pathlike, takes, text, texts
from envbuild.sdk.places import opened
from envbuild.sdk.runconfig import DEFAULT_CPU_IMAGE as DEFAULT_CPU_IMAGE
from envbuild.sdk.runconfig import DEFAULT_GPU_IMAGE as DEFAULT_GPU_IMAGE
from envbuild.sdk.sections import (
    DatabricksSection,
    DockerBuildContext,
    DockerSection,
    PythonSection,
    SparkPackage,
    SparkSection,
)

if TYPE_CHECKING:
    from envbuild.project import Project
    from envbuild.sdk.workspace import Workspace
    from envbuild.workspace import Workspace as Core

__all__ = [
    "CondaDependencies",
    "ContainerRegistry",
    "DatabricksSection",
    "DockerBuildContext",
    "DockerImageDetails",
    "DockerSection",
    "Environment",
    "EnvironmentReference",
    "ImageBuildDetails",
    "PythonSection",
    "SparkPackage",
    "SparkSection",
]

_ABSENT = dict.fromkeys(
    ("RSection", "RCranPackage", "RGitHubPackage", "RBioConductorPackage"),
    "nothing is made of R here; Environment.r takes the section as plain data, as Azure's files have it",
)


def __getattr__(name: str) -> Any:
    raise missing(__name__, name, _ABSENT)


AnyWorkspace: TypeAlias = "Workspace | str | os.PathLike[str] | None"
"""What is taken as a workspace."""

_CURATED = ("AzureML", "Microsoft")


def _name(value: str | None) -> str | None:
    if value is not None and not isinstance(value, str):
        raise TypeError(f"the name of an environment is a text, not {value!r}")
    return value


def _version(value: str | int | None) -> str | None:
    return str(value) if isinstance(value, int) else optional_text(value)


def _variables(value: Mapping[str, str]) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise ValueError(f"a mapping of names to texts is wanted, not {value!r}")
    return dict(value)


def _day(value: datetime.date | str | None) -> datetime.date | None:
    return None if value is None else day(value)


class Environment(Guarded):
    """What a script is to find where it runs (``azureml.core.environment.Environment``).

    A new one asks for the Python of this interpreter, and nothing else. Environments are equal if they have the same
    name and ask for the same; they can be copied and pickled.

    :param name: checked when it is registered: letters, digits, ``.``, ``_`` and ``-``, a letter or digit first.
    :raises TypeError: the name is neither a text nor ``None``.

    >>> env = Environment("train")
    >>> env.python.conda_dependencies.add_pip_package("scikit-learn")
    >>> env.docker.gpu_suport = True
    Traceback (most recent call last):
    AttributeError: 'DockerSection' has no attribute 'gpu_suport'; did you mean 'gpu_support'?
    """

    name = Checked(_name)
    """What people call it."""
    version = Checked(_version)
    """Which one it is, once it is registered. Set by hand, it is the one that `register` has to come to."""
    python = Checked(one_of(PythonSection))
    """Which Python it has, and which packages."""
    docker = Checked(one_of(DockerSection))
    """Whether it is a container, and on which image; with ``gpu_support`` it asks for GPUs anywhere."""
    spark = Checked(one_of(SparkSection))
    """Which packages Spark is to bring."""
    databricks = Checked(one_of(DatabricksSection))
    """Libraries for Databricks: kept and compared, and nothing is made of them."""
    r: Any
    """Azure's section for R: kept and compared, and nothing is made of it."""
    inferencing_stack_version = Checked(optional_text)
    """Which serving stack Azure adds to an image; kept and compared."""
    environment_variables = Checked(_variables)
    """The variables of every run, build and service in it; empty, where Azure begins with ``EXAMPLE_ENV_VAR``."""
    secrets = Checked(texts)
    """Names of variables that a run takes from whoever starts it, and nobody records; not in Azure."""
    constraints = Checked(texts)
    """Bounds for packages that others ask for, as in pip's constraint files; not in Azure."""
    as_of = Checked(_day)
    """Releases after that day do not count; not in Azure."""
    description = Checked(optional_text)
    """What it is for; not part of what it asks for. Not in Azure's SDK v1."""
    asset_id = Checked(optional_text)
    """What names this version among all things, once it is registered."""

    def __init__(self, name: str | None, **kwargs: Any) -> None:
        self.name = name
        self.version = None
        self.python = PythonSection()
        self.docker = DockerSection()
        self.spark = SparkSection()
        self.databricks = DatabricksSection()
        self.r = None
        self.inferencing_stack_version = None
        self.environment_variables = {}
        self.secrets = []
        self.constraints = []
        self.as_of = None
        self.description = None
        self.asset_id = None
        self._root: Path | None = None
        self._kept: dict[str, Any] = {}
        self._given: str | None = None
        self._workspace: Path | None = None
        for attribute, value in kwargs.items():
            setattr(self, attribute, value)

    # What it asks for

    @property
    def definition(self) -> Definition:
        """What it asks for now, as a frozen value; not in Azure.

        :raises UserErrorException: it asks for something that cannot be; everything that is wrong is told at once.
        """
        return definitions.definition_of(self)

    @property
    def id(self) -> str | None:
        """The id of what it asks for now, if that has been locked on this machine; not in Azure."""
        core = self._core(None)
        project = self._project(core)
        platform = str(Platform.here())
        if project.version is not None:
            found = core.resolution_of(project.version, platform)
        else:
            found = core.catalogue.latest_resolution(definition_document(project.definition).digest, platform)
        return found.environment_id if found else None

    def clone(self, new_name: str) -> Environment:
        """Copy it under another name, without version.

        :raises UserErrorException: the name is empty, or not a text.
        """
        if not isinstance(new_name, str) or not new_name:
            raise UserErrorException(f"a copy wants a name, not {new_name!r}")
        copied = copy.deepcopy(self)
        copied.name, copied.version, copied._given, copied.asset_id = new_name, None, None, None
        return copied

    def explain(self, workspace: AnyWorkspace = None) -> str:
        """Say what would be built and run now, and why; nothing is changed by asking. Not in Azure.

        :raises UserErrorException: it asks for something that cannot be.
        """
        from envbuild import explain, pipeline
        from envbuild.plugins import check_sections, load_plugins

        core = self._core(workspace)
        project = self._project(core)
        definition = project.definition
        state = f"registered as {project.version}" if project.version else "not registered like this yet"
        lines = [f"{self.name}: {state}, definition {definition_document(definition).digest}", *_told(definition)]
        if self.python.user_managed_dependencies and _asks_for_packages(self.python.conda_dependencies):
            lines.append("packages are asked for, and not installed: python.user_managed_dependencies is True")
        plugins = load_plugins()
        try:
            check_sections(definition.sections)
        except PluginMissing as error:
            lines.append(f"cannot be built: {error}; {error.hint}")
        found = explain.explain(project, core, plugins, pipeline.Wishes())
        return "\n".join([*lines, str(found)])

    # Making one

    @staticmethod
    @takes(file_path=pathlike)
    def from_conda_specification(name: str, file_path: str | os.PathLike[str]) -> Environment:
        """Make one of an ``environment.yml``; comments and order of the file are kept.

        A file that asks for no Python gets any, where Azure appends its default one.

        :raises FileNotFoundError: there is no such file.
        :raises UserErrorException: the file says something that cannot be meant; everything at once, with its line.
        """
        path = Path(file_path)
        made = Environment(name)
        made.python.conda_dependencies = CondaDependencies(path)
        with user_errors():
            reading.read_as_conda(path)
        return made

    @staticmethod
    @takes(file_path=pathlike, pip_version=optional(text))
    def from_pip_requirements(
        name: str, file_path: str | os.PathLike[str], pip_version: str | None = None
    ) -> Environment:
        """Make one of a requirements file, whose lines are kept as they are.

        Paths in it (``-r``, ``-c``, ``-e``, wheels) are meant from its folder, also later on; Azure does not ship the
        files that they name. Any Python fits, where Azure takes its default.

        :param pip_version: have this pip in the environment too; by default there is none, since none is needed.
        :raises FileNotFoundError: there is no such file.
        :raises UserErrorException: a line, here or in a file that is named, cannot be meant; everything at once.
        """
        from envbuild.reading.requirements import decoded

        path = _existing(file_path)
        with user_errors():
            reading.read_as_requirements(path)
        asked = CondaDependencies(_underlying_structure={})
        asked.set_pip_requirements(decoded(path.read_bytes()).splitlines())
        if pip_version is not None:
            asked.add_pip_package(f"pip=={pip_version}")
        made = Environment(name)
        made.python.conda_dependencies = asked
        made._root = path.parent
        return made

    @staticmethod
    @takes(conda_environment_name=text)
    def from_existing_conda_environment(
        name: str, conda_environment_name: str, history_only: bool = False
    ) -> Environment:
        """Make one of a conda environment of this machine: its packages in their versions, without their builds.

        Unlike in Azure, no ``conda`` is needed: what conda has noted of the environment is read.

        :param conda_environment_name: its name, ``base``, or its path.
        :param history_only: only what somebody asked conda for, as they asked for it, which holds on other platforms
            too; what pip has installed is always taken in full.
        :raises UserErrorException: there is no such environment (Azure's prints and returns ``None``); the message
            lists those that were found.
        """
        from envbuild.reading import conda_prefix

        with user_errors():
            prefix = conda_prefix.find(conda_environment_name, os.environ, Path.home(), Path.cwd())
            form = conda_prefix.read_prefix(prefix, history_only=history_only)
        made = Environment(name)
        made.environment_variables = form.pop("variables", {})
        made.python.conda_dependencies = CondaDependencies(_underlying_structure=form)
        return made

    @staticmethod
    @takes(dockerfile=pathlike, conda_specification=optional(pathlike), pip_requirements=optional(pathlike))
    def from_dockerfile(
        name: str,
        dockerfile: str | os.PathLike[str],
        conda_specification: str | os.PathLike[str] | None = None,
        pip_requirements: str | os.PathLike[str] | None = None,
    ) -> Environment:
        """Make one that runs in a container of a Dockerfile.

        :param dockerfile: its path, or its text.
        :param conda_specification: an ``environment.yml`` to be installed on top; ``pip_requirements`` likewise a
            requirements file. With neither, the Python of the image is taken as it is.
        :raises UserErrorException: both are given, or one of the files cannot be meant.
        """
        made = _on_top(name, conda_specification, pip_requirements)
        made.docker.base_dockerfile = dockerfile
        made.docker.enabled = True
        return made

    @staticmethod
    @takes(image=text, conda_specification=optional(pathlike), pip_requirements=optional(pathlike))
    def from_docker_image(
        name: str,
        image: str,
        container_registry: ContainerRegistry | str | None = None,
        conda_specification: str | os.PathLike[str] | None = None,
        pip_requirements: str | os.PathLike[str] | None = None,
    ) -> Environment:
        """Make one that runs in a container of an image.

        :param container_registry: where the image is, if its name does not say it; a text is its address.
        :param conda_specification: an ``environment.yml`` to be installed on top; ``pip_requirements`` likewise a
            requirements file. With neither, the Python of the image is taken as it is.
        :raises UserErrorException: both are given, or one of the files cannot be meant.
        """
        made = _on_top(name, conda_specification, pip_requirements)
        made.docker.base_image = image
        made.docker.enabled = True
        if container_registry is not None:
            made.docker.base_image_registry = container_registry
        return made

    @staticmethod
    def from_docker_build_context(name: str, docker_build_context: DockerBuildContext) -> Environment:
        """Make one that runs in a container built of a folder with a Dockerfile; its Python is taken as it is."""
        made = _on_top(name, None, None)
        made.docker.build_context = docker_build_context
        made.docker.enabled = True
        return made

    # Names and versions

    def register(self, workspace: AnyWorkspace = None) -> Environment:
        """Give what it asks for a version under its name: the one that it has there already, or else the next.

        Private wheels on this machine are kept in the workspace with it.

        :returns: a copy with ``version`` and ``asset_id``; this one stays as it is.
        :raises UserErrorException: the name is none, it asks for something that cannot be, or ``version`` was set by
            hand to one that it cannot get, since versions are counted and never change.
        """
        return self._registered(self._core(workspace))[0]

    @staticmethod
    @takes(name=text, version=optional(number), label=optional(text))
    def get(
        workspace: AnyWorkspace = None,
        name: str = "",
        version: str | int | None = None,
        label: str | None = None,
    ) -> Environment:
        """Find a registered one: by its version, by a label, or else the latest.

        :raises UserErrorException: there is none (Azure's is a bare ``Exception``), or both were given; the message
            says what there is.
        """
        core = opened(workspace)
        try:
            with user_errors():
                if version is not None and label is not None:
                    raise UserErrorException(f"asked for version {version} and for label {label!r}; give one of them")
                found = core.catalogue.get(name, version, label)
                return Environment._of(found, core)
        except UserErrorException as error:
            if name.startswith(_CURATED) and isinstance(error.__cause__, NotFound):
                hint = "curated environments are Azure's: save_to_directory there, and load_from_directory here"
                raise UserErrorException(str(error), hint=hint) from error
            raise

    @staticmethod
    def list(workspace: AnyWorkspace = None) -> dict[str, Environment]:
        """All that are registered and not archived: by name, the latest version of each."""
        core = opened(workspace)
        return {each.name: Environment._of(each, core) for each in core.catalogue.list(latest=True)}

    @staticmethod
    @takes(name=text, version=number, labels=texts)
    def label(workspace: AnyWorkspace, name: str, version: str | int, labels: Sequence[str]) -> None:
        """Give a version these labels, and no others; a label that another version of the name had moves.

        :raises UserErrorException: there is no such version, or a label is not spelled as names are; or no list is
            given.
        """
        core = opened(workspace)
        with user_errors(), core.catalogue.transaction():
            before = core.catalogue.get(name, version).labels
            core.catalogue.unlabel(name, *(each for each in before if each not in labels))
            core.catalogue.label(name, version, *labels)
        core.forget_warm()

    @staticmethod
    @takes(name=text, version=optional(number))
    def archive(workspace: AnyWorkspace, name: str, version: str | int | None = None) -> None:
        """Take a version, or all of the name, out of lists; by its version it can still be used. Not in Azure.

        :raises UserErrorException: there is no such name or version.
        """
        core = opened(workspace)
        with user_errors():
            core.catalogue.archive(name, version)
        core.forget_warm()

    @staticmethod
    @takes(name=text, version=optional(number))
    def restore(workspace: AnyWorkspace, name: str, version: str | int | None = None) -> None:
        """Undo `archive`.

        :raises UserErrorException: there is no such name or version.
        """
        core = opened(workspace)
        with user_errors():
            core.catalogue.restore(name, version)
        core.forget_warm()

    @staticmethod
    @takes(name=text, version=optional(number))
    def delete(workspace: AnyWorkspace, name: str, version: str | int | None = None, force: bool = False) -> None:
        """Delete a version, or all of the name; the number is never given again. Azure cannot.

        :param force: also where runs have used it.
        :raises UserErrorException: there is no such name or version, or runs have used it.
        """
        core = opened(workspace)
        with user_errors(), core.recorded() as catalogue:
            catalogue.delete(name, version, force=force)
        core.forget_warm()

    @staticmethod
    @takes(file_path=pathlike)
    def add_private_pip_wheel(
        workspace: AnyWorkspace,
        file_path: str | os.PathLike[str],
        exist_ok: bool = False,  # noqa: ARG004
    ) -> str:
        """Keep a wheel in the workspace, and give the URL by which environments may ask pip for it.

        :param exist_ok: has no effect: other bytes have another URL, whatever the file is called, and the same ones
            the same. Azure goes by the name, and keeps the old bytes.
        :raises UserErrorException: there is no such file, or it is no wheel.
        """
        from envbuild import pipeline
        from envbuild.plugins import load_plugins

        try:
            with user_errors():
                return pipeline.add_wheel(Path(file_path), opened(workspace), load_plugins()).url
        except Damaged as error:
            raise UserErrorException(str(error), hint=error.hint) from error

    # Building

    def build(
        self,
        workspace: AnyWorkspace = None,
        image_build_compute: str | None = None,  # noqa: ARG002
        force: bool = False,
    ) -> ImageBuildDetails:
        """Register it, and build it in the background; what is built already is found at once.

        Packages stay as the version's lock has them, where Azure resolves unpinned ones anew.

        :param image_build_compute: has no effect: it is built on this machine.
        :param force: compare what was built before with what was installed then, and mend what differs, from artifacts
            fetched anew; more cannot come of building the same id again. Not in Azure.
        :raises UserErrorException: it cannot be registered.
        """
        return building.start(*self._to_be_built(workspace), force=force)

    @takes(platform=optional(text))
    def build_local(
        self, workspace: AnyWorkspace = None, platform: str | None = None, **kwargs: Any
    ) -> ImageBuildDetails:
        """Register it, and build it while the caller waits; the log is shown as it grows.

        :param platform: build for this one, such as ``linux-x86_64``; by default this machine's.
        :param kwargs: Azure's ``useDocker`` and ``pushImageToWorkspaceAcr``, each of which has to be false: an
            environment is built for a container where its ``docker`` section says so, and pushed by the engine.
        :raises ActivityFailedException: the build has failed.
        :raises UserErrorException: it cannot be registered, or more is asked for than there is.
        """
        for name, value in kwargs.items():
            if name not in ("useDocker", "pushImageToWorkspaceAcr"):
                raise UserErrorException(f"build_local has no parameter {name!r}")
            if value:
                raise UserErrorException(f"{name}=True is not supported", hint="say docker.enabled = True")
        try:
            wanted = Platform.parse(platform) if platform is not None else None
        except ValueError as error:
            raise UserErrorException(str(error)) from error
        return building.build(*self._to_be_built(workspace), platform=wanted)

    def get_image_details(self, workspace: AnyWorkspace = None) -> DockerImageDetails:
        """Say what it has been built to on this machine; nothing is built by asking.

        :raises UserErrorException: it asks for something that cannot be.
        """
        core = self._core(workspace)
        return building.image_details(self._project(core), core)

    # Files

    @takes(path=pathlike)
    def save_to_directory(self, path: str | os.PathLike[str], overwrite: bool = False) -> None:
        """Write Azure's files: ``azureml_environment.json``, ``conda_dependencies.yml``, and ``BaseDockerfile``.

        Credentials are not written. With ``overwrite``, files that do not belong to it any more are removed, which
        Azure leaves there.

        :raises FileExistsError: the folder is there, and it was not said to overwrite it.
        :raises UserErrorException: it asks for something that cannot be, or the files cannot be written.
        """
        azure_files.save(self, Path(path), overwrite=overwrite)

    @staticmethod
    @takes(path=pathlike)
    def load_from_directory(path: str | os.PathLike[str]) -> Environment:
        """Read what `save_to_directory`, or Azure's method of that name, wrote.

        Version and asset id are those of the workspace that it came from, and are not taken over.

        :raises FileNotFoundError: there is no ``azureml_environment.json``.
        :raises UserErrorException: a file does not say what it has to.
        """
        made = Environment(None)
        azure_files.load(Path(path), made)
        return made

    # Python's own

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Environment):
            return NotImplemented
        return self.name == other.name and self._content() == other._content()

    __hash__ = None  # type: ignore[assignment]

    def __str__(self) -> str:
        return f"Environment(Name: {self.name},\nVersion: {self.version})"

    def __repr__(self) -> str:
        return json.dumps(azure_files.to_form(self), indent=4, sort_keys=True, default=str)

    # How it is done

    @classmethod
    def _from_definition(cls, definition: Definition, version: str | None = None) -> Environment:
        """The environment that asks for what ``definition`` asks for."""
        made = cls(definition.name)
        definitions.fill(made, definition)
        made.version = made._given = version
        return made

    @classmethod
    def _of(cls, version: EnvironmentVersion, core: Core) -> Environment:
        made = cls._from_definition(core.definition_of(version), str(version.version))
        made._came_from(version, core)
        return made

    def _came_from(self, version: EnvironmentVersion, core: Core) -> None:
        self.version = self._given = str(version.version)
        self.asset_id = f"envbuild://environments/{version.name}/versions/{version.version}"
        self.description = version.description or None
        self._workspace = core.root

    def _core(self, workspace: AnyWorkspace) -> Core:
        return opened(self._workspace if workspace is None else workspace)

    def _content(self) -> Any:
        try:
            return self.definition.content()
        except UserErrorException:
            # What cannot be meant is compared by what was written.
            return azure_files.to_form(self, login=True) | {"version": None, "assetId": None}

    def _registered(self, core: Core) -> tuple[Environment, EnvironmentVersion, Definition]:
        self._check_name()
        definition = self.definition
        version = self._entered(core, definition, pinned=True)
        made = copy.deepcopy(self)
        made._came_from(version, core)
        return made, version, definition

    def _entered(self, core: Core, definition: Definition, *, pinned: bool) -> EnvironmentVersion:
        """The version that ``definition``, which is this one's, has or gets under its name."""
        with user_errors():
            self._check_version(core, definition)
            self._keep_wheels(core, definition)
            return core.register(str(self.name), definition, description=self.description or "", pinned=pinned)

    def _check_name(self) -> None:
        if not self.name or not ENVIRONMENT_NAME.fullmatch(self.name):
            raise UserErrorException(
                f"{self.name!r} is no name for an environment",
                hint="letters, digits, '.', '_' and '-' make one, a letter or digit first",
            )

    def _check_version(self, core: Core, definition: Definition) -> None:
        """See to it that a version which was set by hand is the one that registering comes to."""
        if self.version is None or self.version == self._given or self.name is None:
            return
        known = core.catalogue.registered(self.name, definition_document(definition).digest)
        numbers = [each.version for each in core.catalogue.list(self.name, archived=True)]
        coming = known or max(numbers, default=0) + 1
        if str(self.version) != str(coming):
            what = "has this definition already" if known else "comes next"
            raise UserErrorException(
                f"{self.name!r} cannot be registered as version {self.version}: {coming} {what}",
                hint="leave version at None; versions are counted, and never come to mean something else",
            )

    def _keep_wheels(self, core: Core, definition: Definition) -> None:
        """Keep the private wheels with it: from this machine, or from the workspace that it came from."""
        from envbuild import pipeline
        from envbuild.plugins import load_plugins

        came_from = self._core(None).store
        for wheel in definition.wheels:
            if wheel.digest in core.store:
                continue
            if wheel.path is not None:
                pipeline.keep_wheel((definition.root or Path.cwd()) / wheel.path, core, load_plugins())
            elif wheel.digest in came_from:
                core.store.put_file(came_from.path(wheel.digest), expected=wheel.digest)

    def _to_be_built(self, workspace: AnyWorkspace) -> tuple[Environment, Project, Core]:
        from envbuild.project import Project

        core = self._core(workspace)
        made, version, definition = self._registered(core)
        # Passwords are in no workspace: whoever asks for the build has them.
        kept = replace(core.definition_of(version), credentials=definition.credentials)
        return made, Project(definition=kept, spec=str(version), version=version), core

    def _project(self, core: Core) -> Project:
        """What it asks for now: as the version that it is, if it has been registered like this."""
        from envbuild.project import Project

        definition = self.definition
        number = (
            core.catalogue.registered(definition.name, definition_document(definition).digest)
            if definition.name
            else None
        )
        if definition.name is None or number is None:
            return Project(definition=definition, spec=definition.name or "environment")
        version = core.catalogue.get(definition.name, number)
        return Project(definition=definition, spec=str(version), version=version)


class EnvironmentReference(Guarded):
    """The name of a registered environment, in the place of one (``azureml.core.environment.EnvironmentReference``).

    :param version: by default the latest, when it is asked for.
    """

    name = Checked(text)
    version = Checked(_version)

    def __init__(self, name: str, version: str | int | None = None) -> None:
        self.name = name
        self.version = version

    def get_environment(self, workspace: AnyWorkspace = None) -> Environment:
        """Find the environment that is meant.

        :raises UserErrorException: there is none.
        """
        return Environment.get(workspace, self.name, self.version)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, EnvironmentReference):
            return NotImplemented
        return (self.name, self.version) == (other.name, other.version)

    def __hash__(self) -> int:
        return hash((self.name, self.version))

    def __repr__(self) -> str:
        return f"EnvironmentReference(name={self.name!r}, version={self.version!r})"


def _existing(file_path: str | os.PathLike[str]) -> Path:
    path = Path(os.path.abspath(file_path))  # noqa: PTH100 - the folder of a link counts, not that of its target
    if not path.exists():
        raise FileNotFoundError(f"no such file: {os.fspath(file_path)!r}")
    return path


def _on_top(
    name: str, conda_specification: str | os.PathLike[str] | None, pip_requirements: str | os.PathLike[str] | None
) -> Environment:
    """An environment that has these packages on top of an image, or the image's own Python."""
    if conda_specification is not None and pip_requirements is not None:
        raise UserErrorException(
            "both conda_specification and pip_requirements are given",
            hint="put the requirements into the list 'pip:' of the conda specification",
        )
    if conda_specification is not None:
        return Environment.from_conda_specification(name, conda_specification)
    if pip_requirements is not None:
        return Environment.from_pip_requirements(name, pip_requirements)
    made = Environment(name)
    made.python.user_managed_dependencies = True
    return made


def _asks_for_packages(asked: CondaDependencies) -> bool:
    return bool(asked.pip_packages or asked.pip_options or asked != CondaDependencies())


def _told(definition: Definition) -> list[str]:
    """What a definition asks for, in sentences."""
    docker = definition.docker if "docker" in definition.sections else {}
    if definition.interpreter:
        where = f"by the Python {definition.interpreter!r} as it is"
    else:
        where = f"in a folder of its own, with Python {definition.python or 'of any version'}"
    if docker:
        base = docker.get("base_image") or ("a Dockerfile" if docker.get("base_dockerfile") else "the default image")
        where += f", in a container of {docker.get('build_context', {}).get('location') or base}"
    lines = [f"runs {where}"]
    asked = [f"{counted(len(definition.conda), 'package')} of conda"] if definition.conda else []
    asked += [f"{counted(len(definition.pip), 'package')} of pip"] if definition.pip else []
    asked += [counted(len(definition.wheels), "private wheel")] if definition.wheels else []
    asked += ["what another tool has locked"] if definition.pylock else []
    lines.append(f"asks for {', '.join(asked)}" if asked else "asks for no packages")
    if definition.as_of:
        lines.append(f"releases after {definition.as_of} do not count")
    if definition.variables:
        lines.append(f"sets {', '.join(sorted(definition.variables))} in every run and service")
    if definition.secrets:
        lines.append(f"takes {', '.join(sorted(definition.secrets))} from whoever starts a run")
    return lines
