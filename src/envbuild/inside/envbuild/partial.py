"""Partial: classes of which only a part is there inside a run; whoever asks for the rest is told where that is."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

ELSEWHERE = "everything else is there where the environment has envbuild installed"


class _Telling(type):
    def __getattr__(cls, name: str) -> NoReturn:
        raise _missing(cls, name)


class Partial(metaclass=_Telling):
    """A class that says, when it is asked for what it lacks, what it has; attributes are annotated in the class.

    >>> class Flower(Partial):
    ...     color: str
    >>> Flower().petals
    Traceback (most recent call last):
    AttributeError: Flower has no 'petals' inside a run: there is color; \
everything else is there where the environment has envbuild installed
    """

    def __getattr__(self, name: str) -> NoReturn:
        raise _missing(type(self), name)


def _missing(cls: type, name: str) -> AttributeError:
    there = sorted(each for each in {*dir(cls), *vars(cls).get("__annotations__", ())} if not each.startswith("_"))
    return AttributeError(f"{cls.__name__} has no {name!r} inside a run: there is {', '.join(there)}; {ELSEWHERE}")
