"""A test worker: pytest inside an environment, told by envbuild's pytest plugin which tests to run.

The plugin starts the environment's Python with ``-c``, sends it this file over its standard input, and talks with it
over the two standard streams; whatever can start a command and pass on its streams can so hold a worker. Standard
library and pytest only, Python 3.8 and later; pytest is the environment's own, else one that it is lent.

A message is a JSON list behind its length in four bytes. The plugin says::

    ["prepare", FOLDERS]     once: what comes last on the path, so that pytest can be imported meanwhile
    ["start", {…}]           once: how pytest is to be set up (see `_settle` and `_test`)
    ["chosen", [NUMBER…]]    once, before any is run: the tests that are to be run here, as far as anybody knows
    ["run", NUMBER, NEXT]    run a test. NEXT is the number of the one that will come after it here, null if it is the
                             last, "more" if others will come that are not known yet
    ["basetemp", FOLDER]     the answer to such a question: where `tmp_path` may lie
    ["report"], ["paused"]   the answers to those
    ["finish", PLUGINS]      end, as soon as the test that goes on is done. PLUGINS are heard outside when all is done,
                             others here; null if none is to be heard

and the worker::

    ["ready", {…}]                which Python this is
    ["collecting", PATH]          what of all files comes next
    ["collected", {…}]            all tests, in the order in which pytest would run them here; errors and skips by file
    ["done", NUMBER, [REPORT…]]   a test has been run
    ["report", REPORT]            one of them, if what tests print is to be seen in its place among them; it is answered
    ["paused"]                    a test has failed, so what was to follow is left until told again; this is answered
    ["basetemp"]                  a question, asked when a test needs it
    ["warning", {…}]
    ["property", NAME, VALUE]  ["attribute", NAME, VALUE]    for a JUnit report: of the suite, or of the test at hand
    ["written", TEXT]             what plugins write to the terminal
    ["summary", TEXT]             what one of them has to say when all tests are done
    ["debugging"]                 somebody is talking to a debugger, which may take any time
    ["stop", REASON]  ["exit", REASON, CODE]  ["interrupted"]    something inside ends the session
    ["seen", …]  ["bases", …]  ["needs", …]  ["unsure", …]       see `seen.py`, where that is asked for
    ["refused", TEXT]             pytest does not begin: what it was asked for cannot be
    ["failed", TEXT]              pytest cannot go on
    ["finished"]
"""

from __future__ import annotations

import collections
import gc
import io
import json
import os
import select
import signal
import struct
import sys
import traceback
import types

_LENGTH = struct.Struct(">I")

# Under names of our own, since tests put other things in the place of these.
_decoded = json.JSONDecoder().decode
_encoded = json.JSONEncoder(default=str, separators=(",", ":")).encode
_read, _write, _process = os.read, os.write, os.getpid

_PLAIN = frozenset(
    ("nodeid", "_id", "location", "keywords", "outcome", "longrepr", "when", "user_properties", "sections")
    + ("duration", "start", "stop")
)
"""What every report of a test has; what else there is was put there by a plugin."""

_RUN_TO_THE_END = (0, 1, 5)
"""How pytest ends when nothing has kept it from running tests: all passed, some did not, there were none."""


class Line:
    """The two streams to whoever started the worker, as long as the worker lives."""

    def __init__(self, reads, writes):
        self._reads = reads
        self._writes = writes
        self._buffer = b""
        # Of a process that a test forks, nobody wants to hear.
        self._owner = os.getpid()
        self._ready = select.poll()
        self._ready.register(reads, select.POLLIN)

    def send(self, *message):
        """Send a message, unless this is a child of the worker's."""
        if _process() != self._owner:
            return
        data = _encoded(message).encode()
        data = _LENGTH.pack(len(data)) + data
        while data:
            data = data[_write(self._writes, data) :]

    def has_more(self):
        """Whether there is something to read just now."""
        return bool(self._buffer or self._ready.poll(0))

    def receive(self):
        """Wait for a message; `None` if there will be no more."""
        if _process() != self._owner:
            # A child that has come back from the test that forked it: what comes is not for it.
            os._exit(1)
        length = self._take(_LENGTH.size)
        data = length and self._take(_LENGTH.unpack(length)[0])
        return _decoded(data.decode()) if data else None

    def _take(self, count):
        while len(self._buffer) < count:
            data = _read(self._reads, 1 << 16)
            if not data:
                return None
            self._buffer += data
        taken, self._buffer = self._buffer[:count], self._buffer[count:]
        return taken


def main():
    """Be a worker until told to finish, or until nobody is there any more."""
    # Hardly any of what is imported and collected is garbage.
    gc.disable()
    line = Line(os.dup(0), os.dup(1))
    _redirect(os.devnull, 0)
    # Whatever prints to the worker's own output must not be taken for a message.
    os.dup2(2, 1)
    line.send("ready", {"python": "%d.%d.%d" % sys.version_info[:3], "executable": sys.executable})
    try:
        _prepare(line.receive())
        message = line.receive()
        if message is None:
            return
        asked = message[1]
        _settle(asked)
        watcher = _watching(line, asked.get("seen"))
        measured = _measuring(asked["coverage"])
        _test(line, asked, watcher)
    except BaseException:  # noqa: BLE001  whatever it is, only the other side can tell anybody
        line.send("failed", _last_traceback())
    else:
        if measured is not None:
            measured.stop()
            measured.save()
        line.send("finished")


def _prepare(message):
    """Import pytest, which is there already or lent."""
    # The first entry stands for the folder that a command of `python -c` was given in.
    del sys.path[0]
    if message is not None:
        sys.path += message[1]
        import pytest  # noqa: F401


def _settle(asked):
    """Be where the tests are to run, with the path that pytest has there."""
    os.chdir(asked["directory"])
    if asked["stdout"] is not None:
        os.dup2(asked["stdout"], 1)
        sys.stdout.reconfigure(line_buffering=True)
    elif asked["terminal"]:
        _redirect(asked["terminal"], 1)
    sys.path[:0] = asked["path"]
    sys.dont_write_bytecode = asked["dont_write_bytecode"]
    sys.argv = asked["argv"]


class Terminal:
    """The terminal, which belongs to whoever debugs while they do.

    A process that it does not belong to is stopped when it reads from it, and Ctrl-C is not for it.

    :param path: where it is opened; `None` if there is nobody to talk to.
    """

    def __init__(self, path):
        self.path = path
        self._before = None

    def take(self):
        """Have it, and read from it."""
        _redirect(self.path, 0)
        owner = os.tcgetpgrp(0)
        if owner != os.getpgrp():
            self._before = owner
            self._give(os.getpgrp())

    def give_back(self):
        """Give it back, if it was taken."""
        if self._before is not None:
            self._give(self._before)
            self._before = None

    def _give(self, group):
        opened = os.open(self.path, os.O_RDWR)
        # Who does this in the background is stopped otherwise.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTTOU])
        try:
            os.tcsetpgrp(opened, group)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            os.close(opened)


def _redirect(path, descriptor):
    opened = os.open(path, os.O_RDWR)
    os.dup2(opened, descriptor)
    if opened > 2:
        os.close(opened)


def _watching(line, options):
    """Begin to see what tests depend on, if that is asked for: by the program that comes with it."""
    if not options:
        return None
    names = {"__name__": "envbuild seen"}
    # By these words Python knows that a warning about an import is for whoever imports, not for a call in between.
    exec(compile(options["program"], "<envbuild seen importlib _bootstrap>", "exec"), names)  # noqa: S102
    return names["watching"](line.send, options["root"], options["ignored"])


def _measuring(options):
    """Begin to measure which lines are executed, if that is asked for."""
    if not options:
        return None
    import coverage

    measured = coverage.Coverage(**options)
    measured.start()
    return measured


def _test(line, asked, watcher):
    """Have pytest collect, and run what the plugin asks for."""
    import pytest
    from _pytest.config import UsageError, get_config

    for plugin in (Worker, _Last):
        for name, options in plugin.order.items():
            setattr(plugin, name, pytest.hookimpl(**options)(getattr(plugin, name)))
    args = [*asked["args"]]
    config = get_config(args)
    worker = Worker(line, asked)
    config.pluginmanager.register(worker, "envbuild-worker")
    config.pluginmanager.register(_only_outside(pytest), "envbuild-only-outside")
    if watcher is not None:
        config.pluginmanager.register(watcher, "envbuild-watcher")
    # By this, other plugins know that what they print or write is somebody else's to print or write.
    config.workerinput = _WorkerInput(asked["workerinput"], config.option)
    config.option.__dict__.update(asked["options"])
    try:
        config.parse(args, addopts=False)
        _heed_options(config, asked["args"])
        for name in asked["plugins"]:
            config.pluginmanager.import_plugin(name, consider_entry_points=True)
        _hide_xdist(config.pluginmanager)
        config.pluginmanager.register(_Last(worker, watcher), "envbuild-last")
        config.hook.pytest_cmdline_main(config=config)
    except UsageError as error:
        line.send("refused", "\n".join(str(each) for each in error.args))


def _heed_options(config, args):
    """Have options count that only this pytest was given, and refuse what turns out to be no value of one."""
    from _pytest.config import UsageError

    files = args[args.index("--") + 1 :]
    strays = [each for each in config.option.file_or_dir if each not in ("--", *files)]
    if strays:
        raise UsageError("%s: no value of an option; which tests are run is said outside" % " ".join(strays))
    # pytest-randomly takes it from here.
    seed = getattr(config.option, "randomly_seed", None)
    if isinstance(seed, int):
        config.workerinput["randomly_seed"] = seed


class _WorkerInput(dict):
    """What pytest-xdist tells its workers; what plugins tell theirs, by way of it, they find among their options."""

    def __init__(self, given, options):
        super().__init__(given)
        self._options = options

    def __missing__(self, name):
        try:
            return getattr(self._options, name)
        except AttributeError:
            raise KeyError(name) from None


def _hide_xdist(manager):
    """Have plugins that ask for pytest-xdist find none: it distributes nothing here, and has no other side."""
    has_plugin = manager.has_plugin

    def has_other(name):
        return name not in ("xdist", "xdist.plugin") and has_plugin(name)

    manager.has_plugin = manager.hasplugin = has_other
    # It tells workers' tries only if it finds a pytest-xdist that can take them, as we can.
    reruns = manager.get_plugin("rerunfailures")
    if hasattr(reruns, "works_with_current_xdist"):
        reruns.works_with_current_xdist = lambda: True


def _only_outside(pytest):
    """Make a plugin with fixtures that say why the ones of their names are not here."""

    def envbuild_environment():
        """Not here: environments are built by the pytest outside."""
        pytest.fail(_ONLY_OUTSIDE % "envbuild_environment", pytrace=False)

    def envbuild_workspace():
        """Not here: runs are recorded by the pytest outside."""
        pytest.fail(_ONLY_OUTSIDE % "envbuild_workspace", pytrace=False)

    plugin = types.ModuleType("envbuild-only-outside")
    plugin.envbuild_environment = pytest.fixture(scope="session")(envbuild_environment)
    plugin.envbuild_workspace = pytest.fixture(envbuild_workspace)
    return plugin


_ONLY_OUTSIDE = (
    "the fixture %s is for tests that run outside, and this one runs inside an environment, where there is no envbuild "
    "to build or record anything: take the mark 'envbuild' from the test, and name the fixture among its arguments"
)


class _Outside(io.TextIOBase):
    """What plugins write to where they look for the terminal, which is on the other side."""

    def __init__(self, line, encoding):
        self._line = line
        self._encoding = encoding

    @property
    def encoding(self):
        """What it can show."""
        return self._encoding

    def write(self, text):
        """Have it written there."""
        self._line.send("written", text)
        return len(text)


class _Xml:
    """Stands where fixtures look for the JUnit report, which is written on the other side."""

    def __init__(self, line, family):
        self._line = line
        self.family = family

    def add_global_property(self, name, value):
        """Have a property noted of the whole suite."""
        self._line.send("property", name, str(value))

    def node_reporter(self, report):  # noqa: ARG002  it is that of the test at hand
        """What notes attributes of the test that goes on."""
        return self

    def add_attribute(self, name, value):
        """Have an attribute noted of that test."""
        self._line.send("attribute", name, str(value))


class _Unheard:
    """Stands where others look for the terminal reporter, and reports nothing: that is done where the terminal is."""

    def __init__(self, reporter):
        self._reporter = reporter

    def __getattr__(self, name):
        return getattr(self._reporter, name)


class _Last:
    """Comes when all other plugins have set themselves up, some of which put their own terminal reporter in place."""

    order = {
        "pytest_configure": {"trylast": True},
        "pytest_sessionstart": {"trylast": True},
        "pytest_collection_modifyitems": {"hookwrapper": True, "tryfirst": True},
        "pytest_collection_finish": {"tryfirst": True},
    }

    def __init__(self, worker, watcher):
        self._worker = worker
        self._watcher = watcher

    def pytest_configure(self, config):
        """Have nothing reported here."""
        self._worker.take_reporter(config)

    def pytest_sessionstart(self, session):
        """Have plugins introduce themselves."""
        self._worker.ask_for_headings(session.config)

    def pytest_collection_modifyitems(self, items):
        """Note which tests there are."""
        yield
        # No more than that: from here on an interrupt is to be expected, and pluggy warns of one in what wraps hooks.
        self._worker.items = [*items]

    def pytest_collection_finish(self, session):
        """Tell which tests there are, and wait to hear which are to be run, before anybody makes anything of them.

        It is also called where collecting has come to nothing.
        """
        if self._worker.items is not None:
            if self._watcher is not None:
                self._watcher.collected(session.config, self._worker.items)
            self._worker.tell_collected(session)
            self._worker.choose(session)


class Worker:
    """The plugin of the pytest inside; its methods are pytest's hooks."""

    # ruff: noqa: D102  what a hook is for, pytest says

    # What others set up comes first, what they make of the tests last.
    order = {
        "pytest_configure": {"trylast": True},
        "pytest_collectreport": {"hookwrapper": True},
        "pytest_runtestloop": {"tryfirst": True},
        "pytest_runtest_setup": {"tryfirst": True},
        "pytest_runtest_call": {"tryfirst": True},
        "pytest_runtest_teardown": {"tryfirst": True},
        "pytest_sessionfinish": {"hookwrapper": True, "tryfirst": True},
    }

    def __init__(self, line, asked):
        self.line = line
        self.asked = asked
        self.terminal = Terminal(asked["terminal"])
        self.config = None
        self.session = None
        self.reporter = None
        self.finish = None
        self.has_run = False
        self.waiting = collections.deque()
        self.items = None
        self.failed = False
        self.has_parts = False
        self.reports = []
        self.errors = {}
        self.skips = {}
        self.headings = []

    # -- setting up

    def pytest_addoption(self, parser):
        for name in self.asked["inis"]:
            parser.addini(name, "of the pytest plugin outside")

    def pytest_configure(self, config):
        config.addinivalue_line("markers", "envbuild(SPEC, …): run the test inside these environments")
        if self.asked["junit"]:
            from _pytest.junitxml import xml_key

            config.stash[xml_key] = _Xml(self.line, self.asked["junit"])
            config.pluginmanager.register(config.stash[xml_key])
        self._share_basetemp(getattr(config, "_tmp_path_factory", None))

    def take_reporter(self, config):
        """Have what plugins write to the terminal written outside, and nothing reported."""
        reporter = self.reporter = config.pluginmanager.get_plugin("terminalreporter")
        if reporter is not None:
            writer = reporter._tw  # noqa: SLF001
            writer.fullwidth = self.asked["width"]
            writer.hasmarkup = self.asked["markup"]
            if self.asked["stdout"] is None and not getattr(config.option, "usepdb", False):
                writer._file = _Outside(self.line, self.asked["encoding"])  # noqa: SLF001
            config.pluginmanager.unregister(reporter)
            config.pluginmanager.register(_Unheard(reporter), "terminalreporter")

    def ask_for_headings(self, config):
        """Have plugins say what is shown of them at the top; some prepare themselves as they do."""
        if self.reporter is None or not self.reporter.showheader or self.reporter.no_header:
            return
        # Older plugins ask for the folder by its older name.
        folders = {"start_path": config.invocation_params.dir, "startdir": getattr(config, "invocation_dir", None)}
        for each, call in _by_others(config, "pytest_report_header"):
            for said in call(config=config, **folders):
                lines = said.splitlines() if isinstance(said, str) else said
                self.headings[:0] = [[_package(each.plugin), line] for line in lines]

    def _share_basetemp(self, factory):
        """Make temporary folders where pytest outside makes its own, once a test needs one."""
        if factory is None or factory._given_basetemp is not None or self.asked["wrapped"]:
            return
        make = factory.getbasetemp

        def getbasetemp():
            if factory._given_basetemp is None:
                factory._given_basetemp = type(self.config.rootpath)(self._ask("basetemp"))
            return make()

        factory.getbasetemp = getbasetemp

    def _ask(self, question, *said):
        """Wait for the answer; `None` if there is to be none, because all is to end."""
        self.line.send(question, *said)
        while True:
            message = self.line.receive()
            if message is None:
                raise EOFError("nobody is there any more")
            if message[0] == question:
                return message[-1]
            self._wait_for(message)
            if message[0] == "finish":
                return None

    # -- collecting

    def pytest_collectstart(self, collector):
        import pytest

        if isinstance(collector, pytest.File):
            self.line.send("collecting", str(getattr(collector, "path", None) or collector.fspath))

    def pytest_collectreport(self, report):
        path = report.nodeid.partition("::")[0]
        if report.failed:
            # pytest counts it against --maxfail right behind this, and there is more to be collected.
            self.session.testsfailed -= 1
            self.errors[path] = self.errors.get(path, "") + str(report.longrepr) + "\n"
        elif report.skipped:
            self.skips[path] = list(report.longrepr)
        yield

    def tell_collected(self, session):
        self.line.send("collected", self._collected(session))

    def choose(self, session):
        message = self.line.receive()
        numbers = message[1] if message is not None and message[0] == "chosen" else []
        if message is not None and message[0] != "chosen":
            self._wait_for(message)
        # Where all is to end at once, no test is chosen: a plugin that takes them for run would clear up after them.
        session.items[:] = [self.items[number] for number in numbers]
        chosen = set(numbers)
        others = [item for number, item in enumerate(self.items) if number not in chosen]
        if others:
            session.config.hook.pytest_deselected(items=others)

    def _collected(self, session):
        import pytest

        tests = [_described(item, pytest.File) for item in self.items]
        said = {"tests": tests, "errors": self.errors, "skips": self.skips}
        inis = getattr(session.config._parser, "_inidict", {})  # noqa: SLF001
        plugins = sorted({_package(plugin) for plugin in session.config.pluginmanager.get_plugins()})
        return dict(said, inis=list(inis), plugins=plugins, headings=self.headings)

    # -- running

    def pytest_runtestloop(self, session):
        self.has_run = True
        # What has been collected stays: the collector need not look at it again and again.
        gc.freeze()
        gc.enable()
        while self._listen():
            _, number, follows = self.waiting.popleft()
            self._run(session, number, follows)
            if session.shouldstop or session.shouldfail:
                break
        return True

    def _listen(self):
        """Take in what there is to be run, and wait until there is something; `False` if there will be nothing."""
        while not self.waiting or self.line.has_more():
            message = self.line.receive()
            if message is None:
                return False
            self._wait_for(message)
        return all(message[0] != "finish" for message in self.waiting)

    def _wait_for(self, message):
        self.waiting.append(message)
        if message[0] == "finish":
            self.finish = message

    def _run(self, session, number, follows):
        from _pytest.outcomes import Exit

        item = self.items[number]
        self.reports = []
        self.failed = self.has_parts = False
        try:
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=self._following(session, follows))
        except Exit as error:
            self.terminal.give_back()
            self.line.send("exit", str(error.msg), error.returncode)
            raise
        except KeyboardInterrupt:
            self.terminal.give_back()
            self.line.send("interrupted")
            raise
        self.terminal.give_back()
        if session.shouldstop or session.shouldfail:
            # Before it could be told to run another test. How many have failed is counted outside too.
            if session.shouldstop or session.testsfailed < (session.config.option.maxfail or sys.maxsize):
                self.line.send("stop", str(session.shouldstop or session.shouldfail))
        elif self.failed and self.asked["pause"]:
            # Whether the others are to be run depends on who counts.
            self._ask("paused")
            self.waiting = collections.deque(message for message in self.waiting if message[0] == "finish")
        self.line.send("done", number, self.reports)

    def pytest_enter_pdb(self, config, pdb):  # noqa: ARG002
        if self.terminal.path is None:
            capturing = config.pluginmanager.get_plugin("capturemanager")
            if capturing is not None:
                capturing.resume()
            import pytest

            pytest.fail("nobody can be talked to: debugging inside an environment takes a terminal as standard input")
        self.line.send("debugging")
        self.terminal.take()

    def pytest_leave_pdb(self):
        self.terminal.give_back()

    def _following(self, session, follows):
        if follows is None:
            return None
        if follows == "more":
            return _some_test(session)
        return self.items[follows]

    def pytest_runtest_logreport(self, report):
        self.failed = self.failed or report.failed
        kind = type(report).__name__
        if kind == "TestReport" and self.has_parts and report.when == "call":
            # By this pytest finds out that a part of the test has failed.
            self.config.hook.pytest_report_teststatus(report=report, config=self.config)
            self.failed = self.failed or report.failed
        self.has_parts = self.has_parts or kind != "TestReport"
        if _says_little(report):
            data = [report.when, report.duration, getattr(report, "start", 0), getattr(report, "stop", 0)]
        else:
            data = self.config.hook.pytest_report_to_serializable(config=self.config, report=report)
            data["is_text"] = isinstance(report.longrepr, str)
            data["literals"] = {name: repr(data.pop(name)) for name in [*data] if _is_special(name, data[name])}
        if self.asked["at_once"]:
            sys.stdout.flush()
            self._ask("report", data)
        else:
            self.reports.append(data)

    def pytest_runtest_setup(self, item):
        self._switch(item, "setup")

    def pytest_runtest_call(self, item):
        self._switch(item, "run")

    def pytest_runtest_teardown(self, item):
        self._switch(item, "teardown")

    def _switch(self, item, phase):
        """Note, as pytest-cov does, for which test lines are executed from here on."""
        if self.asked["contexts"]:
            import coverage

            coverage.Coverage.current().switch_context("%s|%s" % (item.nodeid, phase))

    def pytest_sessionstart(self, session):
        self.config = session.config
        self.session = session

    def pytest_sessionfinish(self, session, exitstatus):
        yield
        if not self.has_run or exitstatus not in _RUN_TO_THE_END:
            return
        while self.finish is None:
            # One that has been told to stop has not heard yet that all is to end.
            message = self.line.receive()
            if message is None:
                return
            self._wait_for(message)
        if self.reporter is not None and self.finish[1] is not None:
            self._sum_up(session.config, exitstatus, self.finish[1])

    def _sum_up(self, config, exitstatus, heard):
        """Have plugins say what they have to say at the end, but for pytest itself and those heard outside."""
        for each, call in _by_others(config, "pytest_terminal_summary"):
            if each.plugin_name in heard:
                continue
            written = self.reporter._tw._file = io.StringIO()  # noqa: SLF001
            call(terminalreporter=self.reporter, exitstatus=exitstatus, config=config)
            # There are no reports here, and a plugin that goes by them has no more than a heading.
            if len(written.getvalue().split("\n")) > 2:  # noqa: PLR2004
                self.line.send("summary", written.getvalue())

    def pytest_warning_recorded(self, warning_message, when, nodeid, location):
        category = warning_message.category
        told = {
            "message": str(warning_message.message),
            "category": [category.__module__, category.__name__],
            "filename": warning_message.filename,
            "lineno": warning_message.lineno,
            "when": when,
            "nodeid": nodeid,
            "location": location,
            "allocated": _allocated(getattr(warning_message, "source", None)),
        }
        self.line.send("warning", told)

    def pytest_internalerror(self, excrepr):
        self.line.send("failed", str(excrepr))


def _allocated(source):
    """Where what a warning is about was made; empty if nobody has noted it, `None` if it is about no object."""
    if source is None:
        return None
    import tracemalloc

    return "\n".join(getattr(tracemalloc.get_object_traceback(source), "format", list)())


def _package(plugin):
    """The package that a plugin comes from."""
    return (getattr(plugin, "__name__", None) or type(plugin).__module__).partition(".")[0]


def _by_others(config, name):
    """For each plugin with a hook, but for pytest's own, in the order of calls: what it is, and what calls it alone."""
    # In config.hook some older pytests have functions in the place of hooks.
    hook = getattr(config.pluginmanager.hook, name)
    for each in reversed(hook.get_hookimpls()):
        if _package(each.plugin) != "_pytest":
            others = [plugin for plugin in config.pluginmanager.get_plugins() if plugin is not each.plugin]
            yield each, config.pluginmanager.subset_hook_caller(name, others)


def _some_test(session):
    """A test of which nothing is known but that it is in this session: what belongs to the session is kept for it."""
    import pytest

    class Later(pytest.Item):
        def runtest(self):
            raise NotImplementedError

    return Later.from_parent(session, name="later")


def _says_little(report):
    """Whether nothing is to be told of a phase but that it passed, and when."""
    return (
        type(report).__name__ == "TestReport"
        and report.outcome == "passed"
        and report.longrepr is None
        and not report.sections
        and not report.user_properties
        and _PLAIN.issuperset(report.__dict__)
    )


def _is_special(name, value):
    """Whether a plugin has put on a report what JSON would make something else of."""
    if name in _PLAIN or name.startswith(("$", "_")):
        return False
    try:
        return _decoded(json.dumps(value)) != value
    except (TypeError, ValueError):
        return True


def _described(item, file_type):
    """What the plugin has to know of a test in order to show it, select it and report on it (its `Test`)."""
    chain = item.listchain()
    last = max((position for position, node in enumerate(chain) if isinstance(node, file_type)), default=0)
    function = getattr(item, "function", None)
    extra = set(item.listextrakeywords())
    extra.update(getattr(function, "__dict__", ()))
    return [
        str(getattr(item, "path", None) or item.fspath),
        item.nodeid,
        [node.name for node in chain[last + 1 : -1]],
        item.name,
        type(item).__name__,
        getattr(item, "originalname", None),
        item.location,
        getattr(function, "__doc__", None),
        [_mark(node, mark, chain) for node, mark in item.iter_markers_with_node()],
        sorted(extra),
        getattr(item, "fixturenames", ()),
    ]


def _mark(node, mark, chain):
    args, kwargs = mark.args, mark.kwargs
    if mark.name == "envbuild":
        args = [each if isinstance(each, str) else [repr(each)] for each in args]
        kwargs = dict.fromkeys(kwargs)
    if mark.name == "parametrize" or not _is_plain(args) or not _is_plain(kwargs):
        # Nobody selects tests by these, and what they hold need not exist outside.
        args, kwargs = (), {}
    return [mark.name, list(args), kwargs, chain.index(node)]


def _is_plain(value):
    if not value:
        return True
    try:
        return len(json.dumps(value)) < 10_000
    except (TypeError, ValueError):
        return False


def _last_traceback():
    kind, error, trace = sys.exc_info()
    if kind is not None and kind.__name__ == "ConftestImportFailure":
        cause = getattr(error, "cause", None) or (error.excinfo[1] if hasattr(error, "excinfo") else error)
        return "%s: %s" % (error, "".join(traceback.format_exception(type(cause), cause, cause.__traceback__)))
    return "".join(traceback.format_exception(kind, error, trace))


if __name__ == "__main__":
    main()
