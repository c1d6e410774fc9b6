"""A call: a function of a test, called inside an environment.

The pytest plugin starts the environment's Python with this file and the names of two others: what is called, and where
to write what came of it. Standard library only, Python 3.8 and later.

What crosses is *plain data*: `None`, truth values, numbers, texts, and lists, tuples and dicts of them. JSON has no
tuples, and texts alone for keys, so `written` has forms of its own for those, which `read` undoes.
"""

from __future__ import annotations

import json
import os
import sys
import traceback

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_SIMPLE = (type(None), bool, int, float, str)


class NotPlain(Exception):
    """A value that is no plain data; the message says which, and where it is."""


def written(value: Any, where: str) -> Any:
    """``value`` as JSON can hold it.

    >>> read(written({(1, 2): [None, "a"]}, "result"))
    {(1, 2): [None, 'a']}

    :param where: what the value is called in messages.
    :raises NotPlain: something in it is of another type, be it one that is made of a plain one.
    """
    kind = type(value)
    if kind in _SIMPLE:
        return value
    try:
        if kind is list:
            return [written(each, "%s[%d]" % (where, at)) for at, each in enumerate(value)]
        if kind is tuple:
            return {"tuple": [written(each, "%s[%d]" % (where, at)) for at, each in enumerate(value)]}
        if kind is dict:
            pairs = [(written(key, "a key of " + where), key, each) for key, each in value.items()]
            return {"dict": [[key, written(each, "%s[%r]" % (where, name))] for key, name, each in pairs]}
    except RecursionError:
        raise NotPlain("%s is nested too deeply" % where) from None
    raise NotPlain("%s is a %s.%s" % (where, kind.__module__, kind.__qualname__))


def read(value: Any) -> Any:
    """What was `written`."""
    if isinstance(value, list):
        return [read(each) for each in value]
    if not isinstance(value, dict):
        return value
    if "tuple" in value:
        return tuple(read(each) for each in value["tuple"])
    return {read(key): read(each) for key, each in value["dict"]}


def main(asked: str, answer: str) -> None:
    """Call what the file ``asked`` says, and write what came of it to the file ``answer``."""
    if sys.path and os.path.abspath(sys.path[0]) == os.path.dirname(os.path.abspath(__file__)):
        # Where this file is lie modules that have nothing to do with the function.
        del sys.path[0]
    with open(asked, encoding="ascii") as stream:
        told = json.load(stream)
    came = json.dumps(_called(told))
    # Whole or not at all: the process may be ended by what it has started.
    with open(answer + ".new", "w", encoding="ascii") as stream:
        stream.write(came)
    os.rename(answer + ".new", answer)


def _called(told: Any) -> Any:
    try:
        function = _function(told)
        result = function(*read(told["args"]), **read(told["kwargs"]))
    # To be told of outside, whatever it is: sys.exit() is no way out of a call.
    except BaseException as error:  # noqa: BLE001
        return {"raised": _traceback(error), "type": type(error).__name__}
    try:
        return {"result": written(result, "result")}
    except NotPlain as error:
        return {"refused": str(error)}


def _function(told: Any) -> Any:
    """The function, made of its source, with the lines that it has in its file."""
    import __future__

    import ast
    import types

    # Annotations may name what is only outside, and nobody looks at them.
    flags = ast.PyCF_ONLY_AST | __future__.annotations.compiler_flag
    tree = compile(told["source"], told["file"], "exec", flags, True)
    ast.increment_lineno(tree, told["line"] - 1)
    module = types.ModuleType("envbuild_call")
    # What is defined inside the function is looked for here by the module's name.
    sys.modules[module.__name__] = module
    exec(compile(tree, told["file"], "exec", __future__.annotations.compiler_flag, True), module.__dict__)  # noqa: S102
    return getattr(module, told["name"])


def _traceback(error: BaseException) -> str:
    """The traceback, from the function's own frame on."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    return "".join(traceback.format_exception(type(error), error, trace)).rstrip()


if __name__ == "__main__":
    main(*sys.argv[1:])
