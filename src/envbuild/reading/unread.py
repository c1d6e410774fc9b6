"""Files of other tools that are not read, and what their tools write of them that is."""

from __future__ import annotations

import re
from pathlib import Path

_AZURE = re.compile(r"^\$schema:\s*\S*azuremlschemas", re.MULTILINE)
_HINTS = {
    "uv.lock": "'uv export --format pylock.toml -o pylock.toml' writes a lock that is read; without it, name "
    "pyproject.toml",
    "poetry.lock": "'poetry export -o requirements.txt' writes a file that is read",
    "pdm.lock": "'pdm export -o requirements.txt' writes a file that is read",
    "Pipfile": "'pipenv requirements > requirements.txt' writes a file that is read",
    "Pipfile.lock": "'pipenv requirements --hash > requirements.txt' writes a file that is read",
    "setup.py": "a requirements.txt with the line '-e .' installs the project and what it depends on",
    "setup.cfg": "a requirements.txt with the line '-e .' installs the project and what it depends on",
    "pixi.toml": "'pixi lock' writes a pixi.lock, which is read",
    "python_env.yaml": "this is MLflow's; the conda.yaml or requirements.txt that it writes beside it is read",
}
_SCRIPT_LOCK = "this is uv's lock of a script; the script itself is read, with what its '# /// script' asks for"
_NOTEBOOK = (
    "write what it asks for into a requirements.txt; 'jupyter nbconvert --to script' makes a script of it, which can "
    "be run"
)


def hint_for(path: Path) -> str | None:
    """What to name in the place of the file ``path``, if it is one of another tool's that is not read.

    >>> hint_for(Path("pdm.lock"))
    "'pdm export -o requirements.txt' writes a file that is read"
    >>> hint_for(Path("pixi.lock")) is hint_for(Path("train.py")) is None
    True
    """
    if path.suffix == ".ipynb":
        return _NOTEBOOK
    return _SCRIPT_LOCK if path.name.endswith(".py.lock") else _HINTS.get(path.name)


def hint_for_yaml(text: str) -> str | None:
    """Likewise, of a YAML file that only what is in it tells."""
    return "it is for Azure ML's CLI v2; name the file behind its 'conda_file'" if _AZURE.search(text) else None
