"""Sweeps (``azureml.train.hyperdrive``): there are none, and importing a part of one says how to do without."""

from __future__ import annotations

from typing import Any

from envbuild.sdk.absent import missing

_ABSENT = dict.fromkeys(
    (
        "BanditPolicy", "BayesianParameterSampling", "GridParameterSampling", "HyperDriveConfig", "HyperDriveRun",
        "HyperDriveRunConfig", "MedianStoppingPolicy", "NoTerminationPolicy", "PrimaryMetricGoal",
        "RandomParameterSampling", "TruncationSelectionPolicy", "choice", "lognormal", "loguniform", "normal",
        "qlognormal", "qloguniform", "qnormal", "quniform", "randint", "uniform",
    ),
    "submit a run for each set of parameters in a loop, with tags=, and compare their get_metrics()",
)  # fmt: skip


def __getattr__(name: str) -> Any:
    raise missing(__name__, name, _ABSENT)
