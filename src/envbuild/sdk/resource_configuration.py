"""Resources (``azureml.core.resource_configuration``): what a model says that it needs to be served."""

from __future__ import annotations

from typing import Any

from envbuild.sdk.guard import Guarded


class ResourceConfiguration(Guarded):
    """How much of a machine a model needs; recorded with it, for whoever serves it to read.

    :param cpu: processors; parts of one count too.
    :param memory_in_gb: memory.
    :param gpu: graphics processors.
    """

    cpu: float | None
    memory_in_gb: float | None
    gpu: int | None

    def __init__(self, cpu: float | None = None, memory_in_gb: float | None = None, gpu: int | None = None) -> None:
        self.cpu = cpu
        self.memory_in_gb = memory_in_gb
        self.gpu = gpu

    def serialize(self) -> dict[str, Any]:
        """Say it as JSON has it."""
        return {"cpu": self.cpu, "memoryInGB": self.memory_in_gb, "gpu": self.gpu}

    @staticmethod
    def deserialize(payload_obj: dict[str, Any] | None) -> ResourceConfiguration | None:
        """Read what `serialize` gave; ``None`` of ``None``."""
        if payload_obj is None:
            return None
        return ResourceConfiguration(payload_obj.get("cpu"), payload_obj.get("memoryInGB"), payload_obj.get("gpu"))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ResourceConfiguration) and self.serialize() == other.serialize()

    __hash__ = None  # type: ignore[assignment]  # it can be changed

    def __repr__(self) -> str:
        return f"ResourceConfiguration(cpu={self.cpu}, memory_in_gb={self.memory_in_gb}, gpu={self.gpu})"
