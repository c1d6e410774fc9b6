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

WORKSPACE_VARIABLE = "ENVBUILD_WORKSPACE"


def workspace_root(variables: "os._Environ[str] | dict[str, str]" = os.environ) -> str:
    """The folder of the workspace: ``ENVBUILD_WORKSPACE``, else the platform's place for user data."""
    asked = variables.get(WORKSPACE_VARIABLE)
    if asked:
        return os.path.abspath(os.path.expanduser(asked))
    if sys.platform.startswith("linux"):
        # What platformdirs says too (a test holds them together), for a tenth of its import.
        data = variables.get("XDG_DATA_HOME", "").strip()
        return os.path.join(data or os.path.expanduser("~/.local/share"), "envbuild")
    import platformdirs

    return platformdirs.user_data_dir("envbuild", appauthor=False)


def inside_path() -> str:
    """The folder that is put last on the path of what runs in an environment."""
    return os.path.join(os.path.dirname(os.path.abspath(__file__)), "inside")
