"""Models (``azureml.core.model``): registered files, by name and version, with the run and environment they came from.

What Azure deploys models with is not there yet; whoever imports or calls it is told so.
"""

from __future__ import annotations

import builtins
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypedDict, Unpack

from envbuild import layout, models
from envbuild.catalogue import ModelVersion
from envbuild.errors import EnvbuildError, NotFound, StoreError
from envbuild.sdk import places
from envbuild.sdk.absent import lacking, missing
from envbuild.sdk.exceptions import (
    ModelNotFoundException,
    ModelPathNotFoundException,
    UserErrorException,
    WebserviceException,
)
from envbuild.sdk.guard import Guarded, mapping, number, one_of, optional, pathlike, takes, text, texts, words
from envbuild.sdk.resource_configuration import ResourceConfiguration

if TYPE_CHECKING:
    from envbuild.sdk.run import Run
    from envbuild.sdk.workspace import Workspace
    from envbuild.workspace import Workspace as Core

    Marks = Mapping[str, str | None] | Iterable[str | Sequence[str]]
    """Tags or properties that are looked for: names, pairs of a name and a value, or a mapping."""

MODELS = "azureml-models"
"""The folder, in that of a script, that models are laid out in: ``azureml-models/NAME/VERSION/``."""

MODEL_DIR = "AZUREML_MODEL_DIR"

_LINES = 40
"""How much is shown of what there is where a model is not."""

_NO_SERVICES = "envbuild deploys no services yet; Model.get_model_path gives the files of a registered model"
_ABSENT = dict.fromkeys(("InferenceConfig", "ModelPackage"), _NO_SERVICES)
_DEPLOYING = dict.fromkeys(("deploy", "package", "profile"), _NO_SERVICES)


def __getattr__(name: str) -> Any:
    raise missing(__name__, name, _ABSENT)


class _Said(TypedDict, total=False):
    """What may be said of a model when it is registered."""

    tags: Mapping[str, Any] | None
    properties: Mapping[str, Any] | None
    description: str | None
    datasets: Iterable[tuple[str, Any]] | None
    model_framework: str | None
    model_framework_version: str | None
    sample_input_dataset: Any
    sample_output_dataset: Any
    resource_configuration: ResourceConfiguration | None


class _Told(type):
    """Says of Azure's methods that are missing why that is so."""

    def __getattr__(cls, name: str) -> NoReturn:
        raise lacking(cls, name, _DEPLOYING)


def _marks(value: Marks) -> dict[str, str | None]:
    """Names, and pairs of a name and a value, as the catalogue looks for them.

    :raises ValueError: they are none of these.

    >>> _marks(["kind", ["area", "flowers"]])
    {'kind': None, 'area': 'flowers'}
    """
    if isinstance(value, str):
        return {text(value): None}
    if isinstance(value, Mapping):
        return {name: None if said is None else str(said) for name, said in mapping(value).items()}
    if not isinstance(value, Iterable) or isinstance(value, bytes):
        raise ValueError(f"names, or pairs of a name and a value, are wanted, not {value!r}")
    found: dict[str, str | None] = {}
    for each in value:
        pair = (each,) if isinstance(each, str) else each
        if not isinstance(pair, (list, tuple)) or not 1 <= len(pair) <= 2:
            raise ValueError(f"a name, or a name and a value, is wanted, not {each!r}")
        found[text(pair[0])] = str(pair[1]) if pair[1:] else None
    return found


def _facts(value: Mapping[str, Any]) -> dict[str, str]:
    return {name: "" if said is None else str(said) for name, said in mapping(value).items()}


def _names(value: Any) -> list[str]:
    is_one = isinstance(value, (str, bytes)) or not isinstance(value, Iterable)
    return texts([value] if is_one else [*value])


def _purposes(value: Iterable[tuple[str, Any]]) -> list[tuple[str, str]]:
    """Pairs of a purpose and a data set, which are kept as texts."""
    if not isinstance(value, (list, tuple)) or not all(
        isinstance(each, (list, tuple)) and len(each) == 2 for each in value
    ):
        raise ValueError(f"a list of pairs of a purpose and a data set is wanted, not {value!r}")
    return [(str(purpose), _text(dataset)) for purpose, dataset in value]


def _framework(value: str) -> str:
    """Azure's word for a framework, in whatever capitals it is given; any other text as it is."""
    known: dict[str, str] = {each.lower(): each for name, each in vars(Model.Framework).items() if name.isupper()}
    return known.get(text(value).lower(), value)


_SEARCH: dict[str, Callable[[Any], Any]] = {
    "name": optional(text),
    "tags": optional(_marks),
    "properties": optional(_marks),
    "run_id": optional(text),
    "model_framework": optional(_framework),
}
"""What a model is looked for by."""

_SAID: dict[str, Callable[[Any], Any]] = {
    "tags": optional(_facts),
    "properties": optional(_facts),
    "description": optional(words),
    "datasets": optional(_purposes),
    "model_framework": optional(_framework),
    "model_framework_version": optional(words),
    "resource_configuration": optional(one_of(ResourceConfiguration)),
}
"""What is said of a model."""


class Model(Guarded, metaclass=_Told):
    """A registered version of a model (Azure's `Model`), found by its name, its id, or what is said of it.

    Of several that fit it is the one that was registered last; archived ones are only found by name and version.

    :param workspace: where it is registered: a `Workspace`, its name or path, or ``None`` for the default one.
    :param id: ``NAME:VERSION``.
    :param tags: names, or pairs of a name and a value, that it must have. So with ``properties``.
    :param run_id: the run that it came from.
    :param expand: accepted; everything that is known is always there.
    :raises ModelNotFoundException: there is none; the message says what there is.
    :raises WebserviceException: nothing was said of what is looked for.
    """

    class Framework:
        """What models are made with; any other text is taken too."""

        CUSTOM = "Custom"
        MULTI = "Multi"
        ONNX = "Onnx"
        SCIKITLEARN = "ScikitLearn"
        TENSORFLOW = "TensorFlow"

    @takes(**_SEARCH, id=optional(text), version=optional(number))
    def __init__(
        self,
        workspace: Workspace | str | os.PathLike[str] | None,
        name: str | None = None,
        id: str | None = None,  # noqa: A002  Azure's name
        tags: Marks | None = None,
        properties: Marks | None = None,
        version: int | str | None = None,
        run_id: str | None = None,
        model_framework: str | None = None,
        expand: bool = True,  # noqa: ARG002
    ) -> None:
        if id is not None:
            named, numbered = models.parse_id(id)
            if name not in (None, named) or (version is not None and str(version) != numbered):
                raise WebserviceException(f"the model {id} is not {name or named}:{version or numbered}")
            name, version = named, numbered
        self._core = places.opened(workspace)
        filters = (tags, properties, run_id, model_framework)
        if name is None and all(each is None for each in filters):
            raise WebserviceException("which model? neither a name nor an id was given", hint="Model.list gives all")
        with _told_as(ModelNotFoundException):
            if name is not None and all(each is None for each in filters):
                self._version = self._core.catalogue.model(name, version)
            else:
                self._version = self._newest(name, tags, properties, version, run_id, model_framework)

    def _newest(
        self,
        name: str | None,
        tags: Marks | None,
        properties: Marks | None,
        version: int | str | None,
        run_id: str | None,
        framework: str | None,
    ) -> ModelVersion:
        catalogue = self._core.catalogue
        found = catalogue.models(
            name, tags=_marks(tags or ()), properties=_marks(properties or ()), run=run_id, framework=framework
        )
        fitting = [each for each in found if version is None or str(each.version) == str(version)]
        if not fitting:
            there = ", ".join(map(str, catalogue.models(name)[:_LINES])) or "none"
            raise NotFound("no model is as was asked for", hint=f"there are: {there}")
        return max(fitting, key=lambda each: (each.created_at, each.version))

    # Registering and finding

    @staticmethod
    @takes(**_SAID, model_path=pathlike, model_name=text, child_paths=optional(texts))
    def register(
        workspace: Workspace | str | os.PathLike[str] | None,
        model_path: str | os.PathLike[str],
        model_name: str,
        tags: Mapping[str, Any] | None = None,
        properties: Mapping[str, Any] | None = None,
        description: str | None = None,
        datasets: Iterable[tuple[str, Any]] | None = None,
        model_framework: str | None = None,
        model_framework_version: str | None = None,
        child_paths: Sequence[str] | None = None,
        sample_input_dataset: Any = None,
        sample_output_dataset: Any = None,
        resource_configuration: ResourceConfiguration | None = None,
    ) -> Model:
        """Keep a file or folder under a name as its next version (Azure's ``Model.register``).

        Each call makes a version, also of what is registered already. Unlike Azure's, the path may be anywhere.

        :param model_path: a file, which keeps its name, or a folder, which keeps its own.
        :param datasets: pairs of a purpose and a data set, which are recorded as texts.
        :param child_paths: only these files and folders of the folder.
        :returns: the version that was made.
        :raises ModelPathNotFoundException: there is no such file or folder; a `FileNotFoundError` as well.
        :raises WebserviceException: ``model_name`` is not a name, a framework's version stands without the framework,
            or the folder has links that lead out of it.
        """
        core = places.opened(workspace)
        with _told_as(ModelPathNotFoundException):
            about = _about(
                tags=tags,
                properties=properties,
                description=description,
                datasets=datasets,
                model_framework=model_framework,
                model_framework_version=model_framework_version,
                sample_input_dataset=sample_input_dataset,
                sample_output_dataset=sample_output_dataset,
                resource_configuration=resource_configuration,
            )
            path = Path(model_path).expanduser()
            return Model._of(core, models.register(core, model_name, path, children=child_paths, about=about))

    @classmethod
    @takes(**_SAID, model_name=text, model_path=optional(pathlike), child_paths=optional(texts))
    def _from_run(
        cls,
        core: Core,
        run: Mapping[str, Any],
        model_name: str,
        model_path: str | None = None,
        child_paths: Sequence[str] | None = None,
        **said: Unpack[_Said],
    ) -> Model:
        """What ``Run.register_model`` does: keep files of a run, with that run and its environment.

        :param run: the run's record.
        :raises ModelPathNotFoundException: the run has no such file; the message names those that it has.
        :raises WebserviceException: as `register`.
        """
        with _told_as(ModelPathNotFoundException):
            made = models.register_from_run(
                core, model_name, run, model_path, children=child_paths, about=_about(**said)
            )
            return cls._of(core, made)

    @classmethod
    def _of(cls, core: Core, version: ModelVersion) -> Model:
        found = cls.__new__(cls)
        found._core = core
        found._version = version
        return found

    @staticmethod
    @takes(**_SEARCH, dataset_id=optional(text))
    def list(
        workspace: Workspace | str | os.PathLike[str] | None,
        name: str | None = None,
        tags: Marks | None = None,
        properties: Marks | None = None,
        run_id: str | None = None,
        latest: bool = False,
        dataset_id: str | None = None,
        expand: bool = True,  # noqa: ARG004
        page_count: int = 255,  # noqa: ARG004
        model_framework: str | None = None,
    ) -> builtins.list[Model]:
        """List models (Azure's ``Model.list``), by name and then newest first.

        :param tags: names, or pairs of a name and a value, that a model must have. So with ``properties``.
        :param latest: only the highest version of each name.
        :param dataset_id: only models that were registered with this data set.
        :param expand: accepted, as ``page_count`` is; everything is always there.
        """
        core = places.opened(workspace)
        found = core.catalogue.models(
            name,
            tags=_marks(tags or ()),
            properties=_marks(properties or ()),
            run=run_id,
            framework=model_framework,
            latest=latest,
        )
        every = [Model._of(core, each) for each in found]
        if dataset_id is None:
            return every
        return [each for each in every if any(dataset_id in among for among in each.datasets.values())]

    # What it is

    @property
    def workspace(self) -> Workspace:
        """The workspace that it is registered in."""
        from envbuild.sdk.workspace import Workspace

        return Workspace.of(self._core.root)

    @property
    def name(self) -> str:
        """Its name."""
        return self._version.name

    @property
    def version(self) -> int:
        """Its number under that name, from 1."""
        return self._version.version

    @property
    def id(self) -> str:
        """``NAME:VERSION``."""
        return str(self._version)

    @property
    def url(self) -> str:
        """Where it is: a name for it within the workspace, rather than Azure's address in the cloud."""
        return f"envbuild://models/{self.name}/{self.version}"

    @property
    def description(self) -> str:
        """What is said of it."""
        return self._version.description

    @property
    def created_time(self) -> datetime:
        """When it was registered."""
        return self._version.created_at

    @property
    def tags(self) -> dict[str, str]:
        """Its tags, as they were when it was found; `add_tags` changes them."""
        return dict(self._version.tags)

    @property
    def properties(self) -> dict[str, str]:
        """Its properties, as they were when it was found; `add_properties` adds more."""
        return dict(self._version.properties)

    @property
    def model_framework(self) -> str | None:
        """What it was made with."""
        return self._version.framework

    @property
    def model_framework_version(self) -> str | None:
        """Which version of that."""
        return self._version.framework_version

    @property
    def run_id(self) -> str | None:
        """The id of the run that it came from."""
        return self._version.run

    @property
    def run(self) -> Run | None:
        """The run that it came from; ``None`` if it came from none, or the run has been deleted."""
        if self.run_id is None:
            return None
        from envbuild.sdk.run import Run

        try:
            self._core.run(self.run_id)
        except NotFound:
            return None
        return Run.get(self.workspace, self.run_id)

    @property
    def experiment_name(self) -> str | None:
        """The experiment of that run."""
        return self._version.experiment

    @property
    def environment_id(self) -> str | None:
        """The id of the environment of that run (Azure does not say)."""
        return self._version.environment["id"] if self._version.environment else None

    @property
    def datasets(self) -> dict[str, builtins.list[str]]:
        """The data sets that it was registered with, by purpose, as texts."""
        found: dict[str, list[str]] = {}
        for purpose, dataset in self._version.record.get("datasets", ()):
            found.setdefault(purpose, []).append(dataset)
        return found

    @property
    def sample_input_dataset(self) -> str | None:
        """The sample of its input that it was registered with, as a text."""
        return self._version.record.get("sample_input_dataset")

    @property
    def sample_output_dataset(self) -> str | None:
        """The sample of its output that it was registered with, as a text."""
        return self._version.record.get("sample_output_dataset")

    @property
    def resource_configuration(self) -> ResourceConfiguration | None:
        """What it needs to be served."""
        return ResourceConfiguration.deserialize(self._version.record.get("resource_configuration"))

    def serialize(self) -> dict[str, Any]:
        """Say all that is known of it as JSON has it, in Azure's words."""
        return {
            "id": self.id,
            "name": self.name,
            "version": self.version,
            "url": self.url,
            "description": self.description,
            "createdTime": self.created_time.isoformat(),
            "tags": self.tags,
            "properties": self.properties,
            "framework": self.model_framework,
            "frameworkVersion": self.model_framework_version,
            "runId": self.run_id,
            "experimentName": self.experiment_name,
            "environmentId": self.environment_id,
            "datasets": self.datasets,
            "sampleInputDatasetId": self.sample_input_dataset,
            "sampleOutputDatasetId": self.sample_output_dataset,
            "resourceRequirements": self._version.record.get("resource_configuration"),
            "files": {path: dict(known) for path, known in self._version.files.items()},
        }

    @staticmethod
    @takes(model_payload=mapping)
    def deserialize(workspace: Workspace | str | os.PathLike[str] | None, model_payload: Mapping[str, Any]) -> Model:
        """Find the model that `serialize` told of.

        :raises ModelNotFoundException: the workspace does not have it.
        :raises UserErrorException: it tells of no model.
        """
        return Model(workspace, id=model_payload.get("id", ""))

    # What is done with it

    @takes(target_dir=pathlike)
    def download(
        self, target_dir: str | os.PathLike[str] = ".", exist_ok: bool = False, exists_ok: bool | None = None
    ) -> str:
        """Write its files into a folder (Azure's ``Model.download``); each is checked, and all are there or none.

        :param target_dir: made if need be.
        :param exist_ok: replace files that are there already.
        :param exists_ok: the same, as Azure once called it.
        :returns: the path of the file, or of the folder, that was registered.
        :raises WebserviceException: it is there already.
        :raises ModelNotFoundException: it has been deleted meanwhile.
        :raises StoreError: a file was damaged on disk, or the folder cannot be written.
        """
        replace = exist_ok if exists_ok is None else exists_ok
        with _told_as(ModelNotFoundException):
            version = self._core.catalogue.model(self.name, self.version)
            return str(models.download(self._core, version, Path(target_dir).expanduser(), exist_ok=replace))

    @takes(**_SAID)
    def update(
        self,
        tags: Mapping[str, Any] | None = None,
        description: str | None = None,
        sample_input_dataset: Any = None,
        sample_output_dataset: Any = None,
        resource_configuration: ResourceConfiguration | None = None,
    ) -> None:
        """Replace what is said of it (Azure's ``Model.update``); what is ``None`` stays.

        :param tags: all that it is to have from now on.
        :raises ModelNotFoundException: it has been deleted.
        """
        more = _more(None, sample_input_dataset, sample_output_dataset, resource_configuration)
        with _told_as(ModelNotFoundException), self._core.catalogue.transaction():
            gone: dict[str, str | None] = {}
            if tags is not None:
                gone = dict.fromkeys(self._core.catalogue.model(self.name, self.version).tags)
            self._change(description=description, tags={**gone, **(tags or {})}, record=more)

    @takes(tags=_facts)
    def add_tags(self, tags: Mapping[str, Any]) -> None:
        """Add tags, or give those that it has another value.

        :raises ModelNotFoundException: it has been deleted.
        """
        self._change(tags=tags)

    @takes(tags=_names)
    def remove_tags(self, tags: Iterable[str]) -> None:
        """Remove tags, by name; it is no error if there are none of these.

        :raises ModelNotFoundException: it has been deleted.
        """
        self._change(tags=dict.fromkeys(tags))

    @takes(properties=_facts)
    def add_properties(self, properties: Mapping[str, Any]) -> None:
        """Add properties; those that there are stay as they are.

        :raises WebserviceException: it has one of them already, with another value.
        :raises ModelNotFoundException: it has been deleted.
        """
        self._change(properties=properties)

    @takes(add_tags=optional(_facts), remove_tags=optional(_names), add_properties=optional(_facts))
    def update_tags_properties(
        self,
        add_tags: Mapping[str, Any] | None = None,
        remove_tags: Iterable[str] | None = None,
        add_properties: Mapping[str, Any] | None = None,
    ) -> None:
        """Do `remove_tags`, `add_tags` and `add_properties`, all of it or nothing.

        :raises WebserviceException: it has one of the properties already, with another value.
        :raises ModelNotFoundException: it has been deleted.
        """
        self._change(
            tags={**dict.fromkeys(remove_tags or ()), **(add_tags or {})},
            properties=add_properties or {},
        )

    @takes(datasets=_purposes)
    def add_dataset_references(self, datasets: Iterable[tuple[str, Any]]) -> None:
        """Record more data sets with it.

        :param datasets: pairs of a purpose and a data set, which are recorded as texts.
        :raises ModelNotFoundException: it has been deleted.
        """
        with _told_as(ModelNotFoundException), self._core.catalogue.transaction():
            known = self._core.catalogue.model(self.name, self.version).record.get("datasets", [])
            self._change(record={"datasets": [*known, *_more(datasets)["datasets"]]})

    def archive(self) -> None:
        """Take it out of lists, and out of the running for the latest (Azure v1 has no such thing).

        :raises ModelNotFoundException: it has been deleted.
        """
        with _told_as(ModelNotFoundException):
            (self._version,) = self._core.catalogue.archive_model(self.name, self.version)

    def restore(self) -> None:
        """Undo `archive`.

        :raises ModelNotFoundException: it has been deleted.
        """
        with _told_as(ModelNotFoundException):
            (self._version,) = self._core.catalogue.restore_model(self.name, self.version)

    def delete(self) -> None:
        """Delete it; its number is not given again, and gc frees the room that nothing else needs.

        :raises ModelNotFoundException: it has been deleted already.
        """
        with _told_as(ModelNotFoundException):
            self._core.catalogue.delete_model(self.name, self.version)

    def _change(self, **changes: Any) -> None:
        with _told_as(ModelNotFoundException):
            self._version = self._core.catalogue.change_model(self.name, self.version, **changes)

    @staticmethod
    @takes(model_name=text, version=optional(number))
    def get_model_path(
        model_name: str,
        version: int | None = None,
        _workspace: Workspace | str | os.PathLike[str] | None = None,
    ) -> str:
        """The file, or the folder, of a model, for a script to load (Azure's ``Model.get_model_path``).

        Looked for, in this order: where ``AZUREML_MODEL_DIR`` says, ``azureml-models/NAME/VERSION/``, for no
        certain version ``./NAME``, and the workspace, whose files are then written to ``azureml-models``.

        :param version: by default the highest that there is in the place where there is any.
        :param _workspace: by default the one of the run that this script is part of, else the default one.
        :raises ModelNotFoundException: it is in none of them; the message shows what there is.
        """
        wanted = None if version is None else str(version)
        for place in _laid_out(model_name, wanted):
            return str(place)
        core = _reachable(_workspace)
        if core is not None:
            try:
                found = core.catalogue.model(model_name, wanted)
            except NotFound:
                pass  # what there is instead is shown below
            else:
                folder = Path(MODELS, found.name, str(found.version))
                return str(models.download(core, found, folder, exist_ok=True))
        asked = model_name if wanted is None else f"{model_name}:{wanted}"
        where = [
            f"in {MODELS}/",
            f"where {MODEL_DIR} says",
            f"in {core.root if core else 'a workspace (none is here)'}",
        ]
        where += [f"at ./{model_name}"] if wanted is None else []
        raise ModelNotFoundException(
            f"the model {asked} is neither {' nor '.join(where)}",
            hint="\n".join(("what there is:", *_shown(core))),
        )

    def __getattr__(self, name: str) -> NoReturn:
        raise lacking(type(self), name, _DEPLOYING)

    def __reduce__(self) -> tuple[object, ...]:
        return _found_again, (self._core.root, self._version)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Model) and (self._core.root, self.id) == (other._core.root, other.id)

    def __hash__(self) -> int:
        return hash((self._core.root, self.id))

    def __repr__(self) -> str:
        return f"Model(name={self.name}, id={self.id}, version={self.version}, tags={self.tags})"


def _found_again(root: Path, version: ModelVersion) -> Model:
    return Model._of(places.core_at(root), version)


# -- what is said of a model ---------------------------------------------------------------------------------


@contextmanager
def _told_as(missing: type[WebserviceException]) -> Iterator[None]:
    """Raise what the core refuses under Azure's names; what is not there as ``missing``."""
    try:
        yield
    except (WebserviceException, UserErrorException, StoreError):
        raise
    except NotFound as error:
        raise missing(str(error), hint=error.hint) from error
    except EnvbuildError as error:
        raise WebserviceException(str(error), hint=error.hint) from error


def _about(**said: Unpack[_Said]) -> models.About:
    return models.About(
        description=said.get("description") or "",
        framework=said.get("model_framework"),
        framework_version=said.get("model_framework_version"),
        tags=_facts(said.get("tags") or {}),
        properties=_facts(said.get("properties") or {}),
        more=_more(
            said.get("datasets"),
            said.get("sample_input_dataset"),
            said.get("sample_output_dataset"),
            said.get("resource_configuration"),
        ),
    )


def _more(
    datasets: Iterable[tuple[str, Any]] | None = None,
    sample_input: Any = None,
    sample_output: Any = None,
    resources: ResourceConfiguration | None = None,
) -> dict[str, Any]:
    """What is recorded of a model besides its columns, as far as it was said."""
    said = {
        "datasets": None if datasets is None else [[purpose, each] for purpose, each in _purposes(datasets)],
        "sample_input_dataset": None if sample_input is None else _text(sample_input),
        "sample_output_dataset": None if sample_output is None else _text(sample_output),
        "resource_configuration": None if resources is None else resources.serialize(),
    }
    return {name: value for name, value in said.items() if value is not None}


def _text(dataset: Any) -> str:
    return str(getattr(dataset, "id", None) or dataset)


# -- where a model's files are -------------------------------------------------------------------------------


def _laid_out(name: str, version: str | None) -> Iterator[Path]:
    """Where a model lies already, the best place first."""
    told = os.environ.get(MODEL_DIR)
    if told:
        folder = Path(told)
        if folder.parent.name == name and version in (None, folder.name):
            yield from _content(folder)
        yield from _below(folder, name, version)
    yield from _below(Path(MODELS), name, version)
    if version is None and Path(name).exists():
        yield Path(name)


def _below(root: Path, name: str, version: str | None) -> Iterator[Path]:
    folder = root / name
    there = [each for each in os.listdir(folder) if each.isdecimal()] if folder.is_dir() else []
    chosen = [each for each in there if version in (None, each)]
    if chosen:
        yield from _content(folder / max(chosen, key=int))


def _content(folder: Path) -> Iterator[Path]:
    """The one file or folder that a model is, or the folder if there is more in it."""
    names = [each for each in sorted(os.listdir(folder)) if not each.startswith(".")] if folder.is_dir() else []
    if names:
        yield folder / names[0] if len(names) == 1 else folder


def _reachable(workspace: Workspace | str | os.PathLike[str] | None) -> Core | None:
    """The workspace to look in; where none is named, only one that is there already."""
    if workspace is not None:
        return places.opened(workspace)
    run = os.environ.get("ENVBUILD_RUN_FOLDER")
    root = Path(run).parents[1] if run else Path(layout.workspace_root())
    return places.core_at(root) if (root / layout.CATALOGUE).exists() else None


def _shown(core: Core | None) -> Iterator[str]:
    """What there is of models, as a tree."""
    roots = dict.fromkeys(Path(each) for each in (os.environ.get(MODEL_DIR), MODELS) if each)
    shown = [root for root in roots if root.is_dir()]
    for root in shown or [Path()]:
        yield f"{root}/"
        lines = [*islice(_tree(root, 4 if shown else 1), _LINES + 1)]
        yield from lines[:_LINES]
        if len(lines) > _LINES:
            yield "  …"
    if core is not None:
        every = core.catalogue.models(latest=True)
        yield f"registered in {core.root}: {', '.join(map(str, every[:_LINES])) or 'nothing'}"


def _tree(folder: Path, depth: int, indent: str = "  ") -> Iterator[str]:
    try:
        found = sorted(folder.iterdir())
    except OSError:
        return  # what cannot be looked into is not shown
    for each in found:
        yield f"{indent}{each.name}{'/' if each.is_dir() else ''}"
        if each.is_dir() and not each.is_symlink() and depth > 1:
            yield from _tree(each, depth - 1, indent + "  ")
