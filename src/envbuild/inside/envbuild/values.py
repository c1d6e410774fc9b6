"""Values: what of the things that scripts log can be written down, and how.

NumPy, PyTorch and the like are known by what they can do (``item``, ``tolist``) and never imported.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def plain(value: Any) -> Any:
    """One value as JSON can hold it: numbers, truth values, texts and `None` stay, the rest becomes its ``repr``."""
    if value is None or isinstance(value, (bool, str)):
        return str(value) if isinstance(value, str) else value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return _number(float(value))
    item = getattr(value, "item", None)
    if callable(item):
        try:
            alone = item()
        except Exception:  # noqa: BLE001 (whatever kind of array it is, it has more than one item)
            return repr(value)
        if alone is not value and isinstance(alone, (bool, int, float, str)):
            return plain(alone)
    return repr(value)


def plain_list(value: Any) -> list[Any]:
    """Every item of ``value`` as `plain`; lists within it stay lists."""
    found = value.tolist() if callable(getattr(value, "tolist", None)) else value
    if not isinstance(found, (list, tuple, range)):
        found = list(found) if hasattr(found, "__iter__") and not isinstance(found, (str, bytes)) else [found]
    return [plain_list(each) if is_many(each) else plain(each) for each in found]


def plain_any(value: Any) -> Any:
    """``value`` as JSON can hold it, mappings and lists and all."""
    if isinstance(value, dict):
        return {str(key): plain_any(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain_any(each) for each in value]
    return plain_list(value) if is_many(value) else plain(value)


def is_many(value: Any) -> bool:
    """Whether ``value`` is several values rather than one.

    >>> is_many([1]), is_many("ab"), is_many(1)
    (True, False, False)
    """
    if isinstance(value, (str, bytes, int, float)):
        return False
    if isinstance(value, (list, tuple, set, frozenset, dict, range)):
        return True
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple):
        # A tensor of one value counts as that value, whatever its shape.
        count = 1
        for length in shape:
            count *= length
        return count != 1
    return False


def _number(value: float) -> Any:
    if value != value:
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "Infinity" if value > 0 else "-Infinity"
    return value
