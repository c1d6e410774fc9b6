"""Data: files that a run is given by their place, and that are no part of its snapshot."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from envbuild.errors import NotFound, Refused

FOLDER = "data"
"""In a run's folder: copies of what it was given, and what is still to be uploaded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """Files, and how a run gets at them.

    In the command ``$AZUREML_DATAREFERENCE_<name>`` stands for the place at which the run finds them, and a variable
    of that name holds it, as in Azure ML.

    :param path: where they are on this machine.
    :param mode: ``mount`` for the place itself, ``download`` for a copy, ``upload`` for a new folder whose files come
        to lie at ``path`` once the run has done its work.
    :param at: where in the working copy a run wants its copy; by default beside it.
    :param overwrite: what is uploaded takes the place of files that are there.
    """

    name: str
    path: str
    mode: str = "mount"
    at: str | None = None
    overwrite: bool = False

    @property
    def variable(self) -> str:
        """The variable that holds their place."""
        return f"AZUREML_DATAREFERENCE_{self.name}"

    def to_dict(self) -> dict[str, Any]:
        """As a run's record has it."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Placed:
    """Data as a run finds it.

    :param variables: where each is.
    :param laid_out: the copies in the working copy, as `envbuild.snapshot.laid_out` has them.
    :param made: where the run leaves what is to be uploaded.
    """

    variables: dict[str, str]
    laid_out: dict[str, tuple[str, str]]
    made: tuple[tuple[Path, Data], ...]

    def bring_back(self) -> None:
        """Put what a run has made for it in its place.

        :raises Refused: there is a file of that name already; then none of that data is there, and all of it still in
            the run's folder.
        """
        for made, data in self.made:
            there = Path(data.path)
            # Links are nobody's files, and some lead in circles.
            files = [Path(here, name) for here, _, names in os.walk(made) for name in names]
            paths = [file.relative_to(made) for file in files if file.is_file() and not file.is_symlink()]
            found = [path for path in paths if os.path.lexists(there / path)]
            if found and not data.overwrite:
                names = ", ".join(map(str, sorted(found)[:5]))
                raise Refused(
                    f"{names} is in {there} already, and was not to be overwritten",
                    hint=f"what the run made is in {made}; as_upload(overwrite=True) replaces what is there",
                )
            for path in paths:
                (there / path).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(made / path, there / path)


def place(data: Iterable[Data], folder: Path, work: Path) -> Placed:
    """Bring data to where a run is to find it.

    :param folder: the run's folder.
    :param work: its working copy.
    :raises NotFound: there is nothing at the place that it is said to be at.
    :raises Refused: a copy would come to lie outside of the working copy.
    """
    variables: dict[str, str] = {}
    laid_out: dict[str, tuple[str, str]] = {}
    made: list[tuple[Path, Data]] = []
    for each in data:
        origin = Path(each.path)
        here = folder / FOLDER / each.name if each.at is None else _inside(work, each)
        if each.mode == "upload":
            here.mkdir(parents=True, exist_ok=True)
            made.append((here, each))
        elif not origin.exists():
            raise NotFound(f"there is no data {each.name!r} at {origin}", hint="upload it to the datastore first")
        elif each.mode == "mount":
            here = origin
        else:
            _copy(origin, here)
            laid_out |= as_laid_out(here, work)
        variables[each.variable] = str(here)
    return Placed(variables, laid_out, tuple(made))


def with_places(command: Iterable[str], data: Iterable[Data], variables: Mapping[str, str]) -> tuple[str, ...]:
    """Put the places of data into a command.

    >>> data = Data(name="iris", path="/data/iris")
    >>> with_places(("--in=$AZUREML_DATAREFERENCE_iris/x",), (data,), {data.variable: data.path})
    ('--in=/data/iris/x',)
    """
    places = {f"${each.variable}": variables[each.variable] for each in data}

    def placed(word: str) -> str:
        # The longest first: one name may be the beginning of another.
        for name in sorted(places, key=len, reverse=True):
            word = word.replace(name, places[name])
        return word

    return tuple(placed(word) for word in command)


def as_laid_out(here: Path, work: Path) -> dict[str, tuple[str, str]]:
    """What `envbuild.snapshot.laid_out` would say of the files that lie in a part of a working copy now."""
    if not here.is_relative_to(work):
        return {}
    files = [here] if here.is_file() else [each for each in here.rglob("*") if each.is_symlink() or each.is_file()]
    found = {}
    for file in files:
        facts = file.lstat()
        path = file.relative_to(work).as_posix()
        found[path] = ("", "") if file.is_symlink() else (str(facts.st_size), str(facts.st_mtime_ns))
    return found


def _inside(work: Path, data: Data) -> Path:
    here = Path(os.path.abspath(work / str(data.at)))  # noqa: PTH100  as it is said
    # The source may have a link there, to files that are the user's own.
    if not here.is_relative_to(work) or here == work or not here.resolve().is_relative_to(work.resolve()):
        raise Refused(f"data {data.name!r} is to lie at {data.at!r}, and that is not in the run's working copy")
    return here


def _copy(origin: Path, here: Path) -> None:
    """Copy a file or folder; links that lead out of it stay behind."""
    here.parent.mkdir(parents=True, exist_ok=True)
    if not origin.is_dir():
        shutil.copy2(origin, here)
        return
    top = origin.resolve()

    def leading_out(folder: str, names: list[str]) -> list[str]:
        return [name for name in names if not (Path(folder) / name).resolve().is_relative_to(top)]

    shutil.copytree(origin, here, dirs_exist_ok=True, ignore=leading_out)
