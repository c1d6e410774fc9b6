"""``environment.yml``: conda's form, with its list for pip.

Python and pip are not left to conda: a file that asks conda for nothing else needs no conda at all.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from envbuild.definition import Definition, python_range
from envbuild.form import did_you_mean
from envbuild.reading import yaml
from envbuild.reading.asked import Asked, assemble
from envbuild.reading.requirements import read_lines
from envbuild.reading.sources import Place, Sources

KEYS = ("name", "channels", "dependencies", "variables", "prefix", "platforms", "category")
_SELECTOR = re.compile(
    r"^\s*-\s.*#\s*\[\s*((?:not\s+)?\(?(?:linux|osx|win|unix|arm64|aarch64|x86|ppc64le|s390x|py|cuda)\w*\b[^\]]*)\]\s*$"
)
_SPEC = re.compile(r"(?:[^\s:]+::)?(?P<name>[A-Za-z0-9_.-]+)\s*(?P<rest>.*)", re.S)
_BRACKETS = re.compile(r"\[[^\]]*\]\s*$")
_VERSION = re.compile(r"[\[,]\s*version\s*=\s*(?:'([^']*)'|\"([^\"]*)\"|([^,\]]*))")
_BUILD = re.compile(r"(?<=[\w*])(?:=|\s+)[\w*.+]+$")
_FILE = re.compile(r"(?:[a-z][a-z+]*:/|\.{0,2}/|~)(?!.*::).*|\S+(?:\.conda|\.tar\.bz2)", re.I | re.S)
_CLAUSE = re.compile(r"(?P<operator>==|>=|<=|!=|~=|=|>|<)?\s*(?P<version>[0-9][\w.!+-]*?)(?P<any>\.?\*)?")


def read(path: Path, sources: Sources, text: str, *, named: bool = True) -> Definition:
    """Read an ``environment.yml``.

    :param named: take its name; for conda a name may be what can be none here.
    """
    refuse_templates(text, path, sources)
    sources.check()
    marked = yaml.load(text, path, sources)
    form = yaml.mapping(marked, path, sources)
    asked = Asked(sources)
    said = read_form(form, asked, marked.place)
    return assemble(asked, said if named else said | {"name": None}, marked.place, source=path)


def read_form(form: Mapping[str, Any], asked: Asked, at: Callable[[str], Place]) -> dict[str, Any]:
    """Ask for what stands in the list for pip, and give what else is in ``form``, in the words of `Definition`.

    :param at: where a part of the form stands, such as ``dependencies[2]``.
    """
    for key in form:
        if key not in KEYS:
            asked.sources.wrong(at(str(key)), f"unknown key {key!r}{did_you_mean(str(key), KEYS)}")
    python, packages = _dependencies(form, asked, at)
    return {key: form.get(key) for key in ("name", "channels", "variables")} | {"conda": packages, "python": python}


def python_version(spec: str) -> str | None:
    """What conda's way of asking for a Python comes to in PEP 440, or as a bare version; ``None`` for any.

    :raises ValueError: there is no way to say it so.

    >>> python_version("=3.11"), python_version(">=3.10,<3.12"), python_version("==3.11.7"), python_version("3.11.*")
    ('3.11', '>=3.10,<3.12', '3.11.7', '3.11')
    """
    bracketed = _VERSION.search(spec)
    spec = (next(filter(None, bracketed.groups()), "") if bracketed else _BRACKETS.sub("", spec)).strip()
    if not spec or spec in ("*", "=*"):
        return None
    if "|" in spec:
        raise ValueError(f"python {spec}: alternatives cannot be said as one range; write >=…,<… or one version")
    # What follows the version, behind '=' or white space, is the build: a matter between conda and its channel.
    together = re.sub(r"\s*,\s*", ",", spec)
    version = _BUILD.sub("", together)
    if version != together:
        # With a build, one '=' is as good as two.
        version = re.sub(r"^=(?!=)", "==", version)
    clauses = [_clause(each, spec) for each in version.split(",")]
    exact = re.fullmatch(r"==(\d+(?:\.\d+)*)(\.\*)?", clauses[0])
    if exact and len(clauses) == 1 and (exact[2] or exact[1].count(".") >= 2):
        return exact[1]
    python_range(",".join(clauses))
    return ",".join(clauses)


def _clause(text: str, spec: str) -> str:
    found = _CLAUSE.fullmatch(re.sub(r"\s+", "", text))
    if not found:
        raise ValueError(f"python {spec}: not understood as versions of Python")
    operator, version = found["operator"] or "==", found["version"]
    if operator == "=" or (found["any"] and operator in ("==", "~=")):
        # conda's '=3.11' is every 3.11; PEP 440 has no shorter word for it.
        return f"=={version}.*"
    return f"!={version}.*" if found["any"] and operator == "!=" else f"{operator}{version}"


def refuse_templates(text: str, path: Path, sources: Sources) -> None:
    """Note what only recipes of conda-build may say; nobody but conda-build would make anything of it."""
    for number, line in enumerate(text.splitlines(), start=1):
        bare = re.sub(r"(^|\s)#.*", "", line)
        if "{{" in bare or "{%" in bare:
            sources.wrong(
                Place(path, number), "Jinja ('{{ … }}', '{% … %}') belongs to conda-build's recipes: write the value"
            )
        selector = _SELECTOR.match(line)
        if selector:
            sources.wrong(
                Place(path, number),
                f"selectors ('# [{selector[1].strip()}]') belong to conda-build's recipes and would be ignored: use a "
                "marker in the pip list (; sys_platform == 'linux'), or a file for each platform",
            )


def _dependencies(form: Mapping[str, Any], asked: Asked, at: Callable[[str], Place]) -> tuple[str | None, list[str]]:
    """Which Python is wanted, and what only conda can provide; the rest goes to ``asked``."""
    sources = asked.sources
    pythons: list[str] = []
    dropped: list[str] = []
    packages: list[str] = []
    pip_lists = 0
    for position, item in enumerate(_list(form, "dependencies", sources, at)):
        place = at(f"dependencies[{position}]")
        if isinstance(item, Mapping) and set(item) == {"pip"}:
            pip_lists += 1
            if pip_lists > 1:
                sources.wrong(place, "a second list for pip; put both into one")
            _pip_lines(item, f"dependencies[{position}]", asked, at)
            continue
        spec = _SPEC.fullmatch(item.strip()) if isinstance(item, str) else None
        if not spec:
            sources.wrong(place, f"a package is a text such as 'numpy=2.1', or the list 'pip:'; not {item!r}")
            continue
        if _FILE.fullmatch(item.strip()):
            # Not the whole of it: a URL may have a password or a token in it.
            file = re.split(r"[?#]", item.strip())[0].rpartition("/")[2]
            sources.wrong(
                place,
                f"a package by its URL or path ({file}): name its channel under 'channels' and here what is wanted of "
                "it, as in NAME=VERSION or CHANNEL::NAME=VERSION",
            )
            continue
        name = spec["name"].lower()
        if name == "python":
            pythons.append(spec["rest"])
            _note_python(spec["rest"], place, sources, pythons)
        if name in ("python", "pip"):
            dropped.append(item.strip())
        else:
            packages.append(item.strip())
    if packages:
        packages += [each for each in dropped if not _is_plain_python(each)]
    return (_python(pythons), packages)


def _pip_lines(item: Mapping[str, Any], where: str, asked: Asked, at: Callable[[str], Place]) -> None:
    for position, line in enumerate(_list(item, "pip", asked.sources, at, where=f"{where}.")):
        place = at(f"{where}.pip[{position}]")
        if isinstance(line, str):
            read_lines(line, place, asked)
        else:
            # YAML takes what ends with a colon, as '--no-binary :all:' does, for a key.
            key = isinstance(line, Mapping) and [*line.values()] == [None]
            quotes = "; put quotes around it: it ends with ':'" if key else ""
            asked.sources.wrong(place, f"a line of a requirements file is wanted, not {line!r}{quotes}")


def _list(
    form: Mapping[str, Any], key: str, sources: Sources, at: Callable[[str], Place], *, where: str = ""
) -> list[Any]:
    values = form.get(key)
    if values is None or isinstance(values, list):
        return values or []
    sources.wrong(at(where + key), f"{key}: a list is wanted, not {type(values).__name__}")
    return []


def _note_python(spec: str, place: Place, sources: Sources, before: list[str]) -> None:
    if len(before) > 1:
        sources.wrong(place, "Python is asked for twice; put both into one, as in python>=3.10,<3.12")
    try:
        python_version(spec)
    except ValueError as error:
        sources.wrong(place, error)


def _python(specs: list[str]) -> str | None:
    try:
        return python_version(specs[0]) if specs else None
    except ValueError:
        return None


def _is_plain_python(spec: str) -> bool:
    """Whether `Definition.python` says all that ``spec`` says: no build, no channel."""
    found = _SPEC.fullmatch(spec)
    if not found or found["name"].lower() != "python" or "::" in spec:
        return False
    return not _BUILD.search(re.sub(r"\s*,\s*", ",", found["rest"])) and "[" not in spec
