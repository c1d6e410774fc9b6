"""Definitions behind environments: what an `Environment` asks for as a frozen `Definition`, and the other way.

An environment goes through the code that reads ``environment.yml`` and requirements files, so that it has the same
definition digest as the file that it was made from. What is wrong with it is told at once, each with its place, such as
``dependencies[2].pip[0]``.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from envbuild import form as forms
from envbuild.definition import ENVIRONMENT_NAME, Definition
from envbuild.errors import DefinitionError, Problem
from envbuild.reading import conda
from envbuild.reading.asked import Asked, assemble
from envbuild.reading.requirements import read_lines
from envbuild.reading.sources import Place, Sources
from envbuild.requirement import PipOptions, Requirement, WheelRef
from envbuild.sdk.conda_dependencies import DEFAULT_NAME, CondaDependencies
from envbuild.sdk.exceptions import UserErrorException, user_errors
from envbuild.sdk.sections import DockerSection, SparkSection

if TYPE_CHECKING:
    from envbuild.sdk.environment import Environment

ALL_GPUS = {"count": "all"}
"""What ``docker.gpu_support = True`` asks for."""

_ANY_PATCH = re.compile(r"^==([0-9]+\.[0-9]+)\.\*$")
_PYTHON = re.compile(r"(\S+::)?python(?![\w.-])")


def definition_of(environment: Environment) -> Definition:
    """What ``environment`` asks for now.

    :raises UserErrorException: it asks for something that cannot be; everything that is wrong is told at once.
    """
    asked = Asked(Sources(folder_of(environment), os.environ))
    kept = environment._kept

    def at(part: str) -> Place:
        said = re.sub(r"^variables\b", "environment_variables", part)
        return Place(asked.sources.root / "(environment)", None, said or "environment")

    form: dict[str, Any] = {"interpreter": environment.python.interpreter_path}
    if not environment.python.user_managed_dependencies:
        form = conda.read_form(environment.python.conda_dependencies.as_dict(), asked, at)
    for position, line in enumerate(environment.constraints):
        read_lines(line, at(f"constraints[{position}]"), asked, constraint=True)
    form |= {
        "name": environment.name if ENVIRONMENT_NAME.fullmatch(environment.name or "") else None,
        "variables": {**(form.get("variables") or {}), **environment.environment_variables},
        "secrets": list(environment.secrets),
        "as_of": environment.as_of,
        "options": {"source": list(kept["source"])} if kept.get("source") else None,
        "docker": _docker(environment),
        "gpu": (kept.get("gpu") or ALL_GPUS) if environment.docker.gpu_support else None,
        "spark": _as_written(environment.spark.to_spark(), kept.get("spark", {})),
        "azure": azure_of(environment),
        "plugins": kept.get("plugins"),
    }
    with user_errors():
        return assemble(asked, form, at, **({"pylock": kept["pylock"]} if kept.get("pylock") else {}))


def folder_of(environment: Environment) -> Path:
    """The folder that relative paths in ``environment`` are meant from."""
    read_from = environment.python.conda_dependencies.path
    if read_from is not None:
        return read_from.parent
    if environment._root is not None:
        return environment._root
    try:
        return Path.cwd()
    except FileNotFoundError:
        # Whoever is in a folder that has been deleted has no relative paths to speak of.
        return Path("/")


def _docker(environment: Environment) -> dict[str, Any]:
    found = _as_written(environment.docker.to_docker(), environment._kept.get("docker", {}))
    return found if environment.docker.enabled or not found else {**found, "enabled": False}


def azure_of(environment: Environment) -> dict[str, Any]:
    """What only Azure ML makes something of, in the words of `Definition.azure`."""
    libraries = {name: data_of(value) for name, value in vars(environment.databricks).items() if value}
    found = {
        **environment._kept.get("azure", {}),
        "databricks": libraries or None,
        "r": data_of(environment.r),
        "inferencing_stack_version": environment.inferencing_stack_version,
    }
    return {name: value for name, value in found.items() if value is not None}


def data_of(value: Any) -> Any:
    """``value`` as plain data; of an object, its public attributes."""
    if isinstance(value, Mapping):
        return {str(name): data_of(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [data_of(each) for each in value]
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    return {name: data_of(each) for name, each in vars(value).items() if not name.startswith("_")}


def names_files(environment: Environment) -> bool:
    """Whether it asks for files or folders of this machine, or reads its requirements from some."""
    definition = definition_of(environment)
    read = ("-r", "-c", "--requirement", "--constraint")
    options = environment.python.conda_dependencies.pip_options
    has_wheels = any(each.path for each in definition.wheels)
    return definition.is_local or has_wheels or any(each.startswith(read) for each in options)


# The other way


def fill(environment: Environment, definition: Definition) -> None:
    """Make ``environment`` ask for what ``definition`` asks for; `definition_of` then gives the same content."""
    if definition.interpreter is not None:
        environment.python.user_managed_dependencies = True
        environment.python.interpreter_path = definition.interpreter
    else:
        environment.python.conda_dependencies = CondaDependencies(_underlying_structure=conda_form(definition))
    environment.environment_variables = dict(definition.variables)
    environment.secrets = list(definition.secrets)
    environment.as_of = definition.as_of
    environment.constraints = [_written(each) for each in definition.constraints]
    environment._root = definition.root
    kept = {
        "source": definition.options.source,
        "pylock": definition.pylock,
        "gpu": forms.plain(definition.gpu),
        "docker": _fill_docker(environment, definition),
        "spark": _fill_spark(environment, forms.plain(definition.spark)),
        "azure": _fill_azure(environment, forms.plain(definition.azure)),
        "plugins": forms.plain(definition.plugins),
    }
    environment._kept = {name: value for name, value in kept.items() if value}


def conda_form(definition: Definition) -> dict[str, Any]:
    """An ``environment.yml`` that asks for the Python and the packages of ``definition``."""
    packages: list[Any] = list(definition.conda)
    says_python = any(_PYTHON.match(each) for each in packages)
    if definition.python and not says_python:
        said = _ANY_PATCH.sub(r"\1", definition.python)
        packages.insert(0, f"python{'' if said[0] in '=<>!~' else '='}{said}")
    lines = [*option_lines(definition.options), *map(_written, definition.pip), *map(_wheel, definition.wheels)]
    if lines:
        packages.append({"pip": lines})
    form: dict[str, Any] = {"name": DEFAULT_NAME, "channels": list(definition.channels), "dependencies": packages}
    return {key: value for key, value in form.items() if value}


def option_lines(options: PipOptions) -> Iterator[str]:
    """Lines of a requirements file that come to ``options``; the index first, since it replaces those before it."""
    if options.index_url:
        yield f"--index-url {shlex.quote(options.index_url)}"
    for name, values in (("--extra-index-url", options.extra_index_urls), ("--find-links", options.find_links)):
        yield from (f"{name} {shlex.quote(value)}" for value in values)
    flags = {"--no-index": options.no_index, "--pre": options.pre, "--require-hashes": options.require_hashes}
    yield from (name for name, is_set in flags.items() if is_set)
    for name, names in (("--no-binary", options.no_binary), ("--only-binary", options.only_binary)):
        if names:
            yield f"{name} {','.join(names)}"


def _written(requirement: Requirement) -> str:
    if requirement.index:
        raise DefinitionError(
            Problem("pip", None, f"{requirement.text} comes from {requirement.index} alone, and no line can say that")
        )
    hashes = "".join(f" --hash={each}" for each in requirement.hashes)
    return f"{'-e ' if requirement.editable else ''}{requirement.text}{hashes}"


def _wheel(wheel: WheelRef) -> str:
    if wheel.path is None:
        return str(wheel)
    extras = f"[{','.join(wheel.extras)}]" if wheel.extras else ""
    return f"{wheel.path}{extras}" + (f" ; {wheel.marker}" if wheel.marker else "")


def _fill_docker(environment: Environment, definition: Definition) -> dict[str, Any]:
    """Give the docker section what it has attributes for, and give back what it would say otherwise."""
    docker = forms.plain(definition.docker)
    # A section has one base; and a path of a Dockerfile would be meant from the working directory there.
    beside = [name for name in ("base_image", "base_dockerfile", "build_context") if name in docker][1:]
    beside += ["base_dockerfile"] if "\n" not in str(docker.get("base_dockerfile")) else []
    taken, kept = _taken(docker, lambda part: DockerSection.from_docker(part).to_docker(), beside)
    enabled = {"enabled": bool(definition.docker)}
    environment.docker = DockerSection.from_docker({**enabled, **taken}, gpu_support=bool(definition.gpu))
    return kept


def _fill_spark(environment: Environment, spark: dict[str, Any]) -> dict[str, Any]:
    taken, kept = _taken(spark, lambda part: SparkSection.from_spark(part).to_spark())
    environment.spark = SparkSection.from_spark(taken)
    return kept


def _taken(
    written: Mapping[str, Any],
    through: Callable[[Mapping[str, Any]], Mapping[str, Any]],
    beside: Collection[str] = (),
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What of a section's words a section takes, and those that it would not say again as they are written.

    :param through: makes the section of some words, and gives the words that it says then.
    :param beside: words that the section is not to take.
    :returns: of the latter, what the section says of itself (or ``None``), and what is written.
    """
    taken, kept = {}, {}
    for key, value in written.items():
        said = None
        if key not in beside:
            try:
                said = through({key: value}).get(key)
                taken[key] = value
            except UserErrorException:
                said = None
        if said != value:
            kept[key] = [said, value]
    return taken, kept


def _as_written(said: dict[str, Any], kept: Mapping[str, Any]) -> dict[str, Any]:
    """What a section says, in the words that stood there before wherever it still says the same."""
    return said | {key: value for key, (before, value) in kept.items() if said.get(key) == before}


def _fill_azure(environment: Environment, azure: dict[str, Any]) -> dict[str, Any]:
    for name, libraries in azure.pop("databricks", {}).items():
        setattr(environment.databricks, name, libraries)
    environment.r = azure.pop("r", None)
    environment.inferencing_stack_version = azure.pop("inferencing_stack_version", None)
    return azure
