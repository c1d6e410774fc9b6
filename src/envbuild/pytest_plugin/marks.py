"""Marks: which environments a test module asks for, read without importing it.

A module that imports what only an environment has cannot be imported outside, so `read` looks at its text for
``@pytest.mark.envbuild("environment.yml")`` on functions and classes, and in ``pytestmark``. Names that the module
gives to such marks, or to what is in them, are followed; what is worked out when the module runs is not seen here.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

NAME = "envbuild"


@dataclass(frozen=True, slots=True, kw_only=True)
class Marked:
    """What a module says of the environments that its tests run in.

    :param specs: all environments that are named, in the order of the text, each once.
    :param whole: whether ``pytestmark`` names one, so that no test of the module is to run outside.
    :param every: whether there is a mark on each test that can be seen.
    :param lines: where each environment is named first.
    :param wrong: what is wrong with marks, each with its line.
    """

    specs: tuple[str, ...] = ()
    whole: bool = False
    every: bool = False
    lines: Mapping[str, int] = field(default_factory=dict)
    wrong: tuple[tuple[int, str], ...] = ()


NOTHING = Marked()


def wrong(args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
    """Say what is wrong with a mark that has these arguments; nothing if it is as it should be.

    >>> wrong(("environment.yml",), {})
    ''
    >>> print(wrong((7,), {}))
    the mark 'envbuild' takes environments as texts, and 7 is none
    """
    if kwargs:
        return f"the mark {NAME!r} takes environments, and no {', '.join(f'{name}=' for name in kwargs)}"
    others = [each for each in args if not isinstance(each, str) or not each.strip()]
    if others:
        return f"the mark {NAME!r} takes environments as texts, and {others[0]!r} is none"
    return "" if args else f'the mark {NAME!r} names no environment: @pytest.mark.{NAME}("environment.yml")'


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
        self.lines: dict[str, int] = {}
        self.wrong: dict[tuple[int, str], None] = {}
        self.is_open = False
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
        return Marked(
            specs=tuple(found),
            # Where something is not seen, it takes the import of the module to know.
            whole=whole is not None and not self.is_open,
            every=not self.is_open and (whole is not None or (every and bool(found or self.wrong))),
            lines=self.lines,
            wrong=tuple(self.wrong),
        )

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
            case ast.Attribute(attr=attribute, value=owner) if attribute == NAME and _is_mark(owner):
                self.wrong[expression.lineno, wrong((), {})] = None
                return ()
            case ast.Call(func=ast.Attribute(attr=attribute, value=owner)) if attribute == NAME and _is_mark(owner):
                return self._named(expression)
            case ast.List(elts=elements) | ast.Tuple(elts=elements):
                found = [specs for each in elements if (specs := self._specs_in(each, depth)) is not None]
                return tuple(spec for specs in found for spec in specs) if found else None
            case ast.Name(id=name) if name in self.values and depth < len(self.values):
                return self._specs_in(self.values[name], depth + 1)
        return None

    def _named(self, mark: ast.Call) -> tuple[str, ...]:
        """The environments that a mark names, as far as can be seen."""
        seen: list[Any] = [each.value for each in mark.args if isinstance(each, ast.Constant)]
        kwargs = {each.arg: None for each in mark.keywords if each.arg}
        if kwargs or len(seen) == len(mark.args):
            reason = wrong(seen, kwargs)
            if reason and not any(each.arg is None for each in mark.keywords):
                self.wrong[mark.lineno, reason] = None
                return ()
        texts = [tuple(self._texts(each)) for each in mark.args]
        if not texts or not all(texts):
            self.is_open = True
        named = tuple(spec for each in texts for spec in each)
        for spec in named:
            self.lines.setdefault(spec, mark.lineno)
        return named

    def _texts(self, expression: ast.expr, depth: int = 0) -> Iterator[str]:
        match expression:
            case ast.Constant(value=str() as text):
                yield text
            case ast.Starred(value=value):
                yield from self._many(value)
            case ast.Name(id=name) if name in self.values and depth < len(self.values):
                yield from self._texts(self.values[name], depth + 1)

    def _many(self, expression: ast.expr, depth: int = 0) -> Iterator[str]:
        match expression:
            case ast.List(elts=elements) | ast.Tuple(elts=elements):
                for each in elements:
                    yield from self._texts(each)
            case ast.Name(id=name) if name in self.values and depth < len(self.values):
                yield from self._many(self.values[name], depth + 1)


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
