"""The worker: the process in which rattler runs, asked on standard input and answering on standard output.

A question is one line of JSON, and so is its answer; what is told before it is progress. Standard input stays open for
as long as whoever asks is alive: at its end the process ends, wherever it is. So it does if it is asked nothing for as
many seconds as its argument says.
"""

from __future__ import annotations

import asyncio
import base64
import datetime
import fcntl
import hashlib
import json
import os
import re
import shutil
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from rattler import (
    Channel,
    Client,
    Gateway,
    GenericVirtualPackage,
    MatchSpec,
    PackageName,
    PackageRecord,
    RepoDataRecord,
    SourceConfig,
    Subdir,
    Version,
    VirtualPackage,
    install,
    solve,
)
from rattler.exceptions import InvalidMatchSpecError, SolverError
from rattler.networking import (
    AddHeadersMiddleware,
    AuthenticationMiddleware,
    GCSMiddleware,
    MirrorMiddleware,
    OciMiddleware,
    RetryMiddleware,
    S3Middleware,
)
from rattler.package.build_string import BuildString
from rattler.package_cache import PackageCache, ValidationMode
from rattler.package_streaming import download_and_extract, extract

from envbuild_conda import sound, virtual
from envbuild_conda.seen import Seen, facts

_AT_ONCE = 16
"""So many packages are fetched or unpacked at a time."""


class Refused(Exception):
    """Something that is wrong with what was asked, or with what was found.

    :param kind: a word for it.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def tell(**told: Any) -> None:
    """Write a line to whoever asked."""
    sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()


# Solving


async def solved(question: Mapping[str, Any]) -> Any:
    """Find the packages that satisfy ``specs``, and the virtual packages that were there."""
    config = SourceConfig(cache_action="force-cache-only" if question["offline"] else "cache-or-fetch")
    client = _client(question["opened"])
    gateway = Gateway(cache_dir=_cache() / "repodata", default_config=config, client=client)
    present = virtual.overridden(question["virtual"] or _detected(), os.environ)
    sources: list[Any] = [Channel(url) for url in question["sources"]]
    if question["until"] is not None:
        sources = [await _Until.of(each, gateway, question["platforms"], question["until"]) for each in sources]
    specs = [_spec(each) for each in question["specs"]]
    # rattler leaves packages that a spec does not fit out of what it then takes for all that a channel has of them, and
    # a channel of lower priority would stand in. Asking for the mere name too makes it see them all.
    names = [MatchSpec(each.name.normalized) for each in specs]
    found = await solve(
        sources=sources,
        specs=[*specs, *names],
        gateway=gateway,
        platforms=question["platforms"],
        locked_packages=_records(question["kept"], question),
        virtual_packages=[_virtual(each) for each in present],
    )
    return {"records": [json.loads(each.to_json()) for each in found], "virtual": present}


class _Until:
    """A channel as it was at a certain time: of packages that were made later, nothing is known."""

    def __init__(self, channel: Channel, gateway: Gateway, names: Mapping[str, list[str]], until: int) -> None:
        self._channel, self._gateway, self._names, self._until = channel, gateway, names, until

    @classmethod
    async def of(cls, channel: Channel, gateway: Gateway, platforms: Sequence[Any], until: int) -> _Until:
        """:param until: the time, in milliseconds since 1970."""
        names = {
            platform: [each.normalized for each in await gateway.names([channel], [platform])] for platform in platforms
        }
        return cls(channel, gateway, names, until)

    async def fetch_package_records(self, platform: Subdir, name: PackageName) -> list[RepoDataRecord]:
        found = await self._gateway.query([self._channel], [platform], [name.normalized], recursive=False)
        return [each for records in found for each in records if self._counts(each)]

    def package_names(self, platform: Subdir) -> list[str]:
        return self._names.get(str(platform), [])

    def _counts(self, record: RepoDataRecord) -> bool:
        made = record.timestamp
        # Packages that do not say it are older than the habit of saying it.
        return made is None or made.replace(tzinfo=made.tzinfo or datetime.UTC).timestamp() * 1000 < self._until


def _spec(written: str) -> MatchSpec:
    try:
        return MatchSpec(written)
    except InvalidMatchSpecError as error:
        raise Refused("Spec", f"{written!r}: {error}") from error


def _detected() -> list[str]:
    found = (each.into_generic() for each in VirtualPackage.detect())
    return [f"{each.name.normalized}={each.version}={each.build_string}" for each in found]


def _virtual(written: str) -> GenericVirtualPackage:
    name, version, build = written.split("=")
    return GenericVirtualPackage(PackageName(name), Version(version), BuildString(build))


def _check_machine(wanted: Sequence[Mapping[str, Any]]) -> None:
    """See to it that this machine has what the packages ask of it: the one that they were locked on may have had more.

    :raises Refused: it does not; with all that it lacks.
    """
    present = [_as_record(each) for each in virtual.overridden(_detected(), os.environ)]
    there = {each.name.normalized: each for each in present}
    lacking: dict[str, list[str]] = {}
    for each in wanted:
        asked = [(spec, True) for spec in each.get("depends", ())]
        asked += [(spec, False) for spec in each.get("constrains", ())]
        for spec, is_needed in asked:
            found = there.get(re.split(r"[\s=<>!~\[]", spec, maxsplit=1)[0])
            if spec.startswith("__") and (not _spec(spec).matches(found) if found else is_needed):
                lacking.setdefault(spec, []).append(str(each["name"]))
    if lacking:
        has = ", ".join(f"{each.name.normalized} {each.version}" for each in present)
        told = "\n".join(f"{', '.join(dict.fromkeys(names))}: {spec}" for spec, names in sorted(lacking.items()))
        raise Refused("Machine", f"{told}\nthis machine has {has}")


def _as_record(written: str) -> PackageRecord:
    name, version, build = written.split("=")
    return PackageRecord(name, version, BuildString(build), 0, "noarch")


# Linking


async def linked(question: Mapping[str, Any]) -> Any:
    """Fetch what is not there yet, look at it all, and link it into the prefix."""
    wanted = question["records"]
    for each in wanted:
        with _looking_at(each):
            sound.check_record(each)
    try:
        records = _records(wanted, question)
    # rattler has many words for a number that is none, and the like.
    except Exception as error:
        raise Refused("Record", str(error)) from error
    _check_machine(wanted)
    folder = _cache() / "pkgs"
    folder.mkdir(parents=True, exist_ok=True)
    for each in wanted:
        # rattler knows what it has unpacked by the SHA-256 of the file, and takes it for any MD5.
        if question["anew"] or not each["sha256"]:
            shutil.rmtree(folder / sound.stem(each), ignore_errors=True)
    # Were it asked to read them all again, it would fetch what has changed without a look at it: `sound` reads instead.
    cache = PackageCache.new_layered([folder], validation_mode=ValidationMode.skip())
    index = await cache.index()
    site = _site(records)
    seen = Seen(_cache() / "envbuild-seen")
    before: dict[Path, str | None] = {}
    brought: dict[str, list[sound.Entry]] = {}
    wanting = []
    for each, made in zip(wanted, records, strict=True):
        package = folder / sound.stem(each)
        found = _facts(package)
        if found is None or not index.contains_record(made):
            wanting.append(each)
            continue
        try:
            entries = sound.check(package, each, site)
            # What is unpacked may have been edited since, through a hard link in any environment.
            is_sound = seen.knows(package, found) or not sound.damaged(package, entries)
        except sound.Unsound:
            is_sound = False
        if not is_sound:
            # Whether it was so from the beginning is found out as it is unpacked again.
            shutil.rmtree(package, ignore_errors=True)
            wanting.append(each)
            continue
        before[package], brought[_named(each)] = found, entries
    remote = [each for each in wanting if not sound.is_local(each)]
    if question["offline"] and remote:
        raise Refused("Offline", ", ".join(sorted(each["fn"] for each in remote)))
    if remote:
        size = sum(each["size"] or 0 for each in remote)
        tell(doing=f"Fetching {len(remote)} conda packages ({size / 1e6:.1f} MB)")
    else:
        tell(doing=f"Linking {len(records)} conda packages")
    client = _client(question["opened"])
    turns = asyncio.Semaphore(_AT_ONCE)
    fetching = [_unpacked(each, folder, client, site, turns) for each in wanting]
    for each, entries in zip(wanting, await asyncio.gather(*fetching), strict=True):
        before[folder / sound.stem(each)], brought[_named(each)] = None, entries
    try:
        clashes = sound.check_together(brought)
    except sound.Clash as error:
        raise Refused("Clash", str(error)) from error
    await install(
        records,
        question["prefix"],
        package_cache=cache,
        client=client,
        platform=Subdir(question["platform"]),
        installed_packages=[],
        show_progress=False,
        execute_link_scripts=False,
        alternative_target_prefix=question["home"],
    )
    _note(seen, before)
    return {"cache": str(folder), "linked": len(records), "clashes": clashes}


def _named(record: Mapping[str, Any]) -> str:
    return f"{record['name']} {record['version']}"


@contextmanager
def _looking_at(record: Mapping[str, Any]) -> Iterator[None]:
    """Say of which package something is said."""
    try:
        yield
    except sound.Unsound as error:
        raise Refused("Unsound", f"{_named(record)} is not a sound package: {error}") from error


def _site(records: Sequence[RepoDataRecord]) -> str | None:
    """Where modules go in the prefix."""
    for each in records:
        if each.name.normalized == "python":
            major, minor = each.version.as_major_minor() or (3, 0)
            return each.python_site_packages_path or f"lib/python{major}.{minor}/site-packages"
    return None


async def _unpacked(
    record: Mapping[str, Any], folder: Path, client: Client, site: str | None, turns: asyncio.Semaphore
) -> list[sound.Entry]:
    """Have a package in rattler's cache, where it gets to only once it has been looked at.

    :returns: what it brings.
    """
    async with turns:
        with TemporaryDirectory(prefix=f".{sound.stem(record)}-", dir=folder, ignore_cleanup_errors=True) as aside:
            fresh = Path(aside, "unpacked")
            sha256, md5 = await _fetched(record, fresh, client)
            _check_digests(record, sha256=sha256.hex(), md5=md5.hex())
            with _looking_at(record):
                entries = sound.check(fresh, record, site)
                wrong = await asyncio.to_thread(sound.damaged, fresh, entries)
                if wrong:
                    raise sound.Unsound(f"{wrong!r} is not what it says")
            await asyncio.to_thread(_put, fresh, folder / sound.stem(record), sha256)
    return entries


async def _fetched(record: Mapping[str, Any], fresh: Path, client: Client) -> tuple[bytes, bytes]:
    """Unpack a package into ``fresh``, and give the digests of its file."""
    if sound.is_local(record):
        file = Path(unquote(sound.parts(record).path))
        # rattler takes a local file for what it says it is.
        await asyncio.to_thread(_check, file, record)
        try:
            return await asyncio.to_thread(extract, file, fresh)
        except Exception as error:
            raise Refused("Unpack", f"{record['fn']}: {error}") from error
    digest = bytes.fromhex(record["sha256"]) if record["sha256"] else None
    for is_last in (False, False, True):
        try:
            return await download_and_extract(client, record["url"], fresh, digest)
        except Exception as error:
            # All that rattler raises derives from Exception alone. It tries again by itself where nobody answers, and
            # not where a connection breaks.
            if "outside of destination" in str(error):
                raise Refused("Unpack", f"{record['fn']}: {error}") from error
            if is_last or re.search("hash mismatch|retries", str(error), re.I):
                raise Refused("Fetch", f"{record['fn']}: {error}") from error
            shutil.rmtree(fresh, ignore_errors=True)
    raise AssertionError("the last attempt ends the loop")


def _put(fresh: Path, package: Path, sha256: bytes) -> None:
    """Put what has been unpacked where rattler looks for it, as it does so itself."""
    with package.with_name(f"{package.name}.lock").open("a+b") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.seek(0)
        said = lock.read()
        # Somebody else has been faster, and may be linking it.
        if package.is_dir() and said[8:40] == sha256:
            return
        shutil.rmtree(package, ignore_errors=True)
        lock.truncate(0)
        fresh.replace(package)
        # A number for whoever has read it before, and the digest.
        lock.write((int.from_bytes(said[:8]) + 1).to_bytes(8) + sha256)


def _note(seen: Seen, before: Mapping[Path, str | None]) -> None:
    """Remember what has just been unpacked, or read; not what has changed meanwhile, whoever changed it."""
    for package, found in before.items():
        now = _facts(package)
        if now and found in (None, now):
            seen.note(package, now)


def _facts(package: Path) -> str | None:
    try:
        return facts(package)
    except OSError:
        return None


def _check(file: Path, locked: Mapping[str, Any]) -> None:
    kind = "sha256" if locked["sha256"] else "md5"
    try:
        if not file.is_file():
            raise Refused("Missing", str(file))
        with file.open("rb") as stream:
            found = hashlib.file_digest(stream, kind).hexdigest()
    except FileNotFoundError as error:
        raise Refused("Missing", str(file)) from error
    _check_digests(locked, **{kind: found})


def _check_digests(locked: Mapping[str, Any], **found: str) -> None:
    kind = "sha256" if locked["sha256"] else "md5"
    if found[kind] != locked[kind]:
        raise Refused("Damaged", f"{locked['fn']} has {kind}:{found[kind]}, and {kind}:{locked[kind]} was locked")


def _records(written: Sequence[Mapping[str, Any]], question: Mapping[str, Any]) -> list[RepoDataRecord]:
    """Make records as rattler has them: it reads them from files only, and takes digests apart from the rest."""
    aside = Path(question["scratch"], "record.json")
    return [_record(each, aside) for each in written]


def _record(written: Mapping[str, Any], aside: Path) -> RepoDataRecord:
    # Where it comes from is told apart too, and may have credentials in it.
    told = {key: value for key, value in written.items() if value is not None and key not in ("fn", "url", "channel")}
    aside.write_text(json.dumps(told), encoding="utf-8")
    made = PackageRecord.from_index_json(
        aside, size=written.get("size"), sha256=written["sha256"], md5=written.get("md5")
    )
    return RepoDataRecord(made, written["fn"], written["url"], written["channel"])


def _client(opened: Mapping[str, str]) -> Client:
    """Whoever speaks to channels.

    :param opened: the addresses with credentials of channels, by those without. Credentials are put in on the way out,
        so that rattler's caches and messages have only the others.
    """
    parts = {bare: urlsplit(secret) for bare, secret in opened.items() if bare != secret}
    # A token is part of the address; user and password travel beside it.
    tokens = {
        f"{bare}/": [urlunsplit(each._replace(netloc=each.netloc.rpartition("@")[2])) + "/"]
        for bare, each in parts.items()
    }
    users = [
        (each.hostname, f"{unquote(urlsplit(bare).path)}/", f"{unquote(each.username)}:{unquote(each.password or '')}")
        for bare, each in parts.items()
        if each.username
    ]

    def headers(host: str, path: str) -> dict[str, str] | None:
        # Of scheme and port nothing is told: whoever asks has seen to it that there is one server of each such name.
        asked = unquote(path)
        user = next((user for name, folder, user in users if name == host and asked.startswith(folder)), None)
        return {"Authorization": "Basic " + base64.b64encode(user.encode()).decode()} if user else None

    mirrors = {bare: others for bare, others in tokens.items() if others != [bare]}
    return Client(
        [
            RetryMiddleware(),
            MirrorMiddleware(mirrors),
            AddHeadersMiddleware(headers),
            AuthenticationMiddleware(),
            OciMiddleware(),
            GCSMiddleware(),
            S3Middleware(),
        ]
    )


def _cache() -> Path:
    """Where rattler, pixi and their like keep what they have fetched."""
    import platformdirs

    return Path(os.environ.get("RATTLER_CACHE_DIR") or Path(platformdirs.user_cache_dir("rattler")) / "cache")


# Being asked


def _listen(questions: SimpleQueue[bytes]) -> None:
    """Take questions, until the end of standard input: then nobody is there any more who wants an answer."""
    for line in sys.stdin.buffer:
        questions.put(line)
    os._exit(1)


def _answer(question: Mapping[str, Any]) -> None:
    answering = {"solve": solved, "link": linked}[question["ask"]]
    try:
        tell(result=asyncio.run(answering(question)))
    except Refused as error:
        tell(kind=error.kind, error=str(error))
    except SolverError as error:
        tell(kind="Unsolvable", error=str(error))
    # All that rattler raises derives from Exception alone, and whoever asked tells it in its own words.
    except Exception as error:
        tell(kind=type(error).__name__, error=str(error))


def main() -> None:
    """Answer questions until there are no more."""
    questions: SimpleQueue[bytes] = SimpleQueue()
    threading.Thread(target=_listen, args=(questions,), daemon=True).start()
    with suppress(Empty, KeyboardInterrupt):
        while True:
            _answer(json.loads(questions.get(timeout=float(sys.argv[1]))))
    # rattler's threads do not always survive the end of Python.
    os._exit(0)


if __name__ == "__main__":
    main()
