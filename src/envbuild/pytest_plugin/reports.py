"""Reports: what a worker says of its tests, as pytest outside understands it."""

from __future__ import annotations

import linecache
import sys
import time
import warnings
from ast import literal_eval
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import pytest
from _pytest._code.code import TerminalRepr
from _pytest.junitxml import xml_key

if TYPE_CHECKING:
    from _pytest._io import TerminalWriter

    from envbuild.pytest_plugin.environments import Environment
    from envbuild.pytest_plugin.nodes import InsideTest


class Reports:
    """Tells pytest outside what a worker says.

    :param environment: the environment that it is in.
    """

    def __init__(self, config: pytest.Config, environment: Environment) -> None:
        self.config = config
        self.environment = environment

    def report(self, item: InsideTest, told: Any) -> Any:
        """The report of one phase of a test."""
        if isinstance(told, list):
            when, duration, start, stop = told
            report = pytest.TestReport(
                item.nodeid, item.location, item.report_keywords, "passed", None, when,
                duration=duration, start=start, stop=stop,
            )  # fmt: skip
        else:
            is_text = told.pop("is_text", True)
            for name, text in told.pop("literals", {}).items():
                told[name] = _literal(text)
            restored = _restored(told, item)
            report = self.config.hook.pytest_report_from_serializable(config=self.config, data=restored)
            if report is None:
                # Of a kind that only the pytest inside has.
                report = pytest.TestReport._from_json(restored)
            if isinstance(report.longrepr, str) and not is_text:
                report.longrepr = _Shown(report.longrepr)
        return self._signed(report)

    def _signed(self, report: Any) -> Any:
        """The report, with the environment on it."""
        report.user_properties.append(("envbuild_environment", self.environment.label))
        report.user_properties.append(("envbuild_id", self.environment.id))
        if report.failed:
            report.sections.append(("envbuild environment", f"{self.environment}"))
        return report

    def crash(self, item: InsideTest, reason: str, started: float) -> Any:
        """The report of a test during which the worker was lost."""
        now = time.time()
        report = pytest.TestReport(
            item.nodeid, item.location, item.report_keywords, "failed",
            reason, "call",
            duration=now - started, start=started, stop=now,
        )  # fmt: skip
        return self._signed(report)

    def note(self, nodeid: str, kind: str, name: str, value: str) -> None:
        """Note in the JUnit report what a fixture inside would.

        :param nodeid: the test that goes on.
        :param kind: whether it is a ``property`` of the suite, or an ``attribute`` of the test.
        """
        xml = self.config.stash.get(xml_key, None)
        if xml is None:
            return
        if kind == "property":
            xml.add_global_property(name, value)
        else:
            xml.node_reporter(nodeid).add_attribute(name, value)

    def write(self, text: str) -> None:
        """Write to the terminal what a plugin inside would."""
        reporter = self.config.pluginmanager.get_plugin("terminalreporter")
        if reporter is not None:
            capture = self.config.pluginmanager.get_plugin("capturemanager")
            with capture.global_and_fixture_disabled() if capture else nullcontext():
                reporter.write(text, flush=True)

    def warn(self, told: dict[str, Any]) -> None:
        """Pass on a warning."""
        module, name = told["category"]
        found = getattr(sys.modules.get(module), name, None)
        is_category = isinstance(found, type) and issubclass(found, Warning)
        category: Any = found if is_category else type(name, (UserWarning,), {"__module__": module})
        message = warnings.WarningMessage(told["message"], category, told["filename"], told["lineno"])
        if told["allocated"]:
            # pytest asks Python where an object here was made.
            line = linecache.getline(told["filename"], told["lineno"]).strip()
            message.line = f"{line}\n\nObject allocated at:\n{told['allocated']}"
        elif told["allocated"] is not None:
            # Of any object it tells how to find that out.
            message.source = True
        location = tuple(told["location"]) if told["location"] else None
        arguments = {
            "warning_message": message, "when": told["when"], "nodeid": told["nodeid"], "location": location,
        }  # fmt: skip
        self.config.hook.pytest_warning_recorded.call_historic(kwargs=arguments)


class _Shown(TerminalRepr):
    """What a collector says of its test's failure, as text: it has no message for the summary."""

    def __init__(self, text: str) -> None:
        self.text = text

    def toterminal(self, tw: TerminalWriter) -> None:
        tw.line(self.text)


def _literal(text: str) -> Any:
    """The value that Python writes like that; the text itself if it is no plain data."""
    try:
        return literal_eval(text)
    except (ValueError, SyntaxError):
        return text


class _Verbatim(str):
    """A text that was made by ``repr`` already."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def _restored(told: dict[str, Any], item: InsideTest) -> dict[str, Any]:
    """A report as pytest wrote it, with its tuples again, and the test's name as it is outside."""
    told["nodeid"] = item.nodeid
    told["location"] = item.location
    told["keywords"] = item.report_keywords
    told["sections"] = [tuple(each) for each in told["sections"]]
    told["user_properties"] = [tuple(each) for each in told["user_properties"]]
    for name in told.get("_subtest.context", {}).get("kwargs", ()):
        told["_subtest.context"]["kwargs"][name] = _Verbatim(told["_subtest.context"]["kwargs"][name])
    if isinstance(told["longrepr"], list):
        told["longrepr"] = tuple(told["longrepr"])
    return told
