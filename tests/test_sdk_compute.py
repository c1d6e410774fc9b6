"""`envbuild.sdk.compute`: names that Azure's scripts give to clusters, under which runs go to this machine."""

from __future__ import annotations

import copy
import json
import pickle
import threading
from pathlib import Path

import pytest

from envbuild.sdk.compute import AmlCompute, Compute, ComputeTarget, find_compute
from envbuild.sdk.compute_target import ComputeTargetException
from envbuild.sdk.workspace import Workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "ws")


def test_azures_own_example_runs_unchanged(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        target = ComputeTarget(workspace=workspace, name="cpu-cluster")
    except ComputeTargetException:
        config = AmlCompute.provisioning_configuration(
            vm_size="STANDARD_D2_V2", vm_priority="lowpriority", max_nodes=4, idle_seconds_before_scaledown=2400
        )
        target = ComputeTarget.create(workspace, "cpu-cluster", config)
        target.wait_for_completion(show_output=True, min_node_count=None, timeout_in_minutes=20)

    assert capsys.readouterr().out == "Succeeded\n"
    assert type(target) is AmlCompute
    assert target.get_status().serialize() == {
        "name": "cpu-cluster",
        "vmSize": "STANDARD_D2_V2",
        "scaleSettings": {"maxNodeCount": 4},
        "provisioningState": "Succeeded",
        "allocationState": "Steady",
    }
    assert workspace.compute_targets["cpu-cluster"] == target == AmlCompute(workspace, "cpu-cluster")
    assert find_compute(workspace._core, "cpu-cluster") == Compute(
        "cpu-cluster", "local", 4, "AmlCompute", "STANDARD_D2_V2"
    )


def test_this_machine_is_always_there(workspace: Workspace, tmp_path: Path) -> None:
    local = ComputeTarget(workspace, "local")

    assert (local.name, local.type, local.max_nodes, local.provisioning_state) == ("local", "local", None, "Succeeded")
    assert ComputeTarget.list(workspace) == [local]
    assert find_compute(workspace._core, "local") == Compute("local", "local", None)
    assert not (tmp_path / "ws").exists()


def test_a_target_that_is_not_there_is_refused_with_those_that_are(workspace: Workspace) -> None:
    ComputeTarget.create(workspace, "gpu", AmlCompute.provisioning_configuration())

    with pytest.raises(ComputeTargetException, match="did you mean 'gpu'") as refused:
        ComputeTarget(workspace, "gpu1")
    assert "there are: local, gpu" in refused.value.message
    with pytest.raises(ComputeTargetException, match="is no AmlCompute"):
        AmlCompute(workspace, "local")


def test_creating_again_changes_it_and_so_does_update(workspace: Workspace) -> None:
    ComputeTarget.create(workspace, "gpu", AmlCompute.provisioning_configuration("V100", max_nodes=4))
    target = ComputeTarget.create(workspace, "gpu", AmlCompute.provisioning_configuration("V100", max_nodes=2))
    assert isinstance(target, AmlCompute)
    assert target.max_nodes == 2

    target.update(max_nodes=8)
    target.update(min_nodes=1)
    assert (target.max_nodes, target.vm_size) == (8, "V100")
    with pytest.raises(ComputeTargetException, match="max_nodes is 0"):
        target.update(max_nodes=0)


@pytest.mark.parametrize("name", ["", "a", "local", "1gpu", "a b", "../x", "a" * 33])
def test_a_name_that_cannot_be_one_is_refused(workspace: Workspace, name: str) -> None:
    with pytest.raises(ComputeTargetException, match="cannot be the name"):
        ComputeTarget.create(workspace, name, AmlCompute.provisioning_configuration())


def test_a_configuration_that_cannot_be_meant_is_refused(workspace: Workspace) -> None:
    with pytest.raises(ComputeTargetException, match="max_nodes is 0"):
        AmlCompute.provisioning_configuration(max_nodes=0)
    with pytest.raises(ComputeTargetException, match="more than max_nodes"):
        AmlCompute.provisioning_configuration(min_nodes=3, max_nodes=2)
    with pytest.raises(TypeError, match="did you mean 'vm_priority'"):
        AmlCompute.provisioning_configuration(vm_prority="low")  # type: ignore[call-arg]
    with pytest.raises(ComputeTargetException, match="a configuration is wanted"):
        ComputeTarget.create(workspace, "gpu", {"max_nodes": 3})  # type: ignore[arg-type]


def test_of_passwords_nothing_is_recorded(workspace: Workspace, tmp_path: Path) -> None:
    config = AmlCompute.provisioning_configuration(
        admin_username="root", admin_user_password="hunter2", tags={"a": "b"}
    )
    ComputeTarget.create(workspace, "gpu", config)

    assert json.loads((tmp_path / "ws/compute.json").read_text()) == {
        "gpu": {"type": "AmlCompute", "target": "local", "vm_size": "", "max_nodes": None}
    }


def test_a_deleted_target_is_gone_and_this_machine_stays(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    target = ComputeTarget.create(workspace, "gpu", AmlCompute.provisioning_configuration())
    target.delete()
    target.wait_for_completion(show_output=True, is_delete_operation=True)

    assert capsys.readouterr().out == "Deleted\n"
    for gone in (target.get_status, target.delete, target.wait_for_completion):
        with pytest.raises(ComputeTargetException, match="no compute target 'gpu'"):
            gone()
    with pytest.raises(ComputeTargetException, match="cannot be deleted"):
        ComputeTarget(workspace, "local").delete()


def test_targets_travel_and_are_equal_by_workspace_and_name(workspace: Workspace, tmp_path: Path) -> None:
    target = ComputeTarget.create(workspace, "gpu", AmlCompute.provisioning_configuration(max_nodes=3))

    assert pickle.loads(pickle.dumps(target)) == copy.deepcopy(target) == target
    assert len({target, ComputeTarget(workspace, "gpu"), ComputeTarget(workspace, "local")}) == 2
    assert ComputeTarget(tmp_path / "other", "local") != ComputeTarget(workspace, "local")
    assert target.serialize()["maxNodeCount"] == 3


def test_targets_created_at_the_same_time_are_all_kept(workspace: Workspace) -> None:
    config = AmlCompute.provisioning_configuration(max_nodes=1)
    each = [threading.Thread(target=ComputeTarget.create, args=(workspace, f"gpu{n}", config)) for n in range(20)]
    for thread in each:
        thread.start()
    for thread in each:
        thread.join()

    assert len(workspace.compute_targets) == 21


@pytest.mark.parametrize("method", ["attach", "detach", "list_nodes", "supported_vmsizes"])
def test_what_azure_can_do_with_a_cluster_and_this_machine_cannot_is_said(method: str, workspace: Workspace) -> None:
    cluster = ComputeTarget.create(workspace, "pair", AmlCompute.provisioning_configuration())

    for asked in (AmlCompute, cluster):
        with pytest.raises(AttributeError, match=f"^AmlCompute has no {method}: .*(machine|name)"):
            getattr(asked, method)
    with pytest.raises(AttributeError, match=r"'vm_sizes'; did you mean 'vm_size'\?"):
        cluster.vm_sizes  # noqa: B018
