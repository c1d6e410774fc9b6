"""Plugins of strangers: old ones, new ones, slow ones, and those that do what they should not."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
from support.desk import Desk
from support.strangers import install, put

from envbuild import Artifact, Digest, Package, TargetError, hookimpl, hookspecs, loading
from envbuild.checkup import Finding, checkup
from envbuild.errors import PluginError
from envbuild.plugins import HOOKS, Plugins
from envbuild.workspace import Workspace

TARGET = "from envbuild import hookimpl\n\n@hookimpl\ndef run_target(run): ...\n"
"""A plugin that says of every target that it is not its own."""


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Plugins]:
    """Load a plugin, in this process, from its source."""

    def load(source: str, name: str = "strange") -> Plugins:
        monkeypatch.syspath_prepend(str(tmp_path))
        module = put(tmp_path, name, source)
        monkeypatch.delitem(sys.modules, module, raising=False)
        return Plugins([EntryPoint(name, module, hookspecs.GROUP)])

    return load


def listed(desk: Desk, name: str) -> dict[str, Any]:
    """What ``envbuild plugins`` says of one."""
    (found,) = [each for each in desk.envbuild("plugins", "--json").json if each["name"] == name]
    return dict(found)


def findings(plugins: Plugins, tmp_path: Path, *states: str) -> list[Finding]:
    """What doctor says of plugins."""
    found = checkup(Workspace(tmp_path / "workspace"), plugins)
    return [each for each in found if each.subject.startswith("plugin ") and each.state in states]


# Which version of the hooks it was written for


def test_a_plugin_for_newer_hooks_is_left_out_and_named(desk: Desk) -> None:
    desk = install(desk, "tomorrow", f"{TARGET}\nENVBUILD_API = 2\n")

    reason = listed(desk, "tomorrow")["error"]
    doctor = desk.try_("doctor")

    assert reason == ("it was written for version 2 of the hooks, and this envbuild has version 1 (upgrade envbuild)")
    assert (doctor.code, reason in doctor.out) == (1, True)
    assert reason in desk.envbuild("plugins").out
    assert f"tomorrow (tomorrow 1.0): {reason}" in desk.refused("run", "-t", "mars", "--", "true").err
    desk.envbuild("run", "--", "true")


def test_a_plugin_that_does_not_say_was_written_for_the_first_hooks(load: Callable[..., Plugins]) -> None:
    assert load(TARGET).found[0].api == 1


def test_a_plugin_for_the_hooks_that_there_are_is_used(load: Callable[..., Plugins]) -> None:
    (found,) = load(f"{TARGET}\nENVBUILD_API = {hookspecs.API_VERSION}\n").found
    assert (found.error, found.api, found.hooks) == ("", hookspecs.API_VERSION, ("run_target",))


@pytest.mark.parametrize("said", ["'1'", "0", "1.0", "True", "None"])
def test_a_version_that_is_none_is_refused(load: Callable[..., Plugins], said: str) -> None:
    (found,) = load(f"{TARGET}\nENVBUILD_API = {said}\n").found
    assert found.error == f"its ENVBUILD_API is {said}, and a whole number from 1 on is wanted"
    assert found.hooks == ()


def test_a_plugin_for_hooks_that_are_not_served_any_more_is_left_out(
    load: Callable[..., Plugins], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hookspecs, "API_VERSION", 3)
    monkeypatch.setattr(hookspecs, "OLDEST_API", 2)
    (found,) = load(TARGET).found
    assert found.error == "it was written for version 1 of the hooks, and this envbuild serves 2 to 3"


def test_a_parameter_that_was_renamed_is_served_and_told_of_by_doctor_alone(
    load: Callable[..., Plugins],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    told = "run_target: 'image' is called 'environment' since version 2 of the hooks, and goes with version 3"

    def run_target(run: Any, environment: Any, image: Any) -> Any: ...

    served = hookspecs.hookspec(firstresult=True, warn_on_impl_args={"image": DeprecationWarning(told)})(run_target)
    monkeypatch.setattr(hookspecs, "run_target", served)
    plugins = load("from envbuild import hookimpl\n\n@hookimpl\ndef run_target(run, image):\n    return run, image\n")

    for _ in range(2):
        assert plugins.first("run_target", run="run", environment="new", image="old") == ("run", "old")

    assert capfd.readouterr() == ("", "")
    (found,) = findings(plugins, tmp_path, "warning")
    assert (found.subject, found.found) == ("plugin strange", told)
    assert "whoever makes" in found.remedy


def test_a_hook_that_will_go_is_served_and_told_of(
    load: Callable[..., Plugins], monkeypatch: pytest.MonkeyPatch
) -> None:
    def run_target(run: Any) -> Any: ...

    told = DeprecationWarning("run_target is deploy_target since version 2 of the hooks")
    monkeypatch.setattr(hookspecs, "run_target", hookspecs.hookspec(firstresult=True, warn_on_impl=told)(run_target))

    (found,) = load(TARGET).found

    assert (found.hooks, found.warnings) == (("run_target",), (str(told),))


HOOKS_OF = {
    1: {
        "resolve_dependencies": "definition: Definition, platform: Platform, resolution: Resolution"
        " -> tuple[str, ...] | None",
        "compute_hash": "definition: Definition, lock: Lock -> Mapping[str, Any] | None",
        "build_image": "definition: Definition, lock: Lock, id: Digest, request: BuildRequest -> Image | None",
        "run_target": "run: RunRequest, image: Image -> RunHandle | None",
        "deploy_target": "deployment: Any, image: Image -> Any | None",
    },
}
"""What plugins of each version were written for. A version that has been released stays as it stands here."""


def test_hooks_that_are_others_have_another_version() -> None:
    found = {}
    for name in HOOKS:
        signature = inspect.signature(getattr(hookspecs, name))
        given = ", ".join(f"{each.name}: {each.annotation}" for each in signature.parameters.values())
        found[name] = f"{given} -> {signature.return_annotation}"

    assert found == HOOKS_OF[hookspecs.API_VERSION], "raise API_VERSION, and add what the hooks are now"


# Plugins that raise


class Panic(BaseException):
    """What extensions in Rust raise where something should never have happened."""


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize(
    "error", [ValueError("odd"), SystemExit(3), Panic("odd")], ids=lambda each: type(each).__name__
)
def test_what_a_hook_should_not_raise_is_told_with_the_name_of_the_plugin(hook: str, error: BaseException) -> None:
    plugins = raising(hook, error)
    with pytest.raises(PluginError, match=rf"the plugin 'wild' failed in {hook}: {type(error).__name__}: ") as caught:
        plugins.gather(hook)
    assert caught.value.__cause__ is error
    assert "ENVBUILD_DEBUG=1" in caught.value.hint


@pytest.mark.parametrize("hook", HOOKS)
def test_an_error_for_the_user_stays_what_it_is_and_says_whose_it_is(hook: str) -> None:
    error = TargetError("busy", hint="wait")
    plugins = raising(hook, error)
    with pytest.raises(TargetError) as caught:
        plugins.first(hook)
    assert caught.value is error
    assert (str(error), error.hint, error.plugin) == ("busy", "wait", "wild (-)")


@pytest.mark.parametrize("hook", HOOKS)
def test_control_c_in_a_hook_interrupts_the_command(hook: str) -> None:
    plugins = raising(hook, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        plugins.first(hook)


def raising(hook: str, error: BaseException) -> Plugins:
    """One plugin, in whose answer to ``hook`` something happens."""

    def answer() -> Any:
        raise error

    answer.__name__ = hook
    plugins = Plugins(())
    plugins.register(type("Wild", (), {hook: staticmethod(hookimpl(answer))})(), "wild")
    return plugins


def test_what_no_exception_is_and_raised_on_import_leaves_only_that_plugin_out(load: Callable[..., Plugins]) -> None:
    (found,) = load("class Panic(BaseException): ...\n\nraise Panic('unreachable')\n").found
    assert found.error == "Panic: unreachable"


def test_control_c_while_a_plugin_is_loaded_interrupts_the_command(load: Callable[..., Plugins]) -> None:
    with pytest.raises(KeyboardInterrupt):
        load("raise KeyboardInterrupt\n")


@pytest.mark.parametrize("raised", ["ValueError('odd')", "SystemExit('odd')"])
def test_a_checkup_that_fails_is_a_finding(load: Callable[..., Plugins], tmp_path: Path, raised: str) -> None:
    plugins = load(f"{TARGET}\ndef checkup(variables):\n    yield 'engine', 'ok', 'here'\n    raise {raised}\n")
    (found,) = findings(plugins, tmp_path, "error")
    assert found.found == f"its checkup failed: {raised.partition('(')[0]}: odd"


@pytest.mark.parametrize(
    ("hook", "answer", "wanted"),
    [
        ("resolve_dependencies", "'tools'", "tuple or list or set or frozenset"),
        ("compute_hash", "['recipe']", "Mapping"),
        ("build_image", "'/'", "Image"),
    ],
)
def test_an_answer_of_another_kind_is_told_with_the_name_of_the_plugin(
    desk: Desk, hook: str, answer: str, wanted: str
) -> None:
    desk = install(desk, "odd", f"from envbuild import hookimpl\n\n@hookimpl\ndef {hook}():\n    return {answer}\n")

    desk.write("envbuild.yml", "name: plain\n")

    told = desk.refused("build").err

    assert f"error: the plugin 'odd' failed in {hook}: it answered {answer}, and that is no {wanted}\n" in told
    assert "hint: report it to whoever makes odd 1.0" in told


def test_a_mistake_in_a_plugin_is_shown_with_its_traceback_where_that_is_asked_for(desk: Desk) -> None:
    desk = install(desk, "wild", "from envbuild import hookimpl\n\n@hookimpl\ndef run_target(run):\n    return 1 / 0\n")

    told = desk.refused("run", "--", "true").err
    debugged = desk.set(ENVBUILD_DEBUG="1").try_("run", "--", "true").err

    assert "the plugin 'wild' failed in run_target: ZeroDivisionError: division by zero\n" in told
    assert "hint: report it to whoever makes wild 1.0; ENVBUILD_DEBUG=1 shows where" in told
    assert 'wild_plugin.py", line 5, in run_target' in debugged


# Plugins that take long


def test_the_time_that_a_slow_plugin_took_is_told(load: Callable[..., Plugins], tmp_path: Path) -> None:
    plugins = load(f"import time\n\ntime.sleep({loading.SLOW + 0.1})\n{TARGET}")

    (found,) = findings(plugins, tmp_path, "warning")

    assert found.found.startswith("it took 0.")
    assert found.found.endswith(" s to load: what is heavy belongs inside its functions")
    assert plugins.found[0].seconds > loading.SLOW


def test_the_time_of_a_quick_one_is_not_told(load: Callable[..., Plugins]) -> None:
    assert load(TARGET).found[0].warnings == ()


def test_a_plugin_that_is_being_loaded_for_long_is_named_meanwhile(
    load: Callable[..., Plugins], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(loading, "PATIENCE", 0.05)

    load(f"import time\n\ntime.sleep(0.3)\n{TARGET}", "sleepy")

    assert capfd.readouterr().err == "still loading the plugin 'sleepy' (-, sleepy_plugin) …\n"


def test_with_debug_each_plugin_is_named_before_it_is_loaded(desk: Desk) -> None:
    desk = install(desk, "hangs", "import os\n\nos.abort()\n").set(ENVBUILD_DEBUG="1")
    assert desk.try_("plugins").err.endswith("loading the plugin 'hangs' (hangs 1.0, hangs_plugin)\n")


def test_a_repeated_run_loads_no_plugin(desk: Desk) -> None:
    desk = install(desk, "noisy", f"import sys\n\nsys.stderr.write('loaded\\n')\n{TARGET}")

    first = desk.envbuild("run", "--", "true")
    again = desk.envbuild("run", "--", "true")

    assert (first.err.count("loaded\n"), again.err.count("loaded\n")) == (1, 0)


# Who is asked, and who has answered


def test_of_two_distributions_with_a_plugin_of_one_name_one_is_loaded_and_the_other_shown(desk: Desk) -> None:
    desk = install(desk, "mars", TARGET, distribution="zeta-mars")
    desk = install(desk, "mars", TARGET, distribution="alpha-mars")

    found = listed(desk, "mars")

    assert found["distribution"] == "alpha-mars 1.0"
    (warning,) = found["warnings"]
    assert warning == "zeta-mars 1.0 brings a plugin 'mars' too (zeta_mars_plugin): it is not loaded"
    assert f"mars: {warning}" in desk.envbuild("plugins").out
    assert warning in desk.envbuild("doctor").out


def test_nobody_takes_the_place_of_a_plugin_of_envbuilds_own(desk: Desk) -> None:
    desk = install(desk, "local", "raise RuntimeError('loaded')\n", distribution="a-usurper")

    found = listed(desk, "local")

    assert (found["module"], found["error"]) == ("envbuild_local.plugin", "")
    assert "a-usurper 1.0 brings a plugin 'local' too" in found["warnings"][0]


@pytest.mark.parametrize(
    ("first", "second", "order"),
    [
        ("", "", "zero, yes, local"),
        ("(tryfirst=True)", "", "yes, zero, local"),
        ("", "(trylast=True)", "yes, local, zero"),
    ],
)
def test_plugins_are_listed_in_the_order_in_which_they_are_asked(
    desk: Desk, first: str, second: str, order: str
) -> None:
    desk = install(desk, "yes", TARGET.replace("@hookimpl", f"@hookimpl{first}"))
    desk = install(desk, "zero", TARGET.replace("@hookimpl", f"@hookimpl{second}"))

    listing = desk.envbuild("plugins").out
    asked = {each["name"]: each["asked"].get("run_target") for each in desk.envbuild("plugins", "--json").json}

    assert f"\nrun_target            {order}\n" in listing
    assert ", ".join(sorted(filter(asked.get, asked), key=lambda each: asked[each] or 0)) == order


def test_a_function_without_its_mark_is_noticed(load: Callable[..., Plugins]) -> None:
    (found,) = load("def run_target(run): ...\n").found
    assert found.warnings == ("it answers no hook: does its function lack @hookimpl?",)


def test_what_plugins_need_not_answer_is_no_lack(load: Callable[..., Plugins]) -> None:
    assert load("def checkup(variables): return ()\n").found[0].warnings == ()


SHADE = "from envbuild import hookimpl\n\n@hookimpl\ndef compute_hash(lock):\n    return {{'shade': {shade!r}}}\n"


def test_why_names_the_plugin_whose_answer_has_changed(desk: Desk) -> None:
    desk.write("envbuild.yml", "name: painted\n")
    painted = install(desk, "colour", SHADE.format(shade="blue"))
    painted.envbuild("build")

    module = painted.root / "site" / "colour_plugin.py"
    module.write_text(SHADE.format(shade="red"))

    assert "  colour: shade: blue → red\n" in painted.envbuild("why").out


def test_an_error_of_a_plugin_is_told_with_its_name_in_json_too(desk: Desk) -> None:
    source = (
        "from envbuild import TargetError, hookimpl\n\n@hookimpl\ndef run_target(run):\n    raise TargetError('no')\n"
    )
    desk = install(desk, "wild", source)

    told = desk.refused("run", "--json", "--", "true").json

    assert told == {"error": "TargetError", "message": "no", "hint": "", "plugin": "wild (wild 1.0)"}


def test_an_error_of_a_plugin_that_everybody_has_is_envbuilds_own(desk: Desk) -> None:
    told = desk.refused("run", "--", "no-such-program-anywhere").err

    assert "no such program" in told
    assert "from:" not in told


def test_a_section_of_a_plugin_that_is_not_installed_is_missed_by_name(desk: Desk) -> None:
    desk.write("envbuild.yml", "plugins: {tools: {jq: '1.7'}}\n")

    told = desk.refused("build").err

    assert "no installed plugin takes on the section 'tools'" in told
    assert "hint: install the plugin that brings it; 'envbuild plugins' shows those that there are" in told


def test_a_hook_wrapper_is_left_out(load: Callable[..., Plugins]) -> None:
    (found,) = load(
        "from envbuild import hookimpl\n\n@hookimpl(wrapper=True)\ndef run_target(): return (yield)\n"
    ).found
    assert found.error == "run_target is a hook wrapper, which envbuild's hooks do not take"


# What they answer, print and say


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ("{'a': [0, 1.5]}", "TypeError: answer.a[1]: float has no canonical form"),
        ("{'a': float('nan')}", "TypeError: answer.a: float has no canonical form"),
        ("{'a': {1: 2}}", "TypeError: answer.a: a key is a text, not 1"),
        ("{'a': {'b'}}", "TypeError: answer.a: set has no canonical form"),
        ("{'a': b'b'}", "TypeError: answer.a: bytes has no canonical form"),
        ("(lambda each: each.update(a=each) or each)({})", "ValueError: answer.a.a.a"),
        ("{'a': 10**5000}", "ValueError: answer.a: a whole number of 16610 bits is too long"),
        ("{'a': chr(0xd800)}", r"ValueError: answer.a: '\ud800' has half of a surrogate pair"),
        (r"{'\u00e9': 1, 'e\u0301': 2}", r"ValueError: answer: '\xe9' and 'e\u0301' are two spellings of one key"),
        ("{chr(0xd800): 'a'}", r"ValueError: answer: '\ud800' has half of a surrogate pair"),
    ],
)
def test_an_answer_that_no_id_can_be_taken_of_is_told_with_its_place_and_nothing_is_locked(
    desk: Desk, answer: str, told: str
) -> None:
    desk = install(
        desk, "odd", f"from envbuild import hookimpl\n\n@hookimpl\ndef compute_hash():\n    return {answer}\n"
    )
    desk.write("envbuild.yml", "name: plain\n")

    done = desk.refused("lock", "--json")

    assert done.json["message"].startswith(f"the plugin 'odd' failed in compute_hash: {told}")
    assert f"error: {done.json['message']}\n" in done.err
    assert "Traceback" not in done.err
    assert not (desk.folder / "pylock.toml").exists()


def test_a_section_that_is_no_text_is_told_with_the_name_of_the_plugin(desk: Desk) -> None:
    answering = "def resolve_dependencies():\n    return [['tools']]\n"
    desk = install(desk, "odd", f"from envbuild import hookimpl\n\n@hookimpl\n{answering}")
    desk.write("envbuild.yml", "name: plain\n")

    told = "it answered [['tools']], and ['tools'] is no name of a section"
    assert f"the plugin 'odd' failed in resolve_dependencies: {told}\n" in desk.refused("lock").err


PRINTS = """
from envbuild import hookimpl
print("at import")

@hookimpl
def compute_hash():
    print("in a hook")

def outdated(definition, lock, variables):
    print("in outdated")
    yield from ()

def checkup(variables):
    print("in checkup")
    yield from ()
"""


@pytest.mark.parametrize("command", ["lock", "doctor", "plugins"])
def test_what_a_plugin_prints_is_no_part_of_the_result(desk: Desk, command: str) -> None:
    desk = install(desk, "chatty", PRINTS)
    desk.write("envbuild.yml", "name: plain\n")
    desk.envbuild("lock")

    done = desk.try_(command, "--json")

    assert done.json
    said = {
        "lock": "at import\nin outdated\nin a hook\n",
        "doctor": "at import\nin checkup\n",
        "plugins": "at import\n",
    }
    assert said[command] in done.err


STEERS = r"\x1b[2J\nall is well\x07"


def test_what_a_mistake_says_steers_no_terminal_and_is_one_line(desk: Desk) -> None:
    source = f"from envbuild import hookimpl\n\n@hookimpl\ndef run_target(run):\n    raise ValueError('{STEERS}')\n"

    told = install(desk, "wild", source).refused("run", "--", "true").err

    assert r"failed in run_target: ValueError: \x1b[2J all is well\x07" in told


def test_what_an_error_of_a_plugin_says_steers_no_terminal(desk: Desk) -> None:
    raising = f"raise TargetError('{STEERS}', hint='{STEERS}')"
    source = f"from envbuild import TargetError, hookimpl\n\n@hookimpl\ndef run_target(run):\n    {raising}\n"

    told = install(desk, "wild", source).refused("run", "--", "true").err

    assert "error: \\x1b[2J\nall is well\\x07\nhint: \\x1b[2J\nall is well\\x07\nfrom: the plugin wild" in told


def test_an_error_whose_text_cannot_be_had_is_told_nonetheless() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise ValueError("no")

    with pytest.raises(PluginError, match=r"failed in run_target: Mute: <its text cannot be had: ValueError>"):
        raising("run_target", Mute()).first("run_target")


def test_a_long_reason_widens_no_table_and_is_whole_in_json(desk: Desk) -> None:
    desk = install(desk, "broken", "raise ImportError('x' * 100_000 + chr(10) + chr(27))\n")

    told = desk.envbuild("plugins").out

    assert max(map(len, told.splitlines())) <= len("broken: broken: ") + 200
    assert "\nbroken: broken: ImportError: xxx" in told
    assert len(listed(desk, "broken")["error"]) > 100_000


def test_an_entry_point_that_is_none_is_told(desk: Desk) -> None:
    desk = install(desk, "bent", TARGET)
    (desk.root / "site" / "bent-1.0.dist-info" / "entry_points.txt").write_text("[envbuild]\nbent = bent plugin\n")

    assert listed(desk, "bent")["error"] == "'bent plugin' is no entry point: MODULE or MODULE:NAME is wanted"


# What they pin


def pinning(package: str) -> str:
    """A plugin that pins that."""
    return (
        "from envbuild import Artifact, Digest, Package, hookimpl\n\n"
        "FILE = Artifact(kind='wheel', url='https://host.test/x-1-py3-none-any.whl', digest=Digest.of(b''))\n\n"
        f"@hookimpl\ndef resolve_dependencies(resolution):\n    resolution.add({package})\n"
    )


@pytest.mark.parametrize(
    ("package", "told"),
    [
        ("'x'", "TypeError: a Package is wanted, not 'x'"),
        ("None", "TypeError: a Package is wanted, not None"),
        (
            "Package(name='../../evil', version='1', artifact=FILE)",
            "ValueError: '../../evil' is no name of a package of kind 'pip'",
        ),
        (
            "Package(name='../evil', version='1', artifact=FILE, kind='fowl')",
            "ValueError: '../evil' is no name of a package of kind 'fowl'",
        ),
        ("Package(name=1, version='1', artifact=FILE)", "ValueError: 1 is no name of a package of kind 'pip'"),
        ("Package(name='', version='1', artifact=FILE, kind='fowl')", "ValueError: '' is no name"),
        (
            "Package(name='x', version='1', artifact=Artifact(kind='archive', path='x.zip'))",
            "ValueError: x 1: a file is known by its digest, and this archive has none",
        ),
        (
            "Package(name='x', version='1', artifact=Artifact(kind='vcs', url='https://host.test/x'))",
            "ValueError: x 1: what a repository has is known by its revision, and there is none",
        ),
        (
            "Package(name='x', version='1', kind='fowl', artifact=Artifact(kind='installed'), details={'legs': 2})",
            "ValueError: x 1: no lock can say what it is: details: {'legs': 2} would be read as {'legs': '2'}",
        ),
        (
            "Package(name='X', version='1.0-rc1', artifact=FILE)",
            "ValueError: X 1.0-rc1: no lock can say what it is: "
            "name: 'X' would be read as 'x'; version: '1.0-rc1' would be read as '1.0rc1'",
        ),
        (
            "Package(name='x', version='soon', artifact=FILE)",
            "ValueError: x soon: no lock can say what it is: Invalid version: 'soon'",
        ),
        (
            "Package(name='x', version='1', kind='fowl',"
            " artifact=Artifact(kind='archive', url='https://me:pw@host.test/x', digest=Digest.of(b'')))",
            "ValueError: x: its URL has credentials in it, and a lock is there for all to read",
        ),
    ],
)
def test_what_cannot_be_pinned_is_told_with_the_name_of_who_pins_it(desk: Desk, package: str, told: str) -> None:
    desk = install(desk, "odd", pinning(package))
    desk.write("envbuild.yml", "name: plain\n")

    said = desk.refused("lock").err

    assert f"error: the plugin 'odd' failed in resolve_dependencies: {told}" in said
    assert "hint: report it to whoever makes odd 1.0" in said


DIGEST = Digest.of(b"")


@pytest.mark.parametrize(
    "artifact",
    [
        Artifact(kind="archive", url="https://host.test/download?file=7", digest=DIGEST),
        Artifact(kind="archive", url="https://host.test/7", filename="seven.zip", digest=DIGEST),
        Artifact(kind="wheel", path="files/x-1-py3-none-any.whl", digest=DIGEST),
        Artifact(kind="vcs", vcs="git", url="https://host.test/x", revision="a" * 40, requested_revision="v1"),
        Artifact(kind="directory", path="x", editable=True),
        Artifact(kind="installed", filename="x"),
    ],
    ids=repr,
)
def test_a_package_of_a_kind_of_its_own_may_be_any_artifact_and_is_read_as_it_was_pinned(
    desk: Desk, artifact: Artifact
) -> None:
    package = Package(
        name="x", version="1", kind="fowl", artifact=artifact, marker="of its own", index="i", details={"legs": "2"}
    )
    desk = install(desk, "odd", pinning(repr(package)))
    desk.write("envbuild.yml", "name: plain\n")

    desk.envbuild("lock")

    assert desk.read_lock("pylock.toml").packages == (package,)


# Plugins that have gone since

PINS = """
from envbuild import Artifact, Digest, Package, hookimpl

@hookimpl
def resolve_dependencies(definition, resolution):
    if "tools" not in definition.plugins:
        return None
    artifact = Artifact(kind="archive", url="https://host.test/jq", filename="jq", digest=Digest.of(b"jq"))
    resolution.add(Package(name="jq", version=None, kind="tools", artifact=artifact))
    return ("tools",)
"""


@pytest.mark.parametrize("command", [("lock",), ("lock", "--check"), ("lock", "--check", "--json")])
def test_a_lock_whose_plugin_has_gone_is_not_up_to_date(desk: Desk, command: tuple[str, ...]) -> None:
    desk.write("envbuild.yml", "plugins: {tools: {jq: '1.7'}}\n")
    install(desk, "tools", PINS).envbuild("lock")
    before = (desk.folder / "pylock.toml").read_bytes()

    told = desk.refused(*command).err

    assert "error: no installed plugin takes on the section 'tools'" in told
    assert (desk.folder / "pylock.toml").read_bytes() == before


def test_a_lock_whose_packages_nobody_builds_is_not_up_to_date(desk: Desk) -> None:
    desk.write("envbuild.yml", "plugins: {tools: {jq: '1.7'}}\n")
    desk = install(desk, "tools", PINS)
    desk.envbuild("lock")

    assert "no installed plugin takes on the packages of kind 'tools'" in desk.refused("lock", "--check").err


def test_a_lock_whose_plugin_is_there_is_up_to_date(desk: Desk) -> None:
    desk.write("envbuild.yml", "plugins: {tools: {jq: '1.7'}}\n")
    desk = install(desk, "tools", f"{PINS}\n@hookimpl\ndef build_image(lock): ...\n")
    desk.envbuild("lock")

    assert desk.envbuild("lock", "--check").out.endswith("up to date\n")
    assert desk.envbuild("lock").out.startswith("unchanged: ")


# What they start

HANDLE = """
import os
from envbuild import TargetError, hookimpl

def start(command, directory, variables, prefix):
    return Handle()

class Handle:
    starter = "odd_plugin:start"

    def stream(self, write):
        print("a word of the plugin's")
        write(1, b"a word of the run's")
        return eval(os.environ.get("ODD_ANSWERS", "0"), globals(), {"fail": fail})

    def cancel(self, grace):
        if "ODD_HOLDS_ON" in os.environ:
            fail(LookupError("no such container"))

def fail(error):
    raise error

@hookimpl
def run_target(run):
    return Handle() if run.target == "odd" else None
"""


@pytest.mark.parametrize("warm", [False, True], ids=["first", "again"])
@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ("fail(RuntimeError('the engine has gone'))", "failed in stream: RuntimeError: the engine has gone"),
        ("fail(SystemExit(3))", "failed in stream: SystemExit: 3"),
        ("'0'", "failed in stream: it answered '0', and that is no int"),
        ("None", "failed in stream: it answered None, and that is no int"),
    ],
)
def test_what_goes_wrong_with_a_run_that_a_plugin_has_started_is_told_and_recorded_as_the_plugins(
    desk: Desk, answer: str, told: str, warm: bool
) -> None:
    desk = install(desk, "odd", HANDLE)
    desk.write("envbuild.yml", "name: plain\n")
    if warm:
        assert desk.envbuild("run", "-t", "odd", "--", "python", "-V").out == "a word of the run's"
    desk = desk.set(ODD_ANSWERS=answer)

    done = desk.refused("run", "-t", "odd", "--", "python", "-V")

    assert f"error: the plugin 'odd' {told}\n" in done.err
    assert "hint: report it to whoever makes odd 1.0" in done.err
    assert done.out == "a word of the run's"
    ended = desk.envbuild("runs", "list", "--json").json[0]
    assert (ended["status"], ended["reason"]) == ("Failed", f"the plugin 'odd' {told}")


@pytest.mark.parametrize("warm", [False, True], ids=["first", "again"])
def test_an_error_of_envbuilds_that_a_handle_raises_stays_what_it_is_and_gets_the_plugins_name(
    desk: Desk, warm: bool
) -> None:
    desk = install(desk, "odd", HANDLE)
    desk.write("envbuild.yml", "name: plain\n")
    if warm:
        desk.envbuild("run", "-t", "odd", "--", "python", "-V")
    desk = desk.set(ODD_ANSWERS="fail(TargetError('the cluster is full', hint='wait'))")

    done = desk.refused("run", "-t", "odd", "--", "python", "-V")

    assert "error: the cluster is full\n" in done.err
    assert "hint: wait\n" in done.err
    assert "from: the plugin odd (odd 1.0)\n" in done.err


def test_a_plugin_that_has_gone_since_its_run_was_started_is_missed_by_name(desk: Desk) -> None:
    there = install(desk, "odd", HANDLE)
    desk.write("envbuild.yml", "name: plain\n")
    there.envbuild("run", "-t", "odd", "--", "python", "-V")

    assert "no installed plugin takes on the target 'odd'" in desk.refused("run", "-t", "odd", "--", "python", "-V").err


def test_a_handle_that_lacks_a_method_or_cannot_be_stopped_is_told_as_the_plugins(desk: Desk) -> None:
    desk = install(desk, "odd", HANDLE.replace("def stream", "def flow"))
    desk.write("envbuild.yml", "name: plain\n")
    lacking = desk.refused("run", "-t", "odd", "--", "python", "-V").err
    assert "error: the plugin 'odd' failed in stream: AttributeError: " in lacking

    desk = desk.set(ODD_HOLDS_ON="yes")
    both = desk.refused("run", "-t", "odd", "--", "python", "-V").err
    assert "error: the plugin 'odd' failed in cancel: LookupError: no such container\n" in both
