"""What every contract has: who is tested, with which values, and how it is said that a promise is not kept."""

from __future__ import annotations

import inspect
import os
import sys
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import chdir, contextmanager
from dataclasses import fields, is_dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any, ClassVar, NoReturn, TypeVar

import pytest

from envbuild.digest import Digest
from envbuild.errors import EnvbuildError, PluginError
from envbuild.fingerprint import Difference, differences
from envbuild.hookspecs import GROUP
from envbuild.platform import Platform
from envbuild.plugins import Plugins
from envbuild.testing import elsewhere, lingering, watching
from envbuild.testing.leaks import spellings
from envbuild.testing.lingering import GoingOn
from envbuild.testing.ourselves import Ourselves
from envbuild.workspace import Workspace

T = TypeVar("T")

SECRET = "ENVBUILD_TESTING_SECRET"  # noqa: S105 - the name of a variable
"""The variable that holds a secret: where a definition needs one, it says ``${ENVBUILD_TESTING_SECRET}``."""


class PluginContract:
    """What is promised by every plugin, whichever hooks it answers.

    A subclass gives the fixture ``plugin``. The others have a default, which a subclass may replace.
    """

    hook: ClassVar[str]
    """The hook that the contract is for."""

    _promise = ""
    _minds_refusals = True
    _has_no: Mapping[str, str] = MappingProxyType({})

    # What an author gives

    @pytest.fixture
    def plugin(self) -> Any:
        """The plugin: the module with the hooks, or an object that has them as methods."""
        self.lacks("plugin", "the module with the hooks, such as `import my_plugin; return my_plugin`")

    @pytest.fixture
    def reference(self, plugin: Any) -> str:
        """Where another process finds the plugin: ``module``, ``module:attribute``, or ``module:Class()``."""
        found = _reference(plugin)
        if found is None:
            self.lacks(
                "reference",
                f"where {plugin!r} can be imported from, as 'module:attribute': it is asked in other processes too",
            )
        return found

    @pytest.fixture
    def imports(self) -> frozenset[str]:
        """The packages, besides envbuild and the standard library, that importing the plugin may pull in."""
        return frozenset()

    @pytest.fixture
    def platform(self) -> Platform:
        """What environments are made for; by default this machine."""
        return Platform.here()

    @pytest.fixture
    def secret(self) -> str:
        """A text that must be found nowhere."""
        return "hush-4b9d1e7a"

    @pytest.fixture
    def settings(self) -> Mapping[str, str]:
        """Further variables, by which the plugin's programs find a cache of the test's own, for instance."""
        return {}

    @pytest.fixture
    def caches(self) -> tuple[Path, ...]:
        """Folders in which the plugin keeps what it has fetched, besides the store."""
        return ()

    @pytest.fixture
    def has_no(self) -> Mapping[str, str]:
        """The cases that cannot be with the plugin, by name, and why not.

        A test that lacks its case is skipped. Where the case is named here nothing is skipped, and the test fails if
        there is such a case after all. The names are those of the fixtures.
        """
        return {}

    @pytest.fixture
    def helpers(self) -> frozenset[str]:
        """Programs that the plugin has wait for its next question, by a word of their command lines.

        They end by themselves, at the latest with the process that started them.
        """
        return frozenset()

    @pytest.fixture
    def variables(self, secret: str, settings: Mapping[str, str]) -> dict[str, str]:
        """The variables of whoever asks: the tests', the settings, and in ``ENVBUILD_TESTING_SECRET`` the secret."""
        return {**os.environ, SECRET: secret, **settings}

    @pytest.fixture
    def workspace(self, tmp_path: Path) -> Workspace:
        """The workspace whose store the plugin is given; in a temporary folder, empty."""
        return Workspace(tmp_path / "workspace")

    # What the contracts go by

    @pytest.fixture(autouse=True)
    def _by_the_docstring(self, request: pytest.FixtureRequest, has_no: Mapping[str, str]) -> None:
        """Know what the test is about, to say it where it fails, and which cases there cannot be."""
        self._promise = inspect.cleandoc(request.function.__doc__ or "")
        self._has_no = has_no
        # A test of the author's own may ask for whatever it likes, and catch what comes.
        self._minds_refusals = not request.function.__module__.startswith(__package__)

    @pytest.fixture(autouse=True)
    def _process_stays_as_it_is(self) -> Iterator[None]:
        """Have no test find what a plugin has left behind in another, so that their order does not count."""
        before = Ourselves.now()
        yield
        before.restore()

    @pytest.fixture(autouse=True)
    def _place_for_temporary_files(
        self, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Have temporary files made where it is seen if they stay."""
        folder = str(tmp_path_factory.mktemp("temporary"))
        monkeypatch.setenv("TMPDIR", folder)
        monkeypatch.setattr(tempfile, "tempdir", folder)

    @pytest.fixture(autouse=True)
    def _secret_within_reach(self, secret: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """Have the secret where users have theirs, for those who look there and not in what they are given."""
        monkeypatch.setenv(SECRET, secret)

    @pytest.fixture(autouse=True)
    def _mark_of_programs(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Have programs that a plugin starts known by their variables, whoever their parent has become."""
        monkeypatch.setenv(lingering.MARK, uuid.uuid4().hex)

    def broken(self, found: str, *details: object) -> NoReturn:
        """Fail: say what was found, and which promise that breaks."""
        lines = [f"{self.hook}: {found}", *(f"    {each}" for each in details), "", "The promise:", self._promise]
        pytest.fail("\n".join(lines), pytrace=False)

    def lacks(self, fixture: str, what: str) -> NoReturn:
        """Fail for want of something that only the author can give."""
        pytest.fail(f"{type(self).__name__} has to give the fixture `{fixture}`: {what}", pytrace=False)

    def if_any(self, case: str, found: T | None, otherwise: str) -> T | None:
        """The case, or ``None`` where the plugin is said to have none (`has_no`); skip where nobody has said so."""
        reason = self._has_no.get(case)
        if found is not None and reason is not None:
            self.broken(f"`has_no` says that there is no case `{case}` ({reason}), and there is one")
        if found is None and reason is None:
            pytest.skip(f"{otherwise}; if there can be none, say so in `has_no`")
        return found

    def ask(self, plugin: Any, **arguments: Any) -> Any:
        """Ask the plugin, as envbuild does; what is no `EnvbuildError` comes as `PluginError`."""
        plugins = Plugins(())
        plugins.register(plugin, "tested")
        with self.no_refusal():
            return plugins.first(self.hook, **arguments)

    @contextmanager
    def may_refuse(self) -> Iterator[None]:
        """Have the test itself mind what the plugin refuses meanwhile."""
        before, self._minds_refusals = self._minds_refusals, True
        try:
            yield
        finally:
            self._minds_refusals = before

    @contextmanager
    def no_refusal(self) -> Iterator[None]:
        """Fail if the plugin refuses what it is asked meanwhile, unless it may."""
        try:
            yield
        except PluginError:
            # It has not meant to: where it went wrong is in the traceback.
            raise
        except EnvbuildError as error:
            if self._minds_refusals:
                raise
            said = [*str(error).splitlines(), *([f"hint: {error.hint}"] if error.hint else [])]
            self.broken(f"it refuses what it is asked, with {type(error).__name__}", *said)

    def same(self, what: str, before: Any, after: Any) -> None:
        """Fail, unless the two are equal; what differs is listed."""
        unlike = [str(each) for each in differences(plain(before), plain(after))]
        if unlike:
            self.broken(what, *unlike)

    @contextmanager
    def nothing_left(self, *allowed: Path, watch: tuple[Path | None, ...] = ()) -> Iterator[watching.Seen]:
        """Fail if something is written outside of the folders ``allowed``; meanwhile we are in an empty folder.

        :param watch: folders in which also what other processes write is seen.
        """
        here = Path(tempfile.gettempdir())
        folders = [here, *(each for each in watch if each is not None)]
        before = [watching.tree(each) for each in folders]
        with watching.watched() as seen, chdir(here):
            yield seen
        left = seen.left(*allowed)
        for folder, known in zip(folders, before, strict=True):
            unlike = watching.unlike(known, watching.tree(folder))
            for each in unlike:
                path = folder / each.partition(": ")[0]
                left += [] if any(map(path.is_relative_to, allowed)) else [f"{folder}/{each}"]
        if left:
            self.broken("it has written, or removed, what is none of its own", *left[:10])

    @contextmanager
    def nothing_changed(self, *values: object) -> Iterator[None]:
        """Fail if one of the values, or something that this process has as a whole, is another afterwards."""

        def known() -> list[Any]:
            now = Ourselves.now()
            return [*map(plain, values), dict(now.variables), now.facts]

        before = known()
        yield
        after = known()
        unlike = [each for old, new in zip(before, after, strict=True) for each in differences(old, new)]
        if unlike:
            # Not what the variables were: some of them are secret.
            told = (f"{': '.join(each.path)}: {_became(each)}" for each in unlike)
            self.broken("it has changed what it was given, or the process that it runs in", *told)

    @contextmanager
    def nothing_goes_on(self, helpers: frozenset[str]) -> Iterator[None]:
        """Fail if a thread or a program that begins meanwhile still goes on afterwards."""
        before = GoingOn.now(os.environ[lingering.MARK])
        yield
        threads, processes = before.since()
        unknown = [each for each in processes if not any(word in each.command for word in helpers)]
        lingering.end(unknown)
        if threads or unknown:
            found = [f"the thread {each.name}" for each in threads] + [str(each) for each in unknown]
            self.broken("it has answered, and something that it has begun still goes on", *found)

    def keeps(self, secret: str, where: str, *told: object) -> None:
        """Fail if the secret stands in what is told, however it is spelled there."""
        for each in told:
            ways = spellings(str(each), secret)
            if ways:
                self.broken(f"the value of ${{{SECRET}}} is in {where}, {' and '.join(ways)}", each)

    @contextmanager
    def nothing_overheard(self, secret: str, capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
        """Fail if the secret is printed or logged meanwhile."""
        capfd.readouterr()
        with watching.logged() as lines:
            yield
        self.keeps(secret, "its log", *lines)
        self.keeps(secret, "what it prints", *capfd.readouterr())

    # What every plugin promises

    def test_it_registers_and_answers_the_hook(self, plugin: Any, reference: str) -> None:
        """It has the hook under its name, with parameters that the hook has, and no wrapper around it.

        As docs/plugins.md says: "has a function that no hook has, or a parameter that its hook lacks".
        """
        plugins = Plugins(())
        try:
            plugins.register(plugin, "tested")
        except Exception as error:
            self.broken(f"it cannot be registered: {error}")
        if self.hook not in plugins.found[0].hooks:
            answers = ", ".join(plugins.found[0].hooks) or "no hook at all"
            self.broken(f"it does not answer it, but {answers}; is the function marked with @hookimpl?")
        for point in _points(reference):
            (found,) = Plugins([point]).found
            if found.error or self.hook not in found.hooks:
                self.broken(f"by its entry point {point.name!r} it cannot be loaded: {found.error or found.hooks}")

    def test_importing_it_costs_little_and_does_nothing(self, reference: str, imports: frozenset[str]) -> None:
        """Importing it pulls in nothing beyond envbuild and the standard library, and touches no disk or network.

        As docs/plugins.md says: "A module should import what is heavy inside its functions."
        """
        there = elsewhere.ask("modules", reference, bare=False, names=[])
        if there.error:
            self.broken(f"it cannot be imported in a fresh interpreter: {there.error!r}")
        modules, touched = there.answer
        # What envbuild's own modules import is not the plugin's doing.
        ours = [each for each in modules if each.partition(".")[0] == "envbuild"]
        known = elsewhere.ask("modules", reference, bare=True, names=ours).answer[0]
        own = {reference.partition(":")[0].partition(".")[0], "envbuild", "pluggy"}
        heavy = {each.partition(".")[0] for each in set(modules) - set(known)}
        heavy -= own | imports | set(sys.stdlib_module_names)
        if heavy:
            self.broken("importing it pulls in other packages, which every command pays for", *sorted(heavy))
        if touched:
            self.broken("importing it does something", *touched[:10])


def plain(value: Any) -> Any:
    """A value as lists, mappings and texts, to be compared and shown."""
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if is_dataclass(value) and not isinstance(value, (type, Digest, Platform)):
        return {each.name: plain(getattr(value, each.name)) for each in fields(value) if each.name != "progress"}
    if isinstance(value, (set, frozenset)):
        return sorted(map(str, value))
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    return value if value is None or isinstance(value, (bool, int, str)) else str(value)


def said_by(error: BaseException) -> str:
    """All that a user may come to see of an error."""
    told = [str(error), *getattr(error, "__notes__", ())]
    if isinstance(error, EnvbuildError):
        told.append(error.hint)
    if error.__cause__ is not None:
        told.append(said_by(error.__cause__))
    return "\n".join(told)


def _became(difference: Difference) -> str:
    return "added" if difference.before is None else "removed" if difference.after is None else "changed"


def _reference(plugin: Any) -> str | None:
    if isinstance(plugin, ModuleType):
        return plugin.__name__
    made_by = type(plugin)
    module = sys.modules.get(made_by.__module__)
    name = next((name for name, value in vars(module or object).items() if value is plugin), None)
    if name is None and getattr(module, made_by.__name__, None) is made_by and not vars(plugin):
        # It has nothing in it that tells it from any other of its class.
        name = f"{made_by.__name__}()"
    return f"{made_by.__module__}:{name}" if name else None


def _points(reference: str) -> list[EntryPoint]:
    return [each for each in entry_points(group=GROUP) if each.value == reference]
