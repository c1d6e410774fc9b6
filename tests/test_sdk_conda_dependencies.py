"""`envbuild.sdk.CondaDependencies`."""

from __future__ import annotations

import copy
import pickle
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from packaging.specifiers import SpecifierSet

from envbuild.reading import read
from envbuild.sdk.conda_dependencies import CondaDependencies
from envbuild.sdk.conda_entries import contradict, read_conda, read_pip
from envbuild.sdk.exceptions import UserErrorException

HERE = f"{sys.version_info.major}.{sys.version_info.minor}"
HEX = "a" * 64

COMMENTED = """\
# What the web service needs.
name: web  # not the database
channels:
- conda-forge  # first

- defaults
dependencies:
  # The one that production has.
  - python=3.11
  - numpy=2.1   # until 2.2 is fixed
  - pip:
      # ours
      - flask[async]>=3   # the web
      - --extra-index-url https://pypi.test/simple
# That is all.
"""


def empty() -> CondaDependencies:
    return CondaDependencies(_underlying_structure={})


def loaded(folder: Path, text: str) -> CondaDependencies:
    path = folder / "environment.yml"
    path.write_text(text)
    return CondaDependencies(path)


def refused(call: object, *arguments: object) -> str:
    assert callable(call)
    with pytest.raises(UserErrorException) as caught:
        call(*arguments)
    return caught.value.message


def test_unasked_it_is_the_python_of_this_interpreter_and_nothing_else() -> None:
    asked = CondaDependencies()

    assert asked.as_dict() == {
        "name": "project_environment",
        "channels": ["conda-forge"],
        "dependencies": [f"python={HERE}"],
    }
    assert asked.get_python_version() == asked.python_version == HERE
    assert asked.pip_packages == ()
    assert asked.get_default_number_of_packages() == 0


@pytest.mark.parametrize(
    ("package", "said"),
    [
        ("numpy=>1", "conda has no '=>'; did you mean '>='?"),
        ("conda-forge::numpy >1,=<2", "conda has no '=<'; did you mean '<='?"),
        ("numpy<>1", "conda has no '<>'"),
        ("numpy>=", "no version stands behind '>='"),
    ],
)
def test_a_comparison_that_conda_does_not_know_is_refused_at_once(package: str, said: str) -> None:
    asked = empty()

    assert said in refused(asked.add_conda_package, package)
    assert asked.as_dict().get("dependencies", []) == []


@pytest.mark.parametrize(
    "package", ["numpy=1=*_openblas", "numpy >=1, <2", "numpy>1|<0.5", "numpy=*", "numpy[version='>=1']", "numpy!=1.*"]
)
def test_every_comparison_of_condas_is_taken(package: str) -> None:
    asked = empty()
    asked.add_conda_package(package)

    assert package in asked.as_dict()["dependencies"]


def test_a_file_that_compares_wrongly_can_be_mended(tmp_path: Path) -> None:
    asked = loaded(tmp_path, "dependencies: [numpy=>1]\n")
    asked.remove_conda_package("numpy")

    assert asked.as_dict()["dependencies"] == []


def test_packages_may_come_in_an_array() -> None:
    class Text(str):
        """As numpy's texts are."""

    class Array(list[str]):
        """As numpy's arrays are."""

        def __bool__(self) -> bool:
            raise ValueError("The truth value of an array with more than one element is ambiguous")

    made = CondaDependencies.create(conda_packages=Array([Text("scipy")]), pip_packages=Array([Text("rich"), "idna"]))

    assert made.pip_packages == ("rich", "idna")
    assert "- rich" in made.serialize_to_string()
    assert "- scipy" in made.serialize_to_string()


def test_create_takes_everything_at_once() -> None:
    asked = CondaDependencies.create(
        pip_indexurl="https://pypi.test/simple",
        pip_packages=["flask", "rich>=13"],
        conda_packages=["NumPy=2.1"],
        python_version="3.11.7",
        pin_sdk_version=False,
    )

    assert asked.conda_packages == ("python=3.11.7", "numpy=2.1")
    assert asked.pip_packages == ("flask", "rich>=13")
    assert asked.pip_options == ("--index-url https://pypi.test/simple",)


def test_a_python_among_the_packages_is_the_one_that_is_meant() -> None:
    assert CondaDependencies.create(conda_packages=["numpy", "python=3.9"]).python_version == "3.9"
    assert CondaDependencies.create(python_version=None).python_version is None
    said = refused(lambda: CondaDependencies.create(conda_packages=["python=3.9"], python_version="3.8"))
    assert "python_version='3.8' contradicts 'python=3.9'" in said


def test_packages_are_a_list_and_not_one_text() -> None:
    assert "put [ ] around it" in refused(lambda: CondaDependencies.create(pip_packages="numpy"))


@pytest.mark.parametrize(
    ("spec", "version"),
    [("python", None), ("python>=3.9", ">=3.9"), ("python=3.10", "3.10"), ("Python ==3.10.4", "3.10.4")],
)
def test_each_way_to_ask_for_a_python_is_kept_as_it_is_meant(spec: str, version: str | None) -> None:
    asked = CondaDependencies()
    asked.add_conda_package(spec)

    assert asked.get_python_version() == version
    assert len(asked.conda_packages) == 1


def test_python_can_be_set_and_left_open_but_not_removed() -> None:
    asked = CondaDependencies()
    asked.set_python_version(">=3.9,<3.13")
    assert asked.conda_packages == ("python>=3.9,<3.13",)
    asked.set_python_version(None)
    assert asked.conda_packages == ()
    asked.set_python_version("3.12")
    assert asked.conda_packages == ("python=3.12",)

    assert "set_python_version" in refused(asked.remove_conda_package, "python")
    assert "put quotes around it" in refused(asked.set_python_version, 3.1)
    assert "not understood" in refused(asked.set_python_version, "three")
    assert asked.conda_packages == ("python=3.12",)


@pytest.mark.parametrize(
    ("first", "second", "both"),
    [
        ("numpy", "numpy", "numpy"),
        ("numpy=1.2", "NumPy =1.2", "numpy=1.2"),
        ("numpy", "numpy=1.2", "numpy=1.2"),
        ("numpy=1.2", "numpy", "numpy=1.2"),
        ("numpy>=1", "numpy==1.5", "numpy==1.5"),
        ("numpy==1.5", "numpy>=1", "numpy==1.5"),
        ("numpy>=1", "numpy<2", "numpy>=1,<2"),
        ("numpy=1.2", "numpy!=1.2.3", "numpy 1.2.*,!=1.2.3"),
        ("openssl=1.1.1w", "openssl", "openssl=1.1.1w"),
        ("numpy", "conda-forge::numpy=1.2=py39_0", "conda-forge::numpy=1.2=py39_0"),
    ],
)
def test_what_conda_is_asked_twice_is_asked_with_both(first: str, second: str, both: str) -> None:
    asked = CondaDependencies()
    asked.add_conda_package(first)
    asked.add_conda_package(second)

    assert asked.conda_packages[1:] == (both,)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("Pillow", "pillow"),
        ("Pillow>=9", "pillow[webp]"),
        ("ruamel.yaml", "ruamel_yaml==0.18"),
        ("numpy==1", "numpy==2"),
        ("numpy>=1", "numpy<2"),
        ("numpy>=1 ; python_version < '3.9'", "numpy<2; python_version<'3.9'"),
        ("demo", "demo @ https://host.test/demo.zip"),
        ("demo==1.0", f"envbuild://wheels/{HEX}/demo-1.0-py3-none-any.whl"),
        (f"envbuild://wheels/{HEX}/demo-1-py3-none-any.whl", f"envbuild://wheels/{'b' * 64}/demo-1-py3-none-any.whl"),
        ("./lib", "./lib"),
    ],
)
def test_what_pip_is_asked_again_takes_the_place_of_what_it_was_asked(first: str, second: str) -> None:
    asked = CondaDependencies()
    asked.add_pip_package(first)
    asked.add_pip_package("rich")
    asked.add_pip_package(second)

    assert asked.pip_packages == ("rich", second)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("numpy==1", "numpy==2"),
        ("numpy>=2", "numpy<2"),
        ("numpy=1.4", "numpy>1.5"),
    ],
)
def test_a_contradiction_is_refused_where_it_is_added(first: str, second: str) -> None:
    asked = CondaDependencies()
    asked.add_conda_package(first)

    said = refused(asked.add_conda_package, second)
    assert repr(first) in said
    assert repr(second) in said
    assert "remove_conda_package(" in said
    assert asked.conda_packages[1:] == (first,)


def test_what_cannot_be_said_in_one_entry_is_refused() -> None:
    asked = CondaDependencies.create(conda_packages=["conda-forge::numpy"])
    said = refused(asked.add_conda_package, "numpy=1.2")
    assert "'numpy=1.2' cannot be made one with 'conda-forge::numpy'" in said
    asked.add_conda_package("conda-forge::numpy=1.2")
    assert asked.conda_packages[1:] == ("conda-forge::numpy=1.2",)


def test_conda_and_pip_may_not_contradict_each_other() -> None:
    asked = CondaDependencies.create(conda_packages=["scikit_learn=1.5"])
    asked.add_pip_package("scikit-learn>=1.5.1")
    said = refused(asked.add_pip_package, "Scikit.Learn==1.6")
    assert "'Scikit.Learn==1.6' of pip contradicts 'scikit_learn=1.5', which conda is asked for already" in said
    assert "contradicts" in refused(asked.add_conda_package, "scikit-learn<1.5")
    assert "contradicts" in refused(asked.set_pip_requirements, ["rich", "scikit-learn==1.4"])
    assert asked.pip_packages == ("scikit-learn>=1.5.1",)

    asked = CondaDependencies.create(conda_packages=["demo"])
    assert "contradicts" in refused(asked.add_pip_package, "demo @ https://host.test/demo.zip")


def test_other_markers_make_other_entries() -> None:
    asked = CondaDependencies()
    for package in ("numpy==1; python_version<'3.9'", "numpy==2; python_version>='3.9'"):
        asked.add_pip_package(package)

    assert len(asked.pip_packages) == 2


CLAUSES = st.builds(
    lambda operator, version: f"{operator}{version}",
    st.sampled_from(["==", "!=", ">=", "<=", ">", "<", "~="]),
    st.builds("{}.{}{}".format, st.integers(0, 3), st.integers(0, 3), st.sampled_from(["", ".1", "a1", ".post1"])),
)


@given(st.lists(CLAUSES, min_size=1, max_size=2), st.lists(CLAUSES, min_size=1, max_size=2))
def test_two_ranges_contradict_only_if_no_version_is_in_both(one: list[str], other: list[str]) -> None:
    both = SpecifierSet(",".join(one + other))
    some = [f"{a}.{b}{c}" for a in range(4) for b in range(5) for c in ("", ".1", ".2", "a1", "a2", ".post1", ".post2")]
    shared = any(both.contains(each, prereleases=True) for each in some)

    assert not (shared and contradict(read_pip(f"demo{','.join(one)}"), read_pip(f"demo{','.join(other)}")))


@given(CLAUSES, CLAUSES)
def test_the_order_in_which_packages_are_added_changes_nothing_that_they_mean(one: str, other: str) -> None:
    def added(*clauses: str) -> SpecifierSet | None:
        asked = empty()
        try:
            for each in clauses:
                asked.add_conda_package(f"demo{each}")
        except UserErrorException:
            return None
        return read_conda(asked.conda_packages[0]).versions

    first, second = added(one, other), added(other, one)
    assert (first is None) == (second is None)
    if first is not None and second is not None:
        assert all(first.contains(each) == second.contains(each) for each in ("0.0", "1.1", "1.1.1", "2.0", "3.3"))


@pytest.mark.parametrize("wrong", ["", 3, None, "numpy=1.2", "two words", "demo-1.whl", "numpy>=x"])
def test_what_is_no_requirement_is_refused(wrong: object) -> None:
    asked = CondaDependencies()
    refused(asked.add_pip_package, wrong)
    assert asked == CondaDependencies()


@pytest.mark.parametrize("wrong", ["", 3, "two words", "demo @ https://host.test/demo.zip", "pip:"])
def test_what_is_no_package_of_conda_is_refused(wrong: object) -> None:
    refused(CondaDependencies().add_conda_package, wrong)


def test_a_single_equals_sign_is_understood() -> None:
    assert "did you mean '=='?" in refused(CondaDependencies().add_pip_package, "numpy=1.2")


def test_packages_are_removed_by_name_whatever_the_version_and_spelling() -> None:
    asked = CondaDependencies.create(
        conda_packages=["numpy=1.2", "conda-forge::scipy"],
        pip_packages=["Pillow==9", "./lib", f"envbuild://wheels/{HEX}/demo-1.0-py3-none-any.whl"],
    )
    for package in ("NUMPY", "scipy=3", "never-there"):
        asked.remove_conda_package(package)
    for package in ("pillow", "demo", "./lib", "never-there"):
        asked.remove_pip_package(package)

    assert asked.as_dict() == CondaDependencies().as_dict()


def test_options_replace_those_of_their_name_and_stand_apart_from_packages() -> None:
    asked = CondaDependencies.create(pip_packages=["flask"])
    asked.set_pip_option("--extra-index-url https://a.test/simple")
    asked.set_pip_option("--extra-index-url https://b.test/simple --extra-index-url https://c.test/simple")
    asked.set_pip_option("--pre")
    asked.set_pip_option("-e ./lib")
    asked.set_pip_option("-e ./other")

    assert asked.pip_packages == ("flask",)
    assert asked.pip_options == (
        "--extra-index-url https://b.test/simple --extra-index-url https://c.test/simple",
        "--pre",
        "-e ./lib",
        "-e ./other",
    )
    asked.remove_pip_option("--extra-index-url")
    asked.remove_pip_option("--editable ./lib")
    asked.remove_pip_option("--no-index")
    assert asked.pip_options == ("--pre", "-e ./other")


def test_options_are_checked_where_they_are_set() -> None:
    asked = CondaDependencies()
    assert "add_pip_package" in refused(asked.set_pip_option, "numpy")
    assert "did you mean '--extra-index-url'?" in refused(asked.set_pip_option, "--extra-index-urls x")
    assert "set_pip_option" in refused(asked.add_pip_package, "-e .")
    refused(asked.remove_pip_option, "numpy")


@pytest.mark.parametrize("url", ["https://pypi.test/simple", "--index-url https://pypi.test/simple"])
def test_an_index_is_set_by_its_url_or_as_azure_has_it(url: str) -> None:
    asked = CondaDependencies()
    asked.set_pip_option("--extra-index-url https://more.test/simple")
    asked.set_pip_index_url("https://old.test/simple")
    asked.set_pip_index_url(url)

    # pip has an index replace those named before it.
    assert asked.pip_options == (
        "--index-url https://pypi.test/simple",
        "--extra-index-url https://more.test/simple",
    )
    refused(asked.set_pip_index_url, "pypi")
    refused(asked.set_pip_index_url, "--pre")


def test_lines_of_a_requirements_file_are_taken_as_they_are() -> None:
    lines = ["# ours", "", "flask>=3  # the web", "-r more.txt", "-e .", f"demo==1 \\\n    --hash=sha256:{HEX}"]
    asked = CondaDependencies.create(pip_packages=["gone"])
    asked.set_pip_requirements("\n".join(lines).splitlines(keepends=True))

    assert asked.as_dict()["dependencies"][-1] == {"pip": lines}
    assert asked.pip_packages == ("flask>=3", lines[-1])
    assert asked.pip_options == ("-r more.txt", "-e .")
    assert yaml.safe_load(asked.serialize_to_string()) == asked.as_dict()
    asked.set_pip_requirements([])
    assert asked == CondaDependencies()


def test_channels_keep_their_order() -> None:
    asked = CondaDependencies()
    for channel in ("nvidia", "conda-forge", "https://conda.test/private"):
        asked.add_channel(channel)
    assert asked.conda_channels == ("conda-forge", "nvidia", "https://conda.test/private")
    asked.remove_channel("conda-forge")
    asked.remove_channel("never-there")
    assert asked.conda_channels == ("nvidia", "https://conda.test/private")
    refused(asked.add_channel, "two words")


def test_requirements_are_merged_by_package() -> None:
    merged = CondaDependencies.merge_requirements(["b>=1", "A", "B<3", "a[x]"])
    assert merged == ["b>=1,<3", "a[x]"]
    assert "contradicts" in refused(CondaDependencies.merge_requirements, ["b>=3", "B<3"])


def test_tensorflow_is_asked_for_under_the_name_it_has_at_that_version() -> None:
    asked = CondaDependencies()
    asked.add_tensorflow_conda_package(version="2.16")
    assert asked.conda_packages[1:] == ("tensorflow=2.16",)
    asked.remove_tensorflow_conda_package()
    for version, package in {
        None: "tensorflow[and-cuda]",
        "2.16.1": "tensorflow[and-cuda]==2.16.1",
        "2.9.0": "tensorflow==2.9.0",
        "1.15.0": "tensorflow-gpu==1.15.0",
    }.items():
        asked.add_tensorflow_pip_package("gpu", version)
        assert asked.pip_packages == (package,)
        asked.remove_tensorflow_pip_package()
    assert asked == CondaDependencies()
    assert "'cpu' or 'gpu'" in refused(asked.add_tensorflow_pip_package, "tpu")
    assert "not published any more" in refused(asked.add_cntk_package)


def test_an_unchanged_file_is_saved_to_the_byte(tmp_path: Path) -> None:
    asked = loaded(tmp_path, COMMENTED)
    asked.add_pip_package("rich")
    asked.remove_pip_package("rich")

    assert asked.save(tmp_path / "copy.yml") == str(tmp_path / "copy.yml")
    assert (tmp_path / "copy.yml").read_text() == COMMENTED


def test_a_changed_file_keeps_its_order_and_its_comments(tmp_path: Path) -> None:
    asked = loaded(tmp_path, COMMENTED)
    asked.add_conda_package("scipy")
    asked.add_pip_package("rich")
    asked.remove_channel("defaults")

    assert (
        asked.serialize_to_string()
        == """\
# What the web service needs.
name: web  # not the database
channels:
  - conda-forge  # first
dependencies:
  # The one that production has.
  - python=3.11
  - numpy=2.1  # until 2.2 is fixed
  - scipy
  - pip:
      # ours
      - flask[async]>=3  # the web
      - --extra-index-url https://pypi.test/simple
      - rich
# That is all.
"""
    )


def test_a_comment_goes_with_its_entry(tmp_path: Path) -> None:
    asked = loaded(tmp_path, COMMENTED)
    asked.remove_conda_package("numpy")
    asked.remove_pip_package("flask")

    written = asked.serialize_to_string()
    assert "2.2" not in written
    assert "# ours" not in written


def test_what_looks_like_a_comment_in_a_text_is_none(tmp_path: Path) -> None:
    asked = loaded(
        tmp_path,
        'name: "web # one"  # the web\ndependencies: [python, {pip: ["rich # why", "demo @ https://host.test/#egg=demo"]}]',
    )
    asked.add_channel("conda-forge")

    written = asked.serialize_to_string()
    assert written.startswith("name: 'web # one'  # the web\n")
    assert yaml.safe_load(written) == asked.as_dict()


def test_a_block_of_lines_for_pip_is_taken_apart(tmp_path: Path) -> None:
    asked = loaded(tmp_path, "dependencies:\n- pip:\n  - |\n    # ours\n    rich\n    demo==1\n  # last\n  - flask\n")

    assert asked.pip_packages == ("rich", "demo==1", "flask")
    asked.remove_pip_package("rich")
    assert asked.serialize_to_string() == (
        "dependencies:\n  - pip:\n      - '# ours'\n      - demo==1\n      # last\n      - flask\n"
    )


NAMES = st.text(max_size=12)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "name": NAMES,
            "channels": st.lists(NAMES.filter(str.strip), max_size=3),
            "variables": st.dictionaries(NAMES, NAMES | st.integers(), max_size=3),
            "dependencies": st.lists(NAMES.filter(str.strip), max_size=3).flatmap(
                lambda packages: st.lists(NAMES.filter(lambda each: len(each.splitlines()) < 2), min_size=1).map(
                    lambda pip: [
                        *packages,
                        {"pip": [line.strip("\r\n\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029") for line in pip]},
                    ]
                )
            ),
        },
    )
)
def test_whatever_it_says_is_read_back_from_what_it_writes(form: dict[str, object]) -> None:
    asked = CondaDependencies(_underlying_structure=form)

    assert yaml.safe_load(asked.serialize_to_string()) == (asked.as_dict() or None)


def test_what_is_written_is_read_as_the_same_definition(tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "pyproject.toml").touch()
    asked = loaded(tmp_path, COMMENTED)
    before = read(tmp_path / "environment.yml")
    asked.set_pip_option("-e ./lib")
    asked.remove_pip_option("-e ./lib")
    asked.add_conda_package("scipy")
    asked.remove_conda_package("scipy")
    asked.save(tmp_path / "environment.yml")

    assert read(tmp_path / "environment.yml") == before
    assert asked.path == tmp_path / "environment.yml"


def test_a_file_without_python_gets_none(tmp_path: Path) -> None:
    asked = loaded(tmp_path, "dependencies:\n- numpy\n")

    assert asked.get_python_version() is None
    assert asked.conda_packages == ("numpy",)


def test_all_that_is_wrong_with_a_file_is_told_with_its_lines(tmp_path: Path) -> None:
    said = refused(
        loaded, tmp_path, "name: 3\nchanels: []\nchannels: defaults\ndependencies:\n- 7\n- pip: [1]\nvariables: []\n"
    )

    assert [each.partition("environment.yml:")[2][:2] for each in said.splitlines()] == [
        "1:",
        "2:",
        "3:",
        "7:",
        "5:",
        "6:",
    ]
    assert "unknown key 'chanels'; did you mean 'channels'?" in said


@pytest.mark.parametrize("text", ["", "- a\n- list\n", "just a text", "name: [", "a: !!python/object:x {}\n"])
def test_a_file_that_is_not_conda_s_form_is_refused(text: str, tmp_path: Path) -> None:
    assert "environment.yml" in refused(loaded, tmp_path, text)


def test_a_selector_of_conda_build_is_not_taken_for_a_comment(tmp_path: Path) -> None:
    said = refused(loaded, tmp_path, "dependencies:\n- numpy\n- pywin32  # [win]\n")
    assert "environment.yml:3: selectors" in said


def test_a_missing_file_is_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere\.yml"):
        CondaDependencies(tmp_path / "nowhere.yml")
    assert "is a folder" in refused(CondaDependencies, tmp_path)


def test_plain_data_is_checked_like_a_file() -> None:
    said = refused(lambda: CondaDependencies(_underlying_structure={"dependencies": [1], "nam": "x"}))
    assert "dependencies[0]" in said
    assert "did you mean 'name'?" in said
    refused(lambda: CondaDependencies("environment.yml", _underlying_structure={}))


def test_plain_data_is_copied_in_and_out() -> None:
    form = {"dependencies": ["python", {"pip": ["rich"]}]}
    asked = CondaDependencies(_underlying_structure=form)
    asked.add_pip_package("flask")
    asked.as_dict()["dependencies"].clear()

    assert form == {"dependencies": ["python", {"pip": ["rich"]}]}
    assert asked.pip_packages == ("rich", "flask")


def test_it_is_saved_where_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    asked = CondaDependencies()
    assert asked.path is None
    assert asked.save() == str(tmp_path / "conda_dependencies.yml")
    assert asked.save_to_file(tmp_path, "other.yml") == "other.yml"
    assert CondaDependencies("other.yml") == CondaDependencies(tmp_path / "conda_dependencies.yml") == asked
    assert "a folder" in refused(asked.save, tmp_path)
    assert "cannot be written" in refused(asked.save, tmp_path / "no" / "where.yml")


def test_it_compares_by_what_it_asks_for_and_can_be_copied(tmp_path: Path) -> None:
    asked = loaded(tmp_path, COMMENTED)
    for other in (
        copy.deepcopy(asked),
        pickle.loads(pickle.dumps(asked)),
        CondaDependencies(_underlying_structure=asked.as_dict()),
    ):
        assert other == asked
        other.add_pip_package("rich")
        assert other != asked
    assert copy.deepcopy(asked).serialize_to_string() == COMMENTED
    assert asked != "web"


def test_its_lists_can_be_counted_compared_and_read_twice() -> None:
    asked = CondaDependencies.create(pip_packages=["a", "b"])
    packages = asked.pip_packages
    assert (len(packages), list(packages), list(packages)) == (2, ["a", "b"], ["a", "b"])
    asked.add_pip_package("c")
    assert packages == ("a", "b")


def test_what_it_has_not_cannot_be_set() -> None:
    with pytest.raises(AttributeError, match="did you mean 'pip_packages'"):
        CondaDependencies().pip_package = ["numpy"]
    with pytest.raises(AttributeError):
        CondaDependencies().pip_packages = ("numpy",)  # type: ignore[misc]


def test_passwords_are_used_and_never_shown(tmp_path: Path) -> None:
    asked = loaded(tmp_path, "channels: ['https://conda.test/t/tk-hunter2/x']\ndependencies: [python]\n")
    asked.set_pip_index_url("https://me:hunter2@pypi.test/simple")
    asked.add_pip_package("demo @ https://me:hunter2@host.test/demo.zip?sig=hunter2")

    assert "hunter2" not in repr(asked)
    assert "pypi.test" in repr(asked)
    for call, value in (
        (asked.set_pip_index_url, "x://me:hunter2@host.test/ https://me:hunter2@host.test/"),
        (asked.set_pip_option, "--index-url x://me:hunter2@host.test/ https://me:hunter2@host.test/"),
        (asked.add_conda_package, "https://me:hunter2@host.test/demo.zip"),
        (asked.remove_pip_option, "https://me:hunter2@host.test/"),
    ):
        assert "hunter2" not in refused(call, value)
    asked.remove_pip_package("demo")
    asked.save(tmp_path / "environment.yml")
    definition = read(tmp_path / "environment.yml")
    assert definition.options.index_url == "https://pypi.test/simple"
    assert definition.credentials["https://pypi.test/simple"] == "https://me:hunter2@pypi.test/simple"
