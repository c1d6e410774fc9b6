"""CondaDependencies: which packages, of conda and of pip, an environment is asked to have.

Stands for ``azureml.core.conda_dependencies``. What conda is asked for twice it is asked for with both: `numpy>=1` and
then `numpy<2` come to one entry, `numpy==1` and then `numpy==2` are refused where the second is added. What pip is
asked for again takes the place of what it was asked for before, as in Azure. The two may not contradict each other.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

from packaging.version import InvalidVersion, Version

from envbuild.reading.conda import python_version as read_python
from envbuild.reading.options import Option, take_apart
from envbuild.sdk import conda_entries as entries
from envbuild.sdk.conda_entries import Entry, shown
from envbuild.sdk.conda_file import CondaFile, lines_of
from envbuild.sdk.exceptions import UserErrorException
from envbuild.sdk.guard import Guarded

PYTHON_DEFAULT_VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
"""The Python of an environment that does not say which: that of this interpreter. Azure has a fixed one."""

CONDA_FILE_NAME = "conda_dependencies.yml"
"""What a file is called that nobody gave a name."""

DEFAULT_NAME = "project_environment"
DEFAULT_CHANNELS = ("conda-forge",)

_INDEX_URL = "--index-url"
_ADDED = ("--requirement", "--constraint", "--editable")
"""Options of which each names something else, so that setting one does not replace another."""


class CondaDependencies(Guarded):
    """What conda and pip are asked for, in the form of an ``environment.yml``.

    Objects compare by what they ask for, and can be copied and pickled. A file that was loaded is saved as it was
    written, or, once changed, in its order and with the comments at entries that are still there. Unlike in Azure,
    lists come as tuples rather than iterators, and package names are normalised before they are compared.

    :param conda_dependencies_file_path: an ``environment.yml``. Without one, nothing but the Python of this interpreter
        is asked for, from conda-forge; Azure adds ``azureml-defaults``, which no environment of envbuild needs.
        A file that asks for no Python gets any, where Azure appends its default.
    :param _underlying_structure: the form as plain data, in the place of a file.
    :raises FileNotFoundError: there is no such file.
    :raises UserErrorException: it is not conda's form; everything that is wrong, with file and line.

    >>> asked = CondaDependencies()
    >>> asked.add_conda_package("numpy>=1")
    >>> asked.add_conda_package("NumPy<2")
    >>> asked.conda_packages[1:]
    ('numpy>=1,<2',)
    """

    DEFAULT_NUMBER_OF_CONDA_PACKAGES = 0
    DEFAULT_NUMBER_OF_PIP_PACKAGES = 0

    def __init__(
        self,
        conda_dependencies_file_path: str | os.PathLike[str] | None = None,
        _underlying_structure: Mapping[str, Any] | None = None,
    ) -> None:
        if conda_dependencies_file_path is not None and _underlying_structure is not None:
            raise UserErrorException("a file and its content are given; one of them says it all")
        if conda_dependencies_file_path is not None:
            self._file = CondaFile.load(Path(conda_dependencies_file_path))
        elif _underlying_structure is not None:
            self._file = CondaFile.of(_underlying_structure)
        else:
            python = f"python={PYTHON_DEFAULT_VERSION}"
            form = {"name": DEFAULT_NAME, "channels": list(DEFAULT_CHANNELS), "dependencies": [python]}
            self._file = CondaFile.of(form)

    @staticmethod
    def create(
        pip_indexurl: str | None = None,
        pip_packages: Iterable[str] | None = None,
        conda_packages: Iterable[str] | None = None,
        python_version: str | None = PYTHON_DEFAULT_VERSION,
        pin_sdk_version: bool = True,  # noqa: ARG004 - there is no SDK to be pinned
    ) -> CondaDependencies:
        """Ask for packages.

        :param pip_indexurl: as for `set_pip_index_url`.
        :param pip_packages: as for `add_pip_package`; by default none, where Azure has ``azureml-defaults``.
        :param conda_packages: as for `add_conda_package`; a Python among them is the one that is meant.
        :param python_version: as for `set_python_version`.
        :param pin_sdk_version: has no effect, since nothing of envbuild is installed in environments.
        :raises UserErrorException: a package is not one, or two contradict each other.
        """
        created = CondaDependencies()
        created.set_python_version(python_version)
        for package in _texts(conda_packages, "conda_packages"):
            created.add_conda_package(package)
        if python_version not in (PYTHON_DEFAULT_VERSION, None):
            created._same_python(python_version)
        if pip_indexurl is not None:
            created.set_pip_index_url(pip_indexurl)
        for package in _texts(pip_packages, "pip_packages"):
            created.add_pip_package(package)
        return created

    @staticmethod
    def merge_requirements(requirements: Iterable[str]) -> list[str]:
        """One pip requirement for each package, which says what all of ``requirements`` say of it.

        :raises UserErrorException: one is not a requirement, or two contradict each other, where Azure joins them.

        >>> CondaDependencies.merge_requirements(["numpy>=1", "rich", "Numpy<2"])
        ['numpy>=1,<2', 'rich']
        """
        merged: list[str] = []
        for requirement in _texts(requirements, "requirements"):
            known = {position: entries.read_pip(each) for position, each in enumerate(merged)}
            position, text = CondaDependencies._place(_read(entries.read_pip, requirement, "requirements"), known)
            if position is None:
                merged.append(text)
            else:
                merged[position] = text
        return merged

    @property
    def conda_packages(self) -> tuple[str, ...]:
        """The match specs for conda, Python among them."""
        return tuple(each for each in self._dependencies() if isinstance(each, str))

    def add_conda_package(self, conda_package: str) -> None:
        """Ask conda for a package too.

        Of Python the last word stands, as in Azure: ``python=3.11``, ``python>=3.9``, and ``python`` for any. Any other
        package that is asked for already is then asked for with both; what is said again changes nothing.

        :raises UserErrorException: it is no match spec, or contradicts what is asked for of conda or pip.
        """
        new = _read(entries.read_new_conda, conda_package, "conda_package")
        if new.name == "python":
            self._replace_python(new.text)
            return
        known = self._conda_entries()
        self._refuse_contradictions(new, self._pip_entries().values())
        position, text = self._place(new, known)
        dependencies = self._dependencies()
        if position is not None:
            dependencies[position] = text
        else:
            lists = [at for at, each in enumerate(dependencies) if isinstance(each, dict)]
            dependencies.insert(lists[0] if lists else len(dependencies), text)

    def remove_conda_package(self, conda_package: str) -> None:
        """Ask conda for a package no longer, whatever version; what is not asked for is no error, as in Azure.

        :raises UserErrorException: it is no match spec, or Python, which another one can only take the place of.
        """
        name = _read(entries.read_conda, conda_package, "conda_package").name
        if name == "python":
            raise UserErrorException(
                "Python cannot be removed",
                hint="set_python_version('3.11') asks for another; add_conda_package('python') leaves it open",
            )
        gone = {position for position, each in self._conda_entries().items() if each.name == name}
        self._file.form["dependencies"] = [
            each for position, each in enumerate(self._dependencies()) if position not in gone
        ]

    @property
    def python_version(self) -> str | None:
        """What `get_python_version` says."""
        return self.get_python_version()

    def get_python_version(self) -> str | None:
        """Which Python is asked for: ``3.11``, a range such as ``>=3.9``, or ``None`` for any.

        Azure's leaves out whatever is not a digit.

        :raises UserErrorException: the file that was loaded asks for it in a way that is not understood.
        """
        for each in self._conda_entries().values():
            if each.name == "python":
                return _python(each.text)
        return None

    def set_python_version(self, version: str | None) -> None:
        """Ask for a Python: ``3.11``, ``3.11.7``, a range such as ``>=3.9,<3.13``, or ``None`` for any.

        :raises UserErrorException: it is neither.
        """
        if version is None:
            positions = [at for at, each in self._conda_entries().items() if each.name == "python"]
            for position in reversed(positions):
                del self._dependencies()[position]
            return
        if not isinstance(version, str) or not version.strip():
            quoted = ": put quotes around it" if isinstance(version, float) else ""
            raise UserErrorException(f"a version of Python is a text, such as '3.11', not {version!r}{quoted}")
        version = version.strip()
        self._replace_python(f"python{'' if version[0] in '=<>!~' else '='}{version}")

    @property
    def pip_packages(self) -> tuple[str, ...]:
        """The requirements for pip, without options, and without comments behind them."""
        bare = (entries.without_comment(each) for each in self._pip())
        return tuple(each for each in bare if each and not each.startswith("-"))

    def add_pip_package(self, pip_package: str) -> None:
        """Ask pip for a package too: ``numpy``, ``numpy>=2``, ``name @ url``, a URL, a path, or a private wheel's URL.

        It replaces what pip was asked of that package for the same marker, and stands at the end, as in Azure, which
        takes Pillow and pillow for two packages. Entries for different markers stand beside one another.

        :raises UserErrorException: it is no requirement, begins with ``-``, or contradicts what conda is asked for.
        """
        if isinstance(pip_package, str) and pip_package.strip().startswith("-"):
            raise UserErrorException(
                f"an option, not a package: {shown(pip_package.strip())!r}",
                hint="set_pip_option takes options, '-e', '-r' and '-c' too",
            )
        new = _read(entries.read_pip, pip_package, "pip_package")
        self._refuse_contradictions(new, self._conda_entries().values())
        replaced = {
            position
            for position, each in self._pip_entries().items()
            if each.text == new.text or (new.name is not None and (each.name, each.marker) == (new.name, new.marker))
        }
        kept = [each for position, each in enumerate(self._pip()) if position not in replaced]
        self._set_pip([*kept, new.text])

    def remove_pip_package(self, pip_package: str) -> None:
        """Ask pip for a package no longer, whatever version; what is not asked for is no error, as in Azure.

        :param pip_package: its name, or all that `add_pip_package` was told; of a path, the path.
        :raises UserErrorException: it is no requirement.
        """
        asked = _read(entries.read_pip, pip_package, "pip_package")
        gone = {
            position
            for position, each in self._pip_entries().items()
            if (each.name == asked.name if asked.name else each.text == asked.text)
        }
        self._set_pip([each for position, each in enumerate(self._pip()) if position not in gone])

    def set_pip_requirements(self, pip_requirements: Iterable[str]) -> None:
        """Ask pip for these lines of a requirements file, and for nothing else any more.

        Options, comments and empty lines stay as they are; files that they name with ``-r`` are meant from the folder
        that the definition is told from.

        :raises UserErrorException: two of the lines contradict each other, or what conda is asked for.
        """
        lines = lines_of("\n".join(each.rstrip("\r\n") for each in _texts(pip_requirements, "pip_requirements")))
        so_far: list[Entry] = list(self._conda_entries().values())
        for new in _readable(lines).values():
            self._refuse_contradictions(new, so_far)
            so_far.append(new)
        self._set_pip(lines if any(lines) else [])

    @property
    def pip_options(self) -> tuple[str, ...]:
        """The lines for pip that begin with ``-``: options, and what ``-e``, ``-r`` and ``-c`` name."""
        bare = (entries.without_comment(each) for each in self._pip())
        return tuple(each for each in bare if each.startswith("-"))

    def set_pip_option(self, pip_option: str) -> None:
        """Give pip an option, in the place of what was set of it before: ``--extra-index-url https://…``, ``--pre``.

        Several of one kind stand in one text, as they would in a line of a requirements file. Of ``-e``, ``-r`` and
        ``-c``, each names something else, and is put beside those that are there. Short and long names are one.

        :raises UserErrorException: it does not begin with ``-``, or is no option of requirements files.
        """
        option = _text(pip_option, "pip_option").strip()
        if not option.startswith("-"):
            raise UserErrorException(
                f"an option begins with '-', unlike {shown(option)!r}", hint="add_pip_package takes packages"
            )
        try:
            name = take_apart(option)[1][0].name
        except ValueError as error:
            raise UserErrorException(shown(str(error))) from error
        lines = list(self._pip())
        there = [at for at, found in enumerate(map(_options, lines)) if found and found[0].name == name]
        if name in _ADDED:
            self._set_pip(lines if option in self.pip_options else [*lines, option])
        elif there:
            lines[there[0]] = option
            self._set_pip([each for at, each in enumerate(lines) if at not in there[1:]])
        else:
            # pip has an index replace those named before it, the extra ones too.
            self._set_pip([option, *lines] if name == _INDEX_URL else [*lines, option])

    def remove_pip_option(self, pip_option: str) -> None:
        """Take an option back: by its name all that is set of it, with its value that line only.

        One that is not set is no error, as in Azure.

        :raises UserErrorException: it is no option of requirements files.
        """
        text = _text(pip_option, "pip_option").strip()
        whole, named = _options(text), _options(f"{text} value")
        if not whole and not named:
            raise UserErrorException(f"not an option of requirements files: {shown(text)!r}")
        gone = {
            position
            for position, found in enumerate(map(_options, self._pip()))
            if (found == whole if whole else found and found[0].name == named[0].name)
        }
        self._set_pip([each for position, each in enumerate(self._pip()) if position not in gone])

    def set_pip_index_url(self, index_url: str) -> None:
        """Have pip look for packages in another index than PyPI.

        A password in the URL is used and never recorded; write ``${NAME}`` to keep it out of saved files too.

        :param index_url: the URL, or, as Azure wants it, ``--index-url`` and the URL.
        :raises UserErrorException: neither.
        """
        text = _text(index_url, "index_url").strip()
        if not text.startswith("-"):
            if len(text.split()) != 1 or not re.match(r"\w[\w+.-]*:/|\$\{|\.{0,2}/", text):
                raise UserErrorException(f"not the URL of an index: {shown(text)!r}", hint="https://host/simple is one")
            text = f"{_INDEX_URL} {text}"
        if [each.name for each in _options(text)] != [_INDEX_URL]:
            raise UserErrorException(
                f"not {_INDEX_URL} and one URL: {shown(text)!r}", hint="set_pip_option takes other options"
            )
        self.set_pip_option(text)

    @property
    def conda_channels(self) -> tuple[str, ...]:
        """The channels that conda looks into, the first first."""
        return tuple(self._file.form.get("channels") or ())

    def add_channel(self, channel: str) -> None:
        """Have conda look into a channel too, after those that are there; one that is there stays where it is.

        :raises UserErrorException: it is neither a name nor a URL.
        """
        text = _text(channel, "channel").strip()
        if len(text.split()) != 1 or text.startswith("-"):
            raise UserErrorException(f"neither the name nor the URL of a channel: {shown(text)!r}")
        if text not in self.conda_channels:
            self._file.form.setdefault("channels", []).append(text)

    def remove_channel(self, channel: str) -> None:
        """Have conda look into a channel no longer; one that is not there is no error, as in Azure."""
        text = _text(channel, "channel").strip()
        if "channels" in self._file.form:
            self._file.form["channels"] = [each for each in self.conda_channels if each != text]

    def add_tensorflow_conda_package(self, core_type: str = "cpu", version: str | None = None) -> None:
        """Ask conda for ``tensorflow``, or with ``core_type="gpu"`` for ``tensorflow-gpu``.

        :param version: by default any, where Azure has 1.13.2, which is for no current Python.
        :raises UserErrorException: ``core_type`` is neither ``cpu`` nor ``gpu``, or it contradicts what is asked for.
        """
        name = {"cpu": "tensorflow", "gpu": "tensorflow-gpu"}[_core(core_type)]
        self.add_conda_package(f"{name}={version}" if version else name)

    def add_tensorflow_pip_package(self, core_type: str = "cpu", version: str | None = None) -> None:
        """Ask pip for ``tensorflow``, with ``core_type="gpu"`` in the form that brings what a GPU needs.

        That is ``tensorflow-gpu`` before 2.1, and ``tensorflow[and-cuda]`` from 2.14 on.

        :param version: by default any, where Azure has 1.13.2, which is for no current Python.
        :raises UserErrorException: ``core_type`` is neither ``cpu`` nor ``gpu``, ``version`` is none, or it contradicts
            what is asked for.
        """
        name = "tensorflow"
        try:
            wanted = Version(version) if version else None
        except InvalidVersion as error:
            raise UserErrorException(f"not a version of TensorFlow: {version!r}") from error
        if _core(core_type) == "gpu":
            if wanted and wanted < Version("2.1"):
                name = "tensorflow-gpu"
            elif not wanted or wanted >= Version("2.14"):
                name = "tensorflow[and-cuda]"
        self.add_pip_package(f"{name}=={version}" if version else name)

    def remove_tensorflow_conda_package(self) -> None:
        """Take back what `add_tensorflow_conda_package` asked for."""
        self.remove_conda_package("tensorflow")
        self.remove_conda_package("tensorflow-gpu")

    def remove_tensorflow_pip_package(self) -> None:
        """Take back what `add_tensorflow_pip_package` asked for."""
        self.remove_pip_package("tensorflow")
        self.remove_pip_package("tensorflow-gpu")

    def add_cntk_package(self, core_type: str = "cpu") -> None:
        """Refuse: CNTK ended in 2019, and has no packages for any Python since 3.6.

        :raises UserErrorException: always.
        """
        raise UserErrorException(
            f"CNTK ({_core(core_type)}) is not published any more: its last packages are for Python 3.6",
            hint="models in its format can be converted to ONNX, and run with onnxruntime",
        )

    def serialize_to_string(self) -> str:
        """All of it as YAML, as `save` writes it; passwords that URLs were given with are in it."""
        return self._file.text()

    def as_dict(self) -> dict[str, Any]:
        """All of it as plain data; passwords that URLs were given with are in it. Changing it changes nothing else."""
        return deepcopy(self._file.form)

    def save(self, path: str | os.PathLike[str] | None = None) -> str:
        """Write it to a file, and give the file's path in full.

        :param path: by default ``conda_dependencies.yml`` in the working directory.
        :raises UserErrorException: it is a folder, or cannot be written.
        """
        target = Path(CONDA_FILE_NAME if path is None else path).absolute()
        if target.is_dir():
            raise UserErrorException(f"a folder, not a file: {str(target)!r}", hint=f"say {target / CONDA_FILE_NAME}")
        try:
            target.write_text(self.serialize_to_string(), encoding="utf-8", newline="\n")
        except OSError as error:
            raise UserErrorException(f"{str(target)!r} cannot be written: {error.strerror}") from error
        return str(target)

    def save_to_file(
        self, base_directory: str | os.PathLike[str], conda_file_path: str | os.PathLike[str] | None = None
    ) -> str:
        """Write it to a file in ``base_directory``, as `save` does, and give the file's path within that folder.

        :raises UserErrorException: it is a folder, or cannot be written.
        """
        named = Path(CONDA_FILE_NAME if conda_file_path is None else conda_file_path)
        self.save(Path(base_directory) / named)
        return str(named)

    @property
    def path(self) -> Path | None:
        """The file that was loaded; ``None`` where none was. Relative paths are meant from its folder."""
        return self._file.path

    def get_default_number_of_packages(self) -> int:
        """How many packages there are unasked: none, where Azure has its SDK."""
        return self.DEFAULT_NUMBER_OF_CONDA_PACKAGES + self.DEFAULT_NUMBER_OF_PIP_PACKAGES

    def __eq__(self, other: object) -> bool:
        return self._file.form == other._file.form if isinstance(other, CondaDependencies) else NotImplemented

    def __repr__(self) -> str:
        parts = {
            "conda_packages": self.conda_packages,
            "pip_packages": self.pip_packages,
            "pip_options": self.pip_options,
            "conda_channels": self.conda_channels,
        }
        said = ", ".join(f"{name}={tuple(map(shown, values))!r}" for name, values in parts.items() if values)
        return f"CondaDependencies({said})"

    def _dependencies(self) -> list[Any]:
        found: list[Any] = self._file.form.setdefault("dependencies", [])
        return found

    def _pip(self) -> list[str]:
        for each in self._dependencies():
            if isinstance(each, dict):
                return list(each["pip"])
        return []

    def _set_pip(self, lines: list[str]) -> None:
        dependencies = self._dependencies()
        for position, each in enumerate(dependencies):
            if isinstance(each, dict):
                if lines:
                    dependencies[position] = {"pip": lines}
                elif each["pip"]:
                    del dependencies[position]
                return
        if lines:
            dependencies.append({"pip": lines})

    def _conda_entries(self) -> dict[int, Entry]:
        """What is asked of conda, by position; what a loaded file says and nobody understands is passed over."""
        found = {}
        for position, each in enumerate(self._dependencies()):
            if isinstance(each, str):
                try:
                    found[position] = entries.read_conda(each)
                except ValueError:
                    continue
        return found

    def _pip_entries(self) -> dict[int, Entry]:
        return _readable(self._pip())

    @staticmethod
    def _place(new: Entry, known: Mapping[int, Entry]) -> tuple[int | None, str]:
        """Which entry ``new`` comes to, and its text then; ``None`` where it becomes one of its own."""
        for position, each in known.items():
            if new.name is None or each.name != new.name or each.marker != new.marker:
                if each.text == new.text:
                    return position, each.text
                continue
            text = entries.joined(each, new)
            if text is None:
                raise _contradiction(new, each)
            return position, text
        CondaDependencies._refuse_contradictions(new, known.values())
        return None, new.text

    @staticmethod
    def _refuse_contradictions(new: Entry, others: Iterable[Entry]) -> None:
        for each in others:
            if entries.contradict(new, each):
                raise _contradiction(new, each)

    def _replace_python(self, spec: str) -> None:
        _python(spec)
        dependencies = self._dependencies()
        there = [position for position, each in self._conda_entries().items() if each.name == "python"]
        if not there:
            dependencies.insert(0, spec)
            return
        dependencies[there[0]] = spec
        for position in reversed(there[1:]):
            del dependencies[position]

    def _same_python(self, version: str | None) -> None:
        asked = CondaDependencies(_underlying_structure={})
        asked.set_python_version(version)
        if self.get_python_version() != asked.get_python_version():
            raise UserErrorException(
                f"python_version={version!r} contradicts {self.conda_packages[0]!r} in conda_packages",
                hint="say it in one of the two",
            )


def _text(value: object, name: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise UserErrorException(f"{name}: a text is wanted, not {value!r}")
    return value


def _texts(values: Iterable[str] | None, name: str) -> Iterator[str]:
    """Texts of a list, or of an array of numpy's, which is neither true nor false and has texts of its own kind."""
    if values is None:
        return
    if isinstance(values, str):
        raise UserErrorException(f"{name}: a list of texts is wanted, not {shown(values)!r}", hint="put [ ] around it")
    for value in values:
        if not isinstance(value, str):
            raise UserErrorException(f"{name}: a text is wanted, not {value!r}")
        yield str(value)


def _read(reader: Callable[[str], Entry], value: object, name: str) -> Entry:
    try:
        return reader(_text(value, name))
    except ValueError as error:
        raise UserErrorException(shown(str(error))) from error


def _readable(lines: Iterable[str]) -> dict[int, Entry]:
    """The packages among lines for pip, by position."""
    found = {}
    for position, line in enumerate(lines):
        try:
            found[position] = entries.read_pip(line)
        except ValueError:
            continue
    return found


def _options(line: str) -> tuple[Option, ...]:
    """The options of a line that holds nothing else; none where it is not such a line."""
    try:
        requirement, options = take_apart(entries.without_comment(line))
    except ValueError:
        return ()
    return () if requirement else options


def _python(spec: str) -> str | None:
    try:
        return read_python(re.sub(r"^(\S+::)?python\s*", "", spec))
    except ValueError as error:
        raise UserErrorException(str(error)) from error


def _core(core_type: str) -> str:
    if core_type not in ("cpu", "gpu"):
        raise UserErrorException(f"core_type is 'cpu' or 'gpu', not {core_type!r}")
    return core_type


def _contradiction(new: Entry, there: Entry) -> UserErrorException:
    tool = "conda" if there.is_conda else "pip"
    of = "" if new.is_conda == there.is_conda else f" of {'conda' if new.is_conda else 'pip'}"
    what = "contradicts" if entries.contradict(new, there) else "cannot be made one with"
    return UserErrorException(
        f"{shown(new.text)!r}{of} {what} {shown(there.text)!r}, which {tool} is asked for already",
        hint=f"remove_{tool}_package({there.name!r}) first, or say it in one entry",
    )
