"""Marks: which environments a test module asks for, read without importing it.

A module that imports what only an environment has cannot be imported outside, so `read` looks at its text for
``@pytest.mark.envbuild("environment.yml")`` on functions and classes, and in ``pytestmark``. Names that the module
gives to such marks, or to what is in them, are followed; what is worked out when the module runs is not seen here.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass

NAME = "envbuild"


@dataclass(frozen=True, slots=True, kw_only=True)
class Marked:
    """What a module says of the environments that its tests run in.

    :param specs: all environments that are named, in the order of the text, each once.
    :param whole: whether ``pytestmark`` names one, so that no test of the module is to run outside.
    :param every: whether there is a mark on each test that can be seen.
    """

    specs: tuple[str, ...] = ()
    whole: bool = False
    every: bool = False


NOTHING = Marked()


def read(source: bytes, is_test: Callable[[str], bool]) -> Marked:
    r"""Look for marks in the source of a test module.

    :param is_test: whether a function of that name is a test.

    >>> read(b"import pytest\npytestmark = pytest.mark.envbuild('environment.yml')", lambda name: True).specs
    ('environment.yml',)
    """
    if NAME.encode() not in source:
        return NOTHING
    try:
        module = ast.parse(source)
    except (SyntaxError, ValueError):
        # Whoever imports it says what is wrong with it, and where.
        return NOTHING
    return _Reader(module, is_test).marked()


class _Reader:
    def __init__(self, module: ast.Module, is_test: Callable[[str], bool]) -> None:
        self.module = module
        self.is_test = is_test
        self.values: dict[str, ast.expr] = {}
        for statement in module.body:
            match statement:
                case ast.Assign(targets=[ast.Name(id=name)], value=value):
                    self.values[name] = value
                case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                    self.values[name] = value

    def marked(self) -> Marked:
        """What the module says, all of it."""
        whole = self._specs_in(self.values.get("pytestmark"))
        found = dict.fromkeys(whole or ())
        every = True
        for specs in self._tests(self.module.body):
            found |= dict.fromkeys(specs or ())
            every = every and specs is not None
        return Marked(specs=tuple(found), whole=whole is not None, every=whole is not None or (every and bool(found)))

    def _tests(self, body: list[ast.stmt], above: tuple[str, ...] | None = None) -> Iterator[tuple[str, ...] | None]:
        """For each test the environments that its nearest mark names; ``None`` for one that has no mark."""
        for statement in body:
            match statement:
                case ast.FunctionDef() | ast.AsyncFunctionDef():
                    own = self._decorated(statement.decorator_list)
                    if own is not None or self.is_test(statement.name):
                        yield own if own is not None else above
                case ast.ClassDef():
                    own = self._decorated(statement.decorator_list)
                    if own is None:
                        own = self._specs_in(_assigned(statement.body, "pytestmark"))
                    if own is not None:
                        yield own
                    yield from self._tests(statement.body, own if own is not None else above)
                case ast.If() | ast.Try() | ast.With():
                    yield from self._tests(statement.body, above)

    def _decorated(self, decorators: list[ast.expr]) -> tuple[str, ...] | None:
        found = [specs for each in decorators if (specs := self._specs_in(each)) is not None]
        return tuple(spec for specs in found for spec in specs) if found else None

    def _specs_in(self, expression: ast.expr | None, depth: int = 0) -> tuple[str, ...] | None:
        """The environments that a mark, or a list of marks, names; ``None`` if there is none of ours in it."""
        match expression:
            case ast.Call(func=ast.Attribute(attr=attribute, value=owner), args=args) if attribute == NAME and _is_mark(
                owner
            ):
                return tuple(spec for each in args for spec in self._texts(each))
            case ast.List(elts=elements) | ast.Tuple(elts=elements):
                found = [specs for each in elements if (specs := self._specs_in(each, depth)) is not None]
                return tuple(spec for specs in found for spec in specs) if found else None
            case ast.Name(id=name) if name in self.values and depth < len(self.values):
                return self._specs_in(self.values[name], depth + 1)
        return None

    def _texts(self, expression: ast.expr, depth: int = 0) -> Iterator[str]:
        match expression:
            case ast.Constant(value=str() as text):
                yield text
            case ast.Starred(value=value):
                yield from self._texts(value, depth)
            case ast.List(elts=elements) | ast.Tuple(elts=elements):
                for each in elements:
                    yield from self._texts(each, depth)
            case ast.Name(id=name) if name in self.values and depth < len(self.values):
                yield from self._texts(self.values[name], depth + 1)


def _is_mark(expression: ast.expr) -> bool:
    """Whether it is ``pytest.mark`` or ``mark``."""
    match expression:
        case ast.Attribute(attr="mark") | ast.Name(id="mark"):
            return True
    return False


def _assigned(body: list[ast.stmt], name: str) -> ast.expr | None:
    for statement in body:
        match statement:
            case ast.Assign(targets=[ast.Name(id=found)], value=value) if found == name:
                return value
    return None
