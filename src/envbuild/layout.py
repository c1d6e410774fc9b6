"""Layout: where things are in a workspace.

::

    WORKSPACE/
        catalogue.db         names, versions, labels, runs
        runs/RUN/            run.json  end.json  died  lease  metrics.jsonl  notes.jsonl  logs/  outputs/  work/
        inbox/RUN            an empty file for each run that the catalogue has not read to its end
        queue/RUN            for each run that waits to be started: whose queue it is in (`envbuild.dispatch`)
        dispatchers/NAME     held by each process that starts waiting runs
        slots/TARGET/N       held by each waiting run that has been started, so that only so many are at once
        datastores/NAME/     data that runs are given (`envbuild.sdk.datastore`)
        *.json               which datastores, compute targets and workspaces have a name (`envbuild.sdk.tables`)
        workspaces/NAME/     below the default workspace: those that have a name
        builds/NAME.log      what the SDK's builds have said
        wheels/HEX           an empty file for each private wheel that was added by hand
        names                replaced whenever a name comes to mean something else than before
        warm/KEY             what a repeated command may rely on (`envbuild.warm`)
        store/               an OCI image layout, and beside it
            blobs/sha256/HEX     content by digest
            images/HEX/          an environment by id: image.json and prefix/
            leases/HEX           held by every process that uses that environment; its time is that of the last use
            locks/NAME           held while something is made that only one process should make
            scratch/             what is being made; whatever no living process holds may be deleted

This module is read on the way of every command, so it imports nothing that Python has not loaded anyway.
"""

import os
import sys

CATALOGUE = "catalogue.db"
RUNS = "runs"
INBOX = "inbox"
QUEUE = "queue"
DISPATCHERS = "dispatchers"
SLOTS = "slots"
BUILDS = "builds"
WHEELS = "wheels"
NAMES = "names"
WARM = "warm"
STORE = "store"

REQUEST = "run.json"
END = "end.json"
DIED = "died"
LEASE = "lease"
METRICS = "metrics.jsonl"
NOTES = "notes.jsonl"
LOGS = "logs"
LOG = "logs/output.log"
PREPARING = "logs/prepare.log"
OUTPUTS = "outputs"
WORK = "work"

BLOBS = "blobs/sha256"
IMAGES = "images"
LEASES = "leases"
LOCKS = "locks"
SCRATCH = "scratch"
IMAGE = "image.json"
PREFIX = "prefix"

WORKSPACES = "workspaces"
COMPUTE = "compute.json"

WORKSPACE_VARIABLE = "ENVBUILD_WORKSPACE"
DEFAULT_WORKSPACE = "default"

TYPE_CHECKING = False
if TYPE_CHECKING:
    Variables = os._Environ[str] | dict[str, str]


def workspace_root(variables: "Variables" = os.environ) -> str:
    """The folder of the workspace that is meant where none is said: what ``ENVBUILD_WORKSPACE`` says, a name or a path.

    :raises EnvbuildError: it says neither.
    """
    asked = variables.get(WORKSPACE_VARIABLE)
    return workspace_at(asked, variables) if asked else home(variables)


def workspace_at(said: str, variables: "Variables" = os.environ) -> str:
    """The folder of a workspace that is said by its name, or by a path, which has a slash.

    :raises EnvbuildError: it is neither.
    """
    if _is_path(said):
        return os.path.abspath(os.path.expanduser(said))
    if not is_workspace_name(said):
        from envbuild.errors import EnvbuildError

        raise EnvbuildError(
            f"{said!r} is no name for a workspace",
            hint="3 to 33 letters, digits, '-' and '_' make one, a letter or digit first; a path has a '/': ./here",
        )
    return home(variables) if said == DEFAULT_WORKSPACE else os.path.join(home(variables), WORKSPACES, said)


def is_workspace_name(text: str) -> bool:
    """Whether a workspace may have this name; Azure's may too.

    >>> is_workspace_name("team-1"), is_workspace_name("my"), is_workspace_name("_me"), is_workspace_name("../me")
    (True, False, False, False)
    """
    if not text.isascii() or not 3 <= len(text) <= 33 or not text[0].isalnum():
        return False
    return text.replace("-", "").replace("_", "").isalnum()


def workspace_name(root: str, variables: "Variables" = os.environ) -> "str | None":
    """The name that `workspace_at` would find the folder by; ``None`` if it has none and is said by its path."""
    place = home(variables)
    if root == place:
        return DEFAULT_WORKSPACE
    above, name = os.path.split(root)
    return name if above == os.path.join(place, WORKSPACES) and is_workspace_name(name) else None


def made_workspaces(variables: "Variables" = os.environ) -> "list[str]":
    """The names, without that of the default one, under which there is a workspace."""
    folder = os.path.join(home(variables), WORKSPACES)
    names = os.listdir(folder) if os.path.isdir(folder) else ()
    return sorted(name for name in names if is_workspace_name(name) and is_made(os.path.join(folder, name)))


def is_made(root: str) -> bool:
    """Whether anything was ever recorded in a workspace in this folder."""
    return any(os.path.exists(os.path.join(root, each)) for each in (os.path.join(STORE, "oci-layout"), CATALOGUE))


def home(variables: "Variables" = os.environ) -> str:
    """The folder of the default workspace, below which those that have a name lie.

    It is the path that ``ENVBUILD_WORKSPACE`` says, if it says one, else the platform's place for user data.
    """
    asked = variables.get(WORKSPACE_VARIABLE)
    if asked and _is_path(asked):
        return os.path.abspath(os.path.expanduser(asked))
    if sys.platform.startswith("linux"):
        # What platformdirs says too (a test holds them together), for a tenth of its import.
        data = variables.get("XDG_DATA_HOME", "").strip()
        return os.path.join(data or os.path.expanduser("~/.local/share"), "envbuild")
    import platformdirs

    return platformdirs.user_data_dir("envbuild", appauthor=False)


def _is_path(said: str) -> bool:
    return "/" in said or os.sep in said


def inside_path() -> str:
    """The folder that is put last on the path of what runs in an environment."""
    return os.path.join(os.path.dirname(os.path.abspath(__file__)), "inside")
