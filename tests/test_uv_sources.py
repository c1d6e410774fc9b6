"""``[tool.uv.sources]``: a package that uv takes from elsewhere comes from there, and never from an index by accident.

On the index of these tests lies a ``lib`` of somebody else's, newer than any of ours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.desk import Desk, Prefix, mentions
from support.index import Index, lay_out, serving
from support.packages import project, sdist, wheel

from envbuild.definition import Definition
from envbuild.errors import DefinitionError
from envbuild.lock import Lock
from envbuild.reading import read
from envbuild.requirement import Requirement
from envbuild.sdk.definitions import conda_form

Git = Callable[..., str]

BUILT = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'


@pytest.fixture
def public(index: Index) -> Index:
    """An index on which somebody else has a ``lib`` and a ``core``."""
    index.publish(wheel("lib", "9.0"), wheel("core", "9.0"))
    return index


@pytest.fixture
def corporate() -> Iterator[Index]:
    """Another index, with a ``lib`` that is ours, and a ``demo`` that nobody wants."""
    with serving(Index()) as served:
        served.publish(wheel("lib", "2.0", requires=["helper"]), wheel("lib", "3.0"), wheel("demo", "7.0"))
        yield served


def asks(index: Index, sources: str, *dependencies: str, more: str = "") -> str:
    """A project that is not installed itself, and what uv is told of its dependencies."""
    listed = ", ".join(f'"{each}"' for each in dependencies or ("lib",))
    return (
        f'[project]\nname = "app"\nversion = "1.0"\ndependencies = [{listed}]\n{more}\n'
        f'[[tool.uv.index]]\nurl = "{index.simple}"\ndefault = true\n[tool.uv.sources]\n{sources}\n'
    )


def versions(lock: Lock) -> dict[str, str | None]:
    return {each.name: each.version if each.artifact.kind == "wheel" else each.artifact.kind for each in lock.packages}


def said(prefix: Prefix, name: str = "lib") -> str:
    return prefix.python(f"import {name}; print({name}.__version__)")


def member(desk: Desk, name: str, below: str, requires: tuple[str, ...] = (), more: str = "") -> None:
    """A project of a workspace, installable, with the version 1.0."""
    files = project(name, "1.0", requires=requires)
    desk.lay(files | {"pyproject.toml": files["pyproject.toml"] + more}, below)


def workspace(desk: Desk, index: Index, *, app: str = BUILT) -> None:
    """A workspace: ``app`` depends on ``lib``, that on ``core``; the root says where core comes from."""
    desk.write(
        "pyproject.toml",
        '[tool.uv.workspace]\nmembers = ["packages/*", "app"]\nexclude = ["packages/old"]\n'
        "[tool.uv.sources]\ncore = { workspace = true }\n"
        f'[[tool.uv.index]]\nurl = "{index.simple}"\ndefault = true\n',
    )
    member(desk, "lib", "packages/lib", ("core",))
    member(desk, "core", "packages/core")
    member(desk, "lib", "packages/old")
    desk.lay(project("app", "1.0", requires=["lib"]), "app")
    text = '[project]\nname = "app"\nversion = "1.0"\ndependencies = ["lib"]\n'
    desk.write("app/pyproject.toml", f"{text}{app}[tool.uv.sources]\nlib = {{ workspace = true }}\n")


@pytest.mark.parametrize("app", [BUILT, ""], ids=["installed itself", "its dependencies only"])
def test_members_of_a_workspace_come_from_the_workspace(desk: Desk, public: Index, app: str) -> None:
    workspace(desk, public, app=app)

    lock, prefix = desk.lock("app"), desk.build("app")

    assert versions(lock) == {"lib": "directory", "core": "directory"} | ({"app": "directory"} if app else {})
    assert said(prefix) == said(prefix, "core") == "1.0"
    assert not public.downloads("lib-9.0-py3-none-any.whl")


def test_an_edit_of_a_member_makes_another_environment(desk: Desk, public: Index) -> None:
    workspace(desk, public)
    before = desk.identity("app")

    desk.write("packages/core/src/core/__init__.py", "__version__ = 'edited'\n")

    assert desk.identity("app") != before
    assert said(desk.build("app"), "core") == "edited"


@pytest.mark.parametrize(
    ("file", "before", "after", "told"),
    [
        ("app/pyproject.toml", "lib = { workspace = true }", 'lib = { path = "../packages/old" }', "pyproject.toml"),
        ("packages/lib/pyproject.toml", '["core"]', "[]", "packages/lib/pyproject.toml has changed"),
        ("pyproject.toml", "core = { workspace = true }", 'core = { path = "packages/core" }', "../pyproject.toml has"),
    ],
)
@pytest.mark.parametrize("app", [BUILT, ""], ids=["installed itself", "its dependencies only"])
def test_a_lock_is_stale_when_a_source_changes(
    desk: Desk, public: Index, file: str, before: str, after: str, told: str, app: str
) -> None:
    workspace(desk, public, app=app)
    desk.lock("app")
    desk.envbuild("lock", "app", "--check")

    desk.write(file, (desk.folder / file).read_text().replace(before, after))

    assert (told if app else told.partition("/pyproject")[0].split(" ")[0]) in desk.refused(
        "lock", "app", "--check"
    ).err


def test_a_member_that_nobody_says_to_take_is_refused(desk: Desk, public: Index) -> None:
    workspace(desk, public, app="")
    desk.write("app/pyproject.toml", '[project]\nname = "app"\nversion = "1.0"\ndependencies = ["lib"]\n')

    assert "write lib = { workspace = true } under [tool.uv.sources]" in desk.refused("lock", "app").err


def test_a_project_outside_of_the_workspace_has_no_members(desk: Desk, public: Index) -> None:
    workspace(desk, public, app="")
    text = (desk.folder / "pyproject.toml").read_text().replace(', "app"', "")
    desk.write("pyproject.toml", text)

    assert "lib: there is no workspace that this belongs to" in desk.refused("lock", "app").err


@pytest.mark.parametrize("app", [BUILT, ""], ids=["installed itself", "its dependencies only"])
def test_a_path_is_taken_with_the_sources_of_its_own(desk: Desk, public: Index, app: str) -> None:
    member(desk, "lib", "../lib", ("core>=1",), '[tool.uv.sources]\ncore = { path = "../core", editable = true }\n')
    member(desk, "core", "../core")
    desk.lay(project("app", "1.0", requires=["lib"]))
    desk.write("pyproject.toml", asks(public, 'lib = { path = "../lib" }', "lib", "helper") + app)

    assert versions(desk.lock()) == {"lib": "directory", "core": "directory", "helper": "1.1"} | (
        {"app": "directory"} if app else {}
    )
    assert said(desk.build()) == "1.0"


@pytest.mark.parametrize("app", [BUILT, ""], ids=["installed itself", "its dependencies only"])
@pytest.mark.parametrize("own", [True, False], ids=["by whoever asks", "by itself"])
def test_of_a_project_that_is_no_package_only_the_dependencies_are_installed(
    desk: Desk, public: Index, app: str, own: bool
) -> None:
    says = "[tool.uv]\npackage = false\n" if not own else ""
    member(desk, "lib", "lib", ("demo<2", "core"), f'{says}[tool.uv.sources]\ncore = {{ path = "../core" }}\n')
    member(desk, "core", "core")
    source = 'lib = { path = "lib", package = false }' if own else 'lib = { path = "lib" }'
    desk.lay(project("app", "1.0", requires=["lib"]))
    desk.write("pyproject.toml", asks(public, source) + app)

    found = versions(desk.lock())

    assert found == {"core": "directory", "demo": "1.1", "helper": "1.1"} | ({"app": "directory"} if app else {})
    desk.build()
    desk.write("lib/pyproject.toml", (desk.folder / "lib/pyproject.toml").read_text().replace("demo<2", "demo<1.1"))
    desk.refused("lock", "--check")


@pytest.mark.parametrize("app", [BUILT, ""], ids=["installed itself", "its dependencies only"])
@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_a_file_is_a_source_too(desk: Desk, public: Index, kind: str, app: str) -> None:
    made = wheel("lib", "1.0") if kind == "wheel" else sdist("lib", "1.0")
    lay_out(desk.folder / "dist", made)
    desk.lay(project("app", "1.0", requires=["lib"]))
    desk.write("pyproject.toml", asks(public, f'lib = {{ path = "dist/{made.filename}" }}') + app)

    assert desk.lock().find("lib").artifact.digest.hex == made.sha256  # type: ignore[union-attr]
    assert said(desk.build()) == "1.0"


def repository(desk: Desk, git: Git) -> Path:
    """A repository with ``lib`` in a folder of it, in versions 1.0 (tag v1) and 2.0 (branch main)."""
    folder = desk.root / "repository"
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch=main")
    for version in ("1.0", "2.0"):
        desk.lay(project("lib", version), "../repository/python")
        git(folder, "add", "-A")
        git(folder, "commit", "--quiet", "-m", version)
        git(folder, "tag", f"v{version[0]}")
    return folder


@pytest.mark.parametrize("app", [BUILT, ""], ids=["installed itself", "its dependencies only"])
@pytest.mark.parametrize(
    ("which", "version"), [("", "2.0"), (', tag = "v1"', "1.0"), (', branch = "main"', "2.0"), (', rev = "v1"', "1.0")]
)
def test_a_repository_is_locked_to_its_commit(
    desk: Desk, public: Index, git: Git, which: str, version: str, app: str
) -> None:
    folder = repository(desk, git)
    desk.lay(project("app", "1.0", requires=["lib"]))
    source = f'lib = {{ git = "file://{folder}", subdirectory = "python"{which} }}'
    desk.write("pyproject.toml", asks(public, source) + app)

    lock = desk.lock()

    assert lock.find("lib").artifact.revision == git(folder, "rev-parse", f"v{version[0]}")  # type: ignore[union-attr]
    assert said(desk.build()) == version


def test_a_url_is_taken(desk: Desk, public: Index) -> None:
    made = sdist("lib", "1.0")
    public.publish(made)
    desk.write("pyproject.toml", asks(public, f'lib = {{ url = "{public.url}/files/{made.filename}" }}'))

    assert desk.lock().find("lib").artifact.digest.hex == made.sha256  # type: ignore[union-attr]


@pytest.mark.parametrize("app", [BUILT, ""], ids=["installed itself", "its dependencies only"])
@pytest.mark.parametrize("explicit", ["true", "false"])
def test_a_package_is_bound_to_its_index(desk: Desk, public: Index, corporate: Index, app: str, explicit: str) -> None:
    index = f'[[tool.uv.index]]\nname = "corp"\nurl = "{corporate.simple}"\nexplicit = {explicit}\n'
    desk.lay(project("app", "1.0", requires=["lib<3", "demo"]))
    desk.write("pyproject.toml", asks(public, 'lib = { index = "corp" }', "lib<3", "demo") + index + app)

    found = versions(desk.lock())

    assert found["lib"] == "2.0"
    assert found["demo"] == ("2.0" if explicit == "true" else "7.0")
    assert not [path for _, path in public.asked if path == "/simple/lib/"]
    assert said(desk.build()) == "2.0"


@pytest.mark.parametrize("explicit", ["true", "false"])
@pytest.mark.parametrize("where", ["url", "variables"])
@pytest.mark.parametrize("app", [BUILT, ""], ids=["installed itself", "its dependencies only"])
def test_an_index_with_a_password_is_opened_and_the_password_kept_nowhere(
    desk: Desk, public: Index, corporate: Index, where: str, app: str, explicit: str
) -> None:
    corporate.password = "hunter22"
    url = corporate.with_password() if where == "url" else corporate.simple
    index = f'[[tool.uv.index]]\nname = "our-corp"\nurl = "{url}"\nexplicit = {explicit}\n'
    if where == "variables":
        desk = desk.set(UV_INDEX_OUR_CORP_USERNAME="me", UV_INDEX_OUR_CORP_PASSWORD="hunter22")
    desk.lay(project("app", "1.0", requires=["lib<3"]))
    desk.write("pyproject.toml", asks(public, 'lib = { index = "our-corp" }', "lib<3") + index + app)

    assert versions(desk.lock())["lib"] == "2.0"
    assert said(desk.build()) == "2.0"
    assert "hunter22" not in (desk.folder / "pylock.toml").read_text()
    assert not mentions(desk.root / "workspace", "hunter22")


def test_the_full_form_binds_a_package_to_an_index(desk: Desk, public: Index, corporate: Index) -> None:
    desk.write(
        "envbuild.yml",
        f"pip:\n  - demo\n  - requirement: lib<3\n    index: {corporate.simple}\n"
        f"options: {{index_url: '{public.simple}'}}\n",
    )

    assert versions(desk.lock())["lib"] == "2.0"
    desk.envbuild("env", "register", "envbuild.yml", "--name", "bound")
    (desk.folder / "envbuild.yml").unlink()
    desk.envbuild("lock", "bound", "--upgrade")
    assert said(desk.build("bound")) == "2.0"


def test_each_case_has_its_source(desk: Desk, public: Index, corporate: Index) -> None:
    desk.lay(project("lib", "1.0"), "lib")
    sources = (
        'lib = [\n  { path = "lib", marker = "sys_platform == \'win32\'" },\n'
        '  { index = "corp", marker = "sys_platform == \'linux\'" },\n]'
    )
    index = f'[[tool.uv.index]]\nname = "corp"\nurl = "{corporate.simple}"\nexplicit = true\n'
    desk.write("pyproject.toml", asks(public, sources, "lib<9.1", "helper") + index)

    assert versions(desk.lock("--platform", "linux-x86_64"))["lib"] == "3.0"
    assert versions(desk.lock("--platform", "windows-x86_64"))["lib"] == "directory"
    assert versions(desk.lock("--platform", "macos-arm64"))["lib"] == "9.0"


def test_extras_and_groups_may_have_sources_of_their_own(desk: Desk, public: Index, corporate: Index) -> None:
    desk.lay(project("lib", "1.0"), "lib")
    sources = 'lib = [{ index = "corp", extra = "far" }, { path = "lib", group = "near" }]'
    more = '[project.optional-dependencies]\nfar = ["lib"]\n[dependency-groups]\nnear = ["lib"]\nboth = ["lib"]\n'
    index = f'[[tool.uv.index]]\nname = "corp"\nurl = "{corporate.simple}"\nexplicit = true\n'
    desk.write("pyproject.toml", asks(public, sources, "helper", more=more) + index)

    assert versions(desk.lock("pyproject.toml:far"))["lib"] == "3.0"
    assert versions(desk.lock("pyproject.toml:near"))["lib"] == "directory"
    assert versions(desk.lock("pyproject.toml:both"))["lib"] == "9.0"


def test_a_script_has_its_sources(desk: Desk, public: Index) -> None:
    desk.lay(project("lib", "1.0"), "lib")
    block = (
        "# /// script\n# dependencies = ['lib']\n"
        f"# [[tool.uv.index]]\n# url = '{public.simple}'\n# default = true\n"
        "# [tool.uv.sources]\n# lib = { path = 'lib' }\n# ///\nimport lib\nprint(lib.__version__)\n"
    )
    desk.write("train.py", block)

    assert desk.envbuild("run", "train.py").out.strip() == "1.0"


def definition(folder: Path, text: str) -> Definition:
    (folder / "pyproject.toml").write_text(text)
    return read(folder / "pyproject.toml")


def refused(folder: Path, text: str) -> list[tuple[int | None, str]]:
    with pytest.raises(DefinitionError) as caught:
        definition(folder, text)
    return [(each.line, each.message) for each in caught.value.problems]


def source(entry: str, more: str = "") -> str:
    return f"[project]\nname = 'app'\ndependencies = ['lib']\n[tool.uv.sources]\nlib = {entry}\n{more}"


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("{ index = 'corp' }", "there is no [[tool.uv.index]] with the name 'corp'"),
        ("{ index = 'flat' }", "the index 'flat' is a mere list of files"),
        ("{ path = 'nowhere' }", "no such file or folder"),
        ("{ path = 'other' }", "is called 'other'"),
        ("{ workspace = true }", "there is no workspace that this belongs to"),
        ("{ git = 'https://host.test/lib', tag = 'v1', rev = 'v2' }", "rev and tag: one of them is wanted"),
        ("{ git = 'https://host.test/lib', lfs = true }", "(lfs) are not locked"),
        ("{ git = 'git@host.test:me/lib' }", "'git@host.test:me/lib' is no URL: ssh://git@"),
        ("{ git = 'https://host.test/lib', depth = 1 }", "depth: not understood beside git"),
        ("{ url = 'https://host.test/lib-1.zip?sig=x' }", "the value of 'sig' in the URL would stand in the lock"),
        ("{ url = 1 }", "url: a text is wanted, not 1"),
        ("{ editable = true }", "one of path, workspace, git, url, index is wanted"),
        ("'https://host.test'", "a table is wanted, or a list of tables"),
        ("{ path = 'lib', marker = 'x y' }", "'x y' is not a marker"),
        ("{ path = 'lib', marker = \"python_version ~= '3.11'\" }", "'~=' in a marker has no opposite"),
    ],
)
@pytest.mark.parametrize("app", [BUILT, ""], ids=["installed itself", "its dependencies only"])
def test_what_cannot_be_had_from_its_source_is_refused_by_name(
    tmp_path: Path, entry: str, message: str, app: str
) -> None:
    for name in ("lib", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "pyproject.toml").write_text(f"[project]\nname = '{name}'\n")
    (problem,) = refused(
        tmp_path,
        source(entry, "[[tool.uv.index]]\nname = 'flat'\nurl = './other'\nformat = 'flat'\nexplicit = true\n" + app),
    )

    assert problem[0] == 5
    assert problem[1].startswith("[tool.uv.sources] lib: ")
    assert message in problem[1]


def test_what_is_bound_to_an_index_survives_being_written_down(tmp_path: Path) -> None:
    index = "[[tool.uv.index]]\nname = 'corp'\nurl = 'https://me:pw@corp.test/simple'\nexplicit = true\n"
    found = definition(tmp_path, source("{ index = 'corp' }", index))

    assert found.pip == (Requirement("lib", index="https://corp.test/simple"),)
    assert Definition.from_dict(found.to_dict()).pip == found.pip
    assert Definition.from_content(found.content()).content() == found.content()
    assert found.content() != definition(tmp_path, source("[]", index)).content()


def test_only_what_is_asked_for_by_name_comes_from_an_index(tmp_path: Path) -> None:
    (tmp_path / "envbuild.yml").write_text(
        "pip:\n  - requirement: lib @ https://host.test/lib.zip\n    index: https://a.test\n"
    )

    with pytest.raises(DefinitionError, match="only a package that is asked for by name"):
        read(tmp_path / "envbuild.yml")


@pytest.mark.parametrize(
    ("theirs", "message"),
    [
        ("[tool.poetry.dependencies]\nLib = { path = '../lib' }\n", "[tool.poetry.dependencies] says where Lib"),
        ("[tool.poetry.dependencies]\nlib = [{ git = 'https://a.test' }]\n", "and is not read"),
        ("[tool.poetry.dependencies]\nlib = { source = 'corp' }\n", "say it under [tool.uv.sources] too"),
        ("[tool.poetry.group.dev.dependencies]\nlib = { url = 'https://a.test' }\n", "[tool.poetry.group.dev.dep"),
        ("[[tool.poetry.source]]\nname = 'a'\nurl = 'https://a.test'\n", "[[tool.poetry.source]] is not read"),
        ("[[tool.pdm.source]]\nname = 'a'\nurl = 'https://a.test'\n", "name it under [tool.envbuild.options]"),
        ("[tool.pdm.resolution.overrides]\nlib = 'https://a.test/lib.whl'\n", "[tool.pdm.resolution.overrides] says"),
        ("[tool.hatch.envs.default.workspace]\nmembers = ['packages/*']\n", "[tool.hatch.envs.default.workspace] says"),
    ],
)
@pytest.mark.parametrize("build", ["", BUILT], ids=["its dependencies only", "installed itself"])
def test_where_another_tool_takes_a_package_from_elsewhere_that_is_said(
    tmp_path: Path, theirs: str, message: str, build: str
) -> None:
    (tmp_path / "packages/lib").mkdir(parents=True)
    (tmp_path / "packages/lib/pyproject.toml").write_text("[project]\nname = 'lib'\n")

    (problem,) = refused(tmp_path, f"[project]\nname = 'app'\ndependencies = ['lib']\n{theirs}{build}")

    assert problem[0]
    assert message in problem[1]


@pytest.mark.parametrize(
    "theirs",
    [
        "[tool.poetry.dependencies]\nlib = { extras = ['x'] }\nother = { path = '../other' }\n",
        "[tool.poetry.dependencies]\nlib = { path = 'lib' }\n[tool.uv.sources]\nlib = { path = 'lib' }\n",
        "[[tool.poetry.source]]\nname = 'a'\nurl = 'https://a.test'\npriority = 'explicit'\n",
        "[[tool.pdm.source]]\nname = 'pypi'\nurl = 'https://pypi.org/simple'\n",
        "[[tool.pdm.source]]\nname = 'a'\nurl = 'https://a.test'\n[tool.envbuild.options]\nindex-url = 'https://a.test'\n",
    ],
)
def test_what_another_tool_says_may_stand_where_nothing_comes_from_elsewhere(tmp_path: Path, theirs: str) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib/pyproject.toml").write_text("[project]\nname = 'lib'\n")

    assert definition(tmp_path, f"[project]\nname = 'app'\ndependencies = ['lib']\n{theirs}").pip


def test_a_project_that_is_built_with_another_of_this_machine_is_refused(desk: Desk, public: Index) -> None:
    desk.lay(project("lib", "1.0"), "lib")
    desk.lay(project("app", "1.0", requires=["helper"]), "app")
    desk.write(
        "app/pyproject.toml",
        asks(public, 'lib = { path = "../lib" }', "helper") + BUILT.replace("requires = []", 'requires = ["lib"]'),
    )

    assert "it is built with lib, a project of this machine" in desk.refused("lock", "app").err


def test_what_our_own_table_asks_an_index_for_is_refused_where_uv_has_another_place(tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib/pyproject.toml").write_text("[project]\nname = 'lib'\n")

    (problem,) = refused(tmp_path, source("{ path = 'lib' }", "[tool.envbuild]\npip = ['rich', 'lib>=1']\n"))

    assert problem[0] == 7
    assert problem[1].startswith("lib: [tool.uv.sources] says where it comes from")


def test_an_archive_of_another_package_is_refused(tmp_path: Path) -> None:
    lay_out(tmp_path, sdist("other", "1.0"))

    (problem,) = refused(tmp_path, source("{ path = 'other-1.0.tar.gz' }"))

    assert "'other-1.0.tar.gz' is an archive of other" in problem[1]


def test_what_a_dynamic_project_of_another_depends_on_is_looked_at_anew(desk: Desk, public: Index) -> None:
    member(desk, "lib", "lib")
    text = (desk.folder / "lib/pyproject.toml").read_text()
    desk.write("lib/pyproject.toml", text.replace("dependencies = []", 'dynamic = ["dependencies"]'))
    desk.lay(project("app", "1.0", requires=["lib"]))
    desk.write("pyproject.toml", asks(public, 'lib = { path = "lib" }') + BUILT)
    desk.write("lib/requirements.txt", "")
    assert "demo" not in versions(desk.lock())

    desk.write("lib/PKG-INFO", (desk.folder / "lib/PKG-INFO").read_text() + "Requires-Dist: demo\n")
    desk.write("lib/requirements.txt", "demo\n")

    assert versions(desk.lock())["demo"] == "2.0"


def test_no_line_of_a_requirements_file_says_that_a_package_comes_from_one_index(tmp_path: Path) -> None:
    index = "[[tool.uv.index]]\nname = 'corp'\nurl = 'https://corp.test/simple'\nexplicit = true\n"
    found = definition(tmp_path, source("{ index = 'corp' }", index))

    with pytest.raises(DefinitionError, match=r"lib comes from https://corp\.test/simple alone"):
        conda_form(found)


def test_a_dependency_of_a_requirements_file_has_its_sources(desk: Desk, public: Index) -> None:
    member(desk, "core", "core")
    member(desk, "lib", "lib", ("core",), '[tool.uv.sources]\ncore = { path = "../core" }\n')
    desk.requirements("-e ./lib", index=public)

    assert versions(desk.lock()) == {"lib": "directory", "core": "directory"}


def test_an_index_of_files_and_the_indexes_of_envbuild(desk: Desk, public: Index) -> None:
    lay_out(desk.folder / "files", wheel("lib", "8.0"))
    flat = '[[tool.uv.index]]\nurl = "./files"\nformat = "flat"\n'
    desk.write("pyproject.toml", asks(public, "", "lib<9") + flat)
    assert versions(desk.lock()) == {"lib": "8.0"}

    desk.write("pyproject.toml", asks(public, "", "lib<9") + flat + "[tool.envbuild.options]\nno-index = true\n")
    assert "lib" in desk.refused("lock").err


def test_a_package_may_be_bound_to_another_index_on_each_machine_and_asked_for_twice(
    desk: Desk, public: Index, corporate: Index
) -> None:
    with serving(Index()) as third:
        third.publish(wheel("lib", "5.0"))
        sources = (
            'lib = [\n  { index = "corp", marker = "sys_platform == \'linux\'" },\n'
            '  { index = "third", marker = "sys_platform != \'linux\'" },\n]'
        )
        more = '[dependency-groups]\ndev = ["lib<3.0"]\n'
        indexes = "".join(
            f'[[tool.uv.index]]\nname = "{name}"\nurl = "{each.simple}"\nexplicit = true\n'
            for name, each in (("corp", corporate), ("third", third))
        )
        desk.write("pyproject.toml", asks(public, sources, "lib>=2.0", more=more) + indexes)

        assert versions(desk.lock("--platform", "linux-x86_64"))["lib"] == "3.0"
        assert versions(desk.lock("--platform", "macos-arm64"))["lib"] == "5.0"
        assert versions(desk.lock("pyproject.toml:dev", "--platform", "linux-x86_64"))["lib"] == "2.0"


@pytest.mark.parametrize("app", [BUILT, ""], ids=["installed itself", "its dependencies only"])
def test_whether_there_are_wheels_is_asked_of_the_index_that_the_package_is_bound_to(
    desk: Desk, public: Index, app: str
) -> None:
    with serving(Index()) as corp:
        corp.publish(sdist("lib", "1.0"))
        index = f'[[tool.uv.index]]\nname = "corp"\nurl = "{corp.simple}"\nexplicit = true\n'
        desk.lay(project("app", "1.0", requires=["lib"]))
        desk.write("pyproject.toml", asks(public, 'lib = { index = "corp" }') + index + app)

        assert versions(desk.lock())["lib"] == "sdist"
        assert not [path for _, path in public.asked if path == "/simple/lib/"]


@pytest.mark.parametrize("app", [BUILT, ""], ids=["installed itself", "its dependencies only"])
def test_the_sources_of_a_project_in_a_repository_are_those_of_the_repository(
    desk: Desk, public: Index, git: Git, app: str
) -> None:
    folder = repository(desk, git)
    member(desk, "lib", "../repository/python", ("core",), '[tool.uv.sources]\ncore = { path = "../core" }\n')
    member(desk, "core", "../repository/core")
    git(folder, "add", "-A")
    git(folder, "commit", "--quiet", "-m", "core")
    desk.lay(project("app", "1.0", requires=["lib"]))
    desk.write("pyproject.toml", asks(public, f'lib = {{ git = "file://{folder}", subdirectory = "python" }}') + app)

    lock = desk.lock()

    assert lock.find("core").artifact.revision == git(folder, "rev-parse", "HEAD")  # type: ignore[union-attr]
    assert said(desk.build(), "core") == "1.0"
