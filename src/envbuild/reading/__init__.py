"""Reading: a definition out of each kind of file that people write definitions in.

========================================  ==========================================================
``requirements.txt``, ``*.txt``, ``*.in``  pip's requirements files (`requirements`)
``pyproject.toml``                         dependencies, extras, dependency groups (`pyproject`)
``pylock.toml``, ``pylock.NAME.toml``      a lock that is installed as it stands (`pylock`)
``conda-lock.yml``, ``pixi.lock``, any list with ``@EXPLICIT`` in it    likewise (`locks`)
``environment.yml``                        conda's form (`conda`)
``envbuild.yml``                           the full form (`full`)
``*.py``                                   a script with a PEP 723 block (`script`)
========================================  ==========================================================

Another ``*.yml`` is taken by what is in it. Everything that is wrong is told at once, with file and line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from envbuild.definition import Definition
    from envbuild.reading.sources import Sources

DEFINITION_FILES = (
    "envbuild.yml",
    "envbuild.yaml",
    "environment.yml",
    "environment.yaml",
    "pyproject.toml",
    "requirements.txt",
    "pylock.toml",
    "conda-lock.yml",
    "pixi.lock",
)
"""What a folder's definition is looked for in, in this order.

A ``pyproject.toml`` counts only if it asks for something. Locks come last: ``pylock.toml`` beside another definition is
the lock of that definition, alone it is one itself.
"""


def read(path: Path, *, group: str | None = None, variables: Mapping[str, str] | None = None) -> Definition:
    """Read the definition in the file ``path``.

    :param group: of a ``pyproject.toml``, the dependency groups and extras to install, with commas between them.
    :param variables: what ``${NAME}`` stands for in requirements files; by default the environment's variables.
    :raises DefinitionError: with everything that is wrong in the file and those that it includes.
    :raises NotFound: there is no such file.
    """
    return read_with_inputs(path, group=group, variables=variables)[0]


def read_with_inputs(
    path: Path, *, group: str | None = None, variables: Mapping[str, str] | None = None
) -> tuple[Definition, tuple[Path, ...]]:
    """`read`, and name every file that the definition was made of, ``path`` itself first.

    As long as none of them changes, and no variable, the definition is the same.
    """
    import os

    from envbuild.reading.sources import Sources, absolute

    path = absolute(path)
    if not os.path.lexists(path):
        raise _missing(path)
    sources = Sources(path.parent, os.environ if variables is None else variables)
    try:
        definition = _read(path, group, sources)
    except RecursionError as error:
        from envbuild.errors import DefinitionError, Problem
        from envbuild.reading.sources import shown

        raise DefinitionError(Problem(shown(path), None, "something in it is nested too deeply")) from error
    return definition, tuple(sources.files)


def read_as_conda(path: Path) -> Definition:
    """Read an ``environment.yml``, whatever the file is called and without the name in it; otherwise as `read`."""
    from envbuild.reading import conda
    from envbuild.reading.sources import Place

    sources, path = _sources(path)
    text = ""
    try:
        text = sources.text(path)
    except ValueError as error:
        sources.wrong(Place(path), error)
    sources.check()
    return conda.read(path, sources, text, named=False)


def read_as_requirements(path: Path) -> Definition:
    """Read a requirements file, whatever it is called; otherwise as `read`."""
    from envbuild.reading import requirements

    sources, path = _sources(path)
    return requirements.read(path, sources)


def _sources(path: Path) -> tuple[Sources, Path]:
    import os

    from envbuild.reading.sources import Sources, absolute

    path = absolute(path)
    return Sources(path.parent, os.environ), path


def find(directory: Path) -> Path | None:
    """The definition in ``directory``, as `DEFINITION_FILES` orders them, or ``None``."""
    for name in DEFINITION_FILES:
        path = directory / name
        if path.is_file() and (name != "pyproject.toml" or _asks_for_something(path)):
            return path
    return None


def has_script_block(path: Path) -> bool:
    """Whether ``path`` is a script that says, or means to say, in a ``# /// script`` what it needs."""
    from envbuild.reading.block import find_blocks, is_unclosed

    try:
        data = path.read_bytes()
    except OSError:
        return False
    if b"# /// script" not in data:
        return False
    text = data.decode(errors="replace").replace("\r\n", "\n")
    return bool(find_blocks(text)) or is_unclosed(text)


def _read(path: Path, group: str | None, sources: Sources) -> Definition:
    """Let the reader for this kind of file read it."""
    from envbuild.reading.sources import Place

    _refuse_unread(path)
    if _is_foreign_lock(path):
        from envbuild.reading import locks

        return locks.read(path, sources, group)
    if group is not None and path.name != "pyproject.toml":
        said = f"only pyproject.toml has groups and extras to choose from, and pixi.lock environments: {group!r}"
        sources.wrong(Place(path), said)
        sources.check()
    if path.suffix in (".txt", ".in"):
        from envbuild.reading import requirements

        return requirements.read(path, sources)
    if path.name == "pyproject.toml":
        from envbuild.reading import pyproject

        return pyproject.read(path, sources, group)
    if path.suffix == ".toml" and path.name.startswith("pylock."):
        from envbuild.reading import pylock

        return pylock.read(path, sources)
    if path.suffix in (".yml", ".yaml"):
        return _read_yaml(path, sources)
    if path.suffix in (".py", ".pyw") or has_script_block(path):
        from envbuild.reading import script

        return script.read(path, sources)
    return _refuse(path)


def _is_foreign_lock(path: Path) -> bool:
    """Whether another tool's lock is in the file, of those that `locks` reads."""
    if path.suffix == ".lock" or path.name.endswith(("conda-lock.yml", "conda-lock.yaml")):
        return True
    try:
        data = path.read_bytes() if path.suffix in (".txt", ".in") and path.is_file() else b""
    except OSError:
        # Whoever reads it in earnest says what is wrong with it.
        return False
    return any(line.strip() == b"@EXPLICIT" for line in data.splitlines())


def _read_yaml(path: Path, sources: Sources) -> Definition:
    from envbuild.reading import conda, full
    from envbuild.reading.sources import Place
    from envbuild.reading.unread import hint_for_yaml

    text = ""
    try:
        text = sources.text(path)
    except ValueError as error:
        sources.wrong(Place(path), error)
    sources.check()
    hint = hint_for_yaml(text)
    if hint:
        raise _unread(path, hint)
    is_conda = path.stem == "environment" or (path.stem != "envbuild" and _has_key(text, "dependencies"))
    return conda.read(path, sources, text) if is_conda else full.read(path, sources, text)


def _has_key(text: str, key: str) -> bool:
    return any(line.replace('"', "").replace("'", "").startswith(f"{key}:") for line in text.splitlines())


def _refuse_unread(path: Path) -> None:
    """Refuse a file of another tool's, in whatever form it is, and say what to name in its place."""
    from envbuild.reading.unread import hint_for

    hint = hint_for(path)
    if hint and path.is_file() and not has_script_block(path):
        raise _unread(path, hint)


def _unread(path: Path, hint: str) -> Exception:
    from envbuild.errors import DefinitionError, Problem
    from envbuild.reading.sources import shown

    return DefinitionError(Problem(shown(path), None, "this is another tool's, and not read"), hint=hint)


def _refuse(path: Path) -> Definition:
    from envbuild.errors import DefinitionError, Problem
    from envbuild.reading.sources import shown

    what = "a folder" if path.is_dir() else "of no kind that definitions are written in"
    kinds = "requirements.txt, pyproject.toml, environment.yml, envbuild.yml, scripts and the locks of other tools are"
    near = find(path) if path.is_dir() else None
    hint = f"did you mean {shown(near)!r}?" if near else ""
    raise DefinitionError(Problem(shown(path), None, f"this is {what}; {kinds}"), hint=hint)


def _missing(path: Path) -> Exception:
    from difflib import get_close_matches

    from envbuild.errors import NotFound
    from envbuild.reading.sources import shown

    if not path.parent.is_dir():
        return NotFound(f"no such file: {shown(path)!r}; there is no folder {shown(path.parent)!r} either")
    there = [each.name for each in path.parent.iterdir() if each.is_file()]
    near = get_close_matches(path.name, there, n=3) or [each for each in DEFINITION_FILES if each in there]
    return NotFound(
        f"no such file: {shown(path)!r}", hint=f"did you mean {' or '.join(map(repr, near))}?" if near else ""
    )


def _asks_for_something(path: Path) -> bool:
    """Whether a ``pyproject.toml`` is a definition; one that cannot be read is, so that reading tells why."""
    import tomllib

    from envbuild.reading.pyproject import asks_for_something

    try:
        return asks_for_something(tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return True
