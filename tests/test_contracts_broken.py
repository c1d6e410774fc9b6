"""Plugins that break a promise are caught, by the test of that promise, in words that say which and how."""

from __future__ import annotations

import gc
import inspect
import os
import warnings
from typing import NamedTuple
from unittest import mock

import pytest
from support import right, tried, wrong
from support.promises import promises

from envbuild.testing import PluginContract
from envbuild.testing.lingering import GoingOn, end
from envbuild.testing.ourselves import Ourselves


class Case(NamedTuple):
    """A wrong plugin, the test that has to fail with it, and what that has to say."""

    plugin: str
    contract: str
    test: str
    said: str

    def __str__(self) -> str:
        return self.plugin


def cases(contract: str, **found: tuple[str, str]) -> list[Case]:
    return [Case(plugin, contract, f"test_{test}", said) for plugin, (test, said) in found.items()]


CASES = [
    *cases(
        "Resolving",
        Wraps=("it_registers_and_answers_the_hook", "is a hook wrapper"),
        UnknownParameter=("it_registers_and_answers_the_hook", "cannot be registered"),
        Unmarked=("it_registers_and_answers_the_hook", "marked with @hookimpl"),
        TakesOnAll=("what_is_not_its_own_is_declined", "it takes on a definition with nothing in it"),
        LooksFirst=("what_is_not_its_own_is_declined", "it asks around about"),
        AddsAndDeclines=("what_is_not_its_own_is_declined", "it adds to a definition"),
        NamesNoSection=("it_says_which_sections_it_took_on", "it takes on ['packages'], and the sections are conda"),
        NamesAText=("it_says_which_sections_it_took_on", "'pip', which is not a tuple"),
        NotesTheTime=("equal_questions_get_equal_answers", "packages: demo (shelf): details: asked"),
        NotesTheOrder=("the_order_of_what_is_asked_for_does_not_count", "details: first: demo → helper"),
        ForgetsThePrevious=("what_is_locked_stays", "version: 1.1 → 3.0"),
        NeverUpgrades=("what_is_locked_stays", "told to upgrade, it keeps what was locked"),
        Replaces=("what_is_pinned_already_is_not_pinned_again", "demo 0.0.0 was pinned before"),
        ReplacesThePython=("a_python_that_is_fixed_already_stays", "Python 3.99.1 was fixed before"),
        LeavesAFile=("it_writes_only_where_it_was_told", "resolved.txt"),
        LeavesAFileByProgram=("it_writes_only_where_it_was_told", "resolved.txt: nothing → a file"),
        RemovesAFile=("it_writes_only_where_it_was_told", "helper-1.0.txt"),
        SetsAVariable=("what_it_was_given_stays_as_it_was", "SHELF: added"),
        TakesFromTheRequest=("what_it_was_given_stays_as_it_was", "PATH: removed"),
        Remembers=("one_call_knows_nothing_of_another", "answers differently from a new process"),
        HasNoDigest=("every_artifact_can_be_verified", "demo 1.1 has no digest"),
        CannotBeWritten=("every_artifact_can_be_verified", "written down, its lock cannot be read again"),
        SaysTooMuch=("every_artifact_can_be_verified", "it was edited by hand"),
        LocksASecret=("no_secret_is_told", "in what it has locked"),
        LocksASecretOfTheProcess=("no_secret_is_told", "in what it has locked"),
        LocksThePlace=("no_lock_names_a_place_on_this_machine", "/project/shelf/demo-1.1.txt"),
        LocksTheHost=("every_machine_gives_the_same_answer", "+another-host"),
        TellsASecret=("no_secret_is_told", "in its progress"),
        FailsWithASecret=("no_secret_is_told", "in its error"),
        LocksASecretInBase64=("no_secret_is_told", "in what it has locked, in base64"),
        FailsWithASecretInHex=("no_secret_is_told", "in its error, in hex"),
        LogsASecret=("no_secret_is_told", "in its log, as it is"),
        PrintsASecret=("no_secret_is_told", "in what it prints, as it is"),
        LeavesAThread=("nothing_goes_on_when_it_has_answered", "    the thread looks for more"),
        LeavesAProgram=("nothing_goes_on_when_it_has_answered", ": sleep 61"),
        PinsNothing=("what_cannot_be_had_is_refused_in_words", "what cannot be had it pins"),
        RefusesItsOwn=(
            "equal_questions_get_equal_answers",
            "refuses what it is asked, with ResolutionFailed\n    the shelf is closed\n    hint: come again tomorrow",
        ),
        WorksOnOneHost=(
            "every_machine_gives_the_same_answer",
            "with ResolutionFailed\n    the shelf is not for another",
        ),
        RefusesWithAnotherError=("what_cannot_be_had_is_refused_in_words", "with BuildFailed, not ResolutionFailed"),
        RefusesWithoutAWord=("what_cannot_be_had_is_refused_in_words", "without a word"),
        AsksAnyway=("offline_asks_nobody", "('127.0.0.1', 9)"),
        AsksByProgram=("offline_asks_nobody", "a program that it has started"),
    ),
    *cases(
        "Hashing",
        SpeaksOfAll=("what_is_not_its_own_is_declined", "with nothing in it, it says"),
        GivesAFloat=("the_answer_is_plain_data", "float has no canonical form"),
        GivesAList=("the_answer_is_plain_data", "not a mapping"),
        MissesAFile=("the_answer_is_plain_data", "with NotFound\n    there is no shelf.yml beside the definition"),
        HashesByChance=("every_process_gives_the_same_answer", "PYTHONHASHSEED"),
        SaysWhereItIs=("every_process_gives_the_same_answer", "answers differently"),
        SaysTheZone=("every_process_gives_the_same_answer", "Asia/Kathmandu"),
        SaysTheDay=("every_process_gives_the_same_answer", "a clock that is 100 days ahead, umask 077) answers"),
        SaysTheMoment=("every_process_gives_the_same_answer", "asked twice, it answers differently"),
        SaysTheName=("names_and_order_do_not_count", "fact: mine → another-name"),
        SaysTheOrder=("names_and_order_do_not_count", "fact: order"),
        SaysThePlace=("where_the_project_lies_does_not_count", "in another folder its answer is another"),
        SaysTheVariables=("variables_and_secrets_do_not_count", "with other variables its answer is another"),
        SaysTheSecret=("variables_and_secrets_do_not_count", "with other variables its answer is another"),
        KeepsItsAnswer=("it_only_looks", "found.cache"),
        SetsAVariableOnce=("it_only_looks", "SHELF: added"),
        MovesHouse=("it_only_looks", "the handler of: SIGUSR1: changed"),
        AsksTheNetwork=("it_only_looks", "it asks the network"),
        CountsInTheBackground=("nothing_goes_on_when_it_has_answered", "    the thread counts_0"),
        ReadsNamesAlone=("what_matters_counts", "what matters has changed"),
    ),
    *cases(
        "Building",
        TakesOnEveryKind=("other_kinds_are_declined", "asked for an image of kind oci"),
        TakesOnEveryPackage=("other_kinds_are_declined", "asked for packages of a kind that is somebody else's"),
        BeginsAndDeclines=("other_kinds_are_declined", "before it declines"),
        BeginsAnew=("what_another_builder_has_put_there_stays", "theirs.txt: a file"),
        SaysAnotherId=("the_image_says_what_was_built", "id: sha256:"),
        BuildsElsewhere=("the_image_says_what_was_built", "and not inside of"),
        LacksThePython=("the_image_says_what_was_built", "bin/python3.99, and there is no such file"),
        RefusesToBuild=("it_works_where_it_lives", "with BuildFailed\n    the shelf has not what was locked"),
        WritesTheTime=("two_builds_hold_the_same_files", "built: a file, 0644"),
        LeavesModesToChance=("two_builds_hold_the_same_files", "lib/shelf: a folder, 07"),
        WritesThePlace=("nothing_names_the_place_where_it_was_built", "bin/demo"),
        LinksToThePlace=("nothing_names_the_place_where_it_was_built", "lib64"),
        BuildsInTheProject=("it_writes_only_where_it_was_told", "project/build"),
        ChangesTheFolder=("what_it_was_given_stays_as_it_was", "the working directory: changed"),
        TrustsWhatItFinds=("an_artifact_that_is_not_the_locked_one_is_refused", "other digests than the lock says"),
        RefusesAsFailed=("an_artifact_that_is_not_the_locked_one_is_refused", "with BuildFailed, not Damaged"),
        WritesASecret=("no_secret_is_in_it", "pip.conf"),
        WritesASecretOfTheProcess=("no_secret_is_in_it", "pip.conf"),
        PacksASecret=("no_secret_is_in_it", "settings.zip.gz, unpacked, in it pip.conf: in base64"),
        GoesByItsUmask=("whoever_builds_makes_no_difference", "bin/tool: a file, 0700"),
        LeavesADaemon=("nothing_goes_on_when_it_has_answered", ": sleep 62"),
        WritesItsOwner=("whoever_builds_makes_no_difference", "owner: a file"),
        WritesTheHost=("whoever_builds_makes_no_difference", "host: a file"),
        WritesTheDay=("whoever_builds_makes_no_difference", "day: a file"),
        LinksToTheProject=("it_holds_all_its_files_itself", "shelf: a link to"),
        SharesAFile=("it_holds_all_its_files_itself", "shared.txt: the same file as"),
        AsksWhileItBuilds=("offline_asks_nobody", "('127.0.0.1', 9)"),
        AsksByProgramWhileItBuilds=("offline_asks_nobody", "a program that it has started"),
        HasAnotherPython=("it_works_where_it_lives", "→ 2.7.18"),
        HasNoPython=("it_works_where_it_lives", "its Python does not run: it ends with 3"),
        TrustsItsCache=("a_build_that_was_killed_can_be_made_again", "and built again, it is another"),
        LeavesALock=("a_build_that_was_killed_can_be_made_again", "it cannot be built again"),
        ClosesAllFiles=("of_many_processes_one_builds", "of three processes"),
    ),
    *cases(
        "Running",
        TakesOnEveryTarget=("other_targets_are_declined", "'somebody-elses': it answers"),
        RefusesToRun=("its_answer_is_a_handle", "with TargetError\n    nobody is here"),
        StartsAndDeclines=("other_targets_are_declined", "true"),
        RunsEveryImage=("an_image_of_another_kind_is_refused", "it runs an image of kind oci"),
        CannotBeCancelled=("its_answer_is_a_handle", "lacks the methods cancel"),
        StartsNowhere=("its_starter_starts_the_same", "'support.wrong:nowhere', which is not there"),
        StartsAnother=("its_starter_starts_the_same", "does not start what it is told"),
        Waits=("it_returns_when_the_run_has_started", "when the program has ended"),
        AlwaysSucceeds=("the_exit_code_is_passed_on", "ends with 3 is said to have ended with 0"),
        GivesNegativeCodes=("the_signal_that_ended_it_is_told", "SIGKILL ended is said to have ended with -9, not 137"),
        PassesOnText=("all_that_is_printed_is_passed_on", "(1, 'str')"),
        MixesOutputs=("all_that_is_printed_is_passed_on", "of standard output 3000000 arrive, and 3000000 others"),
        ReadsOneAfterTheOther=("all_that_is_printed_is_passed_on", "stream() does not return"),
        WaitsForTheEnd=("what_is_printed_is_passed_on_as_it_comes", "only when it has ended"),
        RunsAnywhere=("it_runs_in_its_working_directory", "is not in that of the request"),
        DropsVariables=("variables_are_given_and_not_told", "does not have the variables"),
        ShowsVariables=("variables_are_given_and_not_told", "in what its handle says of itself"),
        StartsSlowly=("it_returns_when_the_run_has_started", "s after the program has started, and not as soon"),
        PassesVariablesAsWords=("values_are_on_no_command_line", "ENVBUILD_TESTING_SECRET=${ENVBUILD_TESTING_SECRET}"),
        ShowsVariablesByProgram=("values_are_on_no_command_line", "process "),
        KeepsALog=("it_writes_only_where_it_was_told", "runs.log"),
        KeepsVariables=("it_writes_only_where_it_was_told", "written the value of a variable down"),
        KeepsVariablesEncoded=("it_writes_only_where_it_was_told", "variables: quoted"),
        PassesVariablesInBase64=("values_are_on_no_command_line", "VARIABLES="),
        WatchesOn=("nothing_goes_on_when_the_run_has_ended", "    the thread watches"),
        KeepsInputOpen=("who_reads_does_not_wait_for_ever", "that reads its standard input waits for ever (for 5 s)"),
        UsesItsOwnPython=("the_python_is_that_of_the_environment", "runs with the Python of"),
        SaysZeroWhileItRuns=("poll_can_be_asked_at_any_time", "poll says [0, 0] while the run goes on"),
        SaysItOnce=("poll_can_be_asked_at_any_time", "afterwards, not [None, None] and [0, 0]"),
        KeepsSignals=("a_signal_is_passed_on", "goes on after signal(SIGINT)"),
        StumblesOverTheDead=("a_signal_is_passed_on", "a signal to a run that has ended raises"),
        KillsAtOnce=("cancel_asks_first", "with 137: it was not asked"),
        CancelsAndWaits=("cancel_asks_first", "cancel waits for the run to end"),
        OnlyAsks=("cancel_makes_it_end", "goes on after cancel(0)"),
        SparesChildren=("cancel_ends_what_it_has_started", "a child of the program goes on"),
        LeavesTheStubborn=("cancel_ends_children_that_do_not_listen", "a child that ignores SIGTERM goes on"),
        HasNoHint=("a_program_that_is_not_there_is_named", "without its name, or without a hint"),
        LetsItRaise=("a_program_that_is_not_there_is_named", "with PluginError, not TargetError"),
        PretendsToRun=("a_program_that_is_not_there_is_named", "a program that is not there ends with 0"),
        SetsVariablesHere=("what_it_was_given_stays_as_it_was", "TOLD: added"),
        RemembersWhoWrites=("runs_know_nothing_of_each_other", "of two runs"),
    ),
    *cases(
        "Deploying",
        ServesEverybody=("other_targets_are_declined", "somebody else's target: it answers"),
        StartsSomethingFirst=("other_targets_are_declined", "('127.0.0.1', 9)"),
        ShowsTheKey=(
            "no_secret_is_told",
            "the value of ${ENVBUILD_TESTING_SECRET} is in what its handle says of itself, as it is",
        ),
    ),
]

_SUITE = """
import pytest
from support.tried import {contract}
from support.wrong import {plugin}

class TestWrong({contract}):
    @pytest.fixture
    def plugin(self):
        return {plugin}()
"""


def inside(pytester: pytest.Pytester, *words: str) -> pytest.RunResult:
    """Run pytest in this one; what a wrong plugin leaves open, sets or has running is gone afterwards."""
    with mock.patch.dict(os.environ), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        done = pytester.runpytest_inprocess("-p", "no:unraisableexception", "-p", "no:threadexception", *words)
        right.end_all()
        gc.collect()
    return done


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_broken_promise_is_told(case: Case, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(_SUITE.format(**case._asdict()))

    done = inside(pytester, "-x", "-k", case.test)

    told = done.stdout.str()
    assert done.parseoutcomes().get("failed"), told
    assert case.said in told
    (promise,) = (promise for name, promise in promises() if name == f"{contract_of(case)}.{case.test}")
    assert f"The promise:\n{promise}" in told


def test_what_a_plugin_leaves_in_the_process_is_found_in_any_order_and_gone_afterwards(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(_SUITE.format(contract="Hashing", plugin="MovesHouse"))
    before = Ourselves.now()

    done = inside(pytester)

    after = Ourselves.now()
    done.assert_outcomes(passed=10, failed=1)
    for each in ("the working directory", "the umask", "sys.path", "the default timeout of sockets"):
        assert f"    {each}: " in done.stdout.str()
    assert (after.directory, after.umask, after.timeout) == (before.directory, before.umask, before.timeout)
    assert after.handlers == before.handlers


def contract_of(case: Case) -> str:
    return getattr(tried, case.contract).__mro__[1].__name__


def test_a_case_that_is_said_not_to_be_there_and_is_counts_as_a_mistake(pytester: pytest.Pytester) -> None:
    suite = _SUITE.format(contract="Resolving", plugin="ShelfPlugin")
    pytester.makepyfile(
        suite
        + """
    @pytest.fixture
    def has_no(self):
        return {"unsatisfiable": "nothing is refused"}
"""
    )

    done = inside(pytester, "-k", "what_cannot_be_had")

    assert "says that there is no case `unsatisfiable` (nothing is refused), and there is one" in done.stdout.str()


@pytest.mark.parametrize(("has_no", "outcome"), [({}, "skipped"), ({"unsatisfiable": "there is nothing"}, "passed")])
def test_a_case_that_lacks_is_skipped_unless_it_is_said_that_there_is_none(
    pytester: pytest.Pytester, has_no: dict[str, str], outcome: str
) -> None:
    suite = _SUITE.format(contract="Resolving", plugin="ShelfPlugin")
    pytester.makepyfile(
        suite
        + f"""
    @pytest.fixture
    def has_no(self):
        return {has_no}

    @pytest.fixture
    def unsatisfiable(self):
        return None
"""
    )

    done = inside(pytester, "-k", "what_cannot_be_had")

    assert done.parseoutcomes() == {outcome: 1, "deselected": done.parseoutcomes()["deselected"]}


def test_a_program_that_waits_for_another_question_is_no_mistake(pytester: pytest.Pytester) -> None:
    suite = _SUITE.format(contract="Resolving", plugin="LeavesAProgram")
    pytester.makepyfile(
        suite
        + """
    @pytest.fixture
    def helpers(self):
        return frozenset({"sleep 61"})
"""
    )

    done = inside(pytester, "-k", "nothing_goes_on")
    left = GoingOn.now("").processes
    end([each for each in left if each.command == "sleep 61"])

    done.assert_outcomes(passed=1, deselected=done.parseoutcomes()["deselected"])
    assert [each.command for each in left].count("sleep 61") == 1


def test_every_promise_has_a_plugin_that_breaks_it() -> None:
    broken = {f"{contract_of(each)}.{each.test}" for each in CASES}
    common = {name for name, _ in promises() if name.partition(".")[2] in vars(PluginContract)}
    assert {name for name, _ in promises()} - common <= broken


def test_every_wrong_plugin_is_tried_and_says_what_is_wrong_with_it() -> None:
    shared = {wrong.Resolver, wrong.Hasher, wrong.Builder, wrong.Runner}
    found = {
        name
        for name, plugin in inspect.getmembers(wrong, inspect.isclass)
        if plugin.__module__ == wrong.__name__ and plugin not in shared
    }
    assert found == {each.plugin for each in CASES}
    assert all(getattr(wrong, name).__doc__ for name in found)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import hypothesis", "importing it pulls in other packages"),
        ("open('imported', 'w').close()", "writes imported"),
        ("import subprocess; subprocess.run(['true'])", "subprocess.Popen true"),
        ("import socket; socket.getaddrinfo('localhost', 80)", "socket.getaddrinfo localhost"),
        ("import sys; sys.exit(3)", "cannot be imported in a fresh interpreter"),
    ],
)
def test_a_module_that_does_something_on_import_is_told(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, source: str, said: str
) -> None:
    monkeypatch.syspath_prepend(pytester.path)
    pytester.makepyfile(costly_plugin=f"from envbuild import hookimpl\n{source}\n")
    pytester.makepyfile(
        """
        import pytest
        from support.tried import Resolving

        class TestWrong(Resolving):
            @pytest.fixture
            def reference(self):
                return "costly_plugin"
        """
    )

    done = inside(pytester, "-k", "importing")

    assert said in done.stdout.str()
    assert 'As docs/plugins.md says: "A module should import what is heavy inside its functions' in done.stdout.str()


def test_an_entry_point_that_leads_nowhere_is_told(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(pytester.path)
    about = pytester.mkdir("mine-1.0.dist-info")
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[envbuild]\nmine = mine_plugin:missing\n")
    pytester.makepyfile(
        """
        import pytest
        from envbuild.testing import ShelfPlugin
        from support.tried import Resolving

        class TestWrong(Resolving):
            @pytest.fixture
            def plugin(self):
                return ShelfPlugin()

            @pytest.fixture
            def reference(self):
                return "mine_plugin:missing"
        """
    )

    done = inside(pytester, "-k", "registers")

    assert "by its entry point 'mine' it cannot be loaded: ModuleNotFoundError" in done.stdout.str()
