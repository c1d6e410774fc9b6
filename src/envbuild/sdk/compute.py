"""Compute targets (``azureml.core.compute``): where runs are, which is this machine.

``local`` is always there. A script for Azure may also create a cluster: that is a name, recorded in the workspace,
under which runs go to this machine too, no more at once than the cluster has nodes.
"""

from __future__ import annotations

import builtins
import os
import re
import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, NoReturn, TypedDict, Unpack

from envbuild.form import did_you_mean
from envbuild.sdk import tables
from envbuild.sdk.absent import lacking, missing
from envbuild.sdk.exceptions import ComputeTargetException
from envbuild.sdk.guard import takes, text, words
from envbuild.sdk.workspace import Workspace

if TYPE_CHECKING:
    from envbuild.workspace import Workspace as Core

LOCAL = "local"
"""The target that every workspace has."""

_CLUSTER = "AmlCompute"
_NAME = re.compile(r"[A-Za-z][\w-]{1,31}", re.ASCII)
_HERE = "runs go to this machine; use the target 'local', or an AmlCompute to bound how many are at once"
_ABSENT = dict.fromkeys(
    (
        "AdlaCompute", "AksCompute", "BatchCompute", "ComputeInstance", "DataFactoryCompute", "DatabricksCompute",
        "DsvmCompute", "HDInsightCompute", "KubernetesCompute", "RemoteCompute", "SynapseCompute",
    ),
    _HERE,
)  # fmt: skip
_LACKED = {
    "attach": _HERE,
    "attach_configuration": _HERE,
    "detach": "nothing is attached; delete takes the name out of the workspace",
    "list_nodes": "a cluster is a name for this machine; Experiment.get_runs says what runs",
    "supported_vmsizes": "runs go to this machine, whatever vm_size says",
}
"""Of Azure's methods those that are missing, and why."""


@dataclass(frozen=True, slots=True)
class Compute:
    """Where the runs that name a target go, as `find_compute` says it.

    :param target: the target as the core knows it.
    :param max_nodes: how many runs may be there at once; ``None`` leaves that to the core.
    """

    name: str
    target: str
    max_nodes: int | None = None
    kind: str = LOCAL
    vm_size: str = ""


def find_compute(core: Core, name: str) -> Compute:
    """The target that goes by ``name`` in a workspace of the core.

    :raises ComputeTargetException: there is none; the message lists those there are.
    """
    found = all_compute(core)
    if name not in found:
        raise ComputeTargetException(
            f"there is no compute target {name!r}{did_you_mean(str(name), found)}",
            hint=f"there are: {', '.join(found)}; ComputeTarget.create(workspace, name, "
            "AmlCompute.provisioning_configuration(max_nodes=4)) makes one",
        )
    return found[name]


def all_compute(core: Core) -> dict[str, Compute]:
    """Every target of a workspace of the core by its name, ``local`` first."""
    recorded = tables.read(core, tables.COMPUTE)
    return {LOCAL: Compute(LOCAL, LOCAL)} | {
        name: Compute(name, each["target"], each["max_nodes"], each["type"], each["vm_size"])
        for name, each in sorted(recorded.items())
    }


def _is_count(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


@dataclass(frozen=True, slots=True)
class AmlComputeProvisioningConfiguration:
    """What a cluster is to be; made by `AmlCompute.provisioning_configuration`."""

    vm_size: str = ""
    max_nodes: int | None = None

    def __post_init__(self) -> None:
        if self.max_nodes is not None and not _is_count(self.max_nodes, 1):
            raise ComputeTargetException(
                f"max_nodes is {self.max_nodes!r}", hint="at least 1 run has to be possible at once; None sets no bound"
            )


@dataclass(frozen=True, slots=True)
class AmlComputeStatus:
    """How a target is (Azure's name for it), which is always ready.

    >>> AmlComputeStatus("local", "", None).serialize()["provisioningState"]
    'Succeeded'
    """

    name: str
    vm_size: str
    max_nodes: int | None
    provisioning_state: str = "Succeeded"
    allocation_state: str = "Steady"

    def serialize(self) -> dict[str, Any]:
        """The same as a mapping, with keys as Azure writes them."""
        return {
            "name": self.name,
            "vmSize": self.vm_size,
            "scaleSettings": {"maxNodeCount": self.max_nodes},
            "provisioningState": self.provisioning_state,
            "allocationState": self.allocation_state,
        }


class _Cloud(TypedDict, total=False):
    """What Azure's clusters are told besides: accepted, and used for nothing."""

    vm_priority: str
    idle_seconds_before_scaledown: int | None
    admin_username: str | None
    admin_user_password: str | None
    admin_user_ssh_key: str | None
    vnet_resourcegroup_name: str | None
    vnet_name: str | None
    subnet_name: str | None
    tags: dict[str, str] | None
    description: str | None
    remote_login_port_public_access: str
    identity_type: str | None
    identity_id: list[str] | None
    location: str | None
    enable_node_public_ip: bool | None


class _Told(type):
    """Says of Azure's methods that are missing why that is so."""

    def __getattr__(cls, name: str) -> NoReturn:
        raise lacking(cls, name, _LACKED)


class ComputeTarget(metaclass=_Told):
    """A place for runs (``azureml.core.ComputeTarget``); made with what it is called, it is that of the workspace.

    :param workspace: a `Workspace`, its name or path, or ``None`` for the default one.
    :raises ComputeTargetException: there is none of that name; the message lists those there are.
    """

    name: str
    workspace: Workspace

    @takes(name=text)
    def __new__(  # noqa: PYI034  as Azure has it: what is made is of the kind that was created
        cls, workspace: Workspace | str | os.PathLike[str] | None, name: str
    ) -> ComputeTarget:
        """Find the target; a cluster comes as `AmlCompute`."""
        found = find_compute(Workspace.of(workspace)._core, name)
        kind = AmlCompute if found.kind == _CLUSTER else ComputeTarget
        if not issubclass(kind, cls):
            raise ComputeTargetException(f"compute target {name!r} is no {cls.__name__}", hint="use ComputeTarget")
        return super().__new__(kind)

    def __init__(self, workspace: Workspace | str | os.PathLike[str] | None, name: str) -> None:
        self.workspace = Workspace.of(workspace)
        self.name = name

    @staticmethod
    def create(
        workspace: Workspace | str | os.PathLike[str] | None,
        name: str,
        provisioning_configuration: AmlComputeProvisioningConfiguration,
    ) -> ComputeTarget:
        """Record a target in the workspace; one of that name that is there already is changed, as Azure does.

        :param name: 2 to 32 letters, digits, ``-`` and ``_``, a letter first (Azure: up to 16, without ``_``).
        :returns: the target, which can be used at once: Azure takes minutes here.
        :raises ComputeTargetException: the name cannot be one, or the configuration is none.
        """
        if not isinstance(provisioning_configuration, AmlComputeProvisioningConfiguration):
            raise ComputeTargetException(
                f"a configuration is wanted, not {provisioning_configuration!r}",
                hint="AmlCompute.provisioning_configuration(max_nodes=4) makes one",
            )
        if not isinstance(name, str) or not _NAME.fullmatch(name) or name == LOCAL:
            raise ComputeTargetException(
                f"{name!r} cannot be the name of a new compute target",
                hint="2 to 32 letters, digits, '-' and '_' make one, a letter first; 'local' is this machine itself",
            )
        meant = Workspace.of(workspace)
        with tables.changing(meant._core, tables.COMPUTE) as recorded:
            recorded[name] = {"type": _CLUSTER, "target": LOCAL, **asdict(provisioning_configuration)}
        return ComputeTarget(meant, name)

    @staticmethod
    def list(workspace: Workspace | str | os.PathLike[str] | None) -> builtins.list[ComputeTarget]:
        """The targets of the workspace, ``local`` first (Azure's list leaves that out)."""
        meant = Workspace.of(workspace)
        return [ComputeTarget(meant, name) for name in all_compute(meant._core)]

    @property
    def type(self) -> str:
        """``local`` or ``AmlCompute``."""
        return self._compute.kind

    @property
    def max_nodes(self) -> int | None:
        """How many runs may be there at once; ``None`` where only the machine sets a bound (envbuild's own)."""
        return self._compute.max_nodes

    @property
    def vm_size(self) -> str:
        """The kind of machine that was asked for, which means nothing here."""
        return self._compute.vm_size

    @property
    def provisioning_state(self) -> str:
        """``Succeeded``, as Azure says of a target that can be used."""
        return self.get_status().provisioning_state

    def get_status(self) -> AmlComputeStatus:
        """How the target is.

        :raises ComputeTargetException: it has been deleted.
        """
        return AmlComputeStatus(self.name, self.vm_size, self.max_nodes)

    def wait_for_completion(
        self,
        show_output: bool = False,
        min_node_count: int | None = None,  # noqa: ARG002  there are no nodes to wait for
        timeout_in_minutes: float | None = None,  # noqa: ARG002  and nothing takes time
        is_delete_operation: bool = False,
    ) -> None:
        """Return at once: a target is ready when it is created, and gone when it is deleted.

        :param show_output: say so on standard output, as Azure does.
        :raises ComputeTargetException: there is no such target any more.
        """
        state = "Deleted" if is_delete_operation else self.provisioning_state
        if show_output:
            sys.stdout.write(f"{state}\n")

    def delete(self) -> None:
        """Take the name out of the workspace; runs that are going on under it go on.

        :raises ComputeTargetException: it is ``local``, or not there any more.
        """
        if self.name == LOCAL:
            raise ComputeTargetException("'local' is this machine and cannot be deleted")
        with tables.changing(self.workspace._core, tables.COMPUTE) as recorded:
            find_compute(self.workspace._core, self.name)
            del recorded[self.name]

    def serialize(self) -> dict[str, Any]:
        """What there is to say of the target, as a mapping."""
        return {"name": self.name, "type": self.type, "vmSize": self.vm_size, "maxNodeCount": self.max_nodes}

    @property
    def _compute(self) -> Compute:
        return find_compute(self.workspace._core, self.name)

    def __getattr__(self, name: str) -> NoReturn:
        raise lacking(type(self), name, _LACKED)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ComputeTarget) and (self.workspace, self.name) == (other.workspace, other.name)

    def __hash__(self) -> int:
        return hash((self.workspace, self.name))

    def __reduce__(self) -> tuple[object, ...]:
        return ComputeTarget, (self.workspace, self.name)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(workspace={self.workspace!r}, name={self.name!r})"


class AmlCompute(ComputeTarget):
    """A name under which runs go to this machine, so many at once (``azureml.core.compute.AmlCompute``)."""

    @staticmethod
    @takes(vm_size=words)
    def provisioning_configuration(
        vm_size: str = "",
        min_nodes: int = 0,
        max_nodes: int | None = None,
        **cloud: Unpack[_Cloud],
    ) -> AmlComputeProvisioningConfiguration:
        """Describe a cluster for `ComputeTarget.create`.

        Only ``max_nodes`` means anything: so many runs are there at once, and further ones wait. What else Azure's
        method takes is accepted, so that a script runs unchanged; of it only ``vm_size`` is kept, to be shown.

        :raises ComputeTargetException: ``max_nodes`` is less than 1, or than ``min_nodes``.
        :raises TypeError: an argument that Azure's method does not have either.
        """
        for unknown in cloud.keys() - _Cloud.__annotations__.keys():
            raise TypeError(f"unexpected argument {unknown!r}{did_you_mean(unknown, _Cloud.__annotations__)}")
        if not _is_count(min_nodes, 0):
            raise ComputeTargetException(f"min_nodes is {min_nodes!r}", hint="0 or more is wanted")
        made = AmlComputeProvisioningConfiguration(vm_size, max_nodes)
        if max_nodes is not None and min_nodes > max_nodes:
            raise ComputeTargetException(f"min_nodes is {min_nodes}, which is more than max_nodes, {max_nodes}")
        return made

    def update(
        self,
        min_nodes: int | None = None,  # noqa: ARG002  Azure's order; nothing is kept running for later
        max_nodes: int | None = None,
        idle_seconds_before_scaledown: int | None = None,  # noqa: ARG002
    ) -> None:
        """Let another number of runs be there at once; ``None`` leaves it as it is.

        :raises ComputeTargetException: the number is less than 1, or the target has been deleted.
        """
        now = self._compute
        wanted = now.max_nodes if max_nodes is None else max_nodes
        ComputeTarget.create(self.workspace, self.name, AmlComputeProvisioningConfiguration(now.vm_size, wanted))


def __getattr__(name: str) -> Any:
    raise missing(__name__, name, _ABSENT)
