"""Models: files of a run under a name and a version, as scripts register and find them.

Under envbuild a run's model is registered in its workspace, by envbuild itself in its own Python. Without it a copy is
kept as ``./azureml-models/NAME/VERSION/``, which is where `Model.get_model_path` looks first.
"""

from __future__ import annotations

import os
import time

from .errors import (
    ModelNotFoundException,
    ModelPathNotFoundException,
    RunEnvironmentException,
    UserErrorException,
    WebserviceException,
)
from .files import OUTPUTS
from .partial import Partial
from .record import workspace_of
from .workspace import Workspace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import datetime
    from typing import Any, Type, Union

    Marks = Union[Mapping[str, Any], Iterable[Any]]

MODELS = "azureml-models"
_PYTHON = "ENVBUILD_PYTHON"
_LISTED = 100
_MOMENT = "%Y-%m-%dT%H:%M:%S+00:00"


class Model(Partial):
    """A registered model: the last of its name, or of those that have what is asked for.

    :param workspace: that of the run, as ``run.experiment.workspace`` gives it; or `None` for the same.
    :param id: ``NAME:VERSION``.
    :param tags: names, or pairs of a name and a value, that it must have; ``properties`` likewise.
    :param run_id: the run that it came from.
    :param expand: accepted; everything that is known is always there.
    :ivar name: its name, ``version`` its number.
    :ivar id: both, as ``name:version``.
    :ivar run_id: the run that it came from, or `None`.
    :raises ModelNotFoundException: there is none; the message says what there is.
    :raises WebserviceException: nothing was said of what is looked for.
    :raises RunEnvironmentException: the script is not part of a run, or envbuild cannot be called from here.
    """

    name: str
    version: int
    id: str
    description: str
    tags: dict[str, str]
    properties: dict[str, str]
    model_framework: str | None
    model_framework_version: str | None
    run_id: str | None

    class Framework:
        """What models are made with; any other text is taken too."""

        CUSTOM = "Custom"
        MULTI = "Multi"
        ONNX = "Onnx"
        SCIKITLEARN = "ScikitLearn"
        TENSORFLOW = "TensorFlow"

    def __init__(
        self,
        workspace: Workspace | None,
        name: str | None = None,
        id: str | None = None,  # noqa: A002 (Azure ML's name)
        tags: Marks | None = None,
        properties: Marks | None = None,
        version: int | str | None = None,
        run_id: str | None = None,
        model_framework: str | None = None,
        expand: bool = True,  # noqa: ARG002
    ) -> None:
        if id is not None:
            named, _, numbered = id.partition(":")
            if name not in (None, named) or (version is not None and str(version) != numbered):
                raise WebserviceException(f"the model {id} is not {name or named}:{version or numbered}")
            name, version = named, numbered or None
        root = _root_of(workspace)
        wanted = {"tags": tags, "properties": properties, "run": run_id, "framework": model_framework}
        if any(each is not None for each in wanted.values()):
            found = _newest(root, name, version, wanted)
        elif name is None:
            raise WebserviceException("which model? neither a name nor an id was given")
        else:
            text = name if version is None else f"{name}:{version}"
            found = _told(["models", "show", "--", text], root, ModelNotFoundException)
        self._take(found, root, None)

    @classmethod
    def _of(cls, found: dict[str, Any], root: str | None, kept: str | None = None) -> Model:
        """The model that envbuild tells of, in its words.

        :param root: the workspace that it is registered in; or else
        :param kept: the folder with its files.
        """
        made = cls.__new__(cls)
        made._take(found, root, kept)
        return made

    def _take(self, found: dict[str, Any], root: str | None, kept: str | None) -> None:
        self.name = found["name"]
        self.version = int(found["version"])
        self.id = f"{self.name}:{self.version}"
        self.description = found.get("description") or ""
        self.tags = {str(key): str(value) for key, value in (found.get("tags") or {}).items()}
        self.properties = {str(key): str(value) for key, value in (found.get("properties") or {}).items()}
        self.model_framework = found.get("framework")
        self.model_framework_version = found.get("framework_version")
        self.run_id = found.get("run")
        self._created = found["created_at"]
        self._root, self._kept = root, kept

    def __repr__(self) -> str:
        return f"Model(name={self.name!r}, version={self.version!r}, id={self.id!r})"

    @property
    def workspace(self) -> Workspace:
        """The workspace that it is registered in.

        :raises RunEnvironmentException: it is in none: the script that has registered it is not part of a run.
        """
        return Workspace() if self._root is None else Workspace._at(self._root)

    @property
    def created_time(self) -> datetime:
        """When it was registered."""
        from datetime import datetime

        return datetime.fromisoformat(self._created)

    @staticmethod
    def register(
        workspace: Workspace | None,
        model_path: str | os.PathLike[str],
        model_name: str,
        tags: dict[str, Any] | None = None,
        properties: dict[str, Any] | None = None,
        description: str | None = None,
        datasets: object = None,  # noqa: ARG004 (Azure ML's; there are none)
        model_framework: str | None = None,
        model_framework_version: str | None = None,
        child_paths: object = None,
        sample_input_dataset: object = None,  # noqa: ARG004 (as the next; Azure ML deploys without code by them)
        sample_output_dataset: object = None,  # noqa: ARG004
        resource_configuration: object = None,  # noqa: ARG004
    ) -> Model:
        """Register a file or folder; each time it gets the next version.

        What lies in the outputs of the run is recorded as coming from it, as ``run.register_model`` does.

        :param child_paths: cannot be had inside a run.
        :raises ModelPathNotFoundException: there is no such file or folder; a `FileNotFoundError` as well.
        :raises WebserviceException: the name is none, or something else was refused.
        :raises RunEnvironmentException: the script is not part of a run, or envbuild cannot be called from here.
        """
        root = _root_of(workspace)
        if child_paths is not None:
            raise UserErrorException(
                "child_paths cannot be had inside a run: put these files into a folder of their own"
            )
        place = os.path.abspath(os.path.expanduser(os.fspath(model_path)))
        if not os.path.exists(place):
            raise ModelPathNotFoundException(f"no such file or folder: {os.fspath(model_path)!r} ({place})")
        known = {
            "tags": tags,
            "properties": properties,
            "framework": model_framework,
            "framework_version": model_framework_version,
            "description": description,
        }
        folder = os.environ.get("ENVBUILD_RUN_FOLDER", "")
        output = _output(place, folder) if folder else None
        source = ["--", model_name, place]
        if output is not None:
            source = [f"--run={os.path.basename(folder)}", "--", model_name, output]
        found = _told(["models", "register", *_said(known), *source], root, ModelPathNotFoundException)
        return Model._of(found, root)

    def download(
        self, target_dir: str | os.PathLike[str] = ".", exist_ok: bool = False, exists_ok: bool | None = None
    ) -> str:
        """Write the model's files into a folder, which is made if need be.

        :param exist_ok: replace files that are there already.
        :param exists_ok: the same, as Azure ML once called it.
        :returns: the path of the file, or of the folder, that was registered.
        :raises WebserviceException: it is there already.
        :raises ModelNotFoundException: it has been deleted meanwhile.
        """
        target = os.path.abspath(os.path.expanduser(os.fspath(target_dir)))
        replace = exist_ok if exists_ok is None else exists_ok
        if self._root is None:
            return _copied(_content(str(self._kept)), target, replace)
        words = ["models", "download", *(["--exist-ok"] if replace else []), "--", self.id, target]
        return str(_told(words, self._root, ModelNotFoundException)["path"])

    @staticmethod
    def get_model_path(model_name: str, version: int | str | None = None, _workspace: object = None) -> str:
        """Where the files of a model lie: in ``AZUREML_MODEL_DIR``, ``azureml-models/NAME/VERSION/`` or ``./NAME``.

        Where it is in none of these, and the script is part of a run, the model is fetched from the run's workspace.

        :param version: by default the last that is there.
        :returns: the path of the file, or folder, that the model is; of several the folder that they lie in.
        :raises ModelNotFoundException: it is in none of these places; the message lists what is.
        """
        looked = []
        given = os.environ.get("AZUREML_MODEL_DIR")
        if given:
            looked.append(given)
            # That of the one model of a service is the folder of its version already.
            here, number = os.path.split(os.path.abspath(given))
            if os.path.basename(here) == model_name and str(version or number) == number and os.path.isdir(given):
                return _content(given)
        for root in [*looked, MODELS]:
            found = _version(os.path.join(root, model_name), version)
            if found:
                return _content(found)
        if version is None and os.path.exists(model_name):
            return os.path.abspath(model_name)
        wanted = model_name if version is None else f"{model_name}:{version}"
        fetched = _fetched(wanted)
        if fetched:
            return fetched
        seen = [path for root in [*looked, MODELS] for path in _tree(root)]
        raise ModelNotFoundException(
            f"no model {wanted!r} in {', '.join([*looked, MODELS])} or the current folder; "
            f"there is: {', '.join(seen) or 'nothing'}"
        )


def register_of_run(run: str, workspace: str, name: str, path: str, known: dict[str, Any]) -> Model:
    """Register files of a run in its workspace.

    :param path: their name in the run.
    :param known: what is said of the model: ``tags``, ``properties``, ``description``, ``framework``,
        ``framework_version``.
    :raises RunEnvironmentException: envbuild cannot be called from here.
    :raises UserErrorException: envbuild has refused; its message says why.
    """
    if not os.environ.get(_PYTHON):
        raise RunEnvironmentException(
            f"a model cannot be registered from here ({_PYTHON} is not set): "
            f"after the run, use 'envbuild models register {name} {path} --run {run}'"
        )
    return Model._of(
        _answer(["models", "register", f"--run={run}", *_said(known), "--", name, path], workspace), workspace
    )


class _Refused(UserErrorException):
    """envbuild has refused.

    :ivar kind: what its own error is called, as ``NotFound``.
    """

    def __init__(self, said: str, kind: str) -> None:
        super().__init__(said)
        self.kind = kind


def _answer(words: list[str], workspace: str) -> Any:
    """What envbuild, in its own Python, answers to a command."""
    import json
    import subprocess

    python = os.environ.get(_PYTHON)
    if not python:
        raise RunEnvironmentException(f"envbuild cannot be called from here ({_PYTHON} is not set)")
    # Not in the working copy (-P, cwd): what lies there is the user's, whatever it is called.
    command = [python, "-P", "-m", "envbuild", *words[:2], "--json", *words[2:]]
    try:
        done = subprocess.run(  # noqa: S603
            command, cwd=workspace, env=_outside(workspace), stdin=subprocess.DEVNULL, capture_output=True, check=False
        )
    except OSError as error:
        raise RunEnvironmentException(f"envbuild cannot be called from here: {python}: {error}") from error
    printed = done.stdout.decode("utf-8", "replace")
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip() or f"exit code {done.returncode}"
        # Of a command that it does not understand it says nothing in JSON.
        kind = json.loads(printed)["error"] if printed.startswith("{") else ""
        raise _Refused(said[len("error: ") :] if said.startswith("error: ") else said, kind)
    return json.loads(printed)


def _told(words: list[str], workspace: str, missing: Type[WebserviceException]) -> Any:
    """As `_answer`, with the errors that Azure ML has; ``missing`` is what is raised for what is not there."""
    try:
        return _answer(words, workspace)
    except _Refused as error:
        kind = missing if error.kind == "NotFound" else WebserviceException
        raise kind(str(error)) from error


def _root_of(workspace: Workspace | None) -> str:
    found = Workspace() if workspace is None else workspace
    if not isinstance(found, Workspace):
        raise UserErrorException(f"a workspace is wanted, such as run.experiment.workspace, not {workspace!r}")
    return found._root


def _newest(root: str, name: str | None, version: int | str | None, wanted: dict[str, Any]) -> dict[str, Any]:
    """Of the models that are as is wanted, what is known of the one that was registered last."""
    every = _told(["models", "list", "--all", *(["--", name] if name else [])], root, ModelNotFoundException)
    fitting = [
        each
        for each in every
        if version in (None, each["version"], str(each["version"]))
        and all(_has(each[mark], wanted[mark]) for mark in ("tags", "properties"))
        and all(wanted[fact] in (None, each[fact]) for fact in ("run", "framework"))
    ]
    if not fitting:
        there = ", ".join(each["id"] for each in every[:_LISTED])
        raise ModelNotFoundException(f"no model is as was asked for; there are: {there or 'none'}")
    newest: dict[str, Any] = max(fitting, key=lambda each: (each["created_at"], each["version"]))
    return newest


def _has(known: dict[str, str], marks: Marks | None) -> bool:
    """Whether all marks are there: names, or pairs of a name and a value.

    >>> known = {"kind": "small"}
    >>> _has(known, ["kind"]), _has(known, [["kind", "big"]]), _has(known, {"kind": "small"}), _has(known, "age")
    (True, False, True, False)
    """
    asked = [marks] if isinstance(marks, str) else marks.items() if isinstance(marks, dict) else marks or ()
    for each in asked:
        name, *value = (each,) if isinstance(each, str) else each
        if name not in known or (value and value[0] is not None and known[name] != str(value[0])):
            return False
    return True


def _output(place: str, folder: str) -> str | None:
    """What a file or folder is called in the run of that folder, if it lies in the run's outputs."""
    outputs, real = os.path.realpath(os.path.join(folder, OUTPUTS)), os.path.realpath(place)
    if real == outputs:
        return OUTPUTS
    # A link keeps its own name, and is an output if it leads to one.
    named = os.path.join(os.path.realpath(os.path.dirname(place)), os.path.basename(place))
    if not all(path.startswith(outputs + os.sep) for path in (named, real)):
        return None
    return f"{OUTPUTS}/{os.path.relpath(named, outputs)}".replace(os.sep, "/")


def _fetched(wanted: str) -> str | None:
    """Where a model of the run's workspace lies once it is fetched; `None` if there is none, or no workspace."""
    folder = os.environ.get("ENVBUILD_RUN_FOLDER")
    workspace = workspace_of(folder) if folder else None
    if not (folder and workspace and os.environ.get(_PYTHON)):
        return None
    try:
        found = _answer(["models", "show", "--", wanted], workspace)
        place = os.path.join(folder, "models", found["name"], str(found["version"]))
        _answer(["models", "download", "--exist-ok", "--", found["id"], place], workspace)
    except UserErrorException:
        return None
    return _content(place)


def keep(name: str, place: str, known: dict[str, Any]) -> Model:
    """Keep a copy of a file or folder as the next version of a model.

    :raises UserErrorException: the name is none.
    """
    import shutil

    if name.startswith(".") or any(each in name for each in "/\\:") or not name:
        raise UserErrorException(f"{name!r} is no name for a model: letters, digits, '.', '-' and '_' make one")
    root = os.path.join(MODELS, name)
    os.makedirs(root, exist_ok=True)
    version = max(_versions(root), default=0) + 1
    while True:
        made = os.path.join(root, str(version))
        try:
            os.mkdir(made)
            break
        except FileExistsError:
            version += 1
    copy = os.path.join(made, os.path.basename(os.path.normpath(place)))
    try:
        (shutil.copytree if os.path.isdir(place) else shutil.copyfile)(place, copy)
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise
    found = {**known, "name": name, "version": version, "created_at": time.strftime(_MOMENT, time.gmtime())}
    return Model._of(found, None, os.path.abspath(made))


def _copied(source: str, folder: str, replace: bool) -> str:
    import shutil

    place = os.path.join(folder, os.path.basename(source))
    if os.path.lexists(place) and not replace:
        raise WebserviceException(f"{place} is there already: choose another folder, or say exist_ok=True")
    os.makedirs(folder, exist_ok=True)
    if os.path.isdir(source):
        shutil.copytree(source, place, dirs_exist_ok=True)
    else:
        shutil.copyfile(source, place)
    return place


def _said(known: dict[str, Any]) -> Iterator[str]:
    for option in ("tags", "properties"):
        for key, value in (known.get(option) or {}).items():
            yield f"{'--tag' if option == 'tags' else '--property'}={key}={value}"
    for option in ("framework", "framework_version", "description"):
        if known.get(option) is not None:
            yield f"--{option.replace('_', '-')}={known[option]}"


def _outside(workspace: str) -> dict[str, str]:
    """The environment variables without those by which this Python was told what it is and where."""
    own = ("PYTHON", "CONDA_", "VIRTUAL_ENV", "ENVBUILD_RUN_", "ENVBUILD_ENVIRONMENT_", "__PYVENV")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    return {**kept, "ENVBUILD_WORKSPACE": workspace}


def _versions(root: str) -> list[int]:
    return [int(name) for name in (os.listdir(root) if os.path.isdir(root) else ()) if name.isdigit()]


def _version(root: str, version: int | str | None) -> str | None:
    wanted = version if version is not None else max(_versions(root), default=None)
    found = os.path.join(root, str(wanted))
    return found if wanted is not None and os.path.isdir(found) else None


def _content(folder: str) -> str:
    inside = os.listdir(folder)
    return os.path.abspath(os.path.join(folder, inside[0]) if len(inside) == 1 else folder)


def _tree(root: str) -> list[str]:
    found = [os.path.join(here, name) for here, _, names in os.walk(root) for name in names]
    return sorted(found)[:_LISTED]
