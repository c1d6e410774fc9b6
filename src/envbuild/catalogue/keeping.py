"""Keeping: what the store may not drop, since something in the catalogue refers to it."""

from __future__ import annotations

from envbuild.catalogue.part import Part


class Keeping(Part):
    """The part of the catalogue that gc asks."""

    def referenced_digests(self) -> frozenset[str]:
        """Every digest that a version, a resolution, a run or a model refers to: the store may not drop their blobs.

        Definitions, locks and environments stand here by the digest of their documents; of a run or a model it is
        every digest that occurs in its record (snapshot, outputs, files, …). What such a document refers to in turn,
        a private wheel for one, only a reader of the document can tell.
        """
        rows = self._db.read(
            "SELECT definition_digest FROM environments WHERE state <> 'deleted'"
            " UNION SELECT definition_digest FROM resolutions"
            " UNION SELECT lock_digest FROM resolutions"
            " UNION SELECT environment_id FROM resolutions"
            " UNION SELECT digest FROM run_digests"
            " UNION SELECT digest FROM model_digests"
        )
        return frozenset(digest for (digest,) in rows)

    def pinned_images(self) -> frozenset[str]:
        """The ids of what versions that are pinned, or have a label, were last resolved to; archived ones too."""
        rows = self._db.read(
            "SELECT DISTINCT environment_id FROM resolutions WHERE number = (SELECT MAX(r.number) FROM resolutions r"
            " WHERE r.definition_digest = resolutions.definition_digest AND r.platform = resolutions.platform)"
            " AND definition_digest IN (SELECT definition_digest FROM environments WHERE state <> 'deleted'"
            " AND (pinned = 1 OR EXISTS (SELECT 1 FROM labels WHERE labels.name = environments.name"
            " AND labels.version = environments.version)))"
        )
        settled = self._db.read(
            "SELECT DISTINCT r.environment_id FROM resolutions r"
            " JOIN environments e ON r.source = e.name || ':' || e.version"
            " WHERE e.state <> 'deleted' AND (e.pinned = 1 OR EXISTS (SELECT 1 FROM labels WHERE labels.name = e.name"
            " AND labels.version = e.version))"
        )
        return frozenset(identity for (identity,) in (*rows, *settled))
