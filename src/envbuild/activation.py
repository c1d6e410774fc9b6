"""Activation: the variables by which a process knows that it is in an environment.

Targets use it, and whatever else starts processes in a prefix. It is loaded by every repeated run, so it imports
nothing that Python has not loaded anyway.
"""

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_DROPPED = (
    "PYTHONHOME", "PYTHONPATH", "PYTHONSTARTUP", "PYTHONUSERBASE", "PYTHONEXECUTABLE", "PYTHONDONTWRITEBYTECODE",
    "VIRTUAL_ENV_PROMPT",
    "CONDA_PREFIX", "CONDA_DEFAULT_ENV", "CONDA_PROMPT_MODIFIER", "CONDA_SHLVL", "__PYVENV_LAUNCHER__",
)  # fmt: skip
"""What belongs to another environment than the one that the process gets.

And what keeps Python from writing down what it has compiled: the folders that it would be written to are nobody's but
envbuild's, and without it every run compiles all that it imports.
"""


def activated(host: "Mapping[str, str]", prefix: str, declared: "Mapping[str, str]", inside: str) -> "dict[str, str]":
    """The environment variables of a process in a prefix: the host's, activated, and what its user declares.

    :param host: the variables that there are.
    :param prefix: where the environment is.
    :param declared: what comes on top, such as a run's variables; ``VIRTUAL_ENV`` as an empty text is for an
        interpreter that is in no virtual environment.
    :param inside: a folder that comes last on Python's path, behind whatever is declared (`envbuild.inside_path`).

    >>> found = activated({"PATH": "/bin", "PYTHONHOME": "/other"}, "/env", {"LEVEL": "1"}, "/inside")
    >>> found["PATH"], found["VIRTUAL_ENV"], found["LEVEL"], found["PYTHONPATH"], "PYTHONHOME" in found
    ('/env/bin:/bin', '/env', '1', '/inside', False)
    """
    variables = {name: value for name, value in host.items() if name not in _DROPPED}
    variables["VIRTUAL_ENV"] = prefix
    if os.path.isdir(os.path.join(prefix, "conda-meta")):
        # What conda's packages look for, and its tools.
        variables["CONDA_PREFIX"] = prefix
    variables["PYTHONNOUSERSITE"] = "1"
    # Without it Python holds its output back when it is no terminal that reads it.
    variables.setdefault("PYTHONUNBUFFERED", "1")
    variables.update(declared)
    if not variables["VIRTUAL_ENV"]:
        # An interpreter that is in no virtual environment is run as it is.
        del variables["VIRTUAL_ENV"]
    variables["PATH"] = os.path.join(prefix, "bin") + os.pathsep + variables.get("PATH", os.defpath)
    own = declared.get("PYTHONPATH")
    variables["PYTHONPATH"] = own + os.pathsep + inside if own else inside
    return variables
