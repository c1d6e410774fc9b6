"""Workspaces (``azureml.core.workspace``): where environments, runs, models and data are recorded, which is a folder.

There is always one, the default (``ENVBUILD_WORKSPACE``, else the platform's place for user data); those that have a
name lie below it, and any folder can be one by its path.

One rule for all that speaks of a cloud: what Azure's methods are told of accounts, subscriptions, regions and
resources is accepted, so that scripts run unchanged, means nothing, and is recorded nowhere. Only a subscription and a
resource group stay with the object, for scripts that ask it for them.
"""

# Accepted, and used for nothing: see above.
# ruff: noqa: ARG002, ARG003

from __future__ import annotations

import builtins
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypedDict, Unpack

from envbuild import layout
from envbuild.form import did_you_mean
from envbuild.progress import counted
from envbuild.sdk import places, tables
from envbuild.sdk.absent import lacking
from envbuild.sdk.exceptions import UserErrorException
from envbuild.sdk.guard import optional, pathlike, pathlike_or_empty, takes, text

if TYPE_CHECKING:
    from envbuild.sdk.authentication import AbstractAuthentication
    from envbuild.sdk.compute import ComputeTarget
    from envbuild.sdk.datastore import Datastore
    from envbuild.sdk.environment import Environment
    from envbuild.sdk.experiment import Experiment
    from envbuild.sdk.model import Model
    from envbuild.sdk.run import Run
    from envbuild.workspace import Workspace as Core

CONFIG = "config.json"
CONFIG_FOLDER = ".azureml"

_CONFIG_FOLDERS = (CONFIG_FOLDER, "aml_config", ".envbuild")
_LOOKED_INTO = (CONFIG_FOLDER, "aml_config", "", ".envbuild")
_NAME_KEY = "workspace_name"
_PATH_KEY = "workspace_path"
_GOING = ".deleted-"
"""Begins the name of what is left of a workspace while it is deleted."""

_PARTS = (
    layout.CATALOGUE, f"{layout.CATALOGUE}-shm", f"{layout.CATALOGUE}-wal", f"{layout.CATALOGUE}-journal",
    layout.RUNS, layout.INBOX, layout.QUEUE, layout.DISPATCHERS, layout.SLOTS, layout.WHEELS, layout.NAMES,
    layout.WARM, layout.BUILDS, "datastores",
    *(f"{each}.json" for each in (tables.COMPUTE, tables.DATASTORES, tables.WORKSPACE)),
    layout.STORE,
)  # fmt: skip
"""What a workspace's folder has of it; the store, by which it is known, goes last."""


_ABSENT = {
    "datasets": "data are files in a datastore; hand Datastore.path('folder').as_mount() to the script",
    "get_default_keyvault": "there is no key vault; name variables in Environment.secrets, and set them for a run",
    "get_mlflow_tracking_uri": "metrics are those of Run.log and Run.get_metrics",
    "images": "Azure has withdrawn them; ws.environments has the environments",
    "linked_services": "it is linked to no services; Datastore.register_local names a folder of data",
    "tags": "experiments, runs and models have tags",
}


class _Resources(TypedDict, total=False):
    """What Azure is told of the resources that a workspace is to have."""

    create_resource_group: bool
    sku: str
    tags: dict[str, str] | None
    friendly_name: str | None
    storage_account: str | None
    key_vault: str | None
    app_insights: str | None
    container_registry: str | None
    adb_workspace: str | None
    primary_user_assigned_identity: str | None
    cmk_keyvault: str | None
    resource_cmk_uri: str | None
    hbi_workspace: bool
    default_cpu_compute_target: object
    default_gpu_compute_target: object
    private_endpoint_config: object
    private_endpoint_auto_approval: bool
    show_output: bool
    user_assigned_identity_for_cmk_encryption: str | None
    system_datastores_auth_mode: str
    v1_legacy_mode: bool | None


class Workspace:
    """A workspace (``azureml.core.Workspace``); nothing is made on disk before something is recorded in it.

    ``Workspace()`` is the default one, ``Workspace("team")`` one that has a name, ``Workspace("./here")`` or
    ``Workspace(Path("here"))`` one in a folder; ``Workspace(subscription, group, "team")`` is Azure's way to say
    ``Workspace("team")``. Two that have the same folder are equal.

    :param subscription_id: where it stands alone, the name or path of the workspace.
    :param workspace_name: its name: 3 to 33 letters, digits, ``-`` and ``_``, a letter or digit first.
    :raises UserErrorException: what is said can be neither a name nor a path.
    """

    @takes(
        subscription_id=optional(pathlike_or_empty),
        resource_group=optional(text),
        workspace_name=optional(pathlike_or_empty),
    )
    def __init__(
        self,
        subscription_id: str | os.PathLike[str] | None = None,
        resource_group: str | None = None,
        workspace_name: str | os.PathLike[str] | None = None,
        auth: AbstractAuthentication | None = None,
        _location: str | None = None,
        _disable_service_check: bool = False,
        _workspace_id: str | None = None,
        sku: str = "basic",
        tags: Mapping[str, str] | None = None,
        _cloud: str = "AzureCloud",
    ) -> None:
        if workspace_name is None and resource_group is not None:
            raise UserErrorException("a resource group alone names no workspace", hint="say workspace_name too")
        alone = workspace_name is None
        named = subscription_id if alone else workspace_name
        self._root = places.root_of(named)
        self._subscription = None if alone or subscription_id is None else str(subscription_id)
        self._group = resource_group

    # Making and finding

    @staticmethod
    def of(workspace: Workspace | str | os.PathLike[str] | None) -> Workspace:
        """The workspace that is meant by one, by its name or path, or by ``None``: the default (envbuild's own).

        :raises UserErrorException: it is none of these.
        """
        return workspace if isinstance(workspace, Workspace) else Workspace._at(places.opened(workspace).root)

    @classmethod
    @takes(name=text, path=optional(pathlike))
    def create(
        cls,
        name: str,
        auth: AbstractAuthentication | None = None,
        subscription_id: str | None = None,
        resource_group: str | None = None,
        location: str | None = None,
        *,
        exist_ok: bool = False,
        path: str | os.PathLike[str] | None = None,
        **resources: Unpack[_Resources],
    ) -> Workspace:
        """Make a workspace on disk.

        :param exist_ok: give the one that is there, if there is one.
        :param path: make it in this folder (envbuild's own); it is found by the path then, rather than by its name.
        :raises UserErrorException: there is one already, or the name cannot be one.
        :raises TypeError: an argument that Azure's method does not have either.
        """
        for unknown in resources.keys() - _Resources.__annotations__.keys():
            raise TypeError(f"unexpected argument {unknown!r}{did_you_mean(unknown, _Resources.__annotations__)}")
        root = places.root_of(name)
        if path is not None:
            root = places.root_of(Path(path))
        made = cls._at(root, subscription_id, resource_group)
        if places.is_made(root):
            if exist_ok:
                return made
            raise UserErrorException(
                f"there is a workspace {made.name!r} already", hint="Workspace.get finds it, and so does exist_ok=True"
            )
        made._core.store.prepare()
        if path is not None:
            with tables.changing(made._core, tables.WORKSPACE) as facts:
                facts["name"] = name
        return made

    @classmethod
    @takes(name=optional(pathlike_or_empty))
    def get(
        cls,
        name: str | os.PathLike[str] | None = None,
        auth: AbstractAuthentication | None = None,
        subscription_id: str | None = None,
        resource_group: str | None = None,
        location: str | None = None,
        cloud: str = "AzureCloud",
        id: str | None = None,  # noqa: A002  Azure's name for it
    ) -> Workspace:
        """Find a workspace that was made, or recorded in, by its name or path.

        :param name: by default the default workspace, which need not have been made.
        :raises UserErrorException: there is none; the message lists those there are.
        """
        found = cls._at(places.root_of(name), subscription_id, resource_group)
        if name is not None and name != places.DEFAULT and not places.is_made(found.root):
            there = [places.DEFAULT, *places.named()]
            raise UserErrorException(
                f"there is no workspace {str(name)!r}{did_you_mean(str(name), there)}",
                hint=f"there are: {', '.join(there)}; Workspace.create makes one",
            )
        return found

    @classmethod
    @takes(path=optional(pathlike_or_empty), _file_name=optional(pathlike))
    def from_config(
        cls,
        path: str | os.PathLike[str] | None = None,
        auth: AbstractAuthentication | None = None,
        _logger: object = None,
        _file_name: str | None = None,
    ) -> Workspace:
        """Find the workspace that a project's ``config.json`` names, be it written by `write_config` or by Azure.

        It is looked for in ``.azureml``, ``aml_config``, the folder itself and ``.envbuild``, then so in each folder
        above. Azure's names a workspace by subscription, group and name: here that is the local one of that name,
        made when something is recorded in it.

        :param path: the file, or the folder to begin at; by default the current one.
        :returns: where no path was given and nothing is found, the default workspace, where Azure refuses.
        :raises UserErrorException: the path has none, or what is found names no workspace.
        """
        start = Path(os.path.abspath(path or "."))  # noqa: PTH100  the folders above are those that the user sees
        if start.is_file():
            return cls._configured(start, _read_config(start))
        if not start.exists():
            raise UserErrorException(f"{start} is not there", hint="give config.json, or the folder to begin at")
        for file in _candidates(start, _file_name or CONFIG):
            content = _read_config(file)
            # A file of that name in the project itself may well be another program's.
            if file.parent.name in _CONFIG_FOLDERS or _names_one(content):
                return cls._configured(file, content)
        if path is None:
            return cls()
        raise UserErrorException(
            f"no {_file_name or CONFIG} for a workspace in {start} or above it",
            hint="Workspace.write_config writes one; from_config() without a path takes the default workspace",
        )

    @classmethod
    def list(
        cls,
        subscription_id: str | None = None,
        auth: AbstractAuthentication | None = None,
        resource_group: str | None = None,
    ) -> dict[str, builtins.list[Workspace]]:
        """The workspaces that have a name, by that; in lists, as Azure has them, of one each."""
        return {name: [cls._at(places.root_of(name), subscription_id, resource_group)] for name in places.named()}

    @takes(path=optional(pathlike_or_empty), file_name=optional(pathlike))
    def write_config(self, path: str | os.PathLike[str] | None = None, file_name: str | None = None) -> Path:
        """Write what `from_config` reads, ``.azureml/config.json`` below a folder, by default the current one.

        :returns: the file, where Azure says nothing.
        :raises UserErrorException: there is no such folder.
        """
        folder = Path(os.path.abspath(path or "."))  # noqa: PTH100  see from_config
        if not folder.is_dir():
            raise UserErrorException(f"there is no folder {folder}", hint="make it first")
        file = folder / CONFIG_FOLDER / (file_name or CONFIG)
        content: dict[str, str | None] = {
            "subscription_id": self._subscription,
            "resource_group": self._group,
            _NAME_KEY: self.name,
            _PATH_KEY: None if places.name_of(self.root) else self._path_from(folder),
        }
        file.parent.mkdir(exist_ok=True)
        beside = file.with_name(f".{file.name}.{os.getpid()}")
        said = {key: value for key, value in content.items() if value is not None}
        beside.write_text(f"{json.dumps(said, indent=4)}\n", encoding="utf-8")
        beside.replace(file)
        return file

    # What it is

    @property
    def name(self) -> str:
        """Its name; that of its folder, where it is known by its path alone."""
        named = places.name_of(self.root) or tables.read(self._core, tables.WORKSPACE).get("name")
        return named if isinstance(named, str) else self.root.name

    @property
    def root(self) -> Path:
        """Its folder (envbuild's own)."""
        return self._root

    @property
    def path(self) -> Path:
        """Its folder, by another word (envbuild's own)."""
        return self._root

    @property
    def location(self) -> str:
        """``local``, in the place of a region."""
        return "local"

    @property
    def subscription_id(self) -> str:
        """What was said when the object was made; else empty, a text as in Azure, for notebooks put it into one."""
        return self._subscription or ""

    @property
    def resource_group(self) -> str:
        """What was said when the object was made; else empty, as `subscription_id` is."""
        return self._group or ""

    def get_details(self) -> dict[str, Any]:
        """What there is to say of it: Azure's keys where they mean anything here, and its folder.

        ``creationTime`` is ``None`` until something is kept in its store.
        """
        return {
            "id": str(self.root),
            "name": self.name,
            "location": self.location,
            "root": str(self.root),
            "creationTime": places.made_at(self.root),
            "defaultDatastore": self.get_default_datastore().name,
        }

    # What it holds

    @property
    def environments(self) -> dict[str, Environment]:
        """Its environments by name, the latest version of each."""
        if not self._is_made:
            return {}
        from envbuild.sdk.environment import Environment

        return dict(Environment.list(self))

    @property
    def experiments(self) -> dict[str, Experiment]:
        """Its experiments by name."""
        if not self._is_made:
            return {}
        from envbuild.sdk.experiment import Experiment

        return {each.name: each for each in Experiment.list(self)}

    @property
    def models(self) -> dict[str, Model]:
        """Its models by name, the latest version of each."""
        if not self._is_made:
            return {}
        from envbuild.sdk.model import Model

        return {each.name: each for each in Model.list(self, latest=True)}

    @property
    def webservices(self) -> dict[str, Any]:
        """Its services by name: none, since nothing deploys any yet."""
        return {}

    @property
    def compute_targets(self) -> dict[str, ComputeTarget]:
        """Its compute targets by name; ``local`` is one of them, where Azure leaves it out."""
        from envbuild.sdk.compute import ComputeTarget

        return {each.name: each for each in ComputeTarget.list(self)}

    @property
    def datastores(self) -> dict[str, Datastore]:
        """Its datastores by name."""
        from envbuild.sdk.datastore import Datastore, names_in

        return {name: Datastore(self, name) for name in names_in(self)}

    @takes(run_id=text)
    def get_run(self, run_id: str) -> Run:
        """A run of it by its id.

        :raises EnvbuildError: there is none.
        """
        from envbuild.sdk.run import Run

        return Run.get(self, run_id)

    def get_default_datastore(self) -> Datastore:
        """The datastore that is meant where none is named."""
        from envbuild.sdk.datastore import Datastore

        return Datastore.get_default(self)

    def set_default_datastore(self, name: str | Datastore) -> None:
        """Let another datastore be the one that is meant where none is named.

        :raises UserErrorException: there is none of that name.
        """
        from envbuild.sdk.datastore import Datastore

        Datastore(self, name.name if isinstance(name, Datastore) else name).set_as_default()

    def get_default_compute_target(self, type: str = "CPU") -> ComputeTarget:  # noqa: A002  Azure's name for it
        """This machine, whatever type is asked for."""
        from envbuild.sdk.compute import LOCAL, ComputeTarget

        return ComputeTarget(self, LOCAL)

    def delete(self, delete_dependent_resources: bool = False, no_wait: bool = False) -> None:
        """Delete what was recorded, and what it holds; of its folder, only what envbuild has put there.

        :param delete_dependent_resources: do so even if it is the default workspace, or anything is recorded in it.
            Workspaces that have a name stay when the default one is deleted, and so do registered folders of data.
        :param no_wait: accepted; it is gone when this returns.
        :raises UserErrorException: there is no such workspace, a run is going on in it, or it is not to be deleted
            without more ado.
        """
        if not self._is_made:
            raise UserErrorException(f"there is no workspace in {self.root}", hint="nothing was ever recorded there")
        going = _entries(self.root / layout.QUEUE)
        for run in _entries(self.root / layout.RUNS):
            # Whoever minded it may still be tidying up after its end.
            if self._core.is_supervised(run) and not (self._core.run_folder(run) / layout.END).exists():
                going.append(run)
        if going:
            raise UserErrorException(
                f"workspace {self.name!r} has {counted(len(going), 'run')} going on: {', '.join(going[:5])}",
                hint="wait for them, or cancel them",
            )
        held = self._held()
        if not delete_dependent_resources and (held or places.name_of(self.root) == places.DEFAULT):
            raise UserErrorException(
                f"workspace {self.name!r} is not deleted: it {held or 'is the default one'}",
                hint="delete_dependent_resources=True deletes it with all that it holds",
            )
        self._remove()

    def _held(self) -> str:
        """What there is to lose, in words."""
        found = {
            "run": len(_entries(self.root / layout.RUNS)),
            "data file": sum(len(files) for _, _, files in os.walk(self.root / "datastores")),
            "stored object": sum(1 for _ in self._core.store.digests()),
        }
        said = ", ".join(counted(count, thing) for thing, count in found.items() if count)
        return said and f"holds {said}"

    def _remove(self) -> None:
        from envbuild.store import delete_tree

        places.forget(self.root)
        parts = [self.root] if self._is_below_default() else [self.root / part for part in _PARTS]
        for part in parts:
            # Whoever is killed here leaves nothing that could be taken for a workspace.
            aside = part.with_name(f"{_GOING}{part.name}-{os.urandom(4).hex()}")
            if os.path.lexists(part):
                part.rename(aside)
                delete_tree(aside)
        for left in self.root.parent.glob(f"{_GOING}*") if self._is_below_default() else ():
            delete_tree(left)
        if self.root.is_dir() and not _entries(self.root):
            self.root.rmdir()

    def _is_below_default(self) -> bool:
        return places.name_of(self.root) not in (None, places.DEFAULT)

    # What it is made of

    @property
    def _core(self) -> Core:
        return places.core_at(self._root)

    @property
    def _is_made(self) -> bool:
        """Whether there is anything to ask for: opening the catalogue would make one."""
        return places.is_made(self._root)

    @classmethod
    def _at(cls, root: Path, subscription: str | None = None, group: str | None = None) -> Workspace:
        made = cls(root)
        made._subscription, made._group = subscription, group
        return made

    @classmethod
    def _configured(cls, file: Path, content: Mapping[str, Any]) -> Workspace:
        if not _names_one(content):
            raise UserErrorException(
                f"{file} names no workspace: {_NAME_KEY!r} is to be 3 to 33 letters, digits, '-' and '_'",
                hint="Workspace.write_config writes it anew, or get it again from Azure",
            )
        base = file.parent.parent if file.parent.name in _CONFIG_FOLDERS else file.parent
        there = base / content[_PATH_KEY] if _PATH_KEY in content else None
        root = places.root_of(content[_NAME_KEY] if there is None else there)
        return cls._at(root, content.get("subscription_id"), content.get("resource_group"))

    def _path_from(self, folder: Path) -> str:
        """As a project that is moved, workspace and all, finds it again."""
        return str(self.root.relative_to(folder) if self.root.is_relative_to(folder) else self.root)

    def __getattr__(self, name: str) -> NoReturn:
        raise lacking(type(self), name, _ABSENT)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Workspace) and self._root == other._root

    def __hash__(self) -> int:
        return hash(self._root)

    def __repr__(self) -> str:
        said = f"name={self.name!r}, subscription_id={self._subscription!r}, resource_group={self._group!r}"
        place = "" if places.name_of(self.root) else f", path={str(self.root)!r}"
        return f"Workspace.create({said}{place})"


def _candidates(start: Path, name: str) -> Iterator[Path]:
    for folder in (start, *start.parents):
        for below in _LOOKED_INTO:
            if (folder / below / name).is_file():
                yield folder / below / name


def _read_config(file: Path) -> Mapping[str, Any]:
    try:
        # The portal's own download begins with a byte order mark.
        content = json.loads(file.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserErrorException(f"{file} cannot be read: {error}", hint="Workspace.write_config writes one") from error
    return content if isinstance(content, dict) else {}


def _names_one(content: Mapping[str, Any]) -> bool:
    if _PATH_KEY in content:
        return isinstance(content[_PATH_KEY], str)
    name = content.get(_NAME_KEY)
    return isinstance(name, str) and layout.is_workspace_name(name)


def _entries(folder: Path) -> list[str]:
    return sorted(os.listdir(folder)) if folder.is_dir() else []
