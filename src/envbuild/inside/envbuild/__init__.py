"""What a script finds under the name ``envbuild`` while it runs: the run that it is part of.

    from envbuild import Run

    Run.get_context().log("accuracy", 0.93)

Nothing of this is installed in the script's environment: envbuild puts the folder on the path of whatever it
runs. Standard library only, Python 3.8 and later, and nothing is imported before it is needed. An environment
that has envbuild installed keeps its own: this package then gives way to it, since what an environment contains
is what its lock says and never what it is run with.
"""

import os
import sys

__all__ = ["Model", "Run", "RunEnvironmentException", "UserErrorException"]


def _installed():
    """Find envbuild as the environment itself has it, or `None`."""
    here = os.path.realpath(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    elsewhere = [folder for folder in sys.path if os.path.realpath(folder or os.curdir) != here]
    for finder in sys.meta_path:
        # Only the finder that goes through `sys.path` can come upon this package again.
        path = elsewhere if getattr(finder, "__name__", "") == "PathFinder" else None
        find = getattr(finder, "find_spec", None)
        spec = find(__name__, path) if find else None
        # A mere folder of that name is no package of anyone's.
        if spec is not None and spec.has_location and spec.loader is not None:
            return spec
    return None


def _give_way_to(spec):
    import importlib.util

    module = importlib.util.module_from_spec(spec)
    # The import under way returns whatever stands here when it is done.
    sys.modules[__name__] = module
    spec.loader.exec_module(module)


def __getattr__(name):
    if name not in __all__:
        raise AttributeError(
            f"module 'envbuild' has no attribute {name!r} inside a run; "
            f"there are {', '.join(__all__)}, and all of envbuild where the environment has it installed"
        )
    if name == "Model":
        from .model import Model

        return Model
    from . import run

    return getattr(run, name)


# envbuild itself imports this package's `events` by a longer name.
if __name__ == "envbuild":
    _spec = _installed()
    if _spec is not None:
        _give_way_to(_spec)
