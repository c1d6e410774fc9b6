"""Tagged: what a run is called and described by, all of which may change while it runs."""

from __future__ import annotations

from .errors import UserErrorException
from .events import event
from .values import plain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, Type

    from .events import Noted
    from .record import InFolder, InMemory


class Tagged:
    """The part of a `Run` that names, tags and describes it.

    :ivar id: the run's id.
    """

    id: str
    _record: InFolder | InMemory
    _user_error: Type[Exception] = UserErrorException
    """What a mistake of the caller's is raised as."""

    @property
    def display_name(self) -> str:
        """What the run is called; its id if it was given no name. It may be set."""
        noted, name = self._noted().display_name, self._record.request().get("name")
        return noted if noted is not None else name or self.id

    @display_name.setter
    def display_name(self, name: str) -> None:
        self._tell("display_name", "display_name", str(name))

    @property
    def name(self) -> str:
        """As `display_name`; Azure ML's older name for it."""
        return self.display_name

    @name.setter
    def name(self, name: str) -> None:
        self.display_name = name

    @property
    def description(self) -> str | None:
        """What is said of the run, or `None`. It may be set."""
        return self._noted().description

    @description.setter
    def description(self, text: str) -> None:
        self._tell("description", "description", str(text))

    @property
    def tags(self) -> dict[str, str]:
        """As `get_tags`."""
        return self.get_tags()

    @property
    def properties(self) -> dict[str, str]:
        """As `get_properties`."""
        return self.get_properties()

    def tag(self, key: str, value: Any = None) -> None:
        """Set a tag; without a value it is the empty text."""
        self._tell("tag", key, "" if value is None else str(value))

    def set_tags(self, tags: dict[str, Any]) -> None:
        """Set several tags; others stay.

        :raises UserErrorException: they are no mapping.
        """
        for key, value in self._mapping_of(tags, "tags").items():
            self.tag(key, value)

    def remove_tags(self, tags: str | Iterable[str]) -> None:
        """Remove a tag, or several; those that are not there do not matter."""
        for key in [tags] if isinstance(tags, str) else tags:
            self._tell("untag", key, None)

    def get_tags(self) -> dict[str, str]:
        """The tags as they are now: those that the run was started with, and what the script has changed."""
        return self._noted().tags

    def add_properties(self, properties: dict[str, Any]) -> None:
        """Set properties, which stay as they are from then on.

        :raises UserErrorException: one of them has another value already; then none is set.
        """
        known = self._noted().properties
        for key, value in self._mapping_of(properties, "properties").items():
            if known.get(key, str(value)) != str(value):
                raise self._user_error(f"property {key!r} is {known[key]!r} already, and properties do not change")
        for key, value in properties.items():
            if key not in known:
                self._tell("property", key, str(value))

    def get_properties(self) -> dict[str, str]:
        """The properties that were set so far."""
        return self._noted().properties

    # How it is done

    def _mapping_of(self, given: dict[str, Any], what: str) -> dict[str, Any]:
        if not hasattr(given, "items"):
            raise self._user_error(f"{what} are a mapping of names to values, not {given!r}")
        return given

    def _noted(self) -> Noted:
        return self._record.noted()

    def _tell(self, kind: str, name: str, value: Any, step: Any = None, description: str | None = None) -> None:
        if not isinstance(name, str) or not name:
            raise self._user_error(f"a name is a text that is not empty, not {name!r}")
        self._record.tell(event(kind, name, value, None if step is None else plain(step), description or ""))
