"""Conda environments that are there already: found without conda, and said in the words of an ``environment.yml``.

conda and mamba note every environment they make in ``~/.conda/environments.txt``, pixi keeps its own below the project
(``.pixi/envs``). In each of them stands what was installed and what was asked for (``conda-meta/``); what pip has added
stands in the ``.dist-info`` folders that no package of conda's owns.
"""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from email.parser import HeaderParser
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from packaging.utils import canonicalize_name

from envbuild.errors import NotFound
from envbuild.form import did_you_mean
from envbuild.reading.requirement import path_of_url

_META = "conda-meta"
_PIXI = ".pixi/envs"
_USUAL = (
    *("miniconda3", "anaconda3", "miniforge3", "mambaforge", "micromamba", "miniconda", "anaconda", ".conda"),
    *("mamba", ".local/share/mamba", ".pixi"),
)
_DEFAULTS = ("pkgs/main", "pkgs/r", "pkgs/free", "pkgs/msys2", "defaults", "main")
_SPECS = re.compile(r"#\s*(?P<action>update|install|remove|uninstall|neutered) specs:\s*(?P<specs>.*)")
_NAME = re.compile(r"(?:\S+::)?([A-Za-z0-9_.-]+)")
_COMMAS = re.compile(r",(?=\s*[A-Za-z_])")


_OF_THE_SYSTEM = re.compile(
    r"""_libgcc_mutex | _openmp_mutex | ld_impl_.* | alsa-lib
    | lib(?:gcc|gomp|stdcxx|gfortran\d*|cxx|uuid|nsl|selinux)(?:-ng|-devel)?
    | .*[-_](?:linux|osx|win)-(?:32|64|aarch64|arm64|ppc64le|s390x) | sysroot.* | kernel-headers.*
    | (?:vs\d*_|vc\d*_)(?:runtime|.*_runtime) | vc | ucrt | pywin32.* | m2w64-.* | msys2-.* | appnope | pyobjc-.*
    | cuda(?:toolkit)? | cuda-.* | cudnn | nccl | nvidia-.* | mkl(?:-.*)?
    | lib(?:cublas|cudnn|cufft|cufile|curand|cusolver|cusparse|npp|nvj|nvf|nvvm).*""",
    re.X,
)
"""Packages that are there for one operating system or processor, and go by another name on the others, or by none."""


def environments(variables: Mapping[str, str], home: Path, folder: Path | None = None) -> dict[Path, str]:
    """The conda environments of this machine, each with the name that conda knows it by.

    :param variables: conda's own say where else it keeps environments.
    :param home: where ``.conda/environments.txt`` is, and where people install conda.
    :param folder: whose environments of pixi count too, and those of the folders above.
    """
    roots = _roots(variables, home)
    folders = [root / "envs" for root in roots] + list(_settled(home))
    folders += [each / _PIXI for each in ((folder, *folder.parents) if folder else ())]
    for name in ("CONDA_ENVS_PATH", "CONDA_ENVS_DIRS"):
        folders += [Path(each).expanduser() for each in variables.get(name, "").split(os.pathsep) if each]
    found = [*_noted(home), *roots]
    found += [Path(variables["CONDA_PREFIX"])] if variables.get("CONDA_PREFIX") else []
    found += [each for folder in folders if folder.is_dir() for each in sorted(folder.iterdir())]
    known = {each.resolve(): None for each in found if (each / _META).is_dir()}
    bases = {root.resolve() for root in roots}
    return {prefix: "base" if prefix in bases or (prefix / "condabin").is_dir() else prefix.name for prefix in known}


def find(named: str, variables: Mapping[str, str], home: Path, folder: Path | None = None) -> Path:
    """The environment of that name, or at that path; that of a project of pixi's is its ``default``.

    :param folder: as for `environments`.
    :raises NotFound: there is none, or several of that name; the error names those that there are.
    """
    if os.sep in named or "/" in named or named == ".":
        prefix = Path(named).expanduser()
        for each in (prefix, prefix / _PIXI / "default"):
            if (each / _META).is_dir():
                return each.resolve()
        what = "no conda environment: it has no conda-meta" if prefix.is_dir() else "not there"
        raise NotFound(f"{named!r} is {what}")
    known = environments(variables, home, folder)
    matching = [prefix for prefix, name in known.items() if name == named]
    # Every project of pixi's has a 'default': the nearest is meant, and none that happens to be noted somewhere.
    near = [each for each in matching if folder and each.parent.match(_PIXI) and each.parents[2] in _above(folder)]
    matching = sorted(near, key=lambda each: len(each.parts))[-1:] or matching
    if len(matching) == 1:
        return matching[0]
    if matching:
        listed = ", ".join(map(str, matching))
        raise NotFound(
            f"several conda environments are called {named!r}: {listed}", hint="give the path of one of them"
        )
    listed = "; ".join(f"{name} ({prefix})" for prefix, name in known.items()) or "none"
    raise NotFound(
        f"there is no conda environment {named!r}{did_you_mean(named, known.values())}",
        hint=f"found on this machine: {listed}; an environment elsewhere is given by its path",
    )


def read_prefix(prefix: Path, *, history_only: bool = False) -> dict[str, Any]:
    """What is installed in an environment, as an ``environment.yml`` would ask for it.

    :param history_only: of conda's packages, only those that somebody asked for, as they asked for them: what holds on
        other platforms too. What pip has installed is told in full.
    :raises NotFound: what conda noted cannot be read.
    """
    records = list(_records(prefix))
    if history_only:
        packages = list(_asked_for(prefix)) or list(_requested(records))
        if not packages:
            raise NotFound(f"conda has noted nothing that was asked for in {prefix / _META / 'history'}")
    else:
        packages = [f"{each['name']}={each['version']}" for each in records]
    by_pip = sorted(_installed_by_pip(prefix, records))
    form: dict[str, Any] = {"name": prefix.name, "channels": _channels(records), "dependencies": packages}
    if by_pip:
        form["dependencies"] = [*packages, {"pip": by_pip}]
    variables = _variables(prefix)
    return form | ({"variables": variables} if variables else {})


def only_here(prefix: Path, form: Mapping[str, Any]) -> tuple[str, ...]:
    """What of `read_prefix`'s answer another platform, or another machine, has no equal of.

    Which packages a channel has for which platform is only known to the channel; these are told by what they are: named
    after a system, made for a virtual package of one, from a channel or a folder of this machine.
    """
    asked = [each for each in form["dependencies"] if isinstance(each, str)]
    names = {named[1].lower(): spec for spec in asked if (named := _NAME.match(spec))}
    found = []
    for each in _records(prefix):
        spec = names.get(each["name"].lower())
        reason = _binding(each) if spec else None
        if reason:
            found.append(f"{spec} ({reason})")
    by_pip = [line for each in form["dependencies"] if isinstance(each, Mapping) for line in each["pip"]]
    return (*found, *(f"{line} (a folder or file of this machine)" for line in by_pip if _is_local(line)))


def _binding(record: Mapping[str, Any]) -> str | None:
    """What binds a package to this platform or machine."""
    if str(record.get("channel") or record.get("url") or "").startswith("file:"):
        return "from a channel on this machine"
    if _OF_THE_SYSTEM.fullmatch(str(record["name"])):
        return f"made for {record.get('subdir') or 'one platform'}"
    names = (str(each).split(" ")[0] for each in record.get("depends") or ())
    asked = sorted({each for each in names if each in ("__linux", "__osx", "__win", "__cuda")})
    return f"needs {' and '.join(asked)}" if asked else None


def _is_local(line: str) -> bool:
    place = line.removeprefix("-e ").rpartition(" @ ")[2]
    return place.startswith(("/", ".", "file:", "git+file:"))


def _above(folder: Path) -> tuple[Path, ...]:
    return (folder.resolve(), *folder.resolve().parents)


def _settled(home: Path) -> Iterator[Path]:
    """Where the user's settings say that environments are."""
    import yaml

    for file in (home / ".condarc", home / ".mambarc", home / ".config/conda/.condarc"):
        try:
            said = yaml.safe_load(file.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError):
            continue
        folders = said.get("envs_dirs") if isinstance(said, dict) else None
        yield from (Path(str(each)).expanduser() for each in folders or () if isinstance(folders, list))


def _noted(home: Path) -> Iterator[Path]:
    try:
        lines = (home / ".conda" / "environments.txt").read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return
    yield from (Path(line.strip()) for line in lines if line.strip())


def _roots(variables: Mapping[str, str], home: Path) -> list[Path]:
    """Where conda itself may be installed."""
    found = [Path(variables["MAMBA_ROOT_PREFIX"])] if variables.get("MAMBA_ROOT_PREFIX") else []
    program = variables.get("CONDA_EXE") or shutil.which("conda", path=variables.get("PATH"))
    if program:
        found.append(Path(program).resolve().parent.parent)
    active = Path(variables.get("CONDA_PREFIX") or "/")
    if active.parent.name == "envs":
        found.append(active.parent.parent)
    found += [home / name for name in _USUAL]
    return [*found, Path("/opt/conda")]


def _records(prefix: Path) -> Iterator[dict[str, Any]]:
    files = sorted((prefix / _META).glob("*.json"))
    for file in files:
        try:
            record = json.loads(file.read_text(encoding="utf-8"))
            yield {**record, "name": str(record["name"]), "version": str(record["version"])}
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise NotFound(f"{file} is not what conda notes of a package: {error!r}") from error


def _channels(records: Iterable[Mapping[str, Any]]) -> list[str]:
    """Where the packages came from, the channel of most of them first."""
    counted = Counter(_channel(str(each.get("channel") or each.get("schannel") or "")) for each in records)
    return [channel for channel, _ in counted.most_common() if channel]


def _channel(written: str) -> str:
    """A channel by the name that people call it, or by its URL where it has none.

    >>> _channel("https://conda.anaconda.org/conda-forge/linux-64"), _channel("https://repo.anaconda.com/pkgs/main/noarch")
    ('conda-forge', 'defaults')
    """
    url = re.sub(r"/(noarch|(linux|osx|win|emscripten|wasi|freebsd)-\w+)/?$", "", written)
    bare = url
    if "://" in url and urlsplit(url).hostname in ("conda.anaconda.org", "repo.anaconda.com", "repo.continuum.io"):
        bare = urlsplit(url).path.strip("/")
        if bare.startswith("t/"):
            bare = bare.split("/", 2)[-1]
    if bare in _DEFAULTS:
        return "defaults"
    return "" if bare in ("pypi", "<unknown>", "@") else bare


def _asked_for(prefix: Path) -> Iterator[str]:
    """What somebody asked conda for, and has not had removed since."""
    asked: dict[str, str] = {}
    try:
        # Command lines stand in it too, with whatever bytes the names of somebody's folders have.
        lines = (prefix / _META / "history").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return
    for line in lines:
        found = _SPECS.fullmatch(line.strip())
        if not found:
            continue
        for spec in _specs(found["specs"]):
            name = _NAME.match(spec)
            if not name:
                continue
            asked.pop(name[1].lower(), None)
            if found["action"] not in ("remove", "uninstall"):
                asked[name[1].lower()] = spec
    yield from asked.values()


def _requested(records: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """The same, where it is only noted with the packages themselves, as pixi does."""
    for each in records:
        specs = each.get("requested_specs") or [each.get("requested_spec")]
        spec = next((str(spec).strip() for spec in specs if spec and str(spec) != "None"), None)
        if spec:
            yield spec


def _specs(written: str) -> list[str]:
    """A list as Python writes it, or, as old condas have it, with commas between."""
    if written.startswith("["):
        try:
            return [str(each).strip() for each in ast.literal_eval(written)]
        except (ValueError, SyntaxError):
            return []
    return [each.strip() for each in _COMMAS.split(written) if each.strip()]


def _installed_by_pip(prefix: Path, records: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    owned = {str(file) for each in records for file in each.get("files") or ()}
    for pattern in ("lib/python3.*/site-packages", "Lib/site-packages"):
        for folder in sorted(prefix.glob(pattern)):
            for info in sorted((*folder.glob("*.dist-info"), *folder.glob("*.egg-info"))):
                line = _line(info, prefix, owned)
                if line:
                    yield line


def _line(info: Path, prefix: Path, owned: set[str]) -> str | None:
    """How pip would be asked for what ``info`` tells of; ``None`` where conda has installed it."""
    told = info if info.is_file() else info / ("METADATA" if info.suffix == ".dist-info" else "PKG-INFO")
    if told.relative_to(prefix).as_posix() in owned or _content(info / "INSTALLER").strip() == "conda":
        return None
    headers = HeaderParser().parsestr(_content(told))
    if not headers["Name"] or not headers["Version"]:
        return None
    name, version = canonicalize_name(headers["Name"]), headers["Version"]
    try:
        direct = json.loads(_content(info / "direct_url.json") or "{}")
    except ValueError:
        direct = {}
    url = direct.get("url")
    if not url:
        return f"{name}=={version}"
    if "vcs_info" in direct:
        vcs = direct["vcs_info"]
        below = f"#subdirectory={direct['subdirectory']}" if direct.get("subdirectory") else ""
        return f"{name} @ {vcs['vcs']}+{url}@{vcs['commit_id']}{below}"
    if "dir_info" in direct:
        return f"{'-e ' if direct['dir_info'].get('editable') else ''}{path_of_url(url)}"
    return f"{name} @ {url}"


def _variables(prefix: Path) -> dict[str, str]:
    """The variables that ``conda env config vars set`` noted."""
    try:
        found = json.loads(_content(prefix / _META / "state") or "{}").get("env_vars", {})
    except (ValueError, AttributeError):
        return {}
    return {str(name): str(value) for name, value in found.items() if value != "***unset***"}


def _content(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
