"""Asking: a definition in uv's words. Nothing here runs anything."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from urllib.parse import quote

import tomli_w

from envbuild import Definition, Platform, Requirement

_TRIPLES = {
    ("linux", "gnu"): "{}-unknown-linux-gnu",
    ("linux", "musl"): "{}-unknown-linux-musl",
    ("macos", "gnu"): "{}-apple-darwin",
    ("windows", "gnu"): "{}-pc-windows-msvc",
}


URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://\S+")
"""A URL where it stands in a requirement."""


def triple(platform: Platform) -> str:
    """What uv calls ``platform``.

    >>> triple(Platform.parse("linux-aarch64"))
    'aarch64-unknown-linux-gnu'
    """
    return _TRIPLES[platform.system, platform.libc].format(platform.machine)


def requirements_file(definition: Definition, private: Mapping[str, Path], provided: Mapping[str, Path]) -> str:
    """The requirements file that uv resolves.

    Credentials that the definition's files spelled out go back into their URLs here, in a file that only we can
    read and that is gone in a moment; ``${NAME}`` stays for uv to fill in.

    :param private: where each private wheel lies, by the package's name.
    :param provided: the same of the stand-ins for what other plugins install.
    """
    lines = [spelled_out(line(each, definition.root), definition) for each in definition.pip if not each.index]
    for wheel in definition.wheels:
        extras = f"[{','.join(wheel.extras)}]" if wheel.extras else ""
        marker = f" ; {wheel.marker}" if wheel.marker else ""
        lines.append(f"{wheel.name}{extras} @ {private[wheel.name].as_uri()}{marker}")
    lines += [f"{name} @ {file.as_uri()}" for name, file in provided.items()]
    return "\n".join(lines) + "\n"


def bound_projects(requirements: Iterable[Requirement], definition: Definition) -> Iterator[str]:
    """A ``pyproject.toml`` for each index that packages are bound to: uv has no other words for that.

    >>> demo = Requirement.parse("demo>=1", index="https://packages.host.test/simple")
    >>> (text,) = bound_projects([demo, demo], Definition(pip=(demo,)))
    >>> text.count("demo>=1"), 'url = "https://packages.host.test/simple"' in text
    (1, True)
    """
    by_index: dict[str, dict[str, str]] = {}
    for each in requirements:
        by_index.setdefault(each.index, {})[each.text] = str(each.name)
    for number, (index, asked) in enumerate(by_index.items()):
        name = f"only-index-{number}"
        url = spelled_out(located(index, definition.root), definition)
        uv = {
            "sources": {each: {"index": name} for each in asked.values()},
            "index": [{"name": name, "url": url, "explicit": True}],
        }
        project = {"name": f"asked-of-{name}", "version": "0", "dependencies": list(asked)}
        yield tomli_w.dumps({"project": project, "tool": {"uv": uv}})


def spelled_out(text: str, definition: Definition) -> str:
    """``text`` with the credentials that the definition's files wrote into the URLs in it."""
    return URL.sub(lambda found: definition.credentials.get(found[0], found[0]), text)


def line(requirement: Requirement, root: Path | None) -> str:
    """One requirement as a line, its path made absolute.

    >>> line(Requirement.parse("./lib[fast]", editable=True), Path("/home/me/project"))
    '-e file:///home/me/project/lib[fast]'
    """
    text = requirement.text
    if requirement.is_path:
        path, bracket, extras = text.partition("[")
        extras, _, marker = extras.partition("]")
        if not bracket:
            path, _, marker = text.partition(" ;")
            marker = f" ;{marker}" if marker else ""
        text = f"{located(path.strip(), root)}{f'[{extras}]' if bracket else ''}{marker}"
    return f"-e {text}" if requirement.editable else text


def folders(definition: Definition, root: Path) -> Iterator[Path]:
    """The folders of local projects that the definition asks for."""
    for requirement in definition.pip:
        if requirement.is_path:
            folder = root / requirement.text.split("[")[0].split(" ;")[0].strip()
            if folder.is_dir():
                yield folder


def located(place: str, root: Path | None) -> str:
    """A path as an absolute ``file:`` URL; a URL as it is."""
    if "://" in place:
        return place
    path = ((root or Path.cwd()) / place).resolve()
    return "file://" + quote(str(path))


def cutoff(as_of: datetime.date) -> str:
    """The moment at which the day ``as_of`` ends, in UTC: uv takes a mere date in the machine's own time zone.

    >>> cutoff(datetime.date(2026, 1, 31))
    '2026-02-01T00:00:00Z'
    """
    return f"{as_of + datetime.timedelta(days=1)}T00:00:00Z"


def compile_arguments(
    definition: Definition,
    *,
    python: str,
    interpreter: Path,
    platform: Platform | None,
    only_binary: Iterable[str],
    upgrade: Iterable[str] | bool,
    offline: bool,
) -> list[str]:
    """The arguments of ``uv pip compile``, without its files.

    :param platform: ``None`` where ``interpreter`` is the very one that the environment will have.
    :param only_binary: packages that may not be built from source; ``:all:`` for every one.
    """
    options = definition.options
    arguments = ["pip", "compile", "--format=pylock.toml", "--generate-hashes", "--no-header"]
    arguments += ["--no-annotate", *_for(python, interpreter, platform)]
    if definition.as_of:
        arguments.append(f"--exclude-newer={cutoff(definition.as_of)}")
    if options.no_index:
        arguments.append("--no-index")
    if options.pre:
        arguments.append("--prerelease=allow")
    arguments += [f"--no-binary={name}" for name in options.no_binary]
    arguments += [f"--only-binary={name}" for name in sorted({*options.only_binary, *only_binary})]
    if upgrade is True:
        arguments.append("--upgrade")
    elif upgrade:
        arguments += [f"--upgrade-package={name}" for name in sorted(upgrade)]
    if offline:
        arguments.append("--offline")
    return arguments


def unpack_arguments(
    definition: Definition, *, python: str, interpreter: Path, platform: Platform | None, offline: bool
) -> list[str]:
    """The arguments that unpack a wheel, without its name, its version and the folder; nothing is built or run.

    It is one exact version, so that no date bounds it.
    """
    arguments = ["pip", "install", "--quiet", "--no-deps", "--only-binary=:all:", *_for(python, interpreter, platform)]
    if definition.options.no_index:
        arguments.append("--no-index")
    if offline:
        arguments.append("--offline")
    return arguments


def _for(python: str, interpreter: Path, platform: Platform | None) -> list[str]:
    """What a package is to fit: ``interpreter``, or another Python on another machine."""
    elsewhere = [f"--python-version={python}", f"--python-platform={triple(platform)}"] if platform else []
    return [f"--python={interpreter}", *elsewhere]
