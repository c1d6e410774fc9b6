"""The estimator for scikit-learn (``azureml.train.sklearn``)."""

from __future__ import annotations

from envbuild.sdk.train.estimator import Estimator


class SKLearn(Estimator):
    """An `Estimator` whose environment has scikit-learn, from pip: Azure's ``SKLearn``.

    Without a ``framework_version`` it is the newest that fits, and stays what the lock has; Azure takes 0.20.3.
    """

    PACKAGES = ("scikit-learn",)
