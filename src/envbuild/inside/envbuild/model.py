"""Models: files of a run under a name and a version, as scripts register and find them.

Under envbuild a run's model is registered in its workspace, by envbuild itself in its own Python. Without it a copy is
kept as ``./azureml-models/NAME/VERSION/``, which is where `Model.get_model_path` looks first.
"""

from __future__ import annotations

import os

from .errors import ModelNotFoundException, RunEnvironmentException, UserErrorException
from .record import workspace_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

MODELS = "azureml-models"
_PYTHON = "ENVBUILD_PYTHON"
_LISTED = 100


class Model:
    """A registered model.

    :ivar name: its name, ``version`` its number.
    :ivar id: both, as ``name:version``.
    """

    def __init__(self, name: str, version: int, **known: Any) -> None:
        self.name = name
        self.version = version
        self.id = f"{name}:{version}"
        self.description: str | None = known.get("description")
        self.tags: dict[str, str] = dict(known.get("tags") or {})
        self.properties: dict[str, str] = dict(known.get("properties") or {})
        self.model_framework: str | None = known.get("model_framework")
        self.model_framework_version: str | None = known.get("model_framework_version")
        self.run_id: str | None = known.get("run_id")

    def __repr__(self) -> str:
        return f"Model(name={self.name!r}, version={self.version!r}, id={self.id!r})"

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


def register(run: str, workspace: str, name: str, path: str, known: dict[str, Any]) -> Model:
    """Register files of a run in its workspace.

    :param path: their name in the run.
    :param known: what else `Model` takes.
    :raises RunEnvironmentException: envbuild cannot be called from here.
    :raises UserErrorException: envbuild has refused; its message says why.
    """
    if not os.environ.get(_PYTHON):
        raise RunEnvironmentException(
            f"a model cannot be registered from here ({_PYTHON} is not set): "
            f"after the run, use 'envbuild models register {name} {path} --run {run}'"
        )
    found = _answer(["models", "register", f"--run={run}", *_said(known), "--", name, path], workspace)
    return Model(found["name"], int(found["version"]), run_id=run, **known)


def _answer(words: list[str], workspace: str) -> dict[str, Any]:
    """What envbuild, in its own Python, answers to a command."""
    import json
    import subprocess

    python = os.environ[_PYTHON]
    # Not in the working copy (-P, cwd): what lies there is the user's, whatever it is called.
    command = [python, "-P", "-m", "envbuild", *words[:2], "--json", *words[2:]]
    try:
        done = subprocess.run(  # noqa: S603
            command, cwd=workspace, env=_outside(workspace), stdin=subprocess.DEVNULL, capture_output=True, check=False
        )
    except OSError as error:
        raise RunEnvironmentException(f"envbuild cannot be called from here: {python}: {error}") from error
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip() or f"exit code {done.returncode}"
        raise UserErrorException(said[len("error: ") :] if said.startswith("error: ") else said)
    found: dict[str, Any] = json.loads(done.stdout.decode("utf-8"))
    return found


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
    return Model(name, version, **known)


def _said(known: dict[str, Any]) -> Iterator[str]:
    for option in ("tags", "properties"):
        for key, value in (known.get(option) or {}).items():
            yield f"{'--tag' if option == 'tags' else '--property'}={key}={value}"
    words = {
        "--framework": "model_framework",
        "--framework-version": "model_framework_version",
        "--description": "description",
    }
    for word, option in words.items():
        if known.get(option) is not None:
            yield f"{word}={known[option]}"


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
