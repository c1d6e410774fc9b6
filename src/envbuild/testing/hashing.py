"""The contract of ``compute_hash``."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from envbuild.definition import Definition
from envbuild.fingerprint import Document
from envbuild.lock import Lock
from envbuild.platform import Platform
from envbuild.testing import elsewhere
from envbuild.testing.contract import SECRET, PluginContract
from envbuild.testing.resolving import reversed_definition


class ComputeHashContract(PluginContract):
    """What ``compute_hash`` promises.

    A subclass gives the fixtures ``plugin``, ``definition`` and ``lock``, and it should give ``changed``: without it
    nothing proves that the answer says anything.
    """

    hook = "compute_hash"

    @pytest.fixture
    def definition(self) -> Definition:
        """A definition in which something matters to the plugin."""
        self.lacks("definition", "one in which something matters to the plugin")

    @pytest.fixture
    def lock(self) -> Lock:
        """Its lock."""
        self.lacks("lock", "the lock of `definition`")

    @pytest.fixture
    def changed(self) -> Callable[[], tuple[Definition, Lock]] | None:
        """A function that changes what matters, on disk perhaps, and gives the definition and the lock of then."""
        return None

    @pytest.fixture
    def answer(self, plugin: Any) -> Callable[[Definition, Lock], Any]:
        """Ask the plugin."""
        return lambda definition, lock: self.ask(plugin, definition=definition, lock=lock)

    def test_what_is_not_its_own_is_declined(self, platform: Platform, answer: Callable[..., Any]) -> None:
        """Of an environment that has nothing in it, it has nothing to say.

        As `compute_hash` says: "or ``None`` for "nothing in it is mine"".
        """
        found = answer(Definition(), Lock(python="3.12.0", platform=platform))
        if found:
            self.broken("of an environment with nothing in it, it says", json.dumps(found, default=str))

    def test_the_answer_is_plain_data(self, definition: Definition, lock: Lock, answer: Callable[..., Any]) -> None:
        """It is a mapping of texts, whole numbers, truth values, lists and mappings.

        As `compute_hash` says: "JSON-able data without floats".
        """
        found = answer(definition, lock)
        if not isinstance(found, Mapping):
            self.broken(f"of the definition and lock that are said to be its own, it gives {found!r}, not a mapping")
        try:
            Document("environment", found).encoded  # noqa: B018 - it is made when it is asked for
        except (TypeError, ValueError) as error:
            self.broken(f"its answer cannot be hashed: {error}")

    def test_every_process_gives_the_same_answer(
        self,
        definition: Definition,
        lock: Lock,
        reference: str,
        answer: Callable[..., Any],
        tmp_path_factory: pytest.TempPathFactory,
    ) -> None:
        """Hour, host, hash seed, time zone, language, home and working directory make no difference.

        As `compute_hash` says: "Equal environments give equal answers on every machine, at any hour".
        """
        here = _content(answer(definition, lock))
        self.same("asked twice, it answers differently", here, _content(answer(definition, lock)))
        for machine in elsewhere.MACHINES:
            home = tmp_path_factory.mktemp("home")
            ended = elsewhere.ask(
                "hook",
                reference,
                variables={"HOME": str(home), "TMPDIR": str(home)},
                directory=home,
                machine=machine,
                name=self.hook,
                arguments={"definition": definition, "lock": lock},
            )
            if ended.error:
                with self.no_refusal():
                    raise ended.error
            self.same(f"another process ({machine}) answers differently", here, _content(ended.answer[0]))

    def test_names_and_order_do_not_count(self, definition: Definition, lock: Lock, answer: Callable[..., Any]) -> None:
        """What people call the environment, and in which order they write things down, makes no difference.

        As `compute_hash` says: "no paths, no times, no names that people give to things".
        """
        other = replace(reversed_definition(definition), name="another-name")
        if definition.source:
            other = replace(other, source=definition.source.with_name("another-name.yml"))
        moved = replace(lock, definition="another-name.yml", created_by="another tool")
        self._same(
            "under another name, and in another order, its answer is another",
            answer,
            (definition, lock),
            (other, moved),
        )

    def test_where_the_project_lies_does_not_count(
        self, definition: Definition, lock: Lock, answer: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        """A project that is moved, with all its files, is the same environment.

        As `compute_hash` says: "no paths, no times, no names that people give to things".
        """
        found = []
        for name in ("here", "there"):
            root = tmp_path_factory.mktemp(name) / "project"
            if definition.root:
                shutil.copytree(definition.root, root, symlinks=True)
            root.mkdir(exist_ok=True)
            source = definition.source and root / definition.source.name
            found.append((replace(definition, root=root, source=source), replace(lock, root=root)))
        self._same("of the same project in another folder its answer is another", answer, *found)

    def test_variables_and_secrets_do_not_count(
        self,
        definition: Definition,
        lock: Lock,
        secret: str,
        answer: Callable[..., Any],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """What a run is given, and what the process that asks has, is not the environment's.

        As `compute_hash` says: "no values of variables, no secrets."
        """
        monkeypatch.delenv(SECRET)
        before = answer(definition, lock)
        monkeypatch.setenv(SECRET, secret)
        values = {**definition.variables, "TOLD": secret}
        other = replace(definition, variables=dict.fromkeys(values, secret), secrets=("ENVBUILD_TESTING_OTHER",))
        after = answer(other, lock)
        self.same("with other variables its answer is another", _content(before), _content(after))
        self.keeps(secret, "its answer", _content(after))

    def test_it_only_looks(self, definition: Definition, lock: Lock, answer: Callable[..., Any]) -> None:
        """It writes nothing, asks no network, and changes nothing that it is given.

        As docs/plugins.md says: "Nothing that a plugin is given changes behind its back, and it keeps no state between
        calls."
        """
        watch = (definition.root, lock.root if lock.root != definition.root else None)
        # Whoever goes elsewhere is back when the outer block ends.
        with self.nothing_left(watch=watch) as seen, self.nothing_changed(definition, lock):
            answer(definition, lock)
        if seen.asked:
            self.broken("it asks the network", *seen.asked)

    def test_nothing_goes_on_when_it_has_answered(
        self, definition: Definition, lock: Lock, helpers: frozenset[str], answer: Callable[..., Any]
    ) -> None:
        """No thread and no program that it has begun goes on, whoever its parent has become.

        As docs/plugins.md says: "**Nothing goes on behind an answer.**"
        """
        with self.nothing_goes_on(helpers):
            answer(definition, lock)

    def test_what_matters_counts(
        self,
        definition: Definition,
        lock: Lock,
        changed: Callable[[], tuple[Definition, Lock]] | None,
        answer: Callable[..., Any],
    ) -> None:
        """When a fact changes that makes it another environment, the answer changes.

        As `compute_hash` says: "which facts make this another environment when they change".
        """
        change = self.if_any("changed", changed, "there is no fixture `changed`")
        if change is None:
            return
        before = _content(answer(definition, lock))
        if _content(answer(*change())) == before:
            self.broken("what matters has changed (`changed`), and its answer has not", before)

    def _same(self, what: str, answer: Callable[..., Any], *asked: tuple[Definition, Lock]) -> None:
        before, after = (answer(*each) for each in asked)
        self.same(what, before, after)


def _content(answer: Any) -> Any:
    """An answer as the id is taken of it; one that cannot be, as it looks."""
    try:
        return Document.parse(Document("environment", answer or {}).encoded).content
    except (TypeError, ValueError):
        return repr(answer)
