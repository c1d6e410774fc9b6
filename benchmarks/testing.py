"""Testing: how much longer do tests take that run inside an environment, and how long does one suite take in three?

The tests do nothing, so that all that is measured is what runs them. Every contender has been run before, and has to
report as many tests as there are.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from benchmarks.measuring import CommandFailed, Contender, Row, Section, Taken, in_turns
from benchmarks.place import Place, own_repository, write

ROUNDS = 10

_PLAIN = ("-q", "-p", "no:cacheprovider")
_VERSIONS = ("24.0", "24.1", "24.2")
"""Three environments that differ in one package."""

_INSIDE = "pytest --envbuild, 1 environment"
_THREE = "pytest --envbuild, 3 environments"


def measure(place: Place, rounds: int) -> list[Section]:
    """Run the suites by all means there are."""
    many = 50 if place.quick else 1000
    return [_alone(place, rounds, many), _alone(place, rounds, 1), _side_by_side(place, rounds, 50)]


def _alone(place: Place, rounds: int, count: int) -> Section:
    """One environment, against its own pytest."""
    folder = _suite(place, "one", count)
    write(folder, requirements_txt="pytest\n")
    prefix = _built(place, folder, "requirements.txt")
    own = (prefix / "bin" / "python", "-m", "pytest", *_PLAIN)
    rows = in_turns(
        [
            _contender(place, folder, _INSIDE, count, *_pytest(place, "requirements.txt")),
            _contender(place, folder, "the environment's own pytest", count, *own),
        ],
        rounds,
    )
    tests = f"{count} test{'s' * (count != 1)}"
    return Section(title=f"{tests} inside an environment, {rounds} rounds", subject=_INSIDE, rows=rows)


def _side_by_side(place: Place, rounds: int, count: int) -> Section:
    """Three environments, against whoever can do that."""
    folder = _suite(place, "three", count)
    files = {f"packaging-{version}.txt": f"pytest\npackaging=={version}\n" for version in _VERSIONS}
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
        _built(place, folder, name)
    contenders = [_contender(place, folder, _THREE, 3 * count, *_pytest(place, *files))]
    missing = []
    for name, make in {"tox": _tox, "nox": _nox}.items():
        program = place.program(name)
        if program is None:
            missing.append(Row(name, missing="could not be installed"))
        else:
            contenders += make(place, program, count)
    # Measured on its own it would be the fastest of all: it reports tests as passed that never saw the environment.
    missing.append(Row("pytest-xdist --tx popen//python=…", missing="runs them with the packages of the host"))
    return Section(
        title=f"{count} tests in each of three environments, {rounds} rounds",
        subject=_THREE,
        rows=[*in_turns(contenders, rounds), *missing],
    )


def _suite(place: Place, name: str, count: int) -> Path:
    folder = place.folder(f"tests-{name}")
    tests = "".join(f"def test_{number}():\n    assert {number} == {number}\n\n\n" for number in range(count))
    write(folder, test_all_py=tests, pytest_ini="[pytest]\n")
    own_repository(place, folder)
    return folder


def _built(place: Place, folder: Path, spec: str) -> Path:
    place.set_up(place.envbuild, "build", spec, directory=folder)
    return Path(json.loads(place.set_up(place.envbuild, "build", spec, "--json", directory=folder))["path"])


def _pytest(place: Place, *specs: str) -> tuple[str | Path, ...]:
    asked = [word for spec in specs for word in ("--envbuild", spec)]
    return (place.envbuild.with_name("pytest"), *_PLAIN, *asked)


def _tox(place: Place, program: Path, count: int) -> list[Contender]:
    folder = _suite(place, "tox", count)
    command = f"python -m pytest {' '.join(_PLAIN)}"
    environments = "".join(
        f"[testenv:p{number}]\ndeps =\n    pytest\n    packaging=={version}\ncommands = {command}\n"
        for number, version in enumerate(_VERSIONS)
    )
    write(folder, tox_ini=f"[tox]\nno_package = true\nenv_list = p0,p1,p2\n{environments}")
    return [
        _contender(place, folder, "tox run, warm", 3 * count, program, "run", "--skip-pkg-install"),
        _contender(place, folder, "tox run-parallel, warm", 3, program, "run-parallel", "--skip-pkg-install"),
    ]


def _nox(place: Place, program: Path, count: int) -> list[Contender]:
    folder = _suite(place, "nox", count)
    write(
        folder,
        noxfile_py=f"""\
import nox

@nox.session
@nox.parametrize("packaging", {_VERSIONS!r})
def tests(session, packaging):
    session.install("pytest", f"packaging=={{packaging}}")
    session.run("python", "-m", "pytest", *{_PLAIN!r})
""",
    )
    place.set_up(program, directory=folder)
    return [_contender(place, folder, "nox -R", 3 * count, program, "-R")]


def _contender(place: Place, folder: Path, name: str, count: int, *words: str | Path) -> Contender:
    for _ in range(3):
        # Files that were changed a moment ago are not relied on yet.
        place.set_up(*words, directory=folder)
    return Contender(name=name, act=_counting(place, folder, count, words))


def _counting(place: Place, folder: Path, count: int, words: tuple[str | Path, ...]) -> Callable[[], Taken]:
    def act() -> Taken:
        taken, said = place.told(*words, directory=folder)
        passed = sum(int(line.split(" passed")[0].split()[-1]) for line in said.splitlines() if " passed" in line)
        passed = passed or said.count(": OK")
        if passed < count:
            raise CommandFailed(f"{passed} of {count} tests were reported: {said[-500:]}")
        return taken

    return act
