"""The SDK: the objects that Azure ML users know, on the user's own machine.

In code for Azure ML, put `envbuild.sdk` in the place of ``azureml.core``, and `envbuild.sdk.train` in that of
``azureml.train``: modules and names are the same. The objects are mutable and thin; behind them stand frozen values
(`envbuild.definition`), the pipeline and the workspace. A name is imported when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    VERSION: str
    """envbuild's, as ``azureml.core.VERSION`` is that of Azure's SDK."""

    from envbuild.sdk.compute import ComputeTarget as ComputeTarget
    from envbuild.sdk.conda_dependencies import CondaDependencies as CondaDependencies
    from envbuild.sdk.container_registry import ContainerRegistry as ContainerRegistry
    from envbuild.sdk.datastore import Datastore as Datastore
    from envbuild.sdk.environment import Environment as Environment
    from envbuild.sdk.experiment import Experiment as Experiment
    from envbuild.sdk.image import Image as Image
    from envbuild.sdk.model import Model as Model
    from envbuild.sdk.run import Run as Run
    from envbuild.sdk.runconfig import DockerConfiguration as DockerConfiguration
    from envbuild.sdk.runconfig import RunConfiguration as RunConfiguration
    from envbuild.sdk.script_run_config import ScriptRunConfig as ScriptRunConfig
    from envbuild.sdk.workspace import Workspace as Workspace

_HOME = {
    "ComputeTarget": "compute",
    "CondaDependencies": "conda_dependencies",
    "ContainerRegistry": "container_registry",
    "Datastore": "datastore",
    "DockerConfiguration": "runconfig",
    "Environment": "environment",
    "Experiment": "experiment",
    "Image": "image",
    "Model": "model",
    "Run": "run",
    "RunConfiguration": "runconfig",
    "ScriptRunConfig": "script_run_config",
    "Workspace": "workspace",
}

_ABSENT = {"Dataset": "dataset", "Keyvault": "keyvault", "Webservice": "webservice"}
"""What Azure's package offers too, and the modules that say what there is instead."""

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name == "VERSION":
        return import_module("envbuild").__version__
    if name in _ABSENT:
        return getattr(import_module(f"envbuild.sdk.{_ABSENT[name]}"), name)
    if name not in _HOME:
        from envbuild.form import did_you_mean

        raise AttributeError(f"module 'envbuild.sdk' has no attribute {name!r}{did_you_mean(name, _HOME)}")
    value = getattr(import_module(f"envbuild.sdk.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return list(__all__)
