"""Options of requirements files: how a line is taken apart, and what pip makes of the options one after another."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass, field

from packaging.utils import canonicalize_name

from envbuild.form import did_you_mean
from envbuild.requirement import PipOptions

_VALUED = {
    "--index-url": "--index-url",
    "--pypi-url": "--index-url",
    "--extra-index-url": "--extra-index-url",
    "--find-links": "--find-links",
    "--requirement": "--requirement",
    "--constraint": "--constraint",
    "--editable": "--editable",
    "--no-binary": "--no-binary",
    "--only-binary": "--only-binary",
    "--trusted-host": "--trusted-host",
    "--use-feature": "--use-feature",
    "--hash": "--hash",
    "--global-option": "--global-option",
    "--config-settings": "--config-settings",
    "--config-setting": "--config-settings",
}
_FLAGS = ("--no-index", "--pre", "--prefer-binary", "--require-hashes")
_SHORT = {
    "-i": "--index-url",
    "-f": "--find-links",
    "-r": "--requirement",
    "-c": "--constraint",
    "-e": "--editable",
    "-C": "--config-settings",
}
_KNOWN = (*_VALUED, *_FLAGS)

OF_REQUIREMENTS = frozenset({"--hash", "--global-option", "--config-settings"})
"""Options that stand behind a requirement; all others need a line of their own."""

WITHOUT_EFFECT = frozenset({"--prefer-binary", "--trusted-host", "--use-feature"})
"""Options that are taken and say nothing about what an environment holds."""

_OPTION_BEGINS = re.compile(r"(?:^|\s)(?=-)")


@dataclass(frozen=True, slots=True)
class Option:
    """One option, by its long name; ``value`` is empty for a flag."""

    name: str
    value: str = ""


def take_apart(line: str) -> tuple[str, tuple[Option, ...]]:
    """Split a line into the requirement that it begins with, if any, and its options.

    :raises ValueError: an option is unknown, lacks its value or has one too many, or something follows it.

    >>> take_apart("demo >=1 --hash=sha256:00")
    ('demo >=1', (Option(name='--hash', value='sha256:00'),))
    >>> take_apart("-rmore.txt")
    ('', (Option(name='--requirement', value='more.txt'),))
    """
    pieces = _OPTION_BEGINS.split(line, maxsplit=1)
    if len(pieces) == 1:
        return line.strip(), ()
    try:
        words = shlex.split(pieces[1])
    except ValueError as error:
        raise ValueError(f"a quote is not closed: {pieces[1]}") from error
    return pieces[0].strip(), tuple(_options(words))


def _options(words: list[str]) -> Iterable[Option]:
    left = list(reversed(words))
    while left:
        word = left.pop()
        if not word.startswith("-") or word == "-":
            raise ValueError(f"{word!r} follows an option; pip would ignore it: give it a line of its own")
        name, value = _name(word)
        if name in _FLAGS:
            if value is not None:
                raise ValueError(f"{name} takes no value")
            yield Option(name)
            continue
        if value is None:
            if not left:
                raise ValueError(f"{word} lacks its value")
            value = left.pop()
        if not value.strip():
            raise ValueError(f"{name} lacks its value")
        yield Option(name, value)


def _name(word: str) -> tuple[str, str | None]:
    """The long name of the option, and the value that is written onto it."""
    if not word.startswith("--"):
        if word[:2] not in _SHORT:
            raise ValueError(f"{word[:2]} is not an option of requirements files")
        return _SHORT[word[:2]], word[2:] or None
    name, assigned, value = word.partition("=")
    if name not in _KNOWN:
        # As everywhere in pip, a beginning that only one option has stands for it.
        meant = {_VALUED.get(each, each) for each in _KNOWN if each.startswith(name) and len(name) > 3}
        if len(meant) != 1:
            raise ValueError(f"{name} is not an option of requirements files{did_you_mean(name, _KNOWN)}")
        (name,) = meant
    return _VALUED.get(name, name), value if assigned else None


@dataclass(slots=True)
class OptionsSoFar:
    """The options of the lines read so far, with the effect that pip gives each on those before it."""

    index_url: str | None = None
    extra_index_urls: list[str] = field(default_factory=list)
    find_links: list[str] = field(default_factory=list)
    no_index: bool = False
    pre: bool = False
    no_binary: set[str] = field(default_factory=set)
    only_binary: set[str] = field(default_factory=set)
    require_hashes: bool = False

    def index(self, url: str) -> None:
        """``--index-url``: it stands for all indexes before it, the extra ones too."""
        self.index_url = url
        self.extra_index_urls.clear()

    def formats(self, option: str, value: str) -> None:
        """``--no-binary`` and ``--only-binary``: what one takes in, the other gives up."""
        mine, others = self.no_binary, self.only_binary
        if option == "--only-binary":
            mine, others = others, mine
        names = [each.strip() for each in value.split(",") if each.strip()]
        while ":all:" in names:
            others.clear()
            mine.clear()
            mine.add(":all:")
            del names[: names.index(":all:") + 1]
            if ":none:" not in names:
                return
        for name in names:
            if name == ":none:":
                mine.clear()
            else:
                others.discard(canonicalize_name(name))
                mine.add(canonicalize_name(name))

    def over(self, base: PipOptions) -> PipOptions:
        """What they come to on top of ``base``."""
        no_index = self.no_index or base.no_index
        extra = (*(() if self.index_url else base.extra_index_urls), *self.extra_index_urls)
        return PipOptions(
            index_url=None if no_index else self.index_url or base.index_url,
            extra_index_urls=() if no_index else tuple(dict.fromkeys(extra)),
            find_links=tuple(dict.fromkeys((*base.find_links, *self.find_links))),
            no_index=no_index,
            pre=self.pre or base.pre,
            no_binary=tuple(sorted({*base.no_binary, *self.no_binary})),
            only_binary=tuple(sorted({*base.only_binary, *self.only_binary})),
            require_hashes=self.require_hashes or base.require_hashes,
            source=base.source,
        )
