"""Azure's files: the form in which ``azureml-core`` writes an environment, read and written.

``azureml_environment.json`` says everything but the packages (``conda_dependencies.yml``) and a Dockerfile
(``BaseDockerfile``); in a run configuration, and in what `repr` shows, the packages stand within. Files that Azure's
own SDK has saved are read whole; what the workspace they came from knew them by, a version and an id, is left behind.
"""

from __future__ import annotations

import copy
import json
import os
import warnings
from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from envbuild.reading.asked import bare_channel
from envbuild.requirement import without_credentials_in
from envbuild.sdk.build_context import LOCAL
from envbuild.sdk.conda_dependencies import CondaDependencies
from envbuild.sdk.container_registry import ContainerRegistry, RegistryIdentity
from envbuild.sdk.definitions import data_of, folder_of, names_files
from envbuild.sdk.exceptions import UserErrorException
from envbuild.sdk.sections import DockerBuildContext, SparkPackage

if TYPE_CHECKING:
    from envbuild.sdk.environment import Environment

DEFINITION = "azureml_environment.json"
CONDA = "conda_dependencies.yml"
DOCKERFILE = "BaseDockerfile"

UNASKED = {"EXAMPLE_ENV_VAR": "EXAMPLE_VALUE"}
"""The variables that Azure gives every environment that was given none."""

_OURS = "envbuild"
"""The key of what Azure has no word for; its SDK passes over it."""

_DEEPEST = 150

_KEPT_PARTS = ("gpu", "docker", "spark", "azure", "plugins")
"""The parts of a definition that are kept as they were written."""

_LIBRARIES = ("egg_libraries", "jar_libraries", "maven_libraries", "pypi_libraries", "rcran_libraries")


def to_form(environment: Environment, *, login: bool = False) -> dict[str, Any]:
    """``environment`` in Azure's form, with the packages in it.

    :param login: the user name and password for a registry too, and credentials in URLs.
    """
    docker, python, spark = environment.docker, environment.python, environment.spark
    registry, context = docker.base_image_registry, docker.build_context
    form: dict[str, Any] = {
        "name": environment.name,
        "version": environment.version,
        "environmentVariables": dict(environment.environment_variables),
        "python": {
            "interpreterPath": python.interpreter_path,
            "userManagedDependencies": bool(python.user_managed_dependencies),
            "condaDependencies": python.conda_dependencies.as_dict(),
            "baseCondaEnvironment": None,
        },
        "docker": {
            "enabled": bool(docker.enabled),
            "baseImage": docker.base_image,
            "baseDockerfile": docker.base_dockerfile,
            "buildContext": _camel(data_of(context)),
            "baseImageRegistry": {
                "address": registry.address,
                "username": registry.username if login else None,
                "password": registry.password if login else None,
                "registryIdentity": _camel(data_of(registry.registry_identity)),
            },
            "platform": {"os": docker.platform.os, "architecture": docker.platform.architecture},
            "sharedVolumes": docker.shared_volumes,
            "shmSize": docker.shm_size,
            "arguments": list(docker.arguments),
            "gpuSupport": bool(docker.gpu_support),
        },
        "spark": {
            "repositories": list(spark.repositories),
            "packages": [data_of(each) for each in spark.packages],
            "precachePackages": bool(spark.precache_packages),
        },
        "databricks": {_camelled(name): _camel(data_of(getattr(environment.databricks, name))) for name in _LIBRARIES},
        "r": data_of(environment.r),
        "inferencingStackVersion": environment.inferencing_stack_version,
        "assetId": environment.asset_id,
    }
    beyond = _beyond(environment)
    if beyond:
        form[_OURS] = beyond
    return form if login else _bare(form)


def _bare(form: dict[str, Any]) -> dict[str, Any]:
    packages = form["python"]["condaDependencies"]
    if packages.get("channels"):
        packages["channels"] = [bare_channel(each) for each in packages["channels"]]
    bare: dict[str, Any] = _without_credentials(form)
    return bare


def from_form(form: Mapping[str, Any], environment: Environment) -> None:
    """Make ``environment`` what ``form`` says.

    Keys that nobody knows are passed over: later versions of Azure's SDK have more of them.

    :raises UserErrorException: a part of it is not of the kind that it has to be; the message says which.
    """
    part = _Part(form, "")
    environment.name = part.text("name")
    variables = {str(name): "" if value is None else str(value) for name, value in part.part("environmentVariables")}
    environment.environment_variables = {} if variables == UNASKED else variables
    environment.inferencing_stack_version = part.text("inferencingStackVersion")
    environment.r = copy.deepcopy(part.form.get("r"))
    _read_python(part.part("python"), environment)
    _read_docker(part.part("docker"), environment)
    _read_spark(part.part("spark"), environment)
    databricks = part.part("databricks")
    for name in _LIBRARIES:
        setattr(environment.databricks, name, databricks.list(_camelled(name)))
    _read_beyond(part.part(_OURS), environment)


def save(environment: Environment, folder: Path, *, overwrite: bool = False) -> None:
    """Write Azure's files; credentials stay out of them, and files that do not belong to it any more are removed.

    :raises FileExistsError: the folder is there, and it was not said to overwrite it.
    :raises UserErrorException: it cannot be written.
    """
    if folder.exists() and not overwrite:
        raise FileExistsError(f"{str(folder)!r} is there already; overwrite=True replaces what is in it")
    form = to_form(environment)
    packages = form["python"].pop("condaDependencies")
    dockerfile = form["docker"].pop("baseDockerfile")
    if names_files(environment):
        form.setdefault(_OURS, {})["root"] = os.path.relpath(folder_of(environment), folder)
    written = environment.python.conda_dependencies.serialize_to_string()
    if packages != environment.python.conda_dependencies.as_dict():
        written = CondaDependencies(_underlying_structure=packages).serialize_to_string()
    files = {DEFINITION: json.dumps(form, indent=4), CONDA: written, DOCKERFILE: dockerfile}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            if text is None:
                (folder / name).unlink(missing_ok=True)
                continue
            beside = folder / f".{name}.{os.getpid()}"
            beside.write_text(text, encoding="utf-8", newline="\n")
            beside.replace(folder / name)
    except OSError as error:
        raise UserErrorException(f"{str(folder)!r} cannot be written: {error.strerror}") from error


def load(folder: Path, environment: Environment) -> None:
    """Read Azure's files.

    Where the file of packages is missing, that is warned of.

    :raises FileNotFoundError: there is no ``azureml_environment.json``.
    :raises UserErrorException: a file does not say what it has to; the message says which, and where in it.
    """
    file = folder / DEFINITION
    if not file.is_file():
        raise FileNotFoundError(f"no such file: {str(file)!r}")
    form = _read(file)
    at = file
    try:
        from_form(form, environment)
        dockerfile = folder / DOCKERFILE
        if dockerfile.is_file() and not environment.docker.base_dockerfile:
            at = dockerfile
            environment.docker.base_dockerfile = str(dockerfile)
    except OSError as error:
        raise UserErrorException(f"{str(folder)!r} cannot be read: {error}") from error
    except UserErrorException as error:
        raise UserErrorException(f"{at}: {error}", hint=error.hint) from error
    python = form.get("python") or {}
    packages = folder / (python.get("condaDependenciesFile") or CONDA)
    if packages.is_file() and not python.get("condaDependencies"):
        environment.python.conda_dependencies = CondaDependencies(packages)
    elif not (python.get("condaDependencies") or environment.python.user_managed_dependencies):
        said = f"{packages} is not there, so the environment {environment.name!r} asks for no packages"
        warnings.warn(said, UserWarning, stacklevel=4)
    root = (form.get(_OURS) or {}).get("root")
    environment._root = Path(os.path.abspath(folder / (root or ".")))  # noqa: PTH100 - links stay as they are
    if root:
        # Paths in it are not meant from where it was saved to.
        asked = environment.python.conda_dependencies.as_dict()
        environment.python.conda_dependencies = CondaDependencies(_underlying_structure=asked)


def _read(file: Path) -> Any:
    try:
        form = json.loads(file.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserErrorException(f"{str(file)!r} cannot be read: {error}") from error
    values = [form]
    for _ in range(_DEEPEST):
        within = (
            each.values() if isinstance(each, dict) else each for each in values if isinstance(each, (dict, list))
        )
        values = [*chain.from_iterable(within)]
    if values:
        raise UserErrorException(f"{file}: values within values within values: nothing that deep can be meant")
    return form


class _Part:
    """A mapping in the form, whose values are told with their place if they are wrong."""

    def __init__(self, form: Any, place: str) -> None:
        if not isinstance(form, Mapping):
            raise UserErrorException(f"{place or 'an environment'}: a mapping is wanted, not {type(form).__name__}")
        self.form, self.place = form, place

    def __iter__(self) -> Any:
        return iter(self.form.items())

    def __contains__(self, key: str) -> bool:
        return self.form.get(key) is not None

    def part(self, key: str) -> _Part:
        return _Part(self.form.get(key) or {}, self._at(key))

    def text(self, key: str) -> str | None:
        found: str | None = self._of(key, str, "a text")
        return found

    def flag(self, key: str, *, default: bool) -> bool:
        found = self._of(key, bool, "true or false")
        return default if found is None else bool(found)

    def list(self, key: str) -> list[Any]:
        return list(self._of(key, (list, tuple), "a list") or ())

    def _of(self, key: str, kind: Any, wanted: str) -> Any:
        value = self.form.get(key)
        if value is not None and not isinstance(value, kind):
            raise UserErrorException(f"{self._at(key)}: {wanted} is wanted, not {value!r}")
        return value

    def _at(self, key: str) -> str:
        return f"{self.place}.{key}" if self.place else key


def _read_python(part: _Part, environment: Environment) -> None:
    python = environment.python
    python.user_managed_dependencies = part.flag("userManagedDependencies", default=False)
    python.interpreter_path = part.text("interpreterPath") or "python"
    if "condaDependencies" in part:
        asked = part.part("condaDependencies").form
        python.conda_dependencies = CondaDependencies(_underlying_structure=asked)


def _read_docker(part: _Part, environment: Environment) -> None:
    docker = environment.docker
    docker.enabled = part.flag("enabled", default=False)
    if "baseImage" in part:
        docker.base_image = part.text("baseImage")
    if "baseDockerfile" in part:
        docker.base_dockerfile = part.text("baseDockerfile")
    if "buildContext" in part:
        context = part.part("buildContext")
        docker.build_context = DockerBuildContext(
            context.text("locationType") or LOCAL,
            context.text("location") or ".",
            context.text("dockerfilePath") or "Dockerfile",
        )
    registry = part.form.get("baseImageRegistry")
    if isinstance(registry, str):
        registry = {"address": registry}
    if registry:
        found = _Part(registry, "docker.baseImageRegistry")
        docker.base_image_registry = ContainerRegistry()
        for name in ("address", "username", "password"):
            setattr(docker.base_image_registry, name, found.text(name) or None)
        identity = found.part("registryIdentity")
        if identity.form:
            named = RegistryIdentity(identity.text("resourceId"), identity.text("clientId"))
            docker.base_image_registry.registry_identity = named
    platform = part.part("platform")
    docker.platform.os = platform.text("os") or docker.platform.os
    docker.platform.architecture = platform.text("architecture") or docker.platform.architecture
    docker.shared_volumes = part.flag("sharedVolumes", default=True)
    docker.shm_size = part.text("shmSize") or docker.shm_size
    docker.arguments = part.list("arguments")
    docker.gpu_support = part.flag("gpuSupport", default=False)


def _read_spark(part: _Part, environment: Environment) -> None:
    spark = environment.spark
    spark.repositories = part.list("repositories")
    found = [_Part(each, f"spark.packages[{at}]") for at, each in enumerate(part.list("packages"))]
    spark.packages = [SparkPackage(each.text("group"), each.text("artifact"), each.text("version")) for each in found]
    spark.precache_packages = part.flag("precachePackages", default=True)


def _beyond(environment: Environment) -> dict[str, Any]:
    """What Azure's form has no key for."""
    kept = environment._kept
    found = {
        "description": environment.description,
        "secrets": list(environment.secrets),
        "constraints": list(environment.constraints),
        "asOf": str(environment.as_of) if environment.as_of else None,
        "source": list(kept.get("source", ())),
        "pylock": str(kept["pylock"]) if "pylock" in kept else None,
        **{name: kept.get(name) for name in _KEPT_PARTS},
    }
    return {name: value for name, value in found.items() if value}


def _read_beyond(part: _Part, environment: Environment) -> None:
    from envbuild.form import day
    from envbuild.requirement import PylockFile

    environment.description = part.text("description")
    environment.secrets = part.list("secrets")
    environment.constraints = part.list("constraints")
    try:
        environment.as_of = day(part.form["asOf"]) if "asOf" in part else None
        pylock = PylockFile.parse(part.form["pylock"]) if "pylock" in part else None
    except ValueError as error:
        raise UserErrorException(f"{_OURS}: {error}") from error
    kept: dict[str, Any] = {name: dict(part.part(name).form) for name in _KEPT_PARTS}
    kept |= {"source": tuple(part.list("source")), "pylock": pylock}
    environment._kept = {name: value for name, value in kept.items() if value}


def _camelled(name: str) -> str:
    """A name in Azure's spelling.

    >>> _camelled("precache_packages")
    'precachePackages'
    """
    first, *rest = name.split("_")
    return first + "".join(each.capitalize() for each in rest)


def _camel(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {_camelled(str(name)): _camel(each) for name, each in value.items()}
    return [_camel(each) for each in value] if isinstance(value, list) else value


def _without_credentials(value: Any) -> Any:
    """``value`` without the credentials of any URL in it."""
    if isinstance(value, Mapping):
        return {name: _without_credentials(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_credentials(each) for each in value]
    return without_credentials_in(value) if isinstance(value, str) else value
