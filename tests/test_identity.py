"""Identity: what makes two environments the same, and how envbuild says why they are not."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.desk import Desk
from support.index import Index, lay_out, serving
from support.packages import project, wheel
from support.shelf import DEMO, HELPER

from envbuild import hookimpl
from envbuild.definition import Definition
from envbuild.digest import Digest
from envbuild.errors import DefinitionError
from envbuild.fingerprint import Document, definition_document
from envbuild.lock import Artifact, Lock, Package
from envbuild.pipeline import Wishes, identify, kept_lock
from envbuild.platform import Platform
from envbuild.plugins import Plugins
from envbuild.project import open_spec
from envbuild.reading import read


def form(index: Index, *pip: str, **more: Any) -> str:
    """An ``envbuild.yml``."""
    return json.dumps({"pip": list(pip), "options": {"index_url": index.simple}, **more})


def digest(desk: Desk, spec: str = ".") -> str:
    return str(desk.envbuild("build", spec, "--json").json["definition_digest"])


# What does not count


def test_order_white_space_comments_and_the_case_of_names_do_not_count(desk: Desk, index: Index) -> None:
    one, other = desk.at("one"), desk.at("other")
    one.requirements("demo[fancy]>=1,<3", "native ; python_version>'3'", index=index)
    other.write(
        "requirements.txt",
        f'# what we need\n\n-i {index.simple}   # ours\nNATIVE;python_version > "3"\n   Demo [Fancy] <3, \\\n  >=1\n',
    )

    assert digest(one) == digest(other)
    assert one.identity() == other.identity()


def test_names_variables_and_secrets_do_not_make_another_environment(desk: Desk, index: Index) -> None:
    desk.write("envbuild.yml", form(index, "demo", name="one"))
    first = desk.identity(), digest(desk)

    desk.write("envbuild.yml", form(index, "demo", name="two"))
    assert (desk.identity(), digest(desk)) == first

    desk.write("envbuild.yml", form(index, "demo", variables={"MODE": "fast"}, secrets=["TOKEN"]))
    second = desk.set(TOKEN="t0ken").identity(), digest(desk)
    assert second[0] == first[0]
    assert second[1] != first[1]
    assert desk.build().built is False


def test_where_the_packages_came_from_does_not_count(desk: Desk, index: Index) -> None:
    from_index, from_mirror, from_folder = desk.at("index"), desk.at("mirror"), desk.at("folder")
    from_index.requirements("demo", index=index)
    ids = {from_index.identity()}
    with serving(Index(password="pw")) as mirror:
        mirror.publish(*DEMO.values(), *HELPER.values())
        from_mirror.write("requirements.txt", f"--index-url {mirror.with_password()}\ndemo\n")
        ids.add(from_mirror.identity())
    lay_out(from_folder.folder / "links", DEMO["2.0"], HELPER["1.1"])
    from_folder.requirements("--no-index", "--find-links links", "demo")
    ids.add(from_folder.identity())

    assert len(ids) == 1


def test_another_folder_and_another_machine_make_the_same_environment(desk: Desk, index: Index) -> None:
    here, there = desk.at("here"), desk.elsewhere().at("some/where/else")
    for each in (here, there):
        each.lay(project("lib", "1.0"), "lib")
        each.write("private-1.0-py3-none-any.whl", wheel("private", "1.0").data)
        each.requirements("demo", "raw", "-e ./lib", "./private-1.0-py3-none-any.whl", index=index)

    assert here.identity() == there.identity()
    assert digest(here) == digest(there)


def test_an_unrelated_plugin_does_not_count(desk: Desk, index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    class Silent:
        @hookimpl
        def compute_hash(self, definition: Any, lock: Any) -> None:
            return None

    class Empty:
        @hookimpl
        def compute_hash(self, definition: Any, lock: Any) -> dict[str, Any]:
            return {}

    desk.requirements("demo", index=index)
    identity = desk.identity()
    monkeypatch.chdir(desk.folder)
    workspace, plugins = desk.workspace, Plugins()
    plugins.register(Silent(), "silent")
    plugins.register(Empty(), "another")
    opened = open_spec(".", workspace)
    lock = kept_lock(opened, workspace, Wishes().platform)

    assert lock is not None
    assert str(identify(opened, lock, workspace, plugins)) == identity


def test_a_lock_as_the_definition_is_the_same_environment(desk: Desk, index: Index) -> None:
    desk.requirements("demo", "native", "raw", index=index)
    built = desk.build()

    assert desk.build("pylock.toml").id == built.id
    there = desk.elsewhere()
    there.write("pylock.toml", (desk.folder / "pylock.toml").read_bytes())
    assert there.build().id == built.id
    assert desk.build(built.id).path == built.path


def test_the_caches_of_a_local_project_do_not_count(desk: Desk) -> None:
    desk.lay(project("lib", "1.0"), "lib")
    desk.write("envbuild.yml", "pip: ['-e ./lib']\n")
    before = desk.identity()

    desk.write("lib/src/lib/__pycache__/lib.cpython-311.pyc", b"compiled")
    desk.write("lib/.pytest_cache/README.md", "cache")
    desk.write("lib/.git/HEAD", "ref: refs/heads/main")

    assert desk.identity() == before


# What counts


def test_bytes_that_were_published_again_make_another_environment(desk: Desk, index: Index) -> None:
    desk.requirements("demo", index=index)
    before = desk.build()
    index.publish(wheel("demo", "2.0", requires=["helper>=1"], scripts={"demo": "demo:main"}, payload=" again"))
    (desk.folder / "pylock.toml").unlink()
    fresh = desk.set(UV_CACHE_DIR=str(desk.root / "fresh-cache"))

    done = fresh.envbuild("lock", "--upgrade")
    after = fresh.build()

    assert "demo 2.0" in done.out
    assert before.id != after.id
    assert (before.run("demo"), after.run("demo")) == ("demo 2.0", "demo 2.0 again")


def test_another_python_is_another_environment(
    desk: Desk, interpreters: dict[str, Path], lacking: Callable[[str, str], None]
) -> None:
    if len(interpreters) < 2:
        lacking("pythons", "only one Python was found")
    ids = set()
    for version in list(interpreters)[-2:]:
        desk.write("envbuild.yml", f"python: '{version}'\n")
        ids.add(desk.identity())

    assert len(ids) == 2


# Why


def why(desk: Desk, *words: str) -> str:
    return desk.envbuild("why", *words).out


def test_why_names_the_package_and_its_versions(desk: Desk, index: Index) -> None:
    old, new = desk.at("old"), desk.at("new")
    old.requirements("demo<2", index=index)
    new.requirements("demo", "fancy", index=index)

    told = why(desk, str(old.folder), str(new.folder))

    assert "demo: 1.1 → 2.0" in told
    assert "fancy: added 1.0" in told
    assert "helper" not in told
    assert "pip: removed demo<2" in told
    parsed = desk.envbuild("why", "--json", str(old.folder), str(new.folder)).json
    assert parsed["same_environment"] is False
    assert {"path": ["packages", "demo", "version"], "before": "1.1", "after": "2.0"} in parsed["environment"]


def test_why_names_the_variable(desk: Desk, index: Index) -> None:
    slow, fast = desk.at("slow"), desk.at("fast")
    slow.write("envbuild.yml", form(index, "demo", variables={"MODE": "slow"}))
    fast.write("envbuild.yml", form(index, "demo", variables={"MODE": "fast"}))

    told = why(desk, str(slow.folder), str(fast.folder))

    assert "the same environment" in told
    assert "variables: MODE: slow → fast" in told


def test_why_names_the_file_of_a_local_project(desk: Desk) -> None:
    desk.lay(project("lib", "1.0"), "lib")
    desk.write("envbuild.yml", "pip: ['-e ./lib']\n")
    desk.build()

    desk.write("lib/src/lib/__init__.py", "edited = True\n")
    desk.write("lib/src/lib/more.py", "")

    told = why(desk)
    assert "built because" in told
    assert "lib: files: src/lib/__init__.py" in told
    assert "lib: files: src/lib/more.py: added" in told


def test_why_tells_first_builds_reuse_and_change_from_one_another(desk: Desk, index: Index) -> None:
    desk.requirements("demo<2", index=index)
    assert "there is no lock yet" in why(desk)

    desk.lock()
    assert "nobody has built it here yet" in why(desk)

    desk.build()
    assert "reused because" in why(desk)

    twin = desk.at("twin")
    twin.requirements("demo<2", index=index)
    twin.lock()
    assert "another project has built the very same environment" in why(twin)

    desk.requirements("demo", index=index)
    assert "pip: removed demo<2" in why(desk)
    assert "pip: added demo" in why(desk)

    desk.lock("--upgrade")
    assert "built because" in why(desk)
    assert "demo: 1.1 → 2.0" in why(desk)


def test_why_names_a_wheel_that_was_rebuilt(desk: Desk) -> None:
    one, other = desk.at("one"), desk.at("other")
    for each, payload in ((one, ""), (other, "!")):
        made = wheel("private", "1.0", payload=payload)
        each.write(made.filename, made.data)
        each.write("envbuild.yml", f"wheels: [{made.filename}]\n")

    told = why(desk, str(one.folder), str(other.folder))

    assert "private (sha256): " in told


def test_the_document_behind_an_id_is_kept(desk: Desk, index: Index) -> None:
    from envbuild.digest import Digest

    desk.requirements("demo", index=index)
    identity = Digest.parse(desk.identity())

    document = desk.workspace.document(identity)

    assert document.kind == "environment"
    assert document.digest == identity
    assert document.content["packages"]["demo"]["version"] == "2.0"
    written = document.encoded.decode()
    assert not any(place in written for place in (str(desk.root), "http", "127.0.0.1"))


def test_the_lock_says_that_a_local_project_counts_by_its_content(desk: Desk) -> None:
    desk.lay(project("lib", "1.0"), "lib")
    desk.write("envbuild.yml", "pip: ['-e ./lib']\n")

    done = desk.envbuild("lock")

    assert "lib" in done.out
    assert "content" in done.out


# Two spellings of one text

ONE, OTHER = "caf\u00e9", "cafe\u0301"
TWICE = r"'caf\\xe9' and 'cafe\\u0301' are two spellings of one key"


@pytest.mark.parametrize(
    ("file", "text", "line"),
    [
        ("envbuild.yml", "name: a\nazure:\n  deep: {ONE: 1, OTHER: 2}\n", 3),
        ("envbuild.yml", "docker: {enabled: false, ONE: 1, OTHER: 2}\n", 1),
        ("envbuild.yml", "plugins: {mine: [{ONE: 1, OTHER: 2}]}\n", 1),
        ("pyproject.toml", '[tool.envbuild.azure]\n"ONE" = 1\n"OTHER" = 2\n', 1),
        (
            "job.py",
            '# /// script\n# dependencies = []\n# [tool.envbuild.azure]\n# "ONE" = 1\n# "OTHER" = 2\n# ///\n',
            3,
        ),
    ],
)
def test_keys_that_a_digest_could_not_tell_apart_are_refused_where_they_stand(
    tmp_path: Path, file: str, text: str, line: int
) -> None:
    (tmp_path / file).write_text(text.replace("ONE", ONE).replace("OTHER", OTHER), encoding="utf-8")

    with pytest.raises(DefinitionError, match=TWICE) as caught:
        read(tmp_path / file)
    assert caught.value.problems[0].line == line


@pytest.mark.parametrize("part", ["docker", "gpu", "spark", "azure", "plugins"])
def test_a_definition_cannot_be_made_of_such_keys(part: str) -> None:
    with pytest.raises(DefinitionError, match=TWICE):
        Definition(**{part: {"a": {ONE: 1, OTHER: 2}}})


def test_one_key_is_itself_in_either_spelling() -> None:
    one, other = (Definition(azure={"a": {key: 1}}) for key in (ONE, OTHER))

    assert definition_document(one).digest == definition_document(other).digest
    with pytest.raises(ValueError, match=TWICE):
        Document("definition", {ONE: 1, OTHER: 2}).encoded  # noqa: B018


def test_a_local_project_with_files_that_a_digest_could_not_tell_apart_is_refused(desk: Desk) -> None:
    desk.lay(project("lib", "1.0"), "lib")
    (desk.folder / "lib" / ONE).write_text("1")
    if (desk.folder / "lib" / OTHER).exists():
        pytest.skip("this file system knows one name for both")
    (desk.folder / "lib" / OTHER).write_text("2")
    desk.write("envbuild.yml", "pip: [./lib]\n")

    assert r"'cafe\u0301' and 'caf\xe9' are two spellings of one name" in desk.refused("lock").err

    (desk.folder / "lib" / OTHER).unlink()
    (desk.folder / "lib" / ".envbuildignore").write_text("no-*\n")
    (desk.folder / "lib" / os.fsdecode(b"no-\xe9")).write_text("3")
    desk.envbuild("lock")
    (desk.folder / "lib" / os.fsdecode(b"\xe9")).write_text("3")
    assert r"the name of '\udce9' is no Unicode" in desk.refused("lock").err


@pytest.mark.parametrize("names", [(ONE, ONE), (ONE, OTHER)])
def test_a_lock_has_one_package_of_each_name(names: tuple[str, str]) -> None:
    artifact = Artifact(kind="archive", url="https://host.test/a", digest=Digest.of(b"a"), filename="a")
    packages = tuple(
        Package(name=name, version=str(number), kind="odd", artifact=artifact) for number, name in enumerate(names)
    )

    with pytest.raises(ValueError, match="two packages are called"):
        Lock(python="3.11.7", platform=Platform.here(), packages=packages)
