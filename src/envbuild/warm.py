"""Warm: a command that was run before and of which nothing has changed is run again at once.

The first `envbuild run` leaves a *stamp*: every file that it looked at, by size, time and inode, and what it found
out by looking. As long as all of them are as they were, nothing has to be read, resolved, asked or imported:
the working copy is laid out, the program started, and the run recorded while it goes on. Anything else, from a
touched file to a word on the command line that is not understood here, and `attempt` steps back for the whole
program, which knows what to do and leaves a new stamp.

So this module imports nothing that Python has not loaded anyway. `envbuild.stamping` writes what it reads.
"""

import os
import sys

from envbuild import layout

FORMAT = "envbuild warm 3"

_VALUED = ("-e", "--environment", "-t", "--target", "--name")
_SAME = {"-e": "--environment", "-t": "--target"}

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from envbuild import supervise
    from envbuild.outcome import RunHandle


class Words:
    """A command line ``run …``, taken apart.

    :param asked: what was asked for, as text that tells commands apart; the user's own arguments are no part of it.
    :param arguments: the user's own arguments.
    """

    def __init__(self, asked: "list[str]", arguments: "list[str]") -> None:
        self.asked = asked
        self.arguments = arguments


def parse(words: "list[str]") -> "Words | None":
    """Take ``envbuild run …`` apart; ``None`` where there is more in it than the usual."""
    asked: list[str] = []
    position = 0
    while position < len(words):
        word = words[position]
        if word == "--":
            return Words([*asked, "--"], words[position + 1 :]) if words[position + 1 :] else None
        if word == "-m":
            module = words[position + 1 : position + 2]
            return Words([*asked, "-m", *module], words[position + 2 :]) if module else None
        if word in _VALUED:
            if position + 1 >= len(words):
                return None
            asked += [_SAME.get(word, word), words[position + 1]]
            position += 2
        elif word.startswith("-"):
            return None
        else:
            return Words([*asked, word], words[position + 1 :])
    return None


def stamp_path(workspace: str, directory: str, asked: "list[str]") -> str:
    """Where the stamp of a command lies."""
    name = "\0".join((directory, *asked)).encode("utf-8", "surrogateescape")
    return os.path.join(workspace, layout.WARM, _hash(name))


def _hash(data: bytes) -> str:
    # hashlib loads OpenSSL, which takes longer than all the rest of this module.
    try:
        if sys.version_info >= (3, 12):
            from _sha2 import sha256
        else:
            from _sha256 import sha256  # type: ignore[import-not-found]
    except ImportError:
        from hashlib import sha256
    digest: str = sha256(data).hexdigest()
    return digest


class Stamp:
    """What a stamp says, read in the order in which `envbuild.stamping` writes it."""

    def __init__(self, text: str) -> None:
        tokens = iter(text.split("\0"))
        if next(tokens) != FORMAT:
            raise ValueError("another format")
        self.envbuild, self.starter, self.prefix, self.lease, self.owner = (next(tokens) for _ in range(5))
        self.experiment, self.target, self.root, self.snapshot = (next(tokens) for _ in range(4))
        self.environment, self.source = (next(tokens) for _ in range(2))
        self.git = _take(tokens, 2)
        self.head = _take(tokens, 1)
        self.secrets = _take(tokens, 1)
        self.variables = _take(tokens, 2)
        self.checks = _take(tokens, 4)
        self.files = _take(tokens, 5)
        if next(tokens) != "end":
            raise ValueError("cut off")

    def holds(self) -> bool:
        """Whether everything that was looked at is as it was."""
        root = self.root
        return (
            self.envbuild == installation()
            and all(_unchanged(os.path.join(root, path), *known) for path, _, *known in self.files)
            and all(_unchanged(path, *known) for path, *known in self.checks)
        )


def _take(tokens: "Iterator[str]", width: int) -> "list[tuple[str, ...]]":
    count = int(next(tokens))
    return [tuple(next(tokens) for _ in range(width)) for _ in range(count)]


def installation() -> str:
    """Which envbuild this is: another one may look at other things."""
    from envbuild import __version__

    return f"{__version__} {layout.__file__}"


def facts_of(path: str) -> "tuple[str, str, str]":
    """What a change of a file shows in: size, time of change, inode; empty for a file that is not there."""
    try:
        return facts(os.lstat(path))
    except (FileNotFoundError, NotADirectoryError):
        return ("", "", "")


def facts(found: os.stat_result) -> "tuple[str, str, str]":
    """The same of a file that has been looked at already."""
    # The time of change, not that of the content: nobody can set it, and `chmod` moves it too.
    return (str(found.st_size), str(found.st_ctime_ns), str(found.st_ino))


def _unchanged(path: str, size: str, changed: str, inode: str) -> bool:
    return facts_of(path) == (size, changed, inode)


def attempt(words: "list[str]") -> "int | None":
    """Run the command if it is known and nothing has changed: its exit code, else ``None``."""
    if len(words) < 2 or words[0] != "run":
        return None
    parsed = parse(words[1:])
    if parsed is None:
        return None
    workspace = layout.workspace_root()
    try:
        with open(stamp_path(workspace, os.getcwd(), parsed.asked), encoding="utf-8", errors="surrogateescape") as file:
            stamp = Stamp(file.read())
    except (OSError, ValueError, StopIteration, RuntimeError):
        return None
    if not stamp.holds() or any(name not in os.environ for (name,) in stamp.secrets):
        return None
    lease = hold(stamp.lease, stamp.prefix)
    if lease is None:
        return None
    try:
        return _run(stamp, parsed, workspace)
    except _StepBack:
        return None
    finally:
        os.close(lease)


class _StepBack(Exception):
    """The run could not be started as the one before was; nothing has happened yet."""


def hold(path: str, prefix: str) -> "int | None":
    """Keep an environment from being collected as long as the descriptor is open; ``None`` if it is gone.

    :param path: what a process that uses the environment holds.
    """
    import fcntl

    try:
        lease = os.open(path, os.O_RDWR)
    except OSError:
        return None
    try:
        fcntl.flock(lease, fcntl.LOCK_SH)
        os.utime(lease)
        if os.path.isdir(prefix):
            return lease
    except OSError:
        pass  # whoever steps back is told why
    os.close(lease)
    return None


def _run(stamp: Stamp, parsed: Words, workspace: str) -> int:
    from envbuild import supervise

    module, _, function = stamp.starter.partition(":")
    try:
        # import_module would load importlib, and this is all that it does.
        __import__(module)
        start = getattr(sys.modules[module], function)
    except Exception as error:
        # The plugin has gone since, or is another one: whoever steps back is told.
        raise _StepBack from error
    identity, name, version, definition = stamp.environment.split("\n")
    environment: dict[str, str | None] = {
        "name": name,
        "version": version or None,
        "id": identity,
        "definition_digest": definition,
    }
    command = [*(word for (word,) in stamp.head), *parsed.arguments]
    secrets = {name: os.environ[name] for (name,) in stamp.secrets}
    folder = _folder(stamp, workspace)
    variables: dict[str, str] = dict(stamp.variables)  # type: ignore[arg-type]
    variables.update(secrets)
    variables.update(folder.facts(stamp.experiment, environment))

    def begin() -> "RunHandle":
        try:
            handle: RunHandle = start(command, folder.work, variables, stamp.prefix)
        except Exception as error:
            # The whole program meets it too, and knows what to say of it.
            raise _StepBack from error
        return _told(handle, stamp.owner) if stamp.owner else handle

    def tell() -> "dict[str, Any]":
        return _request(stamp, folder, environment, command)

    def laid_out() -> "dict[str, tuple[str, str]]":
        return {path: ("", "") if kind == "link" else (size, changed) for path, kind, size, changed, _ in stamp.files}

    end = supervise.see_through(folder, begin, tell, laid_out, secrets.values())
    supervise.say(supervise.summary(folder, environment, end))
    code: int = end["exit_code"]
    return code


def _told(handle: "RunHandle", owner: str) -> "RunHandle":
    """A stranger's handle, of which what goes wrong is told as that stranger's."""
    from envbuild.blame import Handle, Owner

    plugin, distribution = owner.split("\n")
    return Handle(handle, Owner(plugin, distribution))


def _request(
    stamp: Stamp, folder: "supervise.Folder", environment: "dict[str, str | None]", command: "list[str]"
) -> "dict[str, Any]":
    from envbuild import supervise

    secrets = [name for (name,) in stamp.secrets]
    return supervise.request(
        folder,
        experiment=stamp.experiment,
        target=stamp.target,
        command=command,
        head=len(stamp.head),
        environment=environment,
        snapshot=stamp.snapshot,
        source=stamp.source,
        directory=stamp.root,
        variables=sorted([name for name, _ in stamp.variables] + secrets),
        secrets=secrets,
        git={key: value == "yes" if key == "dirty" else value for key, value in stamp.git},
        seconds={"resolving": 0.0, "building": 0.0},
    )


def _folder(stamp: Stamp, workspace: str) -> "supervise.Folder":
    from envbuild import supervise

    try:
        folder = supervise.Folder(workspace, supervise.new_id(stamp.experiment))
    except OSError as error:
        raise _StepBack from error
    try:
        _lay_out(stamp, folder.work)
    except BaseException as error:
        folder.discard()
        if isinstance(error, OSError):
            raise _StepBack from error
        raise
    return folder


def _lay_out(stamp: Stamp, work: str) -> None:
    """Copy the source folder's files; they are those of the snapshot, since nothing about them has changed.

    Each copy has the time of its original's last change, by which it is told from what the run changes.

    :raises OSError: one of them has changed just now, or cannot be copied.
    """
    made = {""}
    for path, kind, size, changed, inode in stamp.files:
        folder = path.rpartition("/")[0]
        if folder not in made:
            os.makedirs(os.path.join(work, folder), exist_ok=True)
            made.add(folder)
        origin, copy = os.path.join(stamp.root, path), os.path.join(work, path)
        if kind == "link":
            os.symlink(os.readlink(origin), copy)
            continue
        with open(origin, "rb", buffering=0) as file:
            if facts(os.fstat(file.fileno())) != (size, changed, inode):
                raise OSError("changed")
            target = os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o755 if kind == "executable" else 0o644)
            try:
                while data := file.read(1 << 20):
                    while data:
                        data = data[os.write(target, data) :]
                os.utime(target, ns=(int(changed), int(changed)))
            finally:
                os.close(target)
