"""Files of run configurations: Azure's ``.runconfig``, written and read."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from envbuild.form import did_you_mean
from envbuild.reading import yaml
from envbuild.reading.sources import Sources
from envbuild.sdk import azure_files
from envbuild.sdk.conda_dependencies import CondaDependencies
from envbuild.sdk.definitions import folder_of
from envbuild.sdk.environment import Environment, EnvironmentReference
from envbuild.sdk.exceptions import RunConfigurationException, UserErrorException, user_errors
from envbuild.sdk.run_sections import DataReferenceConfiguration, checked, folded, form_of, section_of
from envbuild.sdk.runconfig import DEFAULT_ENVIRONMENT, FOLDERS, SECTIONS, SUFFIX, RunConfiguration

_PACKAGES = "conda_dependencies"
_PACKAGES_KEY = "condaDependenciesFile"
_ENVIRONMENT = "environment"
_OURS = azure_files._OURS
_HEAD = "# A run configuration, in the form that Azure ML's SDK gives it.\n"

_TEXTS = ("script", "framework", "communicator")
_NUMBERS = {"nodecount": "node_count", "maxrundurationseconds": "max_run_duration_seconds", "priority": "priority"}
_NOT_HERE = ("data", "outputData", "datacaches")
"""What Azure fills from datasets; a run would lack its data if that were passed over."""

_PASSED_OVER = (
    *("autoPrepareEnvironment", "prepareEnvironment", "useAbsolutePath", "credentialPassthrough", "version", "jobName"),
    *("paralleltask", "batchAi", "kubernetescompute", "aisupercomputer", "containerInstance", "cmk8sCompute"),
    *("applicationEndpoints", "services", "exposedPorts", "commandReturnCodeConfig", "runType", "tags", "identity"),
    *("limits", "instanceTypes", "instanceCount", "globalJobDispatcher", "displayName", "experimentName"),
)
"""What concerns Azure's machines alone."""


def save(config: RunConfiguration, path: Path, name: str | None, separate_environment: bool) -> None:
    """Write a configuration; see `RunConfiguration.save`."""
    if path.is_dir():
        folder = path / _folder_in(path)
        file = _file_of(folder, name)
        below = f"{folder.name}/"
    elif path.parent.is_dir():
        file, folder, below = path, path.parent, ""
    else:
        raise UserErrorException(f"there is no folder {path.parent} to write {path.name} into", hint="make it first")
    form = _form(config)
    try:
        folder.mkdir(exist_ok=True)
        environment = config.chosen_environment()
        if environment is not None:
            form["environment"] = _environment_form(environment, file, below)
            if separate_environment:
                text = _written(form["environment"])
                own = _beside(file, _ENVIRONMENT, text)
                _write(own, text)
                form["environment"] = below + own.name
        _write(file, _HEAD + _written(form))
    except OSError as error:
        raise UserErrorException(f"{file} cannot be written: {error.strerror}") from error


def load(path: Path, name: str | None) -> RunConfiguration:
    """Read a configuration; see `RunConfiguration.load`."""
    file = path if path.is_file() else _found(path, name)
    form = _read(file)
    project = file.parent.parent if file.parent.name in FOLDERS else file.parent
    made = RunConfiguration(_path=str(path), _name=name or file.name)
    reading = _Reading(made, file, project)
    for key, value in form.items():
        reading.take(str(key), value)
    return made


def delete(path: Path, name: str) -> None:
    """Remove a configuration; see `RunConfiguration.delete`."""
    found = [file for folder in FOLDERS for file in _candidates(path / folder, name) if file.is_file()]
    if not found:
        raise UserErrorException(_missing(path, name))
    for file in found:
        file.unlink()


# Finding


def _folder_in(project: Path) -> str:
    return next((each for each in FOLDERS if (project / each).is_dir()), FOLDERS[0])


def _file_of(folder: Path, name: str | None) -> Path:
    """The file of that name, as it is called or is to be called: Azure's SDK leaves the suffix out."""
    if not name or Path(name).name != name:
        raise UserErrorException(
            f"a run configuration is saved under a name, not {name!r}", hint="save(path, name='train')"
        )
    bare, whole = _candidates(folder, name)
    return bare if bare.is_file() or bare.suffix in (SUFFIX, ".yml", ".yaml") else whole


def _candidates(folder: Path, name: str) -> tuple[Path, Path]:
    return folder / name, folder / (name + SUFFIX)


def _found(project: Path, name: str | None) -> Path:
    if not project.exists():
        raise UserErrorException(f"there is no file or folder {project}")
    if not name:
        raise UserErrorException(
            f"which run configuration of {project} is meant?", hint=f"name one: {', '.join(_there(project)) or 'none'}"
        )
    for folder in (*(project / each for each in FOLDERS), project):
        for file in _candidates(folder, name):
            if file.is_file():
                return file
    raise UserErrorException(_missing(project, name))


def _missing(project: Path, name: str) -> str:
    there = _there(project)
    said = f"there is no run configuration {name!r} in {project}"
    return f"{said}{did_you_mean(name, there) or f'; there are {there}'}" if there else said


def _there(project: Path) -> list[str]:
    return sorted(file.stem for each in FOLDERS for file in (project / each).glob(f"*{SUFFIX}"))


# Writing


def _form(config: RunConfiguration) -> dict[str, Any]:
    references = dict(config.data_references)
    return {
        "script": config.script,
        "arguments": [_plain(each, references) for each in config.arguments],
        "command": _plain_command(config.command, references),
        "target": config.target,
        "framework": config.framework,
        "communicator": config.communicator,
        "maxRunDurationSeconds": config.max_run_duration_seconds,
        "nodeCount": config.node_count,
        "priority": config.priority,
        "environmentVariables": {name: str(value) for name, value in config.environment_variables.items()},
        **{name: form_of(getattr(config, name)) for name in SECTIONS},
        "dataReferences": {name: _reference_form(each) for name, each in references.items()},
        "sourceDirectoryDataStore": config.source_directory_data_store,
    }


def _plain(value: Any, references: dict[str, Any]) -> Any:
    """An argument as a file can hold it; data goes to ``references``."""
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    if hasattr(value, "as_mount"):
        reference = value if hasattr(value, "data_reference_name") else value.as_mount()
        references[reference.data_reference_name] = reference
        return str(reference)
    return str(value)


def _plain_command(command: Any, references: dict[str, Any]) -> Any:
    return [_plain(each, references) for each in command] if isinstance(command, list) else command


def _reference_form(reference: Any) -> dict[str, Any]:
    if not isinstance(reference, DataReferenceConfiguration):
        reference = reference.to_config()
    return form_of(reference)


def _environment_form(environment: Any, file: Path, below: str) -> dict[str, Any]:
    """The environment as ``file`` has it, its packages written to a file beside it; no credentials are in either."""
    if not isinstance(environment, Environment):
        return {"name": environment.name, "version": environment.version}
    form = azure_files.to_form(environment)
    asked = environment.python.conda_dependencies
    if asked.path or environment._root:
        form.setdefault(_OURS, {})["root"] = os.path.relpath(folder_of(environment), file.parent)
    bare = CondaDependencies(_underlying_structure=form["python"].pop("condaDependencies"))
    text = (asked if asked == bare else bare).serialize_to_string()
    packages = _beside(file, _PACKAGES, text)
    _write(packages, text)
    form["python"][_PACKAGES_KEY] = below + packages.name
    return form


def _beside(file: Path, stem: str, text: str) -> Path:
    """Where what belongs to a configuration goes: not where something else stands, which another may need."""
    usual = file.with_name(f"{stem}.yml")
    if usual.exists() and usual.read_text(encoding="utf-8", errors="replace") != text:
        return file.with_name(f"{stem}_{file.stem}.yml")
    return usual


def _written(form: Mapping[str, Any]) -> str:
    import yaml as pyyaml

    written: str = pyyaml.safe_dump(dict(form), sort_keys=False, allow_unicode=True, default_flow_style=False)
    return written


def _write(file: Path, text: str) -> None:
    aside = file.with_name(f"{file.name}.{os.getpid()}.part")
    aside.write_text(text, encoding="utf-8")
    aside.replace(file)


# Reading


def _read(file: Path) -> Mapping[str, Any]:
    sources = Sources(file.parent, {})
    try:
        text = sources.text(file)
    except ValueError as error:
        raise RunConfigurationException(f"{file}: {error}") from error
    with user_errors(RunConfigurationException):
        marked = yaml.load(text, file, sources)
        form = yaml.mapping(marked, file, sources)
        sources.check()
    return form


class _Reading:
    """A file being read into a configuration, one key after the other."""

    def __init__(self, made: RunConfiguration, file: Path, project: Path) -> None:
        self.made, self.file, self.project = made, file, project
        self._sections = {folded(name): name for name in SECTIONS}
        self._others = {
            "arguments": self._arguments,
            "command": self._command,
            "target": self._target,
            "environment": self._environment,
            "environmentvariables": self._variables,
            "datareferences": self._references,
            "sourcedirectorydatastore": self._source,
        }

    def take(self, key: str, value: Any) -> None:
        """Read one key.

        :raises RunConfigurationException: it does not say what it should, or is nearly a known one.
        """
        name, where = folded(key), f"{self.file}: {key}"
        if name in self._sections:
            section = self._sections[name]
            setattr(self.made, section, section_of(SECTIONS[section], value, where))
        elif value is None or name in map(folded, _PASSED_OVER):
            return
        elif name in _TEXTS:
            setattr(self.made, name, checked(value, "", where))
        elif name in _NUMBERS:
            setattr(self.made, _NUMBERS[name], checked(value, 0, where))
        elif name in self._others:
            self._others[name](value, where)
        else:
            self._unknown(key, value, where)

    def _unknown(self, key: str, value: Any, where: str) -> None:
        if folded(key) in map(folded, _NOT_HERE):
            if value:
                raise RunConfigurationException(
                    f"{where}: a run here is given data by reference, and these are datasets", hint="use dataReferences"
                )
            return
        known = [*self._sections, *self._others, *_TEXTS, *_NUMBERS]
        if near := did_you_mean(folded(key), known):
            raise RunConfigurationException(f"{where}: there is no such setting{near}")

    def _arguments(self, value: Any, where: str) -> None:
        self.made.arguments = list(checked(value, [], where))

    def _command(self, value: Any, where: str) -> None:
        self.made.command = list(value) if isinstance(value, list) else checked(value, "", where) or None

    def _target(self, value: Any, where: str) -> None:
        self.made.target = checked(value, "", where)

    def _source(self, value: Any, where: str) -> None:
        self.made.source_directory_data_store = checked(value, "", where)

    def _variables(self, value: Any, where: str) -> None:
        self.made.environment_variables = {str(k): str(v) for k, v in checked(value, {}, where).items()}

    def _references(self, value: Any, where: str) -> None:
        self.made.data_references = {
            str(name): section_of(DataReferenceConfiguration, form, f"{where}.{name}")
            for name, form in checked(value, {}, where).items()
        }

    def _environment(self, value: Any, where: str) -> None:
        if isinstance(value, str):
            value = _read(self._file(value, where))
        form = checked(value, {}, where)
        if set(form) <= {"name", "version"}:
            self.made.environment = EnvironmentReference(form.get("name"), form.get("version"))
            return
        made = Environment(DEFAULT_ENVIRONMENT)
        try:
            azure_files.from_form(form, made)
        except UserErrorException as error:
            raise RunConfigurationException(f"{where}.{error}", hint=error.hint) from error
        made.name = made.name or DEFAULT_ENVIRONMENT
        self._read_packages(form, made, where)
        self.made.environment = made

    def _read_packages(self, form: Mapping[str, Any], made: Environment, where: str) -> None:
        python = form.get("python") or {}
        named = python.get(_PACKAGES_KEY)
        if named and not python.get("condaDependencies"):
            asked = CondaDependencies(self._file(checked(named, "", f"{where}.python.{_PACKAGES_KEY}"), where))
            made.python.conda_dependencies = asked
        if root := (form.get(_OURS) or {}).get("root"):
            # Relative paths among the packages are not meant from where those were saved to.
            made._root = Path(os.path.abspath(self.file.parent / root))  # noqa: PTH100 - links stay as they are
            packages = made.python.conda_dependencies.as_dict()
            made.python.conda_dependencies = CondaDependencies(_underlying_structure=packages)

    def _file(self, named: str, where: str) -> Path:
        """A file that the configuration names, relative to the project or to the configuration itself."""
        for folder in (self.project, self.file.parent):
            if (folder / named).is_file():
                return folder / named
        raise RunConfigurationException(f"{where}: there is no file {named}, neither in {self.project} nor beside it")
