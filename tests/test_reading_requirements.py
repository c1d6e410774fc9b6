"""Requirements files, read as pip reads them."""

from __future__ import annotations

import codecs
from pathlib import Path

import pytest

from envbuild.definition import Definition
from envbuild.digest import Digest
from envbuild.errors import DefinitionError
from envbuild.reading import read, read_with_inputs
from envbuild.reading.requirements import expanded, logical_lines
from envbuild.requirement import PipOptions, Requirement, WheelRef

HASH = "sha256:" + "ab" * 32
WHEEL = "demo_pkg-1.0-py3-none-any.whl"


def write(folder: Path, **files: str | bytes) -> Path:
    """Put files into ``folder``; ``__`` in a name is a '/', the first one is given back."""
    paths = []
    for name, content in files.items():
        path = folder / name.replace("__", "/").replace("_txt", ".txt").replace("_toml", ".toml")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        paths.append(path)
    return paths[0]


def asked(folder: Path, text: str | bytes, **variables: str) -> Definition:
    return read(write(folder, requirements_txt=text), variables=variables)


def texts(definition: Definition) -> list[str]:
    return [each.text for each in definition.pip]


def problems(folder: Path, text: str | bytes, **files: str) -> list[tuple[str, int | None, str]]:
    path = write(folder, requirements_txt=text, **files)
    with pytest.raises(DefinitionError) as caught:
        read(path, variables={})
    return [(Path(each.file).name, each.line, each.message) for each in caught.value.problems]


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("a\nb\r\nc\rd", [(1, "a"), (2, "b"), (3, "c"), (4, "d")]),
        ("a \\\n  >=1", [(1, "a   >=1")]),
        ("a\\\n\\\nb", [(1, "ab")]),
        ("a # why\n#only\n  # indented", [(1, "a")]),
        ("https://h.test/a#egg=b", [(1, "https://h.test/a#egg=b")]),
        ("a\\\n# a comment ends the continuation\nb", [(1, "a"), (3, "b")]),
        ("# a comment is not continued \\\nb", [(2, "b")]),
        ("a\\", [(1, "a")]),
        ("a # x \\\n b", [(1, "a")]),
        ("\n\n\ta\t\n", [(3, "a")]),
    ],
)
def test_lines_are_continued_and_stripped_of_comments_as_pip_does(text: str, lines: list[tuple[int, str]]) -> None:
    # pip joins first: a comment before the backslash swallows the line that follows.
    assert list(logical_lines(text)) == lines


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("${NAME}==1", "numpy==1"),
        ("${name}==1", "${name}==1"),
        ("$NAME==1", "$NAME==1"),
        ("${UNSET}==1", "${UNSET}==1"),
        ("${EMPTY}==1", "${EMPTY}==1"),
        ("-e ${HERE}/lib", "-e /here/lib"),
        ("x @ file://${HERE}/x.whl", "x @ file:///here/x.whl"),
        ("x @ https://${TOKEN}@h.test/${NAME}.whl", "x @ https://${TOKEN}@h.test/${NAME}.whl"),
        ("--index-url ${INDEX}", "--index-url ${INDEX}"),
        ("--extra-index-url=${NAME}", "--extra-index-url=${NAME}"),
        ("-f ${INDEX}", "-f ${INDEX}"),
        ("x @ ${INDEX}", "x @ ${INDEX}"),
    ],
)
def test_variables_are_put_in_except_where_a_url_stands(line: str, found: str) -> None:
    values = {
        "NAME": "numpy",
        "EMPTY": "",
        "HERE": "/here",
        "TOKEN": "secret",
        "INDEX": "https://me:pw@h.test",
        "name": "no",
    }

    assert expanded(line, values) == found


@pytest.mark.parametrize(
    "data",
    [
        "# grüße\nnumpy".encode(),
        codecs.BOM_UTF8 + b"numpy",
        codecs.BOM_UTF16_LE + "numpy".encode("utf-16-le"),
        codecs.BOM_UTF16_BE + "numpy".encode("utf-16-be"),
        codecs.BOM_UTF32_LE + "numpy".encode("utf-32-le"),
        codecs.BOM_UTF32_BE + "numpy".encode("utf-32-be"),
        "# -*- coding: latin-1 -*-\n# grüße\nnumpy".encode("latin-1"),
        "#!x\n# vim: set fileencoding=cp1252 :\n# grüße €\nnumpy".encode("cp1252"),
    ],
)
def test_encodings_are_told_apart_by_mark_comment_or_utf8(tmp_path: Path, data: bytes) -> None:
    assert texts(asked(tmp_path, data)) == ["numpy"]


def test_what_is_not_utf8_is_read_in_the_encoding_of_the_locale(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("locale.getpreferredencoding", lambda _=True: "latin-1")

    assert texts(asked(tmp_path, "# grüße\nnumpy".encode("latin-1"))) == ["numpy"]


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("Scikit_Learn [B,a] >=1.0,<2", "scikit-learn[a,b]<2,>=1.0"),
        ("demo (>=1)", "demo>=1"),
        ("demo;", "demo"),
        ("demo ; python_version < '3.12'", 'demo; python_version < "3.12"'),
        ("demo; platform_machine == 'a/b'", 'demo; platform_machine == "a/b"'),
        ("demo@https://h.test/demo.zip", "demo @ https://h.test/demo.zip"),
        ("Demo[x] @ https://h.test/a.zip ; os_name=='nt'", 'demo[x] @ https://h.test/a.zip ; os_name == "nt"'),
        ("https://h.test/demo_pkg-1.0-py3-none-any.whl", f"demo-pkg @ https://h.test/{WHEEL}"),
        ("https://h.test/demo-1.0.tar.gz", "https://h.test/demo-1.0.tar.gz"),
        ("https://h.test/x.zip#egg=demo&subdirectory=sub", "demo @ https://h.test/x.zip#subdirectory=sub"),
        ("git+https://h.test/x.git@v1#egg=Demo[y]", "demo[y] @ git+https://h.test/x.git@v1"),
        ("git+ssh://git@h.test/x.git", "git+ssh://git@h.test/x.git"),
        ("-e git+https://h.test/x.git@abc#egg=demo", "demo @ git+https://h.test/x.git@abc"),
        ("demo @ git+https://${TOKEN}@h.test/x.git", "demo @ git+https://${TOKEN}@h.test/x.git"),
        ("demo @ git+https://user:pw@h.test/x.git", "demo @ git+https://h.test/x.git"),
    ],
)
def test_requirements_come_into_one_spelling(tmp_path: Path, line: str, text: str) -> None:
    (found,) = asked(tmp_path, line).pip

    assert found == Requirement(Requirement.parse(text).text)


@pytest.mark.parametrize(
    ("line", "text", "editable"),
    [
        ("-e .", "./.", True),
        ("--editable=./", "./.", True),
        ("-e lib", "./lib", True),
        ("-e '.[Dev,a_b]'", "./.[a-b,dev]", True),
        ("-e lib#egg=lib", "./lib", True),
        ("-e lib#egg=lib[x]", "./lib[x]", True),
        ("./lib/", "./lib", False),
        ("lib/../lib", "./lib", False),
        (".", "./.", False),
        ("..", "../.", False),
        ("./lib[b,a] ; python_version<'3'", './lib[a,b] ; python_version < "3"', False),
        ("lib @ ./lib", "./lib", False),
        ("src.tar.gz", "./src.tar.gz", False),
        ("lib/src.zip", "./lib/src.zip", False),
        ("./my dir", "./my dir", False),
    ],
)
def test_paths_are_told_from_the_folder_of_the_definition(tmp_path: Path, line: str, text: str, editable: bool) -> None:
    here = tmp_path / "here"
    for name in ("pyproject_toml", "here__pyproject_toml", "here__lib__pyproject_toml", "here__my dir__pyproject_toml"):
        write(tmp_path, **{name: ""})
    write(here, **{"src.tar.gz": b"", "lib__src.zip": b""})

    assert asked(here, line).pip == (Requirement(text, editable),)


def test_a_path_in_an_included_file_is_told_from_the_definition_that_includes_it(tmp_path: Path) -> None:
    write(tmp_path, lib__pyproject_toml="", lib__needs_txt="-e .\n./sub", lib__sub__setup=b"")
    (tmp_path / "lib/sub/setup.py").touch()

    definition = asked(tmp_path / "app", "-r ../lib/needs.txt")

    assert texts(definition) == ["../lib", "../lib/sub"]


def test_a_path_that_is_not_beside_the_included_file_is_one_beside_the_definition(tmp_path: Path) -> None:
    write(tmp_path, pyproject_toml="", requirements__dev_txt="-e .\npytest")

    assert texts(asked(tmp_path, "-r requirements/dev.txt")) == ["./.", "pytest"]


def test_a_path_in_full_stays_in_full(tmp_path: Path) -> None:
    write(tmp_path, lib__pyproject_toml="")

    assert texts(asked(tmp_path, f"{tmp_path}/lib\nfile://{tmp_path}/lib")) == [f"{tmp_path}/lib"]


@pytest.mark.parametrize(
    ("line", "extras", "marker"),
    [
        (WHEEL, (), ""),
        (f"./{WHEEL}", (), ""),
        (f"./{WHEEL}[Fast] ; os_name == 'nt'", ("fast",), 'os_name == "nt"'),
        (f"demo-pkg[fast] @ file://HERE/{WHEEL}", ("fast",), ""),
        (f"demo_pkg @ ./{WHEEL}", (), ""),
        (f"file:{WHEEL}", (), ""),
        (f"${{WHEELS}}/{WHEEL}", (), ""),
        (f"envbuild://wheels/DIGEST/{WHEEL}", (), ""),
        (f"demo-pkg[fast] @ envbuild://wheels/DIGEST/{WHEEL} ; os_name=='nt'", ("fast",), 'os_name == "nt"'),
        (f"envbuild://wheels/DIGEST/{WHEEL}; os_name=='nt'", (), 'os_name == "nt"'),
    ],
)
def test_wheels_on_this_machine_are_known_by_their_bytes(
    tmp_path: Path, line: str, extras: tuple[str, ...], marker: str
) -> None:
    write(tmp_path, **{WHEEL.replace("__", "_"): b"wheel"})
    digest = Digest.of(b"wheel")
    line = line.replace("HERE", str(tmp_path)).replace("DIGEST", digest.hex)

    definition = asked(tmp_path, line, WHEELS=str(tmp_path))

    assert definition.wheels == (WheelRef(WHEEL, digest, extras, marker),)
    assert definition.pip == ()


def test_a_wheel_is_held_to_the_hashes_beside_it(tmp_path: Path) -> None:
    write(tmp_path, **{WHEEL: b"wheel"})

    assert asked(tmp_path, f"./{WHEEL} --hash={Digest.of(b'wheel')}").wheels
    ((_, line, message),) = problems(tmp_path, f"./{WHEEL} --hash={HASH}")
    assert (line, message) == (1, f"'{WHEEL}' has none of the hashes that are given for it")


def test_options_have_the_effect_that_they_have_in_pip(tmp_path: Path) -> None:
    (tmp_path / "wheels").mkdir()
    options = asked(
        tmp_path,
        "--extra-index-url https://dropped.test/simple\n"
        "-i https://one.test/simple\n--extra-index-url=https://two.test/simple\n-f wheels --pre\n"
        "--find-links https://three.test/links\n--no-binary a,B_c --only-binary a\n--require-hashes\n"
        "--trusted-host h.test\n--use-feature x\n--prefer-binary",
    ).options

    assert options == PipOptions(
        index_url="https://one.test/simple",
        extra_index_urls=("https://two.test/simple",),
        find_links=("./wheels", "https://three.test/links"),
        pre=True,
        no_binary=("b-c",),
        only_binary=("a",),
        require_hashes=True,
    )


@pytest.mark.parametrize(
    ("lines", "no_binary", "only_binary"),
    [
        ("--no-binary :all:", (":all:",), ()),
        ("--no-binary :all:\n--only-binary numpy", (":all:",), ("numpy",)),
        ("--only-binary a\n--no-binary :all:", (":all:",), ()),
        ("--no-binary a,b\n--no-binary :none:", (), ()),
        ("--no-binary a,:all:,b", (":all:",), ()),
        ("--no-binary :all:,:none:,b", ("b",), ()),
    ],
)
def test_formats_replace_each_other(
    tmp_path: Path, lines: str, no_binary: tuple[str, ...], only_binary: tuple[str, ...]
) -> None:
    options = asked(tmp_path, lines).options

    assert (options.no_binary, options.only_binary) == (no_binary, only_binary)


@pytest.mark.parametrize(
    "option",
    ["-rmore.txt", "-r more.txt", "--requirement=more.txt", "--requirement more.txt", "--requirem more.txt"],
)
def test_options_are_written_in_any_of_the_ways(tmp_path: Path, option: str) -> None:
    write(tmp_path, more_txt="numpy")

    assert texts(asked(tmp_path, option)) == ["numpy"]


def test_no_index_leaves_no_index(tmp_path: Path) -> None:
    (tmp_path / "wheels").mkdir()

    options = asked(
        tmp_path, "-i https://one.test\n--extra-index-url https://two.test\n--no-index\n-f ./wheels"
    ).options

    assert options == PipOptions(no_index=True, find_links=("./wheels",))


def test_hashes_go_with_their_requirement(tmp_path: Path) -> None:
    other = "sha256:" + "0" * 64
    (found,) = asked(
        tmp_path, f"numpy==2.0 \\\n    --hash={HASH.upper().replace('SHA', 'sha')} \\\n    --hash {other}"
    ).pip

    assert found == Requirement("numpy==2.0", hashes=(other, HASH))


def test_credentials_are_kept_aside(tmp_path: Path) -> None:
    definition = asked(
        tmp_path,
        "-i https://me:pw@one.test/simple\n--extra-index-url https://${USER}:${PASS}@two.test/simple\n"
        "demo @ https://me:pw@three.test/demo.zip",
        USER="x",
        PASS="y",
    )

    assert definition.options.index_url == "https://one.test/simple"
    assert definition.options.extra_index_urls == ("https://${USER}:${PASS}@two.test/simple",)
    assert texts(definition) == ["demo @ https://three.test/demo.zip"]
    assert definition.credentials == {
        "https://one.test/simple": "https://me:pw@one.test/simple",
        "https://three.test/demo.zip": "https://me:pw@three.test/demo.zip",
    }
    assert "pw" not in repr(definition)


def test_constraints_bound_versions_and_ask_for_nothing(tmp_path: Path) -> None:
    path = write(
        tmp_path, requirements_txt="-c limits.txt\nnumpy", limits_txt="pandas<3\n-c deep.txt", deep_txt="scipy<2"
    )

    definition, inputs = read_with_inputs(path)

    assert texts(definition) == ["numpy"]
    assert [each.text for each in definition.constraints] == ["pandas<3", "scipy<2"]
    assert inputs == (path, tmp_path / "limits.txt", tmp_path / "deep.txt")


def test_a_file_may_be_included_from_two_sides(tmp_path: Path) -> None:
    path = write(tmp_path, requirements_txt="-r a.txt\n-r b.txt", a_txt="-r c.txt", b_txt="-r c.txt", c_txt="numpy")

    assert texts(read(path)) == ["numpy"]


def test_files_that_include_each_other_are_named_in_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    assert problems(tmp_path, "-r a.txt", a_txt="\n-r requirements.txt") == [
        ("a.txt", 2, "a file that includes itself: requirements.txt → a.txt → requirements.txt")
    ]


def test_everything_wrong_is_told_at_once_with_file_and_line(tmp_path: Path) -> None:
    found = problems(
        tmp_path,
        "numpy>>1\n./gone.whl\n-r more.txt\n--no-deps\n-r https://h.test/x.txt\n",
        more_txt="# fine\nfine\n./gone\n-r missing.txt\n",
    )

    assert [(file, line) for file, line, _ in found] == [
        ("requirements.txt", 1),
        ("requirements.txt", 2),
        ("more.txt", 3),
        ("more.txt", 4),
        ("requirements.txt", 4),
        ("requirements.txt", 5),
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("numpy = 1", "not a requirement: 'numpy = 1' (Expected"),
        ("numpy=1", "did you mean '=='?"),
        ("numpy=1.26.4=py311h64a7726_0", "conda's packages stand in an environment.yml"),
        ("conda-forge::numpy", "conda's packages stand in an environment.yml"),
        ("numpy; python_version << '3'", ""),
        ("./gone", "no such file or folder: './gone'"),
        ("gone.whl", "no such file or folder: 'gone.whl'"),
        ("./empty", "the folder has neither pyproject.toml nor setup.py"),
        ("./more.txt", "write -r before it"),
        ("-e ./x.zip", "-e wants the folder of a project"),
        ("-e https://h.test/x.zip", "-e wants a folder or a repository"),
        ("-e gone", "no such file or folder: 'gone'"),
        ("other @ ./demo_pkg-1.0-py3-none-any.whl", "is a wheel of demo-pkg, not of other"),
        ("./bad.whl", "is not the file name of a wheel"),
        ("envbuild://wheels/12/x.whl", "not a sha256"),
        ("ssh://git@h.test/x.git", "a repository is written git+ssh://"),
        ("numpy --index-url https://h.test", "--index-url behind a requirement"),
        ("--pre numpy", "'numpy' follows an option"),
        ("--index-url", "--index-url lacks its value"),
        ("--pre=yes", "--pre takes no value"),
        ("--find-link", "--find-link lacks its value"),
        ("--find-links gone", "neither a URL nor an existing file or folder: 'gone'"),
        ("--finds-links x", "did you mean '--find-links'?"),
        ("--no-deps", "--no-deps is not an option of requirements files"),
        ("-q", "-q is not an option of requirements files"),
        ("-r 'open", "a quote is not closed"),
        ("numpy --global-option=x", "envbuild does not support --global-option"),
        ("numpy --config-settings a=b", "envbuild does not support --config-settings"),
        ("numpy --hash=md5:00", "a hash is sha256:, sha384: or sha512:"),
        ("numpy --hash=sha256:00", "sha256 has 64 hex digits"),
        (f"--hash={HASH}", "--hash stands behind a requirement"),
        ("-r http://h.test/r.txt", "requirements from a URL are not supported"),
        ("-r gone.txt", "no such file"),
        ("-r empty", "is a folder"),
        ("-c limits.txt", "a constraint"),
    ],
)
def test_what_cannot_be_meant_is_told(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "empty").mkdir()
    write(tmp_path, more_txt="x", **{"x.zip": b"", WHEEL: b"", "bad.whl": b""}, limits_txt="./x.zip")

    ((_, number, found),) = problems(tmp_path, f"\n{line}\n")

    assert message in found
    assert number == (1 if line == "-c limits.txt" else 2)


@pytest.mark.parametrize("line", ["demo[x]<2", "-e .", "./demo.zip", f"./{WHEEL}", "https://h.test/demo.zip"])
def test_a_constraint_is_a_name_and_its_versions(tmp_path: Path, line: str) -> None:
    write(tmp_path, pyproject_toml="", **{"demo.zip": b"", WHEEL: b""})

    ((file, number, message),) = problems(tmp_path, "-c limits.txt", limits_txt=line)

    assert (file, number) == ("limits.txt", 1)
    assert "constraint" in message


def test_messages_do_not_repeat_credentials(tmp_path: Path) -> None:
    ((_, _, message),) = problems(tmp_path, "-r https://me:hunter2@h.test/r.txt")

    assert "hunter2" not in message


def test_an_empty_file_asks_for_nothing(tmp_path: Path) -> None:
    path = tmp_path / "requirements.txt"
    path.write_text("\n")

    assert read(path).sections == ()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x7fELF\0\0\0", "binary"),
        (b"# coding: klingon\nnumpy", "unknown encoding: 'klingon'"),
        (b"# coding: ascii\n\xff", "not ascii: byte 0xff"),
    ],
)
def test_files_that_are_no_text_are_refused(tmp_path: Path, data: bytes, message: str) -> None:
    ((_, _, found),) = problems(tmp_path, data)

    assert message in found
