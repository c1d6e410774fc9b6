"""Measured: what a run logs."""

from __future__ import annotations

import os

from .events import Logged
from .files import as_path
from .stored import Stored
from .tagged import Tagged
from .values import is_many, plain, plain_any, plain_list

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any


class Measured(Tagged, Stored):
    """The part of a `Run` that takes its metrics. Of a run without a folder they are printed as well."""

    _prints = False

    def log(self, name: str, value: Any, description: str = "", step: int | None = None) -> None:
        """Log one value: a number, a truth value or a text; of anything else its ``repr`` is kept.

        :raises UserErrorException: ``value`` is a list, or an array of several values.
        """
        if is_many(value):
            raise self._user_error(
                f"metric {name!r}: {type(value).__name__} is several values; log them with "
                f"log_list({name!r}, …), or one at a time"
            )
        self._log("metric", name, plain(value), step, description)

    def log_list(self, name: str, value: Iterable[Any], description: str = "") -> None:
        """Log several values at once."""
        self._log("list", name, plain_list(value), None, description)

    def log_row(self, name: str, description: str | None = None, **columns: Any) -> None:
        """Log one row of a table, a value for each column."""
        self._log("row", name, plain_any(columns), None, description)

    def log_table(self, name: str, value: Any, description: str = "") -> None:
        """Log a table, a list of values for each column.

        :param value: a mapping, or a data frame of pandas'.
        :raises UserErrorException: it is neither.
        """
        self._log("table", name, self._mapping(name, _columns(value)), None, description)

    def log_image(
        self, name: str, path: str | os.PathLike[str] | None = None, plot: Any = None, description: str = ""
    ) -> None:
        """Log an image: a file, or a plot of Matplotlib's (``pyplot`` itself or a figure), kept as PNG.

        It comes to lie under ``outputs/images``; each image that is logged under one name has its own file.

        :raises UserErrorException: both or neither were given, or ``path`` is none.
        """
        if (path is None) == (plot is None):
            raise self._user_error(f"image {name!r}: give either a path or a plot")
        path = None if path is None else self._checked(as_path, path)
        suffix = os.path.splitext(os.fspath(path))[1] if path is not None else ".png"
        kept = self._folder.free(f"images/{_as_file_name(name)}{suffix}")
        if path is not None:
            kept = self._folder.take(kept, path)
        else:
            plot.savefig(self._folder.place(kept), format="png")
            kept = f"outputs/{kept}"
        self._log("image", name, kept, None, description)

    def log_confusion_matrix(self, name: str, value: Any, description: str = "") -> None:
        """Log a confusion matrix in Azure ML's form: a mapping, or JSON text of one."""
        self._log("confusion_matrix", name, self._mapping(name, value), None, description)

    def log_accuracy_table(self, name: str, value: Any, description: str = "") -> None:
        """Log an accuracy table in Azure ML's form: a mapping, or JSON text of one."""
        self._log("accuracy_table", name, self._mapping(name, value), None, description)

    def log_residuals(self, name: str, value: Any, description: str = "") -> None:
        """Log residuals in Azure ML's form: a mapping, or JSON text of one."""
        self._log("residuals", name, self._mapping(name, value), None, description)

    def log_predictions(self, name: str, value: Any, description: str = "") -> None:
        """Log predictions in Azure ML's form: a mapping, or JSON text of one."""
        self._log("predictions", name, self._mapping(name, value), None, description)

    # How it is done

    def _logged(self) -> Logged:
        return self._record.logged()

    def _log(self, kind: str, name: str, value: Any, step: Any = None, description: str | None = None) -> None:
        self._tell(kind, name, value, step, description)
        if self._prints:
            at = "" if step is None else f" (step {step})"
            print(f"{name}: {value}{at}", flush=True)

    def _mapping(self, name: str, value: Any) -> dict[str, Any]:
        if isinstance(value, str):
            import json

            try:
                value = json.loads(value)
            except ValueError as error:
                raise self._user_error(f"metric {name!r}: not JSON: {error}") from error
        if not isinstance(value, dict):
            raise self._user_error(f"metric {name!r}: a mapping of columns to values is wanted, not {value!r:.80}")
        return plain_any(value)


def _columns(value: Any) -> Any:
    to_dict = getattr(value, "to_dict", None)
    if not callable(to_dict):
        return value
    try:
        return to_dict("list")
    except TypeError:
        # A single column, as pandas has them too, is no table.
        return value


def _as_file_name(name: str) -> str:
    kept = "".join(each if each.isalnum() or each in "._- " else "_" for each in name).strip(". ")
    return kept[:100] or "image"
