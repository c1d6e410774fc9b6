"""A part: some of the catalogue's methods, over the database that all of them share."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from envbuild.database import Database


class Part:
    """What each part of the catalogue has; `envbuild.catalogue.Catalogue` is all of them in one."""

    _db: Database
