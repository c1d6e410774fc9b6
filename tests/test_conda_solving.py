"""Solving for conda packages: what a definition means by them, and what a lock keeps."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from support.channel import Channel, serving
from support.conda_definition import asks
from support.desk import Desk, mentions
from support.index import Index
from support.packages import wheel

from envbuild.lock import Lock


def versions(lock: Lock) -> dict[str, str | None]:
    return {each.name: each.version for each in lock.packages}


@pytest.mark.parametrize(
    ("spec", "version"),
    [
        ("almanac", "2.0"),
        ("almanac=1", "1.1"),
        ("almanac=1.0", "1.0"),
        ("almanac==1.0", "1.0"),
        ("almanac 1.*", "1.1"),
        ("almanac>=1.0,<1.1", "1.0"),
        ("almanac >=1.0, !=2.0", "1.1"),
        ("almanac 1.0|1.1", "1.1"),
        ("almanac~=1.0", "1.1"),
        ("almanac=1.1=pyhd_0", "1.1"),
        ("almanac 1.1 pyhd_0", "1.1"),
        ("almanac[version='>=1,<2']", "1.1"),
        ("almanac[version='1.1',build='pyhd*']", "1.1"),
        ("Almanac=1.0", "1.0"),
    ],
)
def test_a_match_spec_means_what_it_means_to_conda(desk: Desk, channel: Channel, spec: str, version: str) -> None:
    asks(desk, channel.url, "python=3.11", spec)
    assert versions(desk.lock())["almanac"] == version


def test_a_spec_may_ask_for_a_build(desk: Desk, channel: Channel) -> None:
    asks(desk, channel.url, "python=3.11", "kernel=1.0=cpu_0")
    (kernel,) = [each for each in desk.lock().packages if each.name == "kernel"]
    assert (kernel.details["build"], kernel.details["build_number"]) == ("cpu_0", "0")


def test_python_is_condas_and_as_the_definition_asks(desk: Desk, channel: Channel) -> None:
    asks(desk, channel.url, "python>=3.11,<3.12", "almanac")
    lock = desk.lock()
    python = lock.find("python")
    assert python is not None
    assert python.kind == "conda"
    assert lock.python == python.version
    assert lock.python.startswith("3.11.")


def test_a_lock_has_all_that_identifies_a_package(desk: Desk, channel: Channel) -> None:
    asks(desk, channel.url, "python=3.11", "almanac=1.1")
    almanac = desk.lock().find("almanac")
    (packed,) = [each for each in channel.find("almanac") if each.about["version"] == "1.1"]
    assert almanac is not None
    assert almanac.artifact.digest is not None
    assert almanac.artifact.digest.hex == packed.sha256
    assert almanac.artifact.size == len(packed.data)
    assert almanac.artifact.url == f"{channel.url}/noarch/{packed.filename}"
    assert almanac.details == {
        "build": "pyhd_0",
        "build_number": "0",
        "channel": "main",
        "depends": "python >=3.8\nhelper",
        "md5": packed.md5,
        "noarch": "python",
        "provides": "almanac",
        "subdir": "noarch",
        "timestamp": "1736942400000",
    }


# Channels


def test_the_first_channel_that_has_a_package_is_the_only_one_for_it(
    desk: Desk, channel: Channel, channels: Callable[[str], Channel]
) -> None:
    own = channels("own")
    own.add("helper", "0.9", build="pyhd_0", noarch="python")

    asks(desk, [own.url, channel.url], "python=3.11", "helper")
    assert versions(desk.lock())["helper"] == "0.9"

    asks(desk, [own.url, channel.url], "python=3.11", "helper>=1")
    complaint = desk.refused("lock").err
    assert "strict channel priority" in complaint
    assert "helper" in complaint


def test_a_package_may_be_asked_of_one_channel(
    desk: Desk, channel: Channel, channels: Callable[[str], Channel]
) -> None:
    own = channels("own")
    own.add("helper", "0.9", build="pyhd_0", noarch="python")

    asks(desk, channel.url, "python=3.11", f"{own.url}::helper")
    lock = desk.lock()

    helper = lock.find("helper")
    assert helper is not None
    assert (helper.version, helper.details["channel"]) == ("0.9", "own")


def test_a_channel_may_be_a_folder_beside_the_definition(desk: Desk, channels: Callable[[str], Channel]) -> None:
    made = channels("main")
    made.add("python", "3.11.0", build="0_cpython", python_site_packages_path="lib/python3.11/site-packages")
    made.add("plain")
    made.index()
    made.folder.rename(desk.folder / "packages")

    asks(desk, "./packages", "python=3.11", "plain")
    lock = desk.lock()

    plain = lock.find("plain")
    assert plain is not None
    assert plain.artifact.url is None
    assert plain.artifact.path is not None
    assert plain.artifact.path.startswith("packages/")
    assert str(desk.root) not in (desk.folder / "pylock.toml").read_text()


def test_names_of_channels_lead_where_the_users_configuration_says(desk: Desk, channel: Channel) -> None:
    alias = channel.folder.parent.as_uri()
    asks(desk, ["main", "nodefaults"], "python=3.11", "almanac")
    assert versions(desk.set(CONDA_CHANNEL_ALIAS=alias).lock())["almanac"] == "2.0"

    asks(desk, ["defaults"], "python=3.11", "almanac=1.0")
    condarc = desk.root / "home/.condarc"
    condarc.write_text(f"default_channels: [{channel.url}]\n")
    assert versions(desk.lock())["almanac"] == "1.0"

    asks(desk, ["corp"], "python=3.11", "almanac=1.1")
    (channel.folder.parent / "corp").symlink_to(channel.folder, target_is_directory=True)
    condarc.write_text(f"custom_channels:\n  corp: {alias}\n")
    assert versions(desk.lock())["almanac"] == "1.1"


def test_a_channel_that_is_not_there_is_named(desk: Desk) -> None:
    asks(desk, "file:///nowhere/to-be-found", "python=3.11", "almanac")
    complaint = desk.refused("lock").err
    assert "a channel cannot be read" in complaint
    assert "file:///nowhere/to-be-found" in complaint


@pytest.mark.parametrize("way", ["variable", "inline", "token", "netrc"])
def test_credentials_open_a_channel_and_stand_nowhere(desk: Desk, channel: Channel, way: str) -> None:
    opens = {"token": "tk-5ecret"} if way == "token" else {"password": "s3cret!pw"}
    with serving(channel, **opens) as server:
        url = {
            "variable": server.url.replace("://", "://me:${CHANNEL_PASSWORD}@"),
            "inline": server.with_password("s3cret%21pw"),
            "token": server.with_token(),
            "netrc": server.url,
        }[way]
        if way == "netrc":
            (desk.root / "home/.netrc").write_text("machine 127.0.0.1 login me password s3cret!pw\n")
            (desk.root / "home/.netrc").chmod(0o600)
        desk = desk.set(CHANNEL_PASSWORD="s3cret!pw" if way == "variable" else "")
        asks(desk, url, "python=3.11", "almanac")

        told = desk.envbuild("lock").told
        prefix = desk.build("environment.yml")
        asks(desk, url, "python=3.11", "no-such-package")
        told += desk.refused("build").told

    workspace = desk.root / "workspace"
    secrets = ("s3cret!pw", "s3cret%21pw", "tk-5ecret")
    assert not any(each in told for each in secrets)
    assert mentions(workspace, *secrets) == []
    assert mentions(desk.root / "home/.cache", *secrets) == []
    assert not any(each in (desk.folder / "pylock.toml").read_text() for each in secrets)
    assert prefix.python("import almanac; print(almanac.__version__)") == "2.0"


def test_a_channel_that_does_not_open_says_how_it_could(desk: Desk, channel: Channel) -> None:
    with serving(channel, password="right") as server:
        asks(desk, server.with_password("wr0ng-one"), "python=3.11", "almanac")
        complaint = desk.refused("lock").err
    assert "a channel does not open" in complaint
    assert "wr0ng-one" not in complaint


def test_what_opens_a_channel_and_is_not_set_is_named(desk: Desk) -> None:
    asks(desk, "https://me:${NO_SUCH_TOKEN}@conda.test/main", "python=3.11", "almanac")
    assert "NO_SUCH_TOKEN" in desk.refused("lock").err


def test_the_id_does_not_depend_on_where_a_channel_is(desk: Desk, channel: Channel) -> None:
    asks(desk, channel.url, "python=3.11", "almanac")
    first = desk.identity()
    with serving(channel) as server:
        asks(desk, server.url, "python=3.11", "almanac")
        assert desk.identity() == first


# The machine


def test_packages_for_a_gpu_are_chosen_where_there_is_one(desk: Desk, channel: Channel) -> None:
    asks(desk, channel.url, "python=3.11", "kernel")
    without = desk.set(CONDA_OVERRIDE_CUDA="").lock().find("kernel")
    lock = desk.set(CONDA_OVERRIDE_CUDA="12.4").lock("--upgrade")
    there = lock.find("kernel")
    assert without is not None
    assert there is not None
    assert (without.details["build"], there.details["build"]) == ("cpu_1", "cuda_2")
    assert "__cuda=12.4=0" in lock.system


def test_a_machine_that_lacks_something_is_told_what(desk: Desk, channel: Channel) -> None:
    asks(desk, channel.url, "python=3.11", "kernel=1.0=cuda_2")
    complaint = desk.set(CONDA_OVERRIDE_CUDA="").refused("lock").err
    assert "__cuda >=12" in complaint
    assert "CONDA_OVERRIDE_CUDA" in complaint


def test_a_lock_that_asks_more_than_a_machine_has_is_refused_there_before_anything_is_fetched(
    desk: Desk, channel: Channel
) -> None:
    with serving(channel) as server:
        asks(desk, server.url, "python=3.11", "kernel")
        made = desk.set(CONDA_OVERRIDE_CUDA="12.4")
        made.envbuild("lock")
        server.asked.clear()

        for said in ("", "11.8"):
            for words in (("build",), ("run", "--", "python", "-V")):
                complaint = desk.set(CONDA_OVERRIDE_CUDA=said).refused(*words).err
                assert "kernel: __cuda >=12\nthis machine has " in complaint
                assert (", __cuda 11.8" in complaint) == bool(said)
                assert "hint: lock here" in complaint
        assert server.asked == []
        assert desk.left_behind() == []

        assert made.build().built


@pytest.mark.parametrize("platform", ["linux-aarch64", "macos-arm64", "windows-x86_64"])
def test_other_platforms_are_solved_for_too(desk: Desk, channel: Channel, platform: str) -> None:
    asks(desk, channel.url, "python=3.11", "almanac")
    lock = desk.lock("--platform", platform)
    assert versions(lock)["almanac"] == "2.0"
    assert str(lock.platform) == platform


def test_conda_has_nothing_for_musl(desk: Desk, channel: Channel) -> None:
    asks(desk, channel.url, "python=3.11", "almanac")
    assert "no conda packages" in desk.refused("lock", "--platform", "linux-x86_64-musl").err


# What nothing satisfies


def test_what_cannot_be_had_together_is_explained_by_name(desk: Desk, channel: Channel) -> None:
    asks(desk, channel.url, "python=3.11", "up", "down")
    complaint = desk.refused("lock").err
    assert all(name in complaint for name in ("up", "down", "helper"))


def test_what_is_missing_two_steps_on_is_explained_by_name(desk: Desk, channel: Channel) -> None:
    asks(desk, channel.url, "python=3.11", "expedition")
    complaint = desk.refused("lock").err
    assert all(name in complaint for name in ("expedition", "rocket", "fuel >=3"))


def test_a_package_that_no_channel_has_is_named(desk: Desk, channel: Channel) -> None:
    asks(desk, channel.url, "python=3.11", "almanak")
    assert "almanak" in desk.refused("lock").err


def test_what_is_no_match_spec_is_refused(desk: Desk, channel: Channel) -> None:
    asks(desk, channel.url, "python=3.11", "almanac >>2")
    assert "almanac" in desk.refused("lock").err


# Time


def test_what_was_made_later_does_not_count(desk: Desk, channel: Channel) -> None:
    asks(desk, channel.url, "python=3.11", "almanac")
    assert versions(desk.lock("--as-of", "2025-06-01"))["almanac"] == "1.1"


def test_the_previous_lock_holds_until_an_upgrade(
    desk: Desk, channel: Channel, channels: Callable[[str], Channel]
) -> None:
    own = channels("own")
    own.add("tool", "1.0")
    own.add("gadget", "1.0")
    asks(desk, [own.url, channel.url], "python=3.11", "tool", "gadget")
    desk.lock()
    own.add("tool", "2.0")
    own.add("gadget", "2.0")
    asks(desk, [own.url, channel.url], "python=3.11", "tool", "gadget", "almanac")

    kept = versions(desk.lock())
    one = versions(desk.lock("--upgrade", "tool"))
    both = versions(desk.lock("--upgrade"))

    assert (kept["tool"], kept["gadget"], kept["almanac"]) == ("1.0", "1.0", "2.0")
    assert (one["tool"], one["gadget"]) == ("2.0", "1.0")
    assert (both["tool"], both["gadget"]) == ("2.0", "2.0")


def test_a_solution_can_be_found_offline_once_its_channels_are_known(desk: Desk, channel: Channel) -> None:
    with serving(channel) as server:
        asks(desk, server.url, "python=3.11", "almanac")
        assert "--offline" in desk.refused("lock", "--offline").err
        desk.lock()
        (desk.folder / "pylock.toml").unlink()
    assert versions(desk.lock("--offline"))["almanac"] == "2.0"


def test_two_processes_lock_at_once(desk: Desk, channel: Channel) -> None:
    asks(desk, channel.url, "python=3.11", "almanac")
    with ThreadPoolExecutor(2) as pool:
        started = [pool.submit(desk.try_, "lock", "--json") for _ in range(2)]
    assert {each.result().json["id"] for each in started} == {desk.identity()}


# With pip


def test_pip_resolves_around_what_conda_installs(desk: Desk, channel: Channel, index: Index) -> None:
    asks(desk, channel.url, "python=3.11", "helper=1.0", pip=("demo",), index=index)
    lock = desk.lock()
    assert {each.name: each.kind for each in lock.packages} == {"demo": "pip", "helper": "conda", "python": "conda"}


def test_a_pip_requirement_that_conda_meets_is_met(desk: Desk, channel: Channel, index: Index) -> None:
    asks(desk, channel.url, "python=3.11", "helper=1.1", pip=("helper>=1",), index=index)
    assert [each.kind for each in desk.lock().packages if each.name == "helper"] == ["conda"]


def test_pip_may_not_replace_a_conda_package(desk: Desk, channel: Channel, index: Index) -> None:
    asks(desk, channel.url, "python=3.11", "helper=1.0", pip=("helper==1.1",), index=index)
    complaint = desk.refused("lock").err
    assert "helper==1.1" in complaint
    assert "conda installs helper 1.0" in complaint


def test_what_pip_needs_and_conda_has_otherwise_is_explained(desk: Desk, channel: Channel, index: Index) -> None:
    asks(desk, channel.url, "python=3.11", "helper=1.0", pip=("up",), index=index)
    complaint = desk.refused("lock").err
    assert "up depend on helper>=1.1" in complaint
    assert "conda installs helper 1.0, which pip may not replace" in complaint
    assert "provided/" not in complaint


def test_pip_is_resolved_for_the_python_that_conda_brings(desk: Desk, channel: Channel, index: Index) -> None:
    asks(desk, channel.url, "python=3.12", "almanac", pip=("native",), index=index)
    native = desk.lock().find("native")
    assert native is not None
    assert "cp312" in str(native.artifact.filename)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("default_channels: [defaults]", "default_channels: 'defaults' cannot be one of"),
        ("default_channels: [{a: b}]", "default_channels: a list of channels is wanted"),
        ("default_channels: conda-forge", "default_channels: a list of channels is wanted"),
        ("channel_alias: [x]", "channel_alias: the URL of a server is wanted"),
        ('channel_alias: "https://[::1"', "channel_alias: the URL of a server is wanted"),
        ("custom_channels: [corp]", "custom_channels: a mapping of names to URLs is wanted"),
        ("custom_channels: {corp: null}", "custom_channels: corp: the URL"),
        ("[a]", "not a mapping"),
    ],
)
def test_settings_of_the_user_that_cannot_be_meant_are_named(desk: Desk, text: str, said: str) -> None:
    asks(desk, "defaults", "python=3.11", "almanac")
    (desk.root / "home/.condarc").write_text(text)
    complaint = desk.refused("lock").err
    assert said in complaint
    assert ".condarc" in complaint


def test_variables_of_the_user_that_cannot_be_meant_are_named(desk: Desk, channel: Channel) -> None:
    asks(desk, "corp", "python=3.11", "almanac")
    assert "CONDA_CHANNEL_ALIAS is not the URL" in desk.set(CONDA_CHANNEL_ALIAS="http://[").refused("lock").err

    asks(desk, channel.url, "python=3.11", "almanac")
    for name, said in [("CUDA", "12=4"), ("CUDA", "abc"), ("CUDA", " "), ("GLIBC", "-1"), ("ARCHSPEC", "x86 64")]:
        complaint = desk.set(**{f"CONDA_OVERRIDE_{name}": said}).refused("lock").err
        assert f"CONDA_OVERRIDE_{name} is {said!r}" in complaint


@pytest.mark.parametrize(
    ("channel", "said"),
    [
        ("~nobody-has-this-name/x", "'~nobody-has-this-name/x' is no folder"),
        ("file:/srv/x", "file:///folder"),
        ("http://[", "no host and port"),
        ("https://", "no host and port"),
        ("http://h:99999/x", "no host and port"),
    ],
)
def test_a_channel_that_is_no_place_is_named(desk: Desk, channel: str, said: str) -> None:
    asks(desk, channel, "python=3.11", "almanac")
    assert said in desk.refused("lock").err


def test_a_lock_that_says_two_pythons_is_refused(desk: Desk, channel: Channel) -> None:
    asks(desk, channel.url, "python=3.11", "almanac")
    python = desk.lock().python
    file = desk.folder / "pylock.toml"
    locked = file.read_text()
    line = f'python = "{python}"'
    assert line in locked
    for edited in (
        locked.replace(line, 'python = "3.11.999"'),
        locked.replace(line, 'python = "3.12.1"').replace("==3.11.*", "==3.12.*"),
        locked.replace("==3.11.*", ">=3.8"),
    ):
        file.write_text(edited)
        assert "says both Python" in desk.refused("build", "--locked").err


# Extras


def with_extras(index: Index, channels: Callable[[str], Channel]) -> Channel:
    """``web 1.5`` in a channel and on the index, where its wheel says what its extras add."""
    own = channels("own")
    own.add("web", "1.5", build="pyhd_0", noarch="python")
    index.publish(
        wheel(
            "web",
            "1.5",
            requires=[
                "core-of-web",
                "fancy<2,>=1; extra == 'fast'",
                "demo>9; python_version < '3' and extra == 'fast'",
                "web[fast]; extra == 'all'",
                "up; extra == 'all'",
                "helper==1.1; extra == 'strict'",
            ],
            extras=["fast", "all", "strict"],
        ),
        # Later ones say otherwise.
        wheel("web", "1.6", requires=["down; extra == 'fast'"], extras=["fast"]),
        wheel("asks", "1.0", requires=["web[fast]"]),
    )
    return own


@pytest.mark.parametrize(
    ("asked", "added"),
    [
        (["web[fast]"], {"fancy": "1.0"}),
        (["web[fast]>=1; python_version >= '3'"], {"fancy": "1.0"}),
        (["web[fast]; python_version < '3'"], {}),
        (["asks"], {"asks": "1.0", "fancy": "1.0"}),
        (["web[all]"], {"fancy": "1.0", "up": "1.0", "helper": "1.1"}),
        (["web"], {}),
    ],
)
def test_extras_of_a_conda_package_are_followed(
    desk: Desk,
    channel: Channel,
    channels: Callable[[str], Channel],
    index: Index,
    asked: list[str],
    added: dict[str, str],
) -> None:
    own = with_extras(index, channels)
    asks(desk, [own.url, channel.url], "python=3.11", "web", pip=tuple(asked), index=index)

    lock = desk.lock()

    assert {each.name: each.version for each in lock.of_kind("pip")} == added
    web = lock.find("web")
    assert web is not None
    assert (web.kind, web.version) == ("conda", "1.5")
    assert desk.lock() == lock


def test_what_an_extra_adds_is_installed(
    desk: Desk, channel: Channel, channels: Callable[[str], Channel], index: Index
) -> None:
    own = with_extras(index, channels)
    asks(desk, [own.url, channel.url], "python=3.11", "web", pip=("web[fast]",), index=index)

    assert desk.build("environment.yml").python("import fancy, web; print(fancy.__version__)") == "1.0"


def test_what_an_extra_adds_is_condas_where_conda_has_it_and_may_not_be_replaced(
    desk: Desk, channel: Channel, channels: Callable[[str], Channel], index: Index
) -> None:
    own = with_extras(index, channels)
    asks(desk, [own.url, channel.url], "python=3.11", "web", "helper=1.1", pip=("web[strict]",), index=index)
    assert not desk.lock().of_kind("pip")

    asks(desk, [own.url, channel.url], "python=3.11", "web", "helper=1.0", pip=("web[strict]",), index=index)
    complaint = desk.refused("lock").err
    assert "conda installs helper 1.0, which pip may not replace" in complaint
    assert "provided/" not in complaint


def test_extras_of_a_version_that_only_conda_has_are_refused_by_name(
    desk: Desk, channel: Channel, channels: Callable[[str], Channel], index: Index
) -> None:
    own = with_extras(index, channels)
    own.add("web", "1.7", build="pyhd_0", noarch="python")
    asks(desk, [own.url, channel.url], "python=3.11", "web", pip=("web[fast]",), index=index)
    complaint = desk.refused("lock").err
    assert "pip is asked for web[fast], and conda installs web 1.7" in complaint
    assert "have pip asked by name for the packages that the extra adds, rather than for web[fast]" in complaint

    asks(desk, [own.url, channel.url], "python=3.11", "web", pip=("web", "fancy"), index=index)
    assert versions(desk.lock())["fancy"] == "1.0"


def test_extras_are_followed_offline_once_their_wheel_is_cached(
    desk: Desk, channel: Channel, channels: Callable[[str], Channel], index: Index
) -> None:
    own = with_extras(index, channels)
    asks(desk, [own.url, channel.url], "python=3.11", "web", pip=("web[fast]",), index=index)
    complaint = desk.refused("lock", "--offline").err
    assert "pip is asked for web[fast]" in complaint
    assert "run it once without --offline" in complaint

    lock = desk.lock()
    (desk.folder / "pylock.toml").unlink()
    assert desk.lock("--offline") == lock


@pytest.mark.parametrize("platform", ["linux-aarch64", "windows-x86_64"])
def test_extras_are_followed_for_other_platforms(
    desk: Desk, channel: Channel, channels: Callable[[str], Channel], index: Index, platform: str
) -> None:
    own = with_extras(index, channels)
    asks(desk, [own.url, channel.url], "python=3.11", "web", pip=("web[fast]",), index=index)

    assert [each.name for each in desk.lock("--platform", platform).of_kind("pip")] == ["fancy"]
