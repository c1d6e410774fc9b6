"""Guard: objects that refuse attributes they do not have, since a typing error would otherwise do nothing, silently."""

from __future__ import annotations

from envbuild.form import did_you_mean


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
