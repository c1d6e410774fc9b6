"""``azureml.core.script_run``: the name that Azure has for the run of a script; here every run is a `Run`."""

from __future__ import annotations

from envbuild.sdk.run import Run as ScriptRun

__all__ = ["ScriptRun"]
