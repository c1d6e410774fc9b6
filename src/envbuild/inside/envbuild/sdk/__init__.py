"""The part of ``envbuild.sdk`` that there is inside a run, under the names that Azure ML scripts import."""

__all__ = ["Model", "Run", "RunEnvironmentException", "UserErrorException", "Workspace"]

_OUTSIDE = (
    "ComputeTarget",
    "CondaDependencies",
    "Dataset",
    "Datastore",
    "Environment",
    "Experiment",
    "Image",
    "RunConfiguration",
    "ScriptRunConfig",
    "Webservice",
)


def __getattr__(name):
    if name == "Model":
        from ..model import Model

        return Model
    if name == "Workspace":
        from ..workspace import Workspace

        return Workspace
    if name in __all__:
        from .. import run

        return getattr(run, name)
    if name in _OUTSIDE:
        # Not an AttributeError, of which `from envbuild.sdk import …` would not tell the sentence.
        raise ImportError(
            f"there is no {name} inside a run: {', '.join(__all__)} are what envbuild.sdk has here, and everything "
            "where the environment has envbuild installed"
        )
    raise AttributeError(f"module 'envbuild.sdk' has no attribute {name!r} inside a run")
