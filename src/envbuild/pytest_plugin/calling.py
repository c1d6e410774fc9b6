"""Calling: a function of a test as it is sent into an environment, and what is raised where it cannot be.

What is sent is its source, so it has to stand for itself: modules that it uses are imported in it, values come as
arguments. `envbuild/inside/envbuild/call.py` is what calls it there, and says what data can cross.
"""

from __future__ import annotations

import inspect
import symtable
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from envbuild import EnvbuildError
from envbuild.inside.envbuild.call import NotPlain, written

_SELF_CONTAINED = "what it uses has to be in it: import modules inside the function, hand over values as arguments"
_PLAIN = "plain data are None, truth values, numbers, texts, and lists, tuples and dicts of them"
_INDENTED = "if True:\n"


class CallRefused(EnvbuildError):
    """A function cannot be called in an environment, or what it is given or gives back cannot be carried."""


def request(function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """What the program inside is told, ready for JSON.

    :raises CallRefused: the function, or an argument, cannot be sent.
    """
    name = _checked(function)
    source, line = _source(function)
    outside = [each for each in _names_used(source) if each in function.__globals__ and each != name]
    if outside:
        raise CallRefused(f"{name} uses what is defined outside of it: {', '.join(outside)}", hint=_SELF_CONTAINED)
    try:
        return {
            "name": name,
            "source": source,
            "file": inspect.getsourcefile(function),
            "line": line,
            "args": written(tuple(args), "args"),
            "kwargs": written(dict(kwargs), "kwargs"),
        }
    except NotPlain as error:
        raise CallRefused(f"{name}: {error}", hint=_PLAIN) from None


def refused_result(function: Callable[..., Any], said: str) -> CallRefused:
    """The error for a result that is no plain data.

    :param said: what the program inside says of it.
    """
    return CallRefused(f"{function.__name__}: {said}", hint=_PLAIN)


def _checked(function: Callable[..., Any]) -> str:
    """The function's name, if it is one that can stand for itself.

    :raises CallRefused: it is none.
    """
    if not inspect.isfunction(function):
        kind = "a method" if inspect.ismethod(function) else f"a {type(function).__name__}"
        raise CallRefused(f"{function!r} is {kind}", hint="a function is wanted that is defined with 'def'")
    name = function.__name__
    if name == "<lambda>":
        raise CallRefused("a lambda has no source of its own", hint="define a function with 'def'")
    where = function.__qualname__.rpartition(".")[0]
    if where and not where.endswith("<locals>"):
        raise CallRefused(f"{name} is a method of {where}", hint="a function is wanted that stands in no class")
    if inspect.unwrap(function) is not function:
        raise CallRefused(f"{name} is decorated", hint="decorators are not there inside; call it inside another")
    # A function within another that calls itself is at the top of its module inside, and is found there.
    closed = [each for each in function.__code__.co_freevars if each != name]
    if closed:
        raise CallRefused(
            f"{name} is a closure: it uses {', '.join(closed)} of what is around it", hint=_SELF_CONTAINED
        )
    return name


def _source(function: Callable[..., Any]) -> tuple[str, int]:
    """The function's source as a program, and the number of its first line."""
    try:
        lines, line = inspect.getsourcelines(function)
    except (OSError, TypeError) as error:
        raise CallRefused(f"the source of {function.__name__} cannot be read: {error}") from error
    if lines[0].lstrip().startswith("@"):
        raise CallRefused(
            f"{function.__name__} is decorated", hint="decorators are not there inside; call it inside another"
        )
    source = "".join(lines)
    # Taking the indentation away would change texts that go over several lines.
    return (_INDENTED + source, line - 1) if source[0].isspace() else (source, line)


def _names_used(source: str) -> list[str]:
    """The names that a function expects to be there, in the order of the alphabet."""
    # With this, names in annotations do not count: they are not looked up.
    table = symtable.symtable("from __future__ import annotations\n" + source, "<function>", "exec")
    defined = {each.get_name() for each in table.get_symbols() if each.is_assigned()}
    return sorted({*_globals(table)} - defined - {"__name__"})


def _globals(table: symtable.SymbolTable) -> Iterator[str]:
    for symbol in table.get_symbols():
        if symbol.is_referenced() and (table.get_type() == "module" or symbol.is_global()):
            yield symbol.get_name()
    for below in table.get_children():
        yield from _globals(below)
