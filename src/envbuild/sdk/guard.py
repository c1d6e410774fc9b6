"""Guard: objects that refuse attributes they do not have, and values that an attribute or a parameter cannot have.

A typing error would otherwise do nothing, silently, or come up in a build an hour later.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping
from functools import wraps
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, overload

from envbuild.form import did_you_mean
from envbuild.sdk.exceptions import UserErrorException

if TYPE_CHECKING:
    from typing import Self

Got = TypeVar("Got")
Given = TypeVar("Given")
Parameters = ParamSpec("Parameters")


class Guarded:
    """Refuses to be given an attribute that its class does not name, and says which may have been meant.

    Known is what the class, or one that it is made of, annotates or defines; names that begin with ``_`` are its own
    business.

    :raises AttributeError: as Azure's sections do.

    >>> class Section(Guarded):
    ...     enabled: bool
    >>> Section().enable = True
    Traceback (most recent call last):
    AttributeError: 'Section' has no attribute 'enable'; did you mean 'enabled'?
    """

    def __setattr__(self, name: str, value: object) -> None:
        if not name.startswith("_") and name not in (known := _known(type(self))):
            raise AttributeError(f"{type(self).__name__!r} has no attribute {name!r}{did_you_mean(name, known)}")
        super().__setattr__(name, value)


def _known(kind: type) -> list[str]:
    found: dict[str, None] = {}
    for each in reversed(kind.__mro__):
        for name in (*getattr(each, "__annotations__", ()), *vars(each)):
            if not name.startswith("_") and not callable(getattr(each, name, None)):
                found[name] = None
    return list(found)


class Checked(Generic[Got, Given]):
    """An attribute whose values are read, and so checked, when they are set.

    :param read: makes what is kept of what is given; raises `ValueError` saying what is wanted.

    >>> class Section(Guarded):
    ...     enabled = Checked(flag)
    >>> Section().enabled = "no"
    Traceback (most recent call last):
    envbuild.sdk.exceptions.UserErrorException: Section.enabled: True or False is wanted, not 'no'
    """

    def __init__(self, read: Callable[[Given], Got]) -> None:
        self.read = read

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...

    @overload
    def __get__(self, instance: object, owner: type) -> Got: ...

    def __get__(self, instance: object | None, owner: type) -> Any:
        return self if instance is None else vars(instance)[self.name]

    def __set__(self, instance: object, value: Given) -> None:
        try:
            vars(instance)[self.name] = self.read(value)
        except ValueError as error:
            raise UserErrorException(f"{type(instance).__name__}.{self.name}: {error}") from error


def takes(**read: Callable[[Any], Any]) -> Callable[[Callable[Parameters, Got]], Callable[Parameters, Got]]:
    """Have the arguments of a function read, and so checked, before it is called; defaults are not.

    :param read: for a parameter, what makes the argument of what is given; raises `ValueError` saying what is wanted.

    >>> @takes(name=text)
    ... def get(name: str) -> str:
    ...     return name
    >>> get(5)
    Traceback (most recent call last):
    envbuild.sdk.exceptions.UserErrorException: name: a text is wanted, not 5
    """

    def decorate(function: Callable[Parameters, Got]) -> Callable[Parameters, Got]:
        signature = inspect.signature(function)
        others = next((each.name for each in signature.parameters.values() if each.kind is each.VAR_KEYWORD), "")

        @wraps(function)
        def guarded(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Got:
            given = signature.bind(*args, **kwargs)
            for said in (given.arguments, given.arguments.get(others, {})):
                for name in said.keys() & read.keys():
                    try:
                        said[name] = read[name](said[name])
                    except ValueError as error:
                        raise UserErrorException(f"{name}: {error}") from error
            return function(*given.args, **given.kwargs)

        return guarded

    return decorate


def flag(value: bool) -> bool:
    """``True`` or ``False``.

    :raises ValueError: neither; a text such as ``"False"`` is not.
    """
    if not isinstance(value, bool):
        raise ValueError(f"True or False is wanted, not {value!r}")
    return value


def text(value: str) -> str:
    """A text with something in it.

    :raises ValueError: it is none.
    """
    if not isinstance(value, str) or not value.strip() or not _is_unicode(value):
        raise ValueError(f"a text is wanted, not {value!r}")
    return value.strip()


def _is_unicode(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def optional_text(value: str | None) -> str | None:
    """A text with something in it, or nothing at all.

    :raises ValueError: it is neither.
    """
    return None if value is None else text(value)


def texts(value: list[str]) -> list[str]:
    """A list of texts; the list is copied.

    :raises ValueError: it is none, or one of them is not.
    """
    if not isinstance(value, (list, tuple)):
        raise ValueError(f"a list of texts is wanted, not {value!r}")
    return [text(each) for each in value]


def items(value: list[Any]) -> list[Any]:
    """A list of whatever; it is copied.

    :raises ValueError: it is none.
    """
    if not isinstance(value, (list, tuple)):
        raise ValueError(f"a list is wanted, not {value!r}")
    return list(value)


def optional(read: Callable[[Given], Got]) -> Callable[[Given | None], Got | None]:
    """What reads the same, and takes ``None`` for nothing at all.

    >>> optional(texts)(None), optional(texts)(["a"])
    (None, ['a'])
    """
    return lambda value: None if value is None else read(value)


def words(value: str) -> str:
    """A text, which may be empty.

    :raises ValueError: it is none.
    """
    if not isinstance(value, str) or not _is_unicode(value):
        raise ValueError(f"a text is wanted, not {value!r}")
    return value


def number(value: str | int) -> str | int:
    """The number of a version, or the text that stands for one.

    :raises ValueError: it is neither.
    """
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise ValueError(f"the number of a version is wanted, not {value!r}")
    return value if isinstance(value, int) else text(value)


def pathlike(value: str | os.PathLike[str]) -> str | os.PathLike[str]:
    """A path, as it is given.

    :raises ValueError: it is none.
    """
    if value == "":
        raise ValueError("a path is wanted, not ''")
    return pathlike_or_empty(value)


def pathlike_or_empty(value: str | os.PathLike[str]) -> str | os.PathLike[str]:
    """A path, or an empty text for where one is.

    :raises ValueError: it is neither.
    """
    said = os.fspath(value) if isinstance(value, (str, os.PathLike)) else None
    if not isinstance(said, str) or "\0" in said or not _is_for_files(said):
        raise ValueError(f"a path is wanted, not {value!r}")
    return value


def _is_for_files(said: str) -> bool:
    try:
        os.fsencode(said)
    except UnicodeEncodeError:
        return False
    return True


def mapping(value: Mapping[str, Any]) -> dict[str, Any]:
    """A mapping whose keys are texts; it is copied.

    :raises ValueError: it is none.
    """
    if not isinstance(value, Mapping):
        raise ValueError(f"a mapping is wanted, such as {{'area': 'flowers'}}, not {value!r}")
    return {text(name): each for name, each in value.items()}


def one_of(kind: type[Got]) -> Callable[[Got], Got]:
    """What takes values of one class, and no others.

    >>> one_of(dict)([])
    Traceback (most recent call last):
    ValueError: dict is wanted, not []
    """

    def read(value: Got) -> Got:
        if not isinstance(value, kind):
            raise ValueError(f"{kind.__name__} is wanted, not {value!r}")
        return value

    return read
