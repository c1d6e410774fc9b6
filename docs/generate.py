#!/usr/bin/env python3
"""Write the parts of these pages that repeat what the code says: `python docs/generate.py`.

Between ``<!-- generated: NAME -->`` and ``<!-- end -->`` stands what `PARTS` makes of the command line's parser, of
the hooks' docstrings, and of the names that ``envbuild`` exports. A test fails where a page is behind the code.
"""

from __future__ import annotations

import argparse
import inspect
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import envbuild
from envbuild import hookspecs
from envbuild.cli.parser import _SPEC, make_parser
from envbuild.plugins import HOOKS

DOCS = Path(__file__).resolve().parent

_PART = re.compile(r"(?P<head><!-- generated: (?P<name>[a-z ]+?) -->\n).*?(?P<foot><!-- end -->)", re.S)
_LINK = "a [SPEC](definitions.md#what-spec-means)"

_EVERYWHERE = ("--help", "--json", "--quiet")
"""What the top of the page says once."""

_FIELD = re.compile(r"^:(?P<kind>param|returns|raises)(?: (?P<name>\w+))?: (?P<text>.*)$")


# -- the command line ----------------------------------------------------------------------------------------


def command_line() -> str:
    """Every command with its arguments, as the parser has them."""
    return "\n".join(_commands(make_parser()))


def _commands(parser: argparse.ArgumentParser) -> Iterator[str]:
    groups = [each for each in parser._actions if isinstance(each, argparse._SubParsersAction)]
    if not groups or parser.get_default("command"):
        yield from _command(parser)
    for group in groups:
        for command in group.choices.values():
            yield from _commands(command)


def _command(parser: argparse.ArgumentParser) -> Iterator[str]:
    actions = [each for each in parser._actions if not set(each.option_strings) & set(_EVERYWHERE)]
    # Each subcommand stands for itself.
    actions = [each for each in actions if not isinstance(each, argparse._SubParsersAction)]
    yield from (f"## {parser.prog}", "", parser.description or "", "", "```", _usage(parser, actions), "```", "")
    rows = [(_spelled(each), each.help or "") for each in actions]
    if any(text for _, text in rows):
        yield from ("| argument | what it says |", "| --- | --- |")
        yield from (f"| {_code(name)} | {_cell(text.replace(_SPEC, _LINK))} |" for name, text in rows if text)
        yield ""


def _usage(parser: argparse.ArgumentParser, actions: list[argparse.Action]) -> str:
    if parser.usage:
        return parser.usage
    words = [parser.prog]
    words += [f"[{_spelled(each, short=True)}]" for each in actions if each.option_strings]
    for each in actions:
        if not each.option_strings:
            name = _metavar(each)
            words.append({"?": f"[{name}]", "+": f"{name} [{name} …]"}.get(str(each.nargs), name))
    return " ".join(words)


def _spelled(action: argparse.Action, *, short: bool = False) -> str:
    if not action.option_strings:
        return _metavar(action)
    names = action.option_strings[:1] if short else action.option_strings
    value = "" if action.nargs == 0 else f" [{_metavar(action)}]" if action.nargs == "?" else f" {_metavar(action)}"
    return ", ".join(names) + value


def _metavar(action: argparse.Action) -> str:
    if action.choices and not action.metavar:
        return "{" + ",".join(map(str, action.choices)) + "}"
    return str(action.metavar or action.dest.upper())


# -- the hooks -----------------------------------------------------------------------------------------------


def hook_reference() -> str:
    """Every hook with its signature and its docstring."""
    lines: list[str] = []
    for name in HOOKS:
        hook = getattr(hookspecs, name)
        first = "the first answer counts" if _options(hook).get("firstresult") else "all answers count"
        lines += [f"### {name}", "", f"*{first}*", "", "```text", _signature(hook), "```", ""]
        lines += [*_documented(hook), ""]
    return "\n".join(lines)


def fields(hook: Callable[..., Any]) -> dict[tuple[str, str], str]:
    """What a docstring says of each parameter, answer and error: ``("param", "lock")`` and so on."""
    found: dict[tuple[str, str], str] = {}
    here: tuple[str, str] | None = None
    for line in inspect.cleandoc(hook.__doc__ or "").splitlines():
        field = _FIELD.match(line)
        if field:
            here = (field["kind"], field["name"] or "")
            found[here] = field["text"]
        elif here and line.startswith(" "):
            found[here] += " " + line.strip()
        else:
            here = None
    return found


def _documented(hook: Callable[..., Any]) -> Iterator[str]:
    text = inspect.cleandoc(hook.__doc__ or "").partition("\n:")[0]
    for paragraph in text.strip().split("\n\n"):
        yield from (_markdown(" ".join(paragraph.split())), "")
    said = {"param": "{}", "returns": "*answer*", "raises": "*raises* {}"}
    for (kind, name), told in fields(hook).items():
        yield f"- {said[kind].format(f'`{name}`')}: {_markdown(told)}"


def _signature(hook: Callable[..., Any]) -> str:
    made = inspect.signature(hook)
    inner = "".join(f"    {each},\n" for each in made.parameters.values()).replace("'", "")
    answer = str(made.return_annotation).replace("'", "")
    return f"def {hook.__name__}(\n{inner}) -> {answer}"


def _options(hook: object) -> dict[str, Any]:
    return dict(getattr(hook, f"{hookspecs.GROUP}_spec", {}))


# -- what plugins may import ---------------------------------------------------------------------------------


def exported_names() -> str:
    """Every name that ``envbuild`` exports, with the first line of what is said about it."""
    rows = [f"| `{name}` | {_cell(_markdown(first_line(name)))} |" for name in envbuild.__all__]
    return "\n".join(["| name | what it is |", "| --- | --- |", *rows])


def first_line(name: str) -> str:
    """The first line of an exported name's docstring, or of the text below an exported value."""
    value = getattr(envbuild, name)
    if name == "hookimpl":
        return "The mark of a function that answers a hook."
    if isinstance(value, str):
        return "The version of envbuild."
    return " ".join(inspect.cleandoc(value.__doc__ or "").partition("\n\n")[0].split())


# -- pages ---------------------------------------------------------------------------------------------------

PARTS: dict[str, Callable[[], str]] = {
    "command line": command_line,
    "hooks": hook_reference,
    "names": exported_names,
}


def renewed(text: str) -> str:
    """A page with its generated parts made anew."""
    return _PART.sub(lambda found: f"{found['head']}\n{PARTS[found['name']]().strip()}\n\n{found['foot']}", text)


def main() -> int:
    """Write every page that is behind."""
    for page in sorted(DOCS.glob("*.md")):
        before = page.read_text(encoding="utf-8")
        after = renewed(before)
        if after != before:
            page.write_text(after, encoding="utf-8")
            sys.stdout.write(f"{page.name} written\n")
    return 0


def _markdown(text: str) -> str:
    return re.sub(r"``(.+?)``", r"`\1`", text)


def _code(text: str) -> str:
    return f"`{_cell(text)}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("%%", "%")


if __name__ == "__main__":
    sys.exit(main())
