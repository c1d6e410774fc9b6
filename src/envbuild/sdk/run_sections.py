"""The sections of a run configuration, and the form that they have in a ``.runconfig`` file.

They hold what Azure's hold, so that configurations come over whole. What only a cluster could do is held too, and
`envbuild.sdk.runconfig.RunConfiguration` refuses it when a run is to be started with it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, TypeVar

from envbuild.form import did_you_mean
from envbuild.sdk.exceptions import RunConfigurationException
from envbuild.sdk.guard import Guarded

if TYPE_CHECKING:
    from envbuild.sdk.data_reference import DataReference
    from envbuild.sdk.workspace import Workspace

S = TypeVar("S")


@dataclass
class DockerConfiguration(Guarded):
    """Whether a run is to be in a container, and how that one is started: Azure's ``DockerConfiguration``.

    :param use_docker: run in a container; the run's environment then is a copy that says so.
    :param shared_volumes: share folders with the container rather than copying them.
    :param arguments: more arguments for ``docker run``.
    :param shm_size: the size of the container's shared memory.
    """

    use_docker: bool = False
    shared_volumes: bool = True
    arguments: list[str] = field(default_factory=list)
    shm_size: str = "2g"


@dataclass
class HistoryConfiguration(Guarded):
    """What is kept of a run: Azure's ``HistoryConfiguration``.

    :param output_collection: collect ``outputs/`` when the run has ended.
    :param snapshot_project: keep the source that was run.
    :param directories_to_watch: folders that Azure uploads while the run goes on. Here ``logs/`` is the run's own and
        live whatever this says.
    """

    output_collection: bool = True
    snapshot_project: bool = True
    directories_to_watch: list[str] = field(default_factory=lambda: ["logs"])


@dataclass
class SparkConfiguration(Guarded):
    """Settings for Spark: Azure's ``SparkConfiguration``; they count where ``framework`` is ``"PySpark"``."""

    configuration: dict[str, Any] = field(default_factory=dict)


@dataclass
class HdiConfiguration(Guarded):
    """How an HDInsight cluster is to run things: Azure's ``HdiConfiguration``; held, and without effect here."""

    yarn_deploy_mode: str = "cluster"


@dataclass
class TensorflowConfiguration(Guarded):
    """How many tasks a distributed TensorFlow run has: Azure's ``TensorflowConfiguration``."""

    worker_count: int = 1
    parameter_server_count: int = 1


@dataclass
class MpiConfiguration(Guarded):
    """How many processes an MPI run has: Azure's ``MpiConfiguration``."""

    process_count_per_node: int = 1
    node_count: int = 1


@dataclass
class PyTorchConfiguration(Guarded):
    """How the processes of a PyTorch run talk: Azure's ``PyTorchConfiguration``.

    :param process_count: of all nodes together; ``None`` for one a node.
    """

    communication_backend: str = "Nccl"
    process_count: int | None = None
    node_count: int = 1


@dataclass
class AmlComputeConfiguration(Guarded):
    """A cluster that Azure makes for one run: Azure's ``AmlComputeConfiguration``; here such a run is a local one."""

    vm_size: str | None = None
    vm_priority: str | None = None
    retain_cluster: bool = False
    name: str | None = None
    cluster_max_node_count: int | None = 1


@dataclass
class DataReferenceConfiguration(Guarded):
    """Data of a datastore that is said by name: Azure's ``DataReferenceConfiguration``.

    :param datastore_name: which datastore of the workspace that the run is submitted to.
    :param mode: ``"mount"``, ``"download"`` or ``"upload"``.
    :param path_on_datastore: where in the datastore; ``None`` for all of it.
    :param path_on_compute: where the run finds a download, or leaves what is to be uploaded.
    :param overwrite: replace what is there.
    """

    datastore_name: str | None = None
    mode: str = "mount"
    path_on_datastore: str | None = None
    path_on_compute: str | None = None
    overwrite: bool = False

    def in_workspace(self, name: str, workspace: Workspace) -> DataReference:
        """The reference that this amounts to, under the name that a run knows it by.

        :raises UserErrorException: the workspace has no such datastore, or none is named.
        """
        from envbuild.sdk.data_reference import DataReference
        from envbuild.sdk.datastore import Datastore

        if not self.datastore_name:
            raise RunConfigurationException(f"data_references[{name!r}] names no datastore", hint="set datastore_name")
        return DataReference(
            datastore=Datastore.get(workspace, self.datastore_name),
            data_reference_name=name,
            path_on_datastore=self.path_on_datastore,
            mode=self.mode,
            path_on_compute=self.path_on_compute,
            overwrite=self.overwrite,
        )


# Their form

_RENAMED = {"datastoreName": "dataStoreName", "pathOnDatastore": "pathOnDataStore"}
"""Where Azure's files write a name with other capitals than its attributes."""


def camel(name: str) -> str:
    """The key that an attribute has in a file.

    >>> camel("use_docker"), camel("path_on_datastore")
    ('useDocker', 'pathOnDataStore')
    """
    first, *rest = name.split("_")
    written = first + "".join(word.capitalize() for word in rest)
    return _RENAMED.get(written, written)


def folded(key: object) -> str:
    """A key however it is written: files have been made with ``nodeCount``, ``NodeCount`` and ``node_count``.

    >>> {folded(key) for key in ("nodeCount", "NodeCount", "node_count")}
    {'nodecount'}
    """
    return re.sub(r"[_-]", "", str(key)).lower()


def form_of(section: Any) -> dict[str, Any]:
    """A section as files have it."""
    return {camel(each.name): getattr(section, each.name) for each in fields(section)}


def section_of(kind: type[S], form: object, where: str) -> S:
    """The section that a file describes; what this kind of section does not know of is passed over.

    Azure's releases have added keys through the years, so that an unknown one is no error; one that is nearly
    a known one is.

    :raises RunConfigurationException: it is no section, or a value is not of its kind.
    """
    made = kind()
    if form is None:
        return made
    if not isinstance(form, Mapping):
        raise RunConfigurationException(f"{where}: a mapping is wanted, not {form!r}")
    known = {folded(each.name): each for each in fields(made)}  # type: ignore[arg-type]
    for key, value in form.items():
        asked = known.get(folded(key))
        if asked is None:
            if near := did_you_mean(folded(key), known):
                raise RunConfigurationException(f"{where}.{key}: there is no such setting{near}")
            continue
        default = getattr(made, asked.name)
        if value is None and default is not None:
            continue
        setattr(made, asked.name, checked(value, default, f"{where}.{key}"))
    return made


def checked(value: Any, default: object, where: str) -> Any:
    """``value``, if it is of the kind that ``default`` is; anything may stand where that is ``None``.

    :raises RunConfigurationException: it is not.
    """
    for kind, wanted in ((bool, "true or false"), (int, "a number"), (str, "a text"), (list, "a list")):
        if isinstance(default, kind):
            if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
                raise RunConfigurationException(f"{where}: {wanted} is wanted, not {value!r}")
            return value
    if isinstance(default, dict) and not isinstance(value, Mapping):
        raise RunConfigurationException(f"{where}: a mapping is wanted, not {value!r}")
    return dict(value) if isinstance(default, dict) else value
