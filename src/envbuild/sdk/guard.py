"""Guard: objects that refuse attributes they do not have, and values that an attribute cannot have.

A typing error would otherwise do nothing, silently, or come up in a build an hour later.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from envbuild.form import did_you_mean
from envbuild.sdk.exceptions import UserErrorException

if TYPE_CHECKING:
    from typing import Self

Got = TypeVar("Got")
Given = TypeVar("Given")


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
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"a text is wanted, not {value!r}")
    return value.strip()


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
