"""The pages: what they show works, what they link to is there, what they say of the code is what it says."""

from __future__ import annotations

import importlib.util
import inspect
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest
import uv
from support.desk import Desk, Done
from support.packages import wheel
from support.strangers import install

import envbuild
from envbuild import hookspecs, reading
from envbuild.plugins import HOOKS

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted(
    [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/*.md"), *ROOT.glob("plugins/*/README.md")],
    key=str,
)

_BLOCK = re.compile(
    r"(?:^<!-- (?P<mark>[^\n]*?) -->\n)?^```(?P<language>\w+)?\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
_LINK = re.compile(r"\[[^\]]*\]\((?P<target>[^)\s]+)\)")
_HEADING = re.compile(r"^#+ (?P<text>.+)$", re.MULTILINE)


class Block(NamedTuple):
    """A block of code on a page, and the comment before it that says what becomes of it."""

    page: Path
    line: int
    mark: str
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(page: Path) -> Iterator[Block]:
    text = page.read_text(encoding="utf-8")
    for found in _BLOCK.finditer(text):
        line = text.count("\n", 0, found.start("text"))
        yield Block(page, line, found["mark"] or "", found["language"] or "", found["text"])


def every(language: str, *marks: str) -> list[Block]:
    """The blocks in a language whose mark begins with one of ``marks``."""
    found = [each for page in PAGES for each in blocks(page) if each.language == language]
    return [each for each in found if each.mark.startswith(marks)]


@pytest.fixture
def clean(desk: Desk) -> Desk:
    """A desk with ``envbuild`` on its path, and with the indexes that this machine's pip and uv are told to use."""
    indexes = {name: value for name, value in os.environ.items() if re.match(r"(PIP|UV)_\w*INDEX", name)}
    return desk.set(**indexes, PATH=os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"])))


@pytest.fixture
def online(clean: Desk, lacking: Callable[[str, str], None]) -> Desk:
    """The same, where an index of packages can be reached."""
    asked = [uv.find_uv_bin(), "pip", "compile", "--quiet", "--no-deps", "-"]
    done = subprocess.run(
        asked, input="packaging", env=clean.environment, capture_output=True, text=True, timeout=120, check=False
    )
    if done.returncode != 0:
        lacking("network", f"no index of packages can be reached: {done.stderr.strip()}")
    return clean


def shell(text: str, desk: Desk) -> Done:
    """Give the commands of a block one after the other, the first that fails the last."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", text],
        cwd=desk.folder,
        env=desk.environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return Done(done.returncode, done.stdout, done.stderr)


# What the pages show works


def test_the_tour_of_the_readme_works_in_a_new_folder(online: Desk) -> None:
    (tour,) = every("sh", "tour:")

    done = shell(tour.text, online)

    assert "pylock.toml: up to date" in done.out
    assert re.search(r"^Python 3\.", done.out, re.MULTILINE)
    assert "reused because:" in done.out
    assert "  intact\n" in done.out
    assert "tools:1  stable" in done.out
    assert done.err.count("  Completed\n") == 3


def test_the_example_of_bisecting_says_what_the_page_shows(online: Desk) -> None:
    (block,) = every("sh", "bisect:")
    shown = next(each for each in blocks(block.page) if each.language == "console").text
    identity = re.compile(r"\b[0-9a-f]{12}\b")

    done = shell(block.text, online)

    assert identity.sub("ID", done.out) in identity.sub("ID", shown)
    assert done.out.splitlines()[1] == "  packaging 21.3 → 24.2"


@pytest.mark.parametrize("block", every("sh", "run: in a new folder"), ids=str)
def test_commands_on_a_page_work_in_a_new_folder(block: Block, clean: Desk) -> None:
    shell(block.text, clean)


@pytest.mark.parametrize("block", [each for each in every("python", "") if not each.mark], ids=str)
def test_a_python_example_runs(block: Block, clean: Desk) -> None:
    clean.write("example.py", block.text)

    done = clean.envbuild("run", "example.py")

    assert "Completed" in done.err


def test_what_the_first_example_logs_is_recorded(clean: Desk) -> None:
    example = next(each for each in every("python", "") if each.page.name == "README.md")
    clean.write("example.py", example.text)

    run = clean.envbuild("run", "--json", "example.py").json["id"]

    assert clean.envbuild("runs", "show", run, "--json").json["metrics"] == {"accuracy": 0.97}


def files_of(page: str, desk: Desk) -> None:
    """Lay out the files that a page shows."""
    for each in (*every("python", "file:"), *every("toml", "file:")):
        if each.page.name == page:
            desk.write(each.mark.removeprefix("file:").strip(), each.text)


def test_the_examples_of_the_sdk_work_one_after_the_other_in_a_new_folder(online: Desk) -> None:
    files_of("sdk.md", online)
    online.lay({"requirements.txt": "packaging>=24\n", "environment.yml": "dependencies: [pip: [packaging>=24]]\n"})
    made = wheel("plotting", "1.0")
    online.write(made.filename, made.data)
    examples = [each for each in every("python", "sdk: these examples") if each.page.name == "sdk.md"]
    # What stands on one line of the page is on one line of the program too, so that an error says where.
    program, at = "", 0
    for each in examples:
        program += "\n" * (each.line - at) + each.text
        at = each.line + each.text.count("\n")
    online.write("sdk.py", program)

    done = shell("python sdk.py", online)

    assert "{'loss': [1.0, 0.66" in done.out
    assert "flowers:1 here/model.json\n" in done.out
    assert (online.folder / "fetched/results/iris.csv").read_text() == "5.1,3.5\n"


def test_the_example_of_the_sdk_in_the_readme_works_in_the_folder_of_the_tour(online: Desk) -> None:
    (tour,) = every("sh", "tour:")
    (example,) = (each for each in every("python", "sdk:") if each.page.name == "README.md")
    shell("\n".join(line for line in tour.text.splitlines() if line.startswith("printf")), online)
    online.write("example.py", example.text)

    done = shell("python example.py", online)

    assert "Status: Completed\n" in done.out
    assert done.out.endswith("1 version:1\n")


def named(block: Block) -> str:
    """The file that an example stands for: its first line says so."""
    found = re.match(r"# (\S+)\n", block.text)
    assert found, f"{block} does not say which file it is"
    return found[1]


@pytest.mark.parametrize("block", [*every("yaml", ""), *(b for b in every("toml", "") if not b.mark)], ids=str)
def test_an_example_of_a_definition_can_be_read(block: Block, tmp_path: Path) -> None:
    file = tmp_path / named(block)
    file.write_text(block.text, encoding="utf-8")

    definition = reading.read(file)

    assert definition.content()
    if file.name == "pyproject.toml":
        chosen = reading.read(file, group="test,plots")
        assert [each.text for each in chosen.pip] == ["scikit-learn>=1.5", "matplotlib", "pytest>=8", "ruff"]


def test_the_example_of_the_full_form_has_every_option_and_key_of_the_table_or_says_what_it_is_for() -> None:
    page = ROOT / "docs" / "definitions.md"
    text = page.read_text(encoding="utf-8").partition("## envbuild.yml")[2].partition("\n## ")[0]

    for key in (*envbuild.Definition.__slots__, *envbuild.PipOptions.__slots__):
        if key not in ("root", "source", "credentials"):
            assert f"`{key}`" in text, f"{page.name} says nothing of {key}"


# The plugin on the page


@pytest.fixture
def extended(online: Desk) -> Desk:
    """A desk at which the example plugin is installed, beside this envbuild and not into it."""
    at = online.at("plugin")
    files = [each for each in every("python", "file:") + every("toml", "file:") if each.page.name == "plugins.md"]
    for each in files:
        at.write(each.mark.removeprefix("file:").strip(), each.text)
    site = at.root / "site"
    target = ["--no-deps", "--quiet", "--python", sys.executable, "--target", str(site), str(at.folder)]
    subprocess.run([uv.find_uv_bin(), "pip", "install", *target], env=at.environment, check=True)
    return online.at("project").set(PYTHONPATH=str(site))


def test_the_example_plugin_is_found_and_runs(extended: Desk) -> None:
    (block,) = every("sh", "run: with the plugin")

    done = shell(block.text, extended.at("plugin").set(PYTHONPATH=str(extended.root / "site")))

    assert re.search(r"^nice +run_target +envbuild-nice 1\.0 +envbuild_nice$", done.out, re.MULTILINE)
    assert done.out.endswith("10\n"), done.out
    assert "Completed" in done.err


def test_the_example_plugin_passes_on_output_exit_code_and_metrics(extended: Desk) -> None:
    extended.write(
        "train.py",
        "import sys\nfrom envbuild import Run\nRun.get_context().log('x', 1)\nprint('out')\nsys.exit('wrong')\n",
    )

    done = extended.try_("run", "-t", "nice", "train.py")

    assert (done.code, done.out) == (1, "out\n")
    assert "wrong\n" in done.err
    (run,) = extended.envbuild("runs", "list", "--json").json
    assert (run["status"], run["target"]) == ("Failed", "nice")
    assert extended.envbuild("runs", "show", run["id"], "--json").json["metrics"] == {"x": 1}


def test_a_run_by_the_example_plugin_can_be_cancelled(extended: Desk) -> None:
    with extended.start("run", "-t", "nice", "--", "sh", "-c", "echo started; sleep 60") as process:
        assert process.stdout
        assert process.stdout.readline() == "started\n"
        (run,) = extended.envbuild("runs", "list", "--json").json

        assert extended.envbuild("runs", "cancel", run["id"], "--json").json["status"] == "Canceled"
        process.communicate(timeout=30)


def test_the_example_plugin_proves_itself(extended: Desk) -> None:
    (block,) = every("sh", "run: the tests of the plugin")
    folder = extended.at("plugin")

    done = shell(f"{block.text.strip()} -p no:cacheprovider", folder.set(PYTHONPATH=str(extended.root / "site")))

    (passed,) = re.findall(r"= (\d+) passed in", done.out)
    assert int(passed) > 25


def test_the_fixtures_of_the_table_are_those_of_the_contracts() -> None:
    from envbuild import testing

    text = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (?:`(\w+Contract)`|every one) \|(.*)\|$", text, re.MULTILINE)
    named = {contract or "PluginContract": re.findall(r"`(\w+)`", fixtures) for contract, fixtures in rows}

    assert {
        f"{name}Contract" for name in ("Plugin", *("".join(map(str.title, each.split("_"))) for each in HOOKS))
    } == {*named}
    for contract, fixtures in named.items():
        for each in fixtures:
            assert getattr(getattr(testing, contract), each).__doc__, f"{contract} has no fixture {each}"


REFUSES = """
from envbuild import TargetError, hookimpl

@hookimpl
def run_target(run, image):
    raise TargetError({told!r}, hint="ask somebody else")
"""


def test_of_two_willing_plugins_the_last_in_the_alphabet_is_asked_first(desk: Desk) -> None:
    desk = install(desk, "yes", REFUSES.format(told="yes says no"))
    desk = install(desk, "zero", REFUSES.format(told="zero says no"))

    told = desk.refused("run", "--", "true").err

    assert told.endswith("error: zero says no\nhint: ask somebody else\nfrom: the plugin zero (zero 1.0)\n")
    assert "run_target            zero, yes, local\n" in desk.envbuild("plugins").out


def test_a_plugin_that_cannot_be_imported_is_shown_and_takes_nothing_down(desk: Desk) -> None:
    desk = install(desk, "broken", "import nothing_of_that_name\n")

    desk.envbuild("run", "--", "true")
    (found,) = [each for each in desk.envbuild("plugins", "--json").json if each["name"] == "broken"]
    told = desk.refused("run", "-t", "mars", "--", "true").err

    assert found["error"] == "ModuleNotFoundError: No module named 'nothing_of_that_name'"
    assert "no installed plugin takes on the target 'mars'" in told
    assert "broken (broken 1.0): ModuleNotFoundError" in told
    assert desk.try_("doctor").code == 1


@pytest.mark.parametrize("source", ["def compute_hsh(lock): ...", "def compute_hash(lokc): ..."])
def test_a_plugin_with_a_function_or_a_parameter_that_no_hook_has_is_left_out(source: str, desk: Desk) -> None:
    desk = install(desk, "misspelt", f"from envbuild import hookimpl\n\n@hookimpl\n{source}\n")

    (found,) = [each for each in desk.envbuild("plugins", "--json").json if each["name"] == "misspelt"]

    assert found["hooks"] == []
    assert found["error"].startswith("PluginValidationError: ")


# Tests on their page


@pytest.fixture
def suite(online: Desk) -> Desk:
    """A desk with the tests and the definitions of the page on tests."""
    files_of("testing.md", online)
    for each in every("yaml", ""):
        if each.page.name == "testing.md":
            online.write(named(each), each.text)
    return online.set(PYTEST_ADDOPTS="-p no:cacheprovider")


def test_the_tests_on_their_page_pass_where_it_says_that_they_run(suite: Desk) -> None:
    commands = [each.text for each in every("sh", "tests:")]

    said = [shell(each, suite).out for each in commands]

    assert [re.findall(r"=+ (\d+ passed)", each) for each in said] == [
        ["1 passed", "2 passed"],
        ["1 passed"],
        ["7 passed", "12 passed"],
    ]


def test_the_settings_on_the_page_of_tests_say_where_all_tests_run(suite: Desk) -> None:
    shell("cp environment.yml test_plain.py settings", suite)

    done = shell("cd settings && pytest -v test_plain.py", suite)

    assert "test_plain.py::test_take[environment.yml] PASSED" in done.out


def test_the_page_on_tests_names_every_option_and_setting_of_the_plugin() -> None:
    page = (ROOT / "docs" / "testing.md").read_text(encoding="utf-8")
    told = subprocess.run([sys.executable, "-m", "pytest", "--help"], capture_output=True, text=True, check=True).stdout

    named = {*re.findall(r"^  (--envbuild[\w-]*)", told, re.MULTILINE), *re.findall(r"^  (envbuild\w*) \(", told, re.M)}
    assert len(named) >= 8
    assert [each for each in sorted(named) if f"`{each}" not in page] == []


# What the pages say of the code is what it says


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", sorted(ROOT.glob("docs/*.md")), ids=lambda page: page.name)
def test_the_generated_parts_of_a_page_are_up_to_date(page: Path) -> None:
    text = page.read_text(encoding="utf-8")

    assert generator().renewed(text) == text, f"{page.name} is behind: run 'python docs/generate.py'"


def test_every_part_that_can_be_generated_is_on_one_page() -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in ROOT.glob("docs/*.md"))

    assert {part: text.count(f"<!-- generated: {part} -->") for part in generator().PARTS} == dict.fromkeys(
        generator().PARTS, 1
    )


def undocumented(hook: Callable[..., Any]) -> list[str]:
    """What a hook's docstring does not say, or says of something else."""
    found = generator().fields(hook)
    text = " ".join(inspect.cleandoc(hook.__doc__ or "").partition("\n:")[0].split())
    is_first = getattr(hook, f"{hookspecs.GROUP}_spec")["firstresult"]
    how_many = "the first answer that is not ``None`` is used" if is_first else "Every plugin is asked"
    said = [name for kind, name in found if kind == "param"]
    errors = [name for kind, name in found if kind == "raises"]
    lacking = [f"parameter {name}" for name in inspect.signature(hook).parameters if name not in said]
    lacking += [f"{name}, which is no parameter" for name in said if name not in inspect.signature(hook).parameters]
    lacking += [f"{kind} {name}: empty" for (kind, name), told in found.items() if not told.strip()]
    lacking += [f"{name}, which is no error that plugins can raise" for name in errors if not is_error(name)]
    lacking += ["how many answers count"] if how_many not in text else []
    lacking += ["answer"] if ("returns", "") not in found else []
    # What only says something about values cannot fail.
    lacking += ["how it fails"] if not errors and hook.__name__ != "compute_hash" else []
    lines = inspect.cleandoc(hook.__doc__ or "").splitlines()
    lines = [line for line in lines if line.startswith(":") and not generator()._FIELD.match(line)]
    return lacking + [f"{line}: would be on no page" for line in lines]


def is_error(name: str) -> bool:
    found = getattr(envbuild, name, None)
    return isinstance(found, type) and issubclass(found, envbuild.EnvbuildError)


@pytest.mark.parametrize("name", HOOKS)
def test_a_hook_documents_its_parameters_its_answer_and_its_errors(name: str) -> None:
    assert undocumented(getattr(hookspecs, name)) == []


def test_a_hook_that_documents_little_or_something_else_is_noticed() -> None:
    @hookspecs.hookspec(firstresult=True)
    def run_target(run: Any, image: Any) -> Any:
        """Start it.

        :param run: what to run.
        :param picture: the environment.
        :raises ValueError: it cannot be started.
        :return: its handle.
        """

    assert undocumented(run_target) == [
        "parameter image",
        "picture, which is no parameter",
        "ValueError, which is no error that plugins can raise",
        "how many answers count",
        "answer",
        ":return: its handle.: would be on no page",
    ]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("    image: Image,\n) -> RunHandle", "    picture: Image,\n) -> RunHandle"),
        ("    image: Image,\n) -> RunHandle", "    image: Path,\n) -> RunHandle"),
        ("    request: BuildRequest,\n) -> Image | None", "    request: BuildRequest,\n) -> Image"),
        ("### run_target\n\n*the first answer counts*", "### run_target\n\n*all answers count*"),
        ("- `image`: the environment.\n", ""),
        ("### deploy_target", "### serve_target"),
    ],
)
def test_a_page_that_says_something_else_of_a_hook_is_behind(before: str, after: str) -> None:
    text = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")
    assert before in text

    assert generator().renewed(text.replace(before, after, 1)) == text


def test_a_hook_that_is_added_comes_onto_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    def pack_image(image: Any) -> Any:
        """Pack it."""

    monkeypatch.setattr(hookspecs, "pack_image", hookspecs.hookspec(pack_image), raising=False)
    monkeypatch.delitem(sys.modules, "envbuild.plugins")

    assert "### pack_image\n\n*all answers count*" in generator().hook_reference()


@pytest.mark.parametrize("name", envbuild.__all__)
def test_an_exported_name_says_what_it_is(name: str) -> None:
    assert generator().first_line(name)


# What the pages link to is there


def slug(heading: str) -> str:
    """The anchor of a heading, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_on_a_page_leads_somewhere(page: Path) -> None:
    dead = []
    for found in _LINK.finditer(page.read_text(encoding="utf-8")):
        path, _, anchor = found["target"].partition("#")
        if "://" in path:
            continue
        target = page.parent / path if path else page
        headings = _HEADING.findall(target.read_text(encoding="utf-8")) if target.is_file() else []
        if not target.exists() or (anchor and anchor not in map(slug, headings)):
            dead.append(found["target"])

    assert not dead


# The two commands of the README


def commands() -> tuple[str, str]:
    """What the README says to type: the main job, and the tests."""
    job, checks = (each.text.strip() for each in every("sh", "") if each.page.name == "README.md" and not each.mark)
    return job, checks


def test_what_the_two_commands_of_the_readme_name_is_there() -> None:
    job, checks = commands()

    assert job.split()[-1] == "fixtures/iris/train.py"
    assert (ROOT / "fixtures/iris/train.py").is_file()
    assert checks == "tests/run"
    assert os.access(ROOT / "tests/run", os.X_OK)


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory, lacking: Callable[[str, str], None]) -> Path:
    """The files that git has, or is about to be given, as a fresh clone has them, and no others."""
    asked = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(asked, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        lacking("git", f"this is no clone, or there is no git: {error}")
    folder = tmp_path_factory.mktemp("clone")
    for name in filter(None, listed.stdout.split("\0")):
        origin, copy = ROOT / name, folder / name
        if origin.is_file():
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(origin.read_bytes())
            copy.chmod(origin.stat().st_mode)
    return folder


def test_the_first_command_of_the_readme_works_in_a_fresh_clone(online: Desk, clone: Path) -> None:
    job, _ = commands()
    here = Desk(online.root, clone, online.variables)

    first = shell(job, here)
    again = shell(".venv/bin/envbuild run fixtures/iris/train.py", here)
    shown = shell(".venv/bin/envbuild runs list --json", here).json

    assert re.search(r"^accuracy 0\.9\d+ on 38 flowers$", first.out, re.MULTILINE)
    assert "Resolving 1 requirement of iris\nBuilding iris (" in first.err
    summary = re.search(
        r"^run          iris_\w+  Completed\n"
        r"environment  iris:1  (sha256:[0-9a-f]{64})\n"
        r"time         resolving \d+\.\d+ s, building \d+\.\d+ s, running \d+\.\d+ s\n"
        r"outputs      (\S+/outputs)  \(model\.pkl\)\n",
        first.err,
        re.MULTILINE,
    )
    assert summary, first.err
    assert (Path(summary[2]) / "model.pkl").stat().st_size > 100
    assert "Resolving" not in again.err
    assert "Building" not in again.err
    assert f"environment  iris:1  {summary[1]}\n" in again.err
    assert re.search(r"^time         resolving 0\.\d\d s, building 0\.\d\d s, ", again.err, re.MULTILINE)
    assert [each["status"] for each in shown] == ["Completed", "Completed"]
    metrics = shell(f".venv/bin/envbuild runs show {shown[1]['id']} --json", here).json["metrics"]
    assert 0.9 < metrics["accuracy"] <= 1
    # The environment of the script has its own packages, and not envbuild.
    listed = "import importlib.metadata as m; print([d.name.lower() for d in m.distributions()])"
    alone = shell(f'cd fixtures/iris && ../../.venv/bin/envbuild run -- python -c "{listed}"', here).out
    assert "scikit-learn" in alone
    assert "'envbuild'" not in alone


def test_wheel_and_sdist_hold_what_runs_inside_and_every_plugin(online: Desk, clone: Path) -> None:
    made = online.root / "dist"
    asked = [uv.find_uv_bin(), "build", "--quiet", "--python", sys.executable, "--out-dir", str(made), str(clone)]
    subprocess.run(asked, env=online.environment, check=True)
    needed = {
        "envbuild/inside/envbuild/run.py",
        "envbuild/py.typed",
        *(path.relative_to(clone / "plugins").as_posix() for path in clone.glob("plugins/*/*.py")),
    }

    (wheel,), (sdist,) = made.glob("*.whl"), made.glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        told = archive.read(next(name for name in names if name.endswith("/entry_points.txt"))).decode()
    with tarfile.open(sdist) as archive:
        sources = {name.partition("/")[2].removeprefix("src/").removeprefix("plugins/") for name in archive.getnames()}

    assert needed <= names
    assert needed <= sources
    assert any(name.endswith(".data/scripts/envbuild") for name in names)
    assert all(f"{name} = envbuild_{name}.plugin" in told for name in ("pip", "wheel", "local"))
    assert not [name for name in names if name.startswith("tests/") or "__pycache__" in name]
