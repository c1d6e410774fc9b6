"""Estimators for neural networks (``azureml.train.dnn``).

Without a ``framework_version`` it is the newest that fits, and stays what the lock has; Azure has a default for each.
"""

from __future__ import annotations

from functools import partial

from envbuild.sdk.runconfig import PyTorchConfiguration
from envbuild.sdk.train.estimator import Estimator
from envbuild.sdk.train.estimator import Mpi as Mpi
from envbuild.sdk.train.estimator import ParameterServer as ParameterServer

Gloo = partial(PyTorchConfiguration, "Gloo")
"""What ``distributed_training`` takes for PyTorch's processes that talk by Gloo."""

Nccl = partial(PyTorchConfiguration, "Nccl")
"""The same by NCCL."""


class PyTorch(Estimator):
    """An `Estimator` whose environment has torch and torchvision, from pip: Azure's ``PyTorch``."""

    FRAMEWORK = "PyTorch"
    PACKAGES = ("torch", "torchvision")


class TensorFlow(Estimator):
    """An `Estimator` whose environment has tensorflow, from pip: Azure's ``TensorFlow``."""

    FRAMEWORK = "TensorFlow"
    PACKAGES = ("tensorflow",)


class Chainer(Estimator):
    """An `Estimator` whose environment has chainer, from pip: Azure's ``Chainer``."""

    FRAMEWORK = "Chainer"
    PACKAGES = ("chainer",)
