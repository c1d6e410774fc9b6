"""A ``Dockerfile`` that installs the locked artifacts and nothing else; the lock is in it, so it needs no other."""

from __future__ import annotations

import re
from dataclasses import replace

from envbuild.conda import KIND
from envbuild.definition import Definition
from envbuild.errors import LockError
from envbuild.exporting import explicit, requirements
from envbuild.exporting.exported import Exported, heading, pip_packages
from envbuild.lock import Lock

PREFIX = "/opt/env"
"""Where the environment is in the container."""

_CONDA = "mambaorg/micromamba:2"
_UV = "ghcr.io/astral-sh/uv:0.13"
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "i686": "386"}


def write(lock: Lock, definition: Definition) -> Exported:
    """Write the steps: the base, the lock, the environment, its variables."""
    if lock.platform.system != "linux":
        raise LockError(
            f"containers run Linux, and the lock is for {lock.platform}", hint="--platform linux-x86_64 locks for one"
        )
    steps = _conda_steps(lock, definition) if lock.of_kind(KIND) else _pip_steps(lock, definition)
    lines = [f"# {heading(lock, definition.name)}", *steps, f'ENV PATH="{PREFIX}/bin:$PATH"']
    lines += [f"ENV {name}={_quoted(value)}" for name, value in definition.variables.items()]
    left_out = tuple(f"the secret {each}: give it to the container when it starts" for each in definition.secrets)
    return Exported("\n".join(lines) + "\n", left_out)


def _quoted(value: str) -> str:
    r"""``value`` with nothing in it that Docker would put something else for.

    >>> print(_quoted('a "$HOME"'))
    "a \"\$HOME\""
    """
    return '"' + re.sub(r'(["$\\])', r"\\\1", value) + '"'


def _from(image: str, lock: Lock) -> str:
    machine = lock.platform.machine
    return f"FROM --platform=linux/{_ARCHITECTURES.get(machine, machine)} {image}"


def _pip_steps(lock: Lock, definition: Definition) -> list[str]:
    # What is built from source needs a compiler, and git where it comes from a repository.
    flavour = "-alpine" if lock.platform.libc == "musl" else "" if lock.built_from_source else "-slim"
    install = f"python -m pip --python {PREFIX}/bin/python install --no-cache-dir --no-deps"
    if requirements.is_hashed(lock):
        install += " --require-hashes"
    return [
        _from(f"python:{lock.python}{flavour}", lock),
        *_file("/opt/requirements.txt", requirements.write(lock, definition).text),
        f"RUN python -m venv --without-pip {PREFIX} && {install} --requirement /opt/requirements.txt",
    ]


def _conda_steps(lock: Lock, definition: Definition) -> list[str]:
    steps = [
        _from(_CONDA, lock),
        "USER root",
        # micromamba would have pip install what stands in comments, and the environment need not have pip.
        *_file("/opt/explicit.txt", explicit.write(replace(lock, packages=lock.of_kind(KIND)), definition).text),
        f"RUN micromamba create --yes --prefix {PREFIX} --file /opt/explicit.txt && micromamba clean --all --yes",
    ]
    if pip_packages(lock):
        install = f"uv pip install --python {PREFIX}/bin/python --no-cache --no-deps --link-mode=copy"
        if requirements.is_hashed(lock):
            install += " --require-hashes"
        steps += [
            f"COPY --from={_UV} /uv /usr/local/bin/uv",
            *_file("/opt/requirements.txt", requirements.write(lock, definition).text),
            f"RUN {install} --requirement /opt/requirements.txt",
        ]
    # The base image would activate an environment of its own first.
    return [*steps, "ENTRYPOINT []", f'ENV CONDA_PREFIX="{PREFIX}"']


def _file(path: str, text: str) -> list[str]:
    """A file in the container, with its text as it is."""
    return [f'COPY <<"LOCK" {path}', text.rstrip("\n"), "LOCK"]
