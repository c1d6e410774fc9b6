"""Plugins that are wrong in one way each: what a contract has to catch.

Each says in its docstring what is wrong with it.
"""

from __future__ import annotations

import base64
import contextlib
import datetime
import getpass
import gzip
import io
import json
import logging
import os
import platform
import random
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from envbuild import (
    BuildFailed,
    BuildRequest,
    Definition,
    Digest,
    Image,
    Lock,
    LockRequest,
    NotFound,
    Package,
    Platform,
    Resolution,
    ResolutionFailed,
    RunHandle,
    RunRequest,
    TargetError,
    hookimpl,
)
from envbuild.testing import ShelfPlugin
from support.right import CountsFiles, Process, RunsHere, Serves, Service

SECRET = "ENVBUILD_TESTING_SECRET"


def ask_somebody() -> None:
    """Ask a server that is not there."""
    with contextlib.suppress(OSError):
        socket.create_connection(("127.0.0.1", 9), timeout=1).close()


def ask_by_program(variables: Mapping[str, str]) -> None:
    """The same by a program, through whatever proxy it is told to use."""
    program = "import urllib.request; urllib.request.urlopen('http://host.invalid/', timeout=2)"
    subprocess.run([sys.executable, "-c", program], env=dict(variables), capture_output=True, check=False)


# -- registering ---------------------------------------------------------------------------------------------


class Wraps:
    """A hook wrapper: its answers would not be its own."""

    @hookimpl(wrapper=True)
    def resolve_dependencies(self) -> Iterator[None]:
        return (yield)


class UnknownParameter:
    """A parameter that the hook lacks."""

    @hookimpl
    def resolve_dependencies(self, definition: Definition, index: str) -> None:
        pass


class Unmarked:
    """A function of the right name that is not marked."""

    def resolve_dependencies(self, definition: Definition) -> None:
        pass


# -- resolving -----------------------------------------------------------------------------------------------


class Resolver(ShelfPlugin):
    """What the wrong resolvers share: what they do before and after the right thing."""

    def before(self, definition: Definition, resolution: Resolution) -> None:
        pass

    def after(self, definition: Definition, resolution: Resolution) -> None:
        pass

    @hookimpl
    def resolve_dependencies(
        self, definition: Definition, platform: Platform, resolution: Resolution
    ) -> tuple[str, ...] | None:
        if not definition.pip:
            return None
        self.before(definition, resolution)
        answer = super().resolve_dependencies(definition, platform, resolution)
        self.after(definition, resolution)
        return answer


class TakesOnAll(ShelfPlugin):
    """It takes on what is not its own."""

    @hookimpl
    def resolve_dependencies(self, definition: Definition, platform: Platform, resolution: Resolution) -> Any:
        return super().resolve_dependencies(definition, platform, resolution) or ("pip",)


class LooksFirst(ShelfPlugin):
    """It asks the network before it declines."""

    @hookimpl
    def resolve_dependencies(self, definition: Definition, platform: Platform, resolution: Resolution) -> Any:
        if not definition.pip:
            ask_somebody()
        return super().resolve_dependencies(definition, platform, resolution)


class AddsAndDeclines(ShelfPlugin):
    """It declines what is not its own, after it has noted something about it."""

    @hookimpl
    def resolve_dependencies(self, definition: Definition, platform: Platform, resolution: Resolution) -> Any:
        if not definition.pip:
            resolution.made_from({"nothing": Digest.of(b"")})
            return None
        return super().resolve_dependencies(definition, platform, resolution)


class NamesNoSection(ShelfPlugin):
    """It takes on a section that definitions do not have."""

    @hookimpl
    def resolve_dependencies(self, definition: Definition, platform: Platform, resolution: Resolution) -> Any:
        return super().resolve_dependencies(definition, platform, resolution) and ("packages",)


class NamesAText(ShelfPlugin):
    """It answers a text, whose letters would be the sections."""

    @hookimpl
    def resolve_dependencies(self, definition: Definition, platform: Platform, resolution: Resolution) -> Any:
        return super().resolve_dependencies(definition, platform, resolution) and "pip"


class NotesTheTime(Resolver):
    """It notes when it was asked."""

    def after(self, definition: Definition, resolution: Resolution) -> None:
        told = {"asked": str(time.time_ns())}
        resolution.packages = tuple(replace(each, details=told) for each in resolution.packages)


class NotesTheOrder(Resolver):
    """It notes in which order it was asked for things."""

    def after(self, definition: Definition, resolution: Resolution) -> None:
        told = {"first": definition.pip[0].text}
        resolution.packages = tuple(replace(each, details=told) for each in resolution.packages)


class ForgetsThePrevious(ShelfPlugin):
    """It takes the newest, whatever is locked."""

    def choose(self, asked: str, definition: Definition, request: LockRequest) -> Package:
        return super().choose(asked, definition, replace(request, previous=None))


class NeverUpgrades(ShelfPlugin):
    """It keeps what is locked, whatever it is told."""

    def choose(self, asked: str, definition: Definition, request: LockRequest) -> Package:
        return super().choose(asked, definition, replace(request, upgrade=frozenset()))


class Replaces(Resolver):
    """It puts its own in the place of what others have pinned."""

    def before(self, definition: Definition, resolution: Resolution) -> None:
        resolution.packages = ()


class ReplacesThePython(Resolver):
    """It puts its own Python in the place of the one that others have fixed."""

    def before(self, definition: Definition, resolution: Resolution) -> None:
        resolution.python = None


class LeavesAFile(Resolver):
    """It leaves a file in the project."""

    def before(self, definition: Definition, resolution: Resolution) -> None:
        assert definition.root
        (definition.root / "resolved.txt").write_text("done\n")


class LeavesAFileByProgram(Resolver):
    """A program of its leaves a file in the working directory."""

    def before(self, definition: Definition, resolution: Resolution) -> None:
        subprocess.run(["touch", "resolved.txt"], check=True)


class RemovesAFile(Resolver):
    """It removes a file of the project."""

    def after(self, definition: Definition, resolution: Resolution) -> None:
        assert definition.root
        (definition.root / "shelf" / "helper-1.0.txt").unlink()


class SetsAVariable(Resolver):
    """It sets a variable of the process, for its programs."""

    def before(self, definition: Definition, resolution: Resolution) -> None:
        os.environ["SHELF"] = "here"


class TakesFromTheRequest(Resolver):
    """It takes a variable out of what it was given."""

    def before(self, definition: Definition, resolution: Resolution) -> None:
        resolution.request.variables.pop("PATH")  # type: ignore[attr-defined]


class Remembers(ShelfPlugin):
    """It answers what it has answered before."""

    answered: tuple[Package, ...] = ()

    @hookimpl
    def resolve_dependencies(self, definition: Definition, platform: Platform, resolution: Resolution) -> Any:
        if not definition.pip:
            return None
        if not Remembers.answered:
            super().resolve_dependencies(definition, platform, resolution)
            Remembers.answered = resolution.packages
            return ("pip",)
        resolution.pin_python(sys.version.split()[0], Path(sys.executable))
        resolution.add(*Remembers.answered)
        return ("pip",)


class HasNoDigest(Resolver):
    """It does not say which bytes."""

    def after(self, definition: Definition, resolution: Resolution) -> None:
        resolution.packages = tuple(
            replace(each, artifact=replace(each.artifact, digest=None)) for each in resolution.packages
        )


class CannotBeWritten(Resolver):
    """It says what a lock has no words for."""

    def after(self, definition: Definition, resolution: Resolution) -> None:
        resolution.packages = tuple(
            replace(each, artifact=replace(each.artifact, kind=cast("Any", "shelf"))) for each in resolution.packages
        )


class SaysTooMuch(Resolver):
    """It says what a lock does not keep as it is."""

    def after(self, definition: Definition, resolution: Resolution) -> None:
        details = cast("Any", {"shelf": 3})
        resolution.packages = tuple(replace(each, details=details) for each in resolution.packages)


class LocksASecret(Resolver):
    """It writes what opens the index into the lock."""

    def after(self, definition: Definition, resolution: Resolution) -> None:
        url = f"https://me:{resolution.request.variables[SECRET]}@host.test/demo"
        resolution.packages = tuple(
            replace(each, artifact=replace(each.artifact, url=url)) for each in resolution.packages
        )


class TellsASecret(Resolver):
    """It tells what opens the index as it goes on."""

    def before(self, definition: Definition, resolution: Resolution) -> None:
        resolution.request.progress.note(f"asking https://me:{resolution.request.variables[SECRET]}@host.test")


class FailsWithASecret(ShelfPlugin):
    """It tells what opens the index where it fails."""

    def choose(self, asked: str, definition: Definition, request: LockRequest) -> Package:
        try:
            return super().choose(asked, definition, request)
        except Exception as error:
            raise type(error)(f"https://me:{request.variables[SECRET]}@host.test: nothing fits") from None


class LocksASecretInBase64(Resolver):
    """It writes down the header that opens the index."""

    def after(self, definition: Definition, resolution: Resolution) -> None:
        told = {"header": "Basic " + base64.b64encode(f"me:{resolution.request.variables[SECRET]}".encode()).decode()}
        resolution.packages = tuple(replace(each, details=told) for each in resolution.packages)


class FailsWithASecretInHex(ShelfPlugin):
    """It tells what opens the index where it fails, in hex."""

    def choose(self, asked: str, definition: Definition, request: LockRequest) -> Package:
        try:
            return super().choose(asked, definition, request)
        except Exception as error:
            raise type(error)(f"{request.variables[SECRET].encode().hex()}: nothing fits") from None


class LogsASecret(Resolver):
    """It logs what opens the index, for whoever looks for mistakes."""

    def before(self, definition: Definition, resolution: Resolution) -> None:
        logging.getLogger("shelf").debug("asking https://me:%s@host.test", resolution.request.variables[SECRET])


class PrintsASecret(Resolver):
    """A program of its prints what opens the index."""

    def before(self, definition: Definition, resolution: Resolution) -> None:
        subprocess.run(["printenv", SECRET], env=dict(resolution.request.variables), check=True)


class LeavesAThread(Resolver):
    """It goes on looking for newer versions when it has answered."""

    def after(self, definition: Definition, resolution: Resolution) -> None:
        threading.Thread(target=time.sleep, args=(8,), name="looks for more", daemon=True).start()


class LeavesAProgram(Resolver):
    """A program of its goes on when it has answered."""

    def after(self, definition: Definition, resolution: Resolution) -> None:
        subprocess.Popen(["sleep", "61"])


class PinsNothing(ShelfPlugin):
    """It pins the nearest thing where nothing fits."""

    def choose(self, asked: str, definition: Definition, request: LockRequest) -> Package:
        try:
            return super().choose(asked, definition, request)
        except Exception:
            return next(self.shelf(definition))


class RefusesWithAnotherError(ShelfPlugin):
    """It says that building has failed, where nothing can be had."""

    def choose(self, asked: str, definition: Definition, request: LockRequest) -> Package:
        try:
            return super().choose(asked, definition, request)
        except Exception as error:
            raise BuildFailed("nothing fits") from error


class RefusesWithoutAWord(ShelfPlugin):
    """It does not say why nothing can be had."""

    def choose(self, asked: str, definition: Definition, request: LockRequest) -> Package:
        try:
            return super().choose(asked, definition, request)
        except Exception as error:
            raise type(error)("") from error


class RefusesItsOwn(ShelfPlugin):
    """It refuses what is said to be its own."""

    def choose(self, asked: str, definition: Definition, request: LockRequest) -> Package:
        raise ResolutionFailed("the shelf is closed", hint="come again tomorrow")


class WorksOnOneHost(Resolver):
    """It refuses on every machine but one."""

    def before(self, definition: Definition, resolution: Resolution) -> None:
        if platform.node() == "another-host":
            raise ResolutionFailed(f"the shelf is not for {platform.node()}")


class LocksThePlace(ShelfPlugin):
    """It locks where the file lies on this machine."""

    def choose(self, asked: str, definition: Definition, request: LockRequest) -> Package:
        found = super().choose(asked, definition, request)
        assert definition.root
        place = str(definition.root / (found.artifact.path or ""))
        return replace(found, artifact=replace(found.artifact, path=place))


class LocksTheHost(ShelfPlugin):
    """It takes the name of the machine for a version."""

    def choose(self, asked: str, definition: Definition, request: LockRequest) -> Package:
        found = super().choose(asked, definition, request)
        return replace(found, version=f"{found.version}+{platform.node()}")


class LocksASecretOfTheProcess(ShelfPlugin):
    """A version that is a secret, from the variables of the process."""

    def choose(self, asked: str, definition: Definition, request: LockRequest) -> Package:
        found = super().choose(asked, definition, request)
        return replace(found, version=os.environ.get(SECRET, found.version))


class AsksAnyway(Resolver):
    """It asks the network, whatever it is told."""

    def before(self, definition: Definition, resolution: Resolution) -> None:
        ask_somebody()


class AsksByProgram(Resolver):
    """A program of its asks the network, whatever it is told."""

    def before(self, definition: Definition, resolution: Resolution) -> None:
        if resolution.request.offline:
            ask_by_program(resolution.request.variables)


# -- hashing -------------------------------------------------------------------------------------------------


class Hasher(CountsFiles):
    """What the wrong ones share: one fact that does not belong there."""

    def fact(self, definition: Definition, lock: Lock) -> Any:
        raise NotImplementedError

    @hookimpl
    def compute_hash(self, definition: Definition, lock: Lock) -> Any:
        answer = super().compute_hash(definition, lock)
        return answer and {**answer, "fact": self.fact(definition, lock)}


class SpeaksOfAll(CountsFiles):
    """It has something to say of every environment."""

    @hookimpl
    def compute_hash(self, definition: Definition, lock: Lock) -> Any:
        return {"version": 1, **(super().compute_hash(definition, lock) or {})}


class GivesAFloat(Hasher):
    """A number that has no one spelling."""

    def fact(self, definition: Definition, lock: Lock) -> Any:
        return 0.5


class GivesAList(CountsFiles):
    """No mapping."""

    @hookimpl
    def compute_hash(self, definition: Definition, lock: Lock) -> Any:
        return list(super().compute_hash(definition, lock) or ())


class MissesAFile(Hasher):
    """It refuses what is said to be its own."""

    def fact(self, definition: Definition, lock: Lock) -> Any:
        raise NotFound("there is no shelf.yml beside the definition")


class HashesByChance(Hasher):
    """Python's own hash of a text, which is another in each process."""

    def fact(self, definition: Definition, lock: Lock) -> Any:
        return hash("shelf")


class SaysWhereItIs(Hasher):
    """The home of whoever asks."""

    def fact(self, definition: Definition, lock: Lock) -> Any:
        return str(Path.home())


class SaysTheZone(Hasher):
    """A file's time, as it is told here."""

    def fact(self, definition: Definition, lock: Lock) -> Any:
        return time.strftime("%c", time.localtime(0))


class SaysTheDay(Hasher):
    """The day on which it is asked."""

    def fact(self, definition: Definition, lock: Lock) -> Any:
        return str(datetime.date.today())


class SaysTheMoment(Hasher):
    """The moment at which it is asked."""

    def fact(self, definition: Definition, lock: Lock) -> Any:
        return time.time_ns()


class SaysTheName(Hasher):
    """What the environment is called."""

    def fact(self, definition: Definition, lock: Lock) -> Any:
        return definition.name


class SaysTheOrder(Hasher):
    """The requirements as they were written."""

    def fact(self, definition: Definition, lock: Lock) -> Any:
        return [each.text for each in definition.pip]


class SaysThePlace(Hasher):
    """Where the project is."""

    def fact(self, definition: Definition, lock: Lock) -> Any:
        return str(lock.root)


class SaysTheVariables(Hasher):
    """What runs are given."""

    def fact(self, definition: Definition, lock: Lock) -> Any:
        return dict(definition.variables)


class SaysTheSecret(Hasher):
    """What the process has that asks."""

    def fact(self, definition: Definition, lock: Lock) -> Any:
        return os.environ.get(SECRET)


class KeepsItsAnswer(Hasher):
    """It keeps what it has found in the project."""

    def fact(self, definition: Definition, lock: Lock) -> Any:
        assert definition.root
        (definition.root / "found.cache").write_text("found\n")
        return 1


class SetsAVariableOnce(Hasher):
    """The first question leaves a variable behind."""

    def fact(self, definition: Definition, lock: Lock) -> Any:
        return os.environ.setdefault("SHELF", "asked") and 1


class MovesHouse(Hasher):
    """It leaves another folder, umask, search path, timeout and handler behind."""

    def fact(self, definition: Definition, lock: Lock) -> Any:
        os.chdir("/")
        os.umask(0o027)
        sys.path.append("/nowhere")
        socket.setdefaulttimeout(77)
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        return 1


class AsksTheNetwork(Hasher):
    """It asks the network what there is."""

    def fact(self, definition: Definition, lock: Lock) -> Any:
        ask_somebody()
        return 1


class CountsInTheBackground(Hasher):
    """It begins to count what it will be asked for next."""

    def fact(self, definition: Definition, lock: Lock) -> Any:
        self.pool = ThreadPoolExecutor(1, thread_name_prefix="counts")
        self.pool.submit(time.sleep, 6)
        return 1


class ReadsNamesAlone(CountsFiles):
    """It says which files there are, and not what is in them."""

    @hookimpl
    def compute_hash(self, definition: Definition, lock: Lock) -> Any:
        return dict.fromkeys(super().compute_hash(definition, lock) or (), "there")


# -- building ------------------------------------------------------------------------------------------------


class TakesOnEveryKind(ShelfPlugin):
    """It makes a prefix, whatever was asked for."""

    @hookimpl
    def build_image(self, definition: Definition, lock: Lock, id: Digest, request: BuildRequest) -> Any:
        return super().build_image(definition, lock, id, replace(request, kind="prefix"))


class TakesOnEveryPackage(ShelfPlugin):
    """It takes on packages of which it knows nothing."""

    @hookimpl
    def build_image(self, definition: Definition, lock: Lock, id: Digest, request: BuildRequest) -> Any:
        ours = tuple(each for each in lock.packages if each.kind == "shelf")
        return super().build_image(definition, replace(lock, packages=ours), id, request)


class BeginsAndDeclines(ShelfPlugin):
    """It has begun before it declines."""

    @hookimpl
    def build_image(self, definition: Definition, lock: Lock, id: Digest, request: BuildRequest) -> Any:
        (request.scratch / "begun").touch()
        return super().build_image(definition, lock, id, request)


class BeginsAnew(ShelfPlugin):
    """It throws away what others have built."""

    @hookimpl
    def build_image(self, definition: Definition, lock: Lock, id: Digest, request: BuildRequest) -> Any:
        ours = tuple(each for each in lock.packages if each.kind == "shelf")
        if request.base:
            shutil.rmtree(request.destination)
        image = super().build_image(definition, replace(lock, packages=ours), id, replace(request, base=None))
        return image and replace(image, kinds=frozenset({"shelf"}))


class SaysAnotherId(ShelfPlugin):
    """An image of something else."""

    @hookimpl
    def build_image(self, definition: Definition, lock: Lock, id: Digest, request: BuildRequest) -> Any:
        return super().build_image(definition, lock, Digest.of(b"mine"), request)


class BuildsElsewhere(ShelfPlugin):
    """An image that is not where it was to be."""

    @hookimpl
    def build_image(self, definition: Definition, lock: Lock, id: Digest, request: BuildRequest) -> Any:
        elsewhere = request.scratch / "prefix"
        return super().build_image(definition, lock, id, replace(request, destination=elsewhere))


class LacksThePython(ShelfPlugin):
    """An image whose interpreter is not where it says."""

    @hookimpl
    def build_image(self, definition: Definition, lock: Lock, id: Digest, request: BuildRequest) -> Any:
        image = super().build_image(definition, lock, id, request)
        return image and replace(image, python="bin/python3.99")


class Builder(ShelfPlugin):
    """What the wrong builders share: what they do once the prefix is there."""

    def also(self, definition: Definition, lock: Lock, request: BuildRequest) -> None:
        raise NotImplementedError

    def fill(self, definition: Definition, lock: Lock, request: BuildRequest) -> None:
        super().fill(definition, lock, request)
        self.also(definition, lock, request)


class RefusesToBuild(Builder):
    """It refuses what is said to be its own."""

    def also(self, definition: Definition, lock: Lock, request: BuildRequest) -> None:
        raise BuildFailed("the shelf has not what was locked")


class WritesTheTime(Builder):
    """A file that says when it was made."""

    def also(self, definition: Definition, lock: Lock, request: BuildRequest) -> None:
        (request.destination / "built").write_text(time.strftime("%FT%T\n"))


class LeavesModesToChance(Builder):
    """A mode that is another now and then."""

    def also(self, definition: Definition, lock: Lock, request: BuildRequest) -> None:
        (request.destination / "lib" / "shelf").chmod(0o700 + random.randrange(64))


class WritesThePlace(Builder):
    """A script with the path at which it was made."""

    def also(self, definition: Definition, lock: Lock, request: BuildRequest) -> None:
        (request.destination / "bin" / "demo").write_text(f"#!{request.destination}/bin/python\n")


class LinksToThePlace(Builder):
    """A link to the path at which it was made."""

    def also(self, definition: Definition, lock: Lock, request: BuildRequest) -> None:
        (request.destination / "lib64").symlink_to(request.destination / "lib")


class BuildsInTheProject(Builder):
    """A folder in the project."""

    def also(self, definition: Definition, lock: Lock, request: BuildRequest) -> None:
        assert definition.root
        (definition.root / "build").mkdir(exist_ok=True)


class ChangesTheFolder(Builder):
    """It goes where it builds, and stays there."""

    def also(self, definition: Definition, lock: Lock, request: BuildRequest) -> None:
        os.chdir(request.store)


class TrustsWhatItFinds(ShelfPlugin):
    """It does not look whether it is what was locked."""

    def read(self, package: Package, definition: Definition, lock: Lock) -> bytes:
        assert lock.root
        return (lock.root / str(package.artifact.path)).read_bytes()


class RefusesAsFailed(ShelfPlugin):
    """It says that building has failed, where somebody has replaced an artifact."""

    def read(self, package: Package, definition: Definition, lock: Lock) -> bytes:
        try:
            return super().read(package, definition, lock)
        except Exception as error:
            raise BuildFailed(f"{package} cannot be read") from error


class WritesASecret(Builder):
    """A file that says how the index is opened."""

    def also(self, definition: Definition, lock: Lock, request: BuildRequest) -> None:
        (request.destination / "pip.conf").write_text(f"https://me:{request.variables[SECRET]}@host.test\n")


class WritesASecretOfTheProcess(Builder):
    """The same, from the variables of the process."""

    def also(self, definition: Definition, lock: Lock, request: BuildRequest) -> None:
        (request.destination / "pip.conf").write_text(f"https://me:{os.environ.get(SECRET)}@host.test\n")


class PacksASecret(Builder):
    """An archive, compressed, with a file in it that says how the index is opened."""

    def also(self, definition: Definition, lock: Lock, request: BuildRequest) -> None:
        header = base64.b64encode(f"me:{request.variables[SECRET]}".encode()).decode()
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w") as archive:
            archive.writestr(zipfile.ZipInfo("pip.conf"), f"header = Basic {header}\n", zipfile.ZIP_DEFLATED)
        (request.destination / "settings.zip.gz").write_bytes(gzip.compress(stream.getvalue(), mtime=0))


class GoesByItsUmask(Builder):
    """It takes for a program what its umask lets others execute."""

    def also(self, definition: Definition, lock: Lock, request: BuildRequest) -> None:
        unpacked = request.scratch / "tool"
        os.close(os.open(unpacked, os.O_CREAT | os.O_WRONLY, 0o777))
        tool = request.destination / "bin" / "tool"
        tool.write_text("#!/bin/sh\n")
        tool.chmod(0o755 if unpacked.stat().st_mode & stat.S_IXOTH else 0o644)


class LeavesADaemon(Builder):
    """A program of its goes on, as a child of nobody's."""

    def also(self, definition: Definition, lock: Lock, request: BuildRequest) -> None:
        subprocess.run(["sh", "-c", "sleep 62 > /dev/null 2>&1 &"], check=True)


class WritesItsOwner(Builder):
    """The home, name and language of whoever builds."""

    def also(self, definition: Definition, lock: Lock, request: BuildRequest) -> None:
        told = Path.home(), getpass.getuser(), os.environ.get("LANG")
        (request.destination / "owner").write_text(f"{told}\n")


class WritesTheHost(Builder):
    """What the machine is called."""

    def also(self, definition: Definition, lock: Lock, request: BuildRequest) -> None:
        (request.destination / "host").write_text(f"{socket.gethostname()} {platform.node()}\n")


class WritesTheDay(Builder):
    """The day of the build, as three modules tell it."""

    def also(self, definition: Definition, lock: Lock, request: BuildRequest) -> None:
        told = datetime.date.today(), datetime.datetime.now(datetime.UTC).date(), time.strftime("%F")
        (request.destination / "day").write_text(f"{told}\n")


class LinksToTheProject(Builder):
    """A link to the shelf."""

    def also(self, definition: Definition, lock: Lock, request: BuildRequest) -> None:
        assert definition.root
        (request.destination / "shelf").symlink_to(definition.root / "shelf")


class SharesAFile(Builder):
    """A file of the project, by another name."""

    def also(self, definition: Definition, lock: Lock, request: BuildRequest) -> None:
        assert definition.root
        (request.destination / "shared.txt").hardlink_to(definition.root / "shelf" / "demo-1.0.txt")


class AsksWhileItBuilds(Builder):
    """It asks the network, whatever it is told."""

    def also(self, definition: Definition, lock: Lock, request: BuildRequest) -> None:
        ask_somebody()


class AsksByProgramWhileItBuilds(Builder):
    """A program of its asks the network, whatever it is told."""

    def also(self, definition: Definition, lock: Lock, request: BuildRequest) -> None:
        if request.offline:
            ask_by_program(request.variables)


class HasAnotherPython(Builder):
    """A Python that says it is another version."""

    def also(self, definition: Definition, lock: Lock, request: BuildRequest) -> None:
        self.write(request.destination / "bin" / "python", "echo 2.7.18")

    def write(self, python: Path, line: str) -> None:
        python.unlink()
        python.write_text(f"#!/bin/sh\n{line}\n")
        python.chmod(0o755)


class HasNoPython(HasAnotherPython):
    """A Python that does not run."""

    def also(self, definition: Definition, lock: Lock, request: BuildRequest) -> None:
        self.write(request.destination / "bin" / "python", "exit 3")


class TrustsItsCache(Builder):
    """It takes what it has unpacked before for whole."""

    def also(self, definition: Definition, lock: Lock, request: BuildRequest) -> None:
        cache = request.store / "unpacked"
        if not cache.exists():
            cache.mkdir()
            for number in range(40):
                (cache / f"part-{number}").write_text("part\n")
        for each in sorted(cache.iterdir()):
            (request.destination / each.name).write_bytes(each.read_bytes())


class LeavesALock(Builder):
    """It leaves a lock of its own behind when it is killed."""

    def also(self, definition: Definition, lock: Lock, request: BuildRequest) -> None:
        mine = request.store / "shelf.lock"
        os.close(os.open(mine, os.O_CREAT | os.O_EXCL))
        for number in range(20):
            (request.scratch / f"part-{number}").touch()
        mine.unlink()


class ClosesAllFiles(Builder):
    """It lets go of files that it has not opened, as daemons do: with them goes the lock that keeps others waiting."""

    def also(self, definition: Definition, lock: Lock, request: BuildRequest) -> None:
        nothing = os.open(os.devnull, os.O_RDWR)
        for each in os.listdir("/proc/self/fd"):
            with contextlib.suppress(OSError):
                if "/locks/" in os.readlink(f"/proc/self/fd/{each}"):
                    os.dup2(nothing, int(each))
        os.close(nothing)
        time.sleep(1.5)


# -- running -------------------------------------------------------------------------------------------------


class Runner(RunsHere):
    """What the wrong targets share: a handle of their own."""

    handle: type[Process]

    def begin(self, run: RunRequest, image: Image) -> RunHandle:
        return self.handle(self.start(run, image))


class TakesOnEveryTarget(RunsHere):
    """It runs what is for somebody else."""

    @hookimpl
    def run_target(self, run: RunRequest, image: Image) -> Any:
        return super().run_target(replace(run, target="here"), image)


class RefusesToRun(RunsHere):
    """It refuses what is said to be its own."""

    def begin(self, run: RunRequest, image: Image) -> RunHandle:
        raise TargetError("nobody is here")


class StartsAndDeclines(RunsHere):
    """It has started something before it declines."""

    @hookimpl
    def run_target(self, run: RunRequest, image: Image) -> Any:
        subprocess.run(["true"], check=True)
        return super().run_target(run, image)


class RunsEveryImage(RunsHere):
    """It runs in its own Python what was to be run in a container."""

    @hookimpl
    def run_target(self, run: RunRequest, image: Image) -> Any:
        return super().run_target(run, replace(image, path=image.path or Path(sys.prefix)))


class CannotBeCancelled(Runner):
    """A handle that lacks a part."""

    class handle(Process):  # noqa: N801
        cancel = None  # type: ignore[assignment]


class StartsNowhere(Runner):
    """A handle that names a function which is not there."""

    class handle(Process):  # noqa: N801
        starter = "support.wrong:nowhere"


class StartsAnother(Runner):
    """A handle that names a function which starts something else."""

    class handle(Process):  # noqa: N801
        starter = "support.wrong:start_another"


def start_another(command: Any, directory: str, variables: Any, prefix: str) -> Process:
    return Process(subprocess.Popen(["true"], stdout=subprocess.PIPE, stderr=subprocess.PIPE))


class Waits(RunsHere):
    """It returns when the program has ended."""

    def begin(self, run: RunRequest, image: Image) -> RunHandle:
        process = self.start(run, image)
        process.wait()
        return Process(process)


class AlwaysSucceeds(Runner):
    """Whatever the program ends with, it is 0."""

    class handle(Process):  # noqa: N801
        def stream(self, write: Callable[[int, bytes], None]) -> int:
            super().stream(write)
            return 0


class GivesNegativeCodes(Runner):
    """Of a program that a signal has ended it gives Python's own code."""

    class handle(Process):  # noqa: N801
        def stream(self, write: Callable[[int, bytes], None]) -> int:
            super().stream(write)
            return self.process.returncode


class PassesOnText(Runner):
    """What is printed has to be text."""

    class handle(Process):  # noqa: N801
        def stream(self, write: Callable[[int, Any], None]) -> int:
            return super().stream(lambda number, data: write(number, data.decode(errors="replace")))


class MixesOutputs(RunsHere):
    """What is said on standard error comes on standard output."""

    def start(self, run: RunRequest, image: Image, **options: Any) -> subprocess.Popen[bytes]:
        return super().start(run, image, stderr=subprocess.STDOUT)


class ReadsOneAfterTheOther(Runner):
    """It reads standard error when standard output has ended, and by then the program waits."""

    class handle(Process):  # noqa: N801
        def stream(self, write: Callable[[int, bytes], None]) -> int:
            for number, stream in ((1, self.process.stdout), (2, self.process.stderr)):
                assert stream
                write(number, stream.read())
            return self.process.wait()


class WaitsForTheEnd(Runner):
    """It passes on what is printed when all is over."""

    class handle(Process):  # noqa: N801
        def stream(self, write: Callable[[int, bytes], None]) -> int:
            for number, data in zip((1, 2), self.process.communicate(), strict=True):
                write(number, data)
            return self.process.returncode


class RunsAnywhere(RunsHere):
    """It runs where envbuild runs."""

    def start(self, run: RunRequest, image: Image, **options: Any) -> subprocess.Popen[bytes]:
        program = tuple(str(run.directory / word) if word == "program.py" else word for word in run.command)
        return super().start(replace(run, command=program), image, cwd=None)


class DropsVariables(RunsHere):
    """It does not give what was declared."""

    def start(self, run: RunRequest, image: Image, **options: Any) -> subprocess.Popen[bytes]:
        return super().start(replace(run, variables={}), image)


class ShowsVariables(RunsHere):
    """Its handle shows all that it was made of."""

    def begin(self, run: RunRequest, image: Image) -> RunHandle:
        handle = Process(self.start(run, image))
        shown = f"Process({dict(run.variables)})"
        return type("Shown", (Process,), {"__repr__": lambda _: shown})(handle.process)


class StartsSlowly(RunsHere):
    """It waits a while to see whether the program goes on."""

    def begin(self, run: RunRequest, image: Image) -> RunHandle:
        handle = super().begin(run, image)
        time.sleep(1.6)
        return handle


class PassesVariablesAsWords(RunsHere):
    """It has ``env`` set the variables, by its command line."""

    def start(self, run: RunRequest, image: Image, **options: Any) -> subprocess.Popen[bytes]:
        words = ("env", *(f"{name}={value}" for name, value in run.variables.items()))
        return super().start(replace(run, command=(*words, f"{image.path}/bin/python", *run.command[1:])), image)


class ShowsVariablesByProgram(RunsHere):
    """A program of its has them on its command line, as long as the run goes on."""

    def start(self, run: RunRequest, image: Image, **options: Any) -> subprocess.Popen[bytes]:
        starts = "import subprocess, sys; sys.exit(subprocess.run(sys.argv[2:]).returncode)"
        hidden = f'exec {sys.executable} -c \'{starts}\' "$*" "$PROGRAM" program.py 9'
        words = ("sh", "-c", f'set -- "${SECRET}"; {hidden}')
        given = {**run.variables, "PROGRAM": f"{image.path}/bin/python"}
        return super().start(replace(run, command=words, variables=given), image)


class KeepsALog(RunsHere):
    """It writes down, for all runs, what it was to run."""

    def begin(self, run: RunRequest, image: Image) -> RunHandle:
        with (run.folder.parent / "runs.log").open("a") as log:
            log.write(f"{run.command}\n")
        return super().begin(run, image)


class KeepsVariables(RunsHere):
    """It writes down the variables of the run, in its folder."""

    def begin(self, run: RunRequest, image: Image) -> RunHandle:
        (run.folder / "variables").write_text(str(dict(run.variables)))
        return super().begin(run, image)


class KeepsVariablesEncoded(RunsHere):
    """It writes down the variables of the run, quoted as in a URL."""

    def begin(self, run: RunRequest, image: Image) -> RunHandle:
        told = "".join(f"%{each:02x}" for each in str(dict(run.variables)).encode())
        (run.folder / "variables").write_text(told)
        return super().begin(run, image)


class PassesVariablesInBase64(RunsHere):
    """It passes the variables on a command line, where nobody is to be able to read them."""

    def start(self, run: RunRequest, image: Image, **options: Any) -> subprocess.Popen[bytes]:
        told = base64.b64encode(json.dumps(dict(run.variables)).encode()).decode()
        words = ("env", f"VARIABLES={told}", f"{image.path}/bin/python", *run.command[1:])
        return super().start(replace(run, command=words), image)


class WatchesOn(Runner):
    """It goes on looking after a run that has ended."""

    class handle(Process):  # noqa: N801
        def stream(self, write: Callable[[int, bytes], None]) -> int:
            threading.Thread(target=time.sleep, args=(8,), name="watches", daemon=True).start()
            return super().stream(write)


class KeepsInputOpen(RunsHere):
    """The program can read, and nobody writes."""

    def start(self, run: RunRequest, image: Image, **options: Any) -> subprocess.Popen[bytes]:
        return super().start(run, image, stdin=subprocess.PIPE)


class UsesItsOwnPython(RunsHere):
    """It runs in the Python of envbuild."""

    def start(self, run: RunRequest, image: Image, **options: Any) -> subprocess.Popen[bytes]:
        return super().start(replace(run, command=(sys.executable, *run.command[1:])), image)


class SaysZeroWhileItRuns(Runner):
    """A run that goes on has ended well."""

    class handle(Process):  # noqa: N801
        def poll(self) -> int | None:
            return super().poll() or 0


class SaysItOnce(Runner):
    """It says once that the run has ended."""

    class handle(Process):  # noqa: N801
        said = False

        def poll(self) -> int | None:
            code = super().poll()
            if code is None or self.said:
                return None
            self.said = True
            return code


class KeepsSignals(Runner):
    """A signal is not passed on."""

    class handle(Process):  # noqa: N801
        def signal(self, number: int) -> None:
            pass


class StumblesOverTheDead(Runner):
    """A signal that comes too late raises."""

    class handle(Process):  # noqa: N801
        def signal(self, number: int) -> None:
            os.killpg(self.process.pid, number)


class KillsAtOnce(Runner):
    """It does not ask first."""

    class handle(Process):  # noqa: N801
        def cancel(self, grace: float) -> None:
            super().cancel(0)


class CancelsAndWaits(Runner):
    """It waits for the end of its grace."""

    class handle(Process):  # noqa: N801
        def cancel(self, grace: float) -> None:
            time.sleep(grace)
            super().cancel(0)


class OnlyAsks(Runner):
    """It asks, and leaves it at that."""

    class handle(Process):  # noqa: N801
        def cancel(self, grace: float) -> None:
            self.signal(signal.SIGTERM)


class SparesChildren(Runner):
    """It ends the program, and not what that has started."""

    class handle(Process):  # noqa: N801
        def cancel(self, grace: float) -> None:
            self.process.kill()

        def stream(self, write: Callable[[int, bytes], None]) -> int:
            code = super().stream(write)
            self.process.kill()
            return code


class LeavesTheStubborn(Runner):
    """When the program has ended, it thinks no more of what that has started."""

    class handle(Process):  # noqa: N801
        def signal(self, number: int) -> None:
            if self.poll() is None:
                super().signal(number)

        def stream(self, write: Callable[[int, bytes], None]) -> int:
            out = self.process.stdout
            assert out
            os.set_blocking(out.fileno(), False)
            while self.poll() is None:
                with contextlib.suppress(BlockingIOError):
                    write(1, os.read(out.fileno(), 1 << 16))
                time.sleep(0.01)
            return self.poll() or 0


class HasNoHint(RunsHere):
    """It refuses a program that is not there without a word on what to do."""

    @hookimpl
    def run_target(self, run: RunRequest, image: Image) -> Any:
        try:
            return super().run_target(run, image)
        except TargetError as error:
            raise TargetError(str(error)) from None


class LetsItRaise(RunsHere):
    """What Python raises where a program is not there goes through."""

    @hookimpl
    def run_target(self, run: RunRequest, image: Image) -> Any:
        return self.begin(run, image) if run.target == "here" else None


class PretendsToRun(RunsHere):
    """A program that is not there ends well."""

    def begin(self, run: RunRequest, image: Image) -> RunHandle:
        try:
            return super().begin(run, image)
        except FileNotFoundError:
            return super().begin(replace(run, command=("true",)), image)


class SetsVariablesHere(RunsHere):
    """It sets the variables of the run in the process that starts it."""

    def start(self, run: RunRequest, image: Image, **options: Any) -> subprocess.Popen[bytes]:
        os.environ.update(run.variables)
        return super().start(run, image)


class RemembersWhoWrites(Runner):
    """What any run prints goes to who asked first."""

    class handle(Process):  # noqa: N801
        write: Callable[[int, bytes], None] | None = None

        def stream(self, write: Callable[[int, bytes], None]) -> int:
            kept = type(self)
            kept.write = staticmethod(kept.write or write)
            return super().stream(kept.write)


# -- deploying -----------------------------------------------------------------------------------------------


class ServesEverybody(Serves):
    """It takes on what is for somebody else."""

    @hookimpl
    def deploy_target(self, deployment: Any, image: Image) -> Any:
        return Service(deployment)


class StartsSomethingFirst(Serves):
    """It asks the network before it declines."""

    @hookimpl
    def deploy_target(self, deployment: Any, image: Image) -> Any:
        ask_somebody()
        return super().deploy_target(deployment, image)


class ShowsTheKey(Serves):
    """Its handle shows all that it was made of."""

    @hookimpl
    def deploy_target(self, deployment: Any, image: Image) -> Any:
        return deployment if deployment.target == "here" else None
