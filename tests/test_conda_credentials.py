"""What opens a channel is sent to that channel and nowhere else, and stands nowhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from support.channel import Channel, serving, this_subdir
from support.conda_definition import asks
from support.desk import Desk, mentions

from envbuild import EnvbuildError
from envbuild_conda.channels import Channel as Named
from envbuild_conda.channels import check_places


@pytest.fixture
def own(channel: Channel, channels: Callable[[str], Channel]) -> Channel:
    """A small channel, with a Python and one package."""
    made = channels("own")
    made.put(*channel.find("python"))
    made.add("plain", files={"share/plain.txt": "plain\n"})
    return made


def left_of(desk: Desk, *secrets: str) -> list[str]:
    """The files that have one of ``secrets`` in them, but for the definition."""
    return [each for each in mentions(desk.root, *secrets) if not each.endswith("environment.yml")]


def test_a_url_in_the_lock_is_not_sent_the_password_of_its_hosts_other_server(desk: Desk, own: Channel) -> None:
    with serving(own, password="s3cret-pw") as server, serving(own) as other:
        asks(desk, server.with_password(), "python=3.11", "plain")
        desk.lock()
        file = desk.folder / "pylock.toml"
        locked = file.read_text()
        for moved in (
            locked.replace(server.host, other.host),
            locked.replace(f"{server.host}/own/", f"{server.host}/own/%2e%2e/own/"),
            locked.replace(f"http://{server.host}", f"https://{server.host}"),
        ):
            server.asked.clear()
            file.write_text(moved)
            complaint = desk.refused("build", "--locked").err
            assert "in none of the channels" in complaint
            assert "s3cret-pw" not in complaint
            assert server.asked == []
        assert other.asked == []

        file.write_text(locked)
        assert (desk.build("--locked").path / "share/plain.txt").read_text() == "plain\n"


def test_two_servers_of_one_host_are_told_apart_or_not_asked(
    desk: Desk, own: Channel, channels: Callable[[str], Channel]
) -> None:
    third = channels("third")
    third.add("further")
    with serving(own, password="s3cret-pw") as server, serving(own) as other, serving(third) as apart:
        asks(desk, [server.with_password(), other.url], "python=3.11", "plain")
        complaint = desk.refused("lock").err
        assert f"the password of the channel {server.url} would be sent to {other.url} too" in complaint
        assert server.asked == other.asked == []

        asks(desk, [server.with_password(), apart.url], "python=3.11", "plain", "further")
        desk.build()
        assert set(apart.authorizations) == {""}


def test_a_token_of_a_channel_at_the_root_of_a_server_stands_nowhere(desk: Desk, own: Channel) -> None:
    own.index()
    for subdir in ("noarch", this_subdir()):
        (own.folder.parent / subdir).symlink_to(own.folder / subdir)
    with serving(own, token="tk-5ecret") as server:
        url = f"http://{server.host}/t/tk-5ecret"
        for written in (url, f"{url}/"):
            asks(desk, written, "python=3.11", "plain")
            told = desk.envbuild("lock").told
            desk.build()
            asks(desk, written, "python=3.11", "no-such-package")
            told += desk.refused("build").told
            assert "tk-5ecret" not in told
    assert left_of(desk, "tk-5ecret") == []


@pytest.mark.parametrize("password", ["s3cret/pw", "s3cret#p@w?/%", "s3cret:p w", "s3cretä"])
def test_a_password_may_have_any_characters_in_a_variable(desk: Desk, own: Channel, password: str) -> None:
    desk = desk.set(PW=password, BOTH=f"me:{password}", WRONG=f"x{password}")
    with serving(own, password=password) as server:
        for user in ("me:${PW}", "${BOTH}"):
            asks(desk, server.url.replace("://", f"://{user}@"), "python=3.11", "plain")
            told = desk.envbuild("lock", "--upgrade").told
        desk.build()
        asks(desk, server.url.replace("://", "://me:${WRONG}@"), "python=3.11", "no-such-package")
        told += desk.refused("lock").told
    assert "s3cret" not in told
    assert left_of(desk, "s3cret") == []


@pytest.mark.parametrize(
    "authority",
    ["me:s3cret/pw@host.test", "me:s3cret#pw@host.test", "me:1/s3cret@host.test", "s3cret/x@host.test", "[s3cret", ""],
)
def test_a_url_in_which_the_password_cannot_be_told_is_refused_unseen(desk: Desk, authority: str) -> None:
    asks(desk, f"http://{authority}/main", "python=3.11", "plain")
    done = desk.refused("lock")
    assert "environment.yml:2: channels[0]: " in done.err
    assert "s3cret" not in done.told

    asks(desk.set(URL=authority), "http://${URL}/main", "python=3.11", "plain")
    assert "s3cret" not in desk.set(URL=authority).refused("lock").told
    assert left_of(desk, "s3cret") == []


def test_what_stands_behind_a_question_mark_is_neither_sent_nor_shown(desk: Desk) -> None:
    asks(desk, "http://127.0.0.1:1/main?token=s3cret", "python=3.11", "plain")
    done = desk.refused("lock")
    assert "channel http://127.0.0.1:1/main would not be sent" in done.err
    assert "s3cret" not in done.told
    assert left_of(desk, "s3cret") == []


@pytest.mark.parametrize(
    ("url", "is_refused"),
    [
        ("https://host.test/main/noarch/a-1-0.conda", False),
        ("https://host.test:443/main/noarch/a-1-0.conda", False),
        ("https://HOST.test/main/noarch/a-1-0.conda", False),
        ("https://elsewhere.test/x/noarch/a-1-0.conda", False),
        ("file:///srv/main/noarch/a-1-0.conda", False),
        ("http://host.test/main/noarch/a-1-0.conda", True),
        ("https://host.test:8443/main/noarch/a-1-0.conda", True),
        ("https://host.test/mainly/noarch/a-1-0.conda", False),
        ("https://host.test/main/../other/noarch/a-1-0.conda", True),
        ("https://host.test/main/.%2e/other/noarch/a-1-0.conda", True),
        ("https://host.test/main/..%2fother/noarch/a-1-0.conda", True),
        ("https://host.test/main/..\\other/noarch/a-1-0.conda", True),
    ],
)
def test_only_what_is_in_a_channel_is_asked_for_with_its_password(url: str, is_refused: bool) -> None:
    known = [
        Named("main", "https://host.test/main", "https://me:pw@host.test/main"),
        Named("x", Path("/x").as_uri(), ""),
    ]
    if not is_refused:
        check_places([url], known)
        return
    with pytest.raises(EnvbuildError, match="in none of the channels"):
        check_places([url], known)
