"""What tests have seen: the files that each test in a worker depends on.

A worker is sent this file when the plugin outside wants to leave out tests that passed before. Standard library only,
Python 3.8 and later.

Reading is seen by an audit hook (PEP 578), imports by the functions that every import goes through, because a module
that is loaded already is not read again. Whatever is seen is put down to its *holders*:

- the test, or the part of collecting, that goes on;
- each of the project's modules that has a call on the stack, since it may keep what it read for whoever calls it next.
  The code of the test itself and of its own fixtures ends that search: what they read is nobody else's;
- everyone, where a call of a library stands between, for it may keep what it read just so.

A test depends on what its holders hold: itself, its file, the ``conftest.py`` and ``__init__.py`` of each folder above,
the collectors that it is in, and everyone; and, where what is held is a module of the project, on what that holds.

It says to the plugin outside, by the worker's line::

    ["watching"]                      first
    ["seen", [[NAME, SIGNATURE]…]]    files, each with its `signature` when it is first seen; numbered as they come
    ["bases", {…}]                    sets of them, and which of them each test depends on as soon as it is collected
    ["needs", NUMBER, [FILE…], [NAME…]]    what else a test turned out to depend on, and the files that it wrote
    ["unsure", [NUMBER…]]             these tests depend on what cannot be seen
"""

import builtins
import hashlib
import importlib
import importlib.util
import os
import stat
import sys
import sysconfig
from _thread import get_ident

EVERYONE = ""
"""Holds what counts for every test."""

PROCESS = "\0process"
"""Stands among what is held for all that a process which was started may have read."""

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_STARTS = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.forkpty", "pty.spawn")
_CHANGES = ("os.remove", "os.rmdir", "os.mkdir", "os.truncate")
_ABOUT_THE_MACHINE = ("platform", "ctypes.util", "uuid")
"""Modules that start programs to learn what no test changes."""

_PLAIN, _LIBRARY = 1, 2


def signature(path):
    """What tells that a path is still as it was: of a folder its names, of a file its times and size, else nothing.

    >>> signature("/nowhere/at/all")
    ''
    """
    try:
        found = os.stat(path)
        if stat.S_ISDIR(found.st_mode):
            return listing(path)
    except (OSError, ValueError):
        return ""
    if not stat.S_ISREG(found.st_mode):
        return "other"
    return "%d %d %d %d" % (found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_size)


def listing(path):
    """The digest of the names in a folder, without those of caches."""
    names = sorted(name for name in os.listdir(path) if not _is_cache(name))
    return hashlib.sha256("\0".join(names).encode("utf-8", "surrogateescape")).hexdigest()


def _is_cache(name):
    return name in ("__pycache__", ".pytest_cache", ".hypothesis", ".coverage") or name.startswith(".coverage.")


class Places:
    """Which paths are the project's, and what they are called: as seen from the root folder, wherever that is.

    :param ignored: folders that are not, though they may be below the root.
    """

    def __init__(self, root, ignored):
        self.root = os.path.abspath(root)
        self._roots = {self.root, os.path.realpath(root)}
        own = [*ignored, sys.prefix, sys.base_prefix, *map(sysconfig.get_path, ("stdlib", "platstdlib", "purelib"))]
        resolved = {form for each in own if each for form in (os.path.abspath(each), os.path.realpath(each))}
        # Python may well be installed in a folder above the project's, as in /usr.
        self._ignored = tuple(each + os.sep for each in resolved if not self._above(each))
        self._library = tuple(
            form + os.sep
            for name in ("stdlib", "platstdlib")
            for form in (sysconfig.get_path(name), os.path.realpath(sysconfig.get_path(name)))
        )
        self._names = {}
        self._kinds = {}

    def _above(self, folder):
        return any((each + os.sep).startswith(folder.rstrip(os.sep) + os.sep) for each in self._roots)

    def name(self, path, anywhere=False):
        """What a file of the project is called; `None` if it is not one.

        :param anywhere: take a file outside of the root folder for the project's too, under its whole path.
        """
        path = os.path.abspath(path)
        key = path, anywhere
        if key not in self._names:
            self._names[key] = self._name(path) or self._name(os.path.realpath(path)) or (anywhere and self._far(path))
        return self._names[key] or None

    def _name(self, path):
        for root in self._roots:
            if path == root:
                return "."
            if path.startswith(root + os.sep) and not (path + os.sep).startswith(self._ignored):
                name = path[len(root) + 1 :]
                return None if any(map(_is_cache, name.split(os.sep))) else name
        return None

    def _far(self, path):
        is_ours = (path + os.sep).startswith(self._ignored + self._library) or "site-packages" in path.split(os.sep)
        return None if is_ours or not os.path.isabs(path) else path

    def path(self, name):
        """Where the file of that name is."""
        return os.path.join(self.root, name)

    def kind(self, frame):
        """Whose a call is: a name of the project's, `_LIBRARY`, or `_PLAIN` for what keeps nothing for itself."""
        code = frame.f_code.co_filename
        found = self._kinds.get(code)
        if found is None:
            found = self._kinds[code] = self._kind(frame.f_globals.get("__file__") or code, code)
        return found

    def _kind(self, file, code):
        if code.startswith("<") or not isinstance(file, str):
            return _PLAIN
        name = self.name(file)
        if name:
            return name
        parts = file.split(os.sep)
        if {"_pytest", "pluggy"} & set(parts) or ("site-packages" not in parts and file.startswith(self._library)):
            return _PLAIN
        return _LIBRARY


class Seen:
    """What has been seen so far, and who holds it.

    :param say: tells the plugin outside something.
    """

    def __init__(self, places, say):
        self.places = places
        self.scope = None
        self.own_code = set()
        self.held = {}
        self.unsure = set()
        self.writes = set()
        self.started = False
        self._say = say
        self._numbers = {}
        self._new = []
        self._written = {}
        self._busy = set()
        self._version = 0
        self._closures = {}
        self._modules = {}

    # -- watching

    def watch(self):
        """Begin to watch; there is no way to end that but the end of the process."""
        handlers = {
            "open": self._opened,
            "os.listdir": self._listed,
            "os.scandir": self._listed,
            "sqlite3.connect": self._loaded,
            "ctypes.dlopen": self._loaded,
            "os.rename": self._moved,
            "os.link": self._moved,
            "os.symlink": self._moved,
        }
        handlers.update(dict.fromkeys(_STARTS, self._process))
        handlers.update(dict.fromkeys(_CHANGES, self._changed))
        busy = self._busy

        def hook(event, args):
            handle = handlers.get(event)
            if handle is None:
                return
            thread = get_ident()
            if thread in busy:
                return
            busy.add(thread)
            try:
                handle(*args)
            except Exception:  # noqa: BLE001  the test that reads a file must not fail for it
                self._hold({EVERYONE}, PROCESS)
            finally:
                busy.discard(thread)

        sys.addaudithook(hook)
        builtins.__import__ = self._importing(builtins.__import__)
        importlib.import_module = self._importing_module(importlib.import_module)
        self._watch_spawning()

    def _watch_spawning(self):
        """See the processes that multiprocessing and joblib start past `subprocess`."""
        import _posixsubprocess

        start = _posixsubprocess.fork_exec

        def fork_exec(*args):
            self._process()
            return start(*args)

        _posixsubprocess.fork_exec = fork_exec

    def _importing(self, original):
        def __import__(name, globals=None, locals=None, fromlist=(), level=0):  # noqa: A001, A002, N807
            __tracebackhide__ = True
            try:
                module = original(name, globals, locals, fromlist, level)
            except ImportError:
                self._note_import(self._missed, name, level)
                raise
            self._note_import(self._imported, name, globals, fromlist, level)
            return module

        return __import__

    def _importing_module(self, original):
        def import_module(name, package=None):
            __tracebackhide__ = True
            try:
                module = original(name, package)
            except ImportError:
                self._note_import(self._missed, name, name.startswith("."))
                raise
            self._note_import(self._imported, getattr(module, "__name__", name), None, (), 0)
            return module

        return import_module

    # -- what is seen

    def _opened(self, path, _, flags):
        if isinstance(path, int) or path is None:
            return
        name = self._name(path)
        if name is None:
            return
        if flags & _WRITES:
            self._write(name, is_new=bool(flags & os.O_TRUNC))
            if flags & (os.O_WRONLY | os.O_TRUNC):
                return
        self._read(name)

    def _loaded(self, path, *_):
        if isinstance(path, (str, bytes, os.PathLike)) and path != ":memory:":
            name = self._name(path)
            if name is not None:
                self._read(name)

    def _listed(self, path, *_):
        if not isinstance(path, int):
            name = self._name("." if path is None else path)
            # Whoever imports, and pytest where it looks for tests, is after some of the names only.
            if name is not None and not self._is_looking_for_modules():
                self._read(name)

    def _moved(self, source, destination, *_):
        self._changed(source)
        self._changed(destination)

    def _changed(self, path, *_):
        name = None if isinstance(path, int) else self._name(path)
        if name is not None:
            self._write(name, is_new=True)

    def _name(self, path):
        path = os.fsdecode(path)
        folder, last = os.path.split(path)
        if last.endswith(".pyc") and os.path.basename(folder) == "__pycache__":
            path = os.path.join(os.path.dirname(folder), last.partition(".")[0] + ".py")
        return self.places.name(path)

    def _is_looking_for_modules(self):
        frame = sys._getframe(3)
        while frame is not None:
            if frame.f_code.co_filename.startswith("<frozen importlib"):
                return True
            parts = frame.f_code.co_filename.split(os.sep)
            if "_pytest" in parts:
                return True
            if self.places.kind(frame) != _PLAIN:
                return False
            frame = frame.f_back
        return False

    def _write(self, name, is_new):
        is_absent = not os.path.lexists(self.places.path(name))
        self._written[name] = self.scope, is_new or is_absent
        self.writes.add(name)
        if is_absent:
            folder = os.path.dirname(name) or "."
            self._written.setdefault(folder, (self.scope, False))
            self.writes.add(folder)

    def _read(self, name):
        scope = self.scope
        if name in self._written and isinstance(scope, int):
            writer, is_new = self._written[name]
            if writer == scope:
                if is_new:
                    return
            elif isinstance(writer, int):
                # One is of no use without the other.
                self._doubt(writer, scope)
        self._sign(name)
        self._hold(self._holders(name), name)

    def _process(self, *_):
        if self._is_about_the_machine():
            return
        self.started = True
        holders = self._holders(PROCESS)
        if isinstance(self.scope, int):
            self._doubt(self.scope)
        elif EVERYONE in holders:
            # What a library does when it is imported or set up is the environment's.
            return
        self._hold({each for each in holders if each and isinstance(each, str)}, PROCESS)

    def _is_about_the_machine(self):
        frame = sys._getframe(2)
        while frame is not None and self.places.kind(frame) == _PLAIN:
            if frame.f_globals.get("__name__") in _ABOUT_THE_MACHINE:
                return True
            frame = frame.f_back
        return False

    def _doubt(self, *tests):
        new = [each for each in tests if each not in self.unsure]
        if new:
            self.unsure.update(new)
            self._say("unsure", new)

    def _note_import(self, note, *said):
        try:
            note(*said)
        except Exception:  # noqa: BLE001  what imports must not fail for it
            self._hold({EVERYONE}, PROCESS)

    def _imported(self, name, globals, fromlist, level):  # noqa: A002
        if level:
            package = globals and (globals.get("__package__") or globals.get("__name__"))
            try:
                name = importlib.util.resolve_name("." * level + name, package)
            except (ImportError, ValueError):
                return
        names = [name]
        while "." in name:
            name = name.rpartition(".")[0]
            names.append(name)
        if fromlist:
            names += [names[0] + "." + each for each in fromlist if isinstance(each, str)]
        for place in filter(None, map(self._module, names)):
            self._sign(place)
            self._hold(self._holders(place), place)

    def _missed(self, name, is_relative):
        """A module that is not there may come to be."""
        if is_relative:
            return
        for folder in sys.path:
            for end in (".py", os.sep + "__init__.py"):
                place = self.places.name(os.path.join(folder, name.replace(".", os.sep) + end))
                if place is not None:
                    self._read(place)

    def _module(self, name):
        """The name of the file of a module of the project that is loaded."""
        module = sys.modules.get(name)
        try:
            file = object.__getattribute__(module, "__dict__").get("__file__")
        except AttributeError:
            return None
        if not isinstance(file, str):
            return None
        if file not in self._modules:
            self._modules[file] = self.places.name(file, anywhere=True)
        return self._modules[file]

    # -- who holds it

    def _holders(self, name):
        holders = set()
        frame = sys._getframe(2)
        while frame is not None and frame.f_code not in self.own_code:
            kind = self.places.kind(frame)
            if kind == _LIBRARY:
                if not any(holders):
                    holders.add(EVERYONE)
            elif kind != _PLAIN:
                holders.add(kind)
            frame = frame.f_back
        if self.scope is not None:
            holders.add(self.scope)
        elif not holders and os.path.basename(name) != "conftest.py":
            holders.add(EVERYONE)
        return holders

    def _hold(self, holders, name):
        for holder in holders:
            held = self.held.get(holder)
            if held is None:
                held = self.held[holder] = set()
            if name not in held:
                held.add(name)
                # What only a test holds makes no difference to others.
                self._version += not isinstance(holder, int)

    def _sign(self, name):
        if name not in self._numbers:
            # Of two threads, the second only says the same once more.
            self._numbers[name] = len(self._numbers)
            self._new.append([name, signature(self.places.path(name))])

    # -- what a test depends on

    def closure(self, holders):
        """All that these holders hold, and what that holds."""
        found = set(holders)
        left = list(found)
        while left:
            for each in tuple(self.held.get(left.pop(), ())):
                if each not in found:
                    found.add(each)
                    left.append(each)
        return found

    def base(self, key, holders):
        """The closure of some holders, as long as nothing new is held; ``key`` is theirs."""
        version, found = self._closures.get(key, (None, None))
        if version != self._version:
            found = self.closure(holders)
            self._closures[key] = self._version, found
        return found

    def numbered(self, names):
        """The numbers of files, in order, after telling those that are not known yet."""
        for name in names:
            if isinstance(name, str) and name not in (EVERYONE, PROCESS):
                self._sign(name)
        new, self._new = self._new, []
        if new:
            self._say("seen", new)
        return sorted(self._numbers[name] for name in names if name in self._numbers)


class Watcher:
    """The plugin of the pytest inside that says what belongs together; its methods are pytest's hooks.

    :param pytest: which pytest that is.
    """

    # ruff: noqa: D102, SLF001  what a hook is for, pytest says; there is no other way to see who calls

    order = {
        "pytest_make_collect_report": {"hookwrapper": True, "tryfirst": True},
        "pytest_runtest_protocol": {"hookwrapper": True, "tryfirst": True},
        "pytest_fixture_setup": {"tryfirst": True},
    }

    def __init__(self, seen, say, pytest):
        self.seen = seen
        self.say = say
        self.pytest = pytest
        self.numbers = {}
        self.bases = {}
        self.chains = {}

    def pytest_make_collect_report(self, collector):
        before, self.seen.scope = self.seen.scope, ("node", collector.nodeid)
        yield
        self.seen.scope = before

    def collected(self, config, items):
        """Tell what belongs to which test; this is no hook, as it has to be told before anybody chooses among them."""
        sets, indexes, of = [], {}, []
        for number, item in enumerate(items):
            self.numbers[item] = number
            key = self._key(item)
            if key not in indexes:
                indexes[key] = len(sets)
                self.bases[key] = self.seen.base(key, self.chains[key])
                sets.append(self.seen.numbered(self.bases[key]))
            of.append(indexes[key])
        plugins = {
            "%s %s" % (each.project_name, each.version) for _, each in config.pluginmanager.list_plugin_distinfo()
        }
        self.say("bases", {"sets": sets, "of": of, "plugins": [self.pytest, *sorted(plugins)]})

    def _key(self, item):
        key = getattr(item, "path", None) or item.fspath, item.parent
        if key not in self.chains:
            nodes = [("node", node.nodeid) for node in item.listchain()[:-1]]
            self.chains[key] = {EVERYONE, *nodes, *self._above(str(key[0]))}
        return key

    def _above(self, path):
        """A file, and what pytest reads in each of the folders above it, whether that is there or not."""
        places = self.seen.places
        name = places.name(path, anywhere=True) or path
        found = {name}
        folder = os.path.dirname(name)
        while True:
            found.update(os.path.join(folder, each) for each in ("conftest.py", "__init__.py"))
            if folder in ("", os.sep):
                return found
            folder = os.path.dirname(folder)

    def pytest_fixture_setup(self, fixturedef):
        if fixturedef.scope == "function":
            self.seen.own_code.update(_codes(fixturedef.func))

    def pytest_runtest_protocol(self, item):
        seen, number = self.seen, self.numbers.get(item)
        if number is None:
            # Somebody has made it up since.
            yield
            return
        seen.own_code.clear()
        seen.own_code.update(_codes(getattr(item, "function", None) or getattr(item, "obj", None)))
        seen.scope = number
        before = seen.started and _has_children()
        yield
        if before or (seen.started and _has_children()):
            seen._doubt(number)
        key = self._key(item)
        needs = seen.base(key, self.chains[key]) | seen.closure({number})
        writes, seen.writes = seen.writes, set()
        seen.held.pop(number, None)
        seen.scope = None
        seen.own_code.clear()
        if PROCESS in needs:
            seen._doubt(number)
        self.say("needs", number, seen.numbered(needs - self.bases[key]), sorted(writes))


def watching(say, root, ignored):
    """Begin to watch, and give the plugin that pytest inside is to have for it."""
    import pytest

    seen = Seen(Places(root, ignored), say)
    for name, options in Watcher.order.items():
        setattr(Watcher, name, pytest.hookimpl(**options)(getattr(Watcher, name)))
    say("watching")
    seen.watch()
    return Watcher(seen, say, "pytest %s" % pytest.__version__)


def _codes(function):
    """The code of a function, of what it wraps, and of what is defined in it."""
    found = set()
    while function is not None:
        function = getattr(function, "__func__", function)
        left = [getattr(function, "__code__", None)]
        while left:
            code = left.pop()
            if code is not None and code not in found:
                found.add(code)
                left += [each for each in code.co_consts if isinstance(each, type(code))]
        function = getattr(function, "__wrapped__", None)
    return found


def _has_children():
    """Whether a process that was started is still there; multiprocessing's own tracker, which stays, is none."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    trackers = sys.modules.get("multiprocessing.resource_tracker")
    tracker = getattr(getattr(trackers, "_resource_tracker", None), "_pid", None)
    return tracker is None or _children() != {tracker}


def _children():
    """The processes that this one has started and that are there; none where the system does not tell (proc(5))."""
    found = set()
    folder = "/proc/self/task"
    try:
        for thread in os.listdir(folder):
            with open("%s/%s/children" % (folder, thread)) as stream:
                found.update(map(int, stream.read().split()))
    except OSError:
        return set()
    return found
