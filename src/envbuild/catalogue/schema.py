"""The schema: the tables of a catalogue, as one migration after the other has made them."""

from __future__ import annotations

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE environments (
            name TEXT NOT NULL,
            version INTEGER NOT NULL,
            definition_digest TEXT NOT NULL,
            root TEXT,
            description TEXT NOT NULL,
            created_at TEXT NOT NULL,
            state TEXT NOT NULL CHECK (state IN ('active', 'archived', 'deleted')),
            tags TEXT NOT NULL,
            pinned INTEGER NOT NULL,
            PRIMARY KEY (name, version)
        )""",
        """CREATE UNIQUE INDEX environments_content ON environments (name, definition_digest)
            WHERE state <> 'deleted'""",
        "CREATE INDEX environments_active ON environments (name, version) WHERE state = 'active'",
        "CREATE INDEX environments_definition ON environments (definition_digest)",
        """CREATE TABLE labels (
            name TEXT NOT NULL,
            label TEXT NOT NULL,
            version INTEGER NOT NULL,
            PRIMARY KEY (name, label),
            FOREIGN KEY (name, version) REFERENCES environments (name, version)
        )""",
        """CREATE TABLE resolutions (
            number INTEGER NOT NULL PRIMARY KEY,
            definition_digest TEXT NOT NULL,
            platform TEXT NOT NULL,
            python TEXT NOT NULL,
            lock_digest TEXT NOT NULL,
            environment_id TEXT NOT NULL,
            resolved_at TEXT NOT NULL,
            source TEXT NOT NULL
        )""",
        "CREATE INDEX resolutions_definition ON resolutions (definition_digest, platform, number)",
        "CREATE INDEX resolutions_environment ON resolutions (environment_id, number)",
        "CREATE INDEX resolutions_source ON resolutions (source, number)",
        "CREATE TABLE experiments (name TEXT NOT NULL PRIMARY KEY, last_number INTEGER NOT NULL)",
        """CREATE TABLE runs (
            id TEXT NOT NULL PRIMARY KEY,
            experiment TEXT NOT NULL REFERENCES experiments (name),
            number INTEGER NOT NULL,
            status TEXT NOT NULL,
            environment_name TEXT,
            environment_version INTEGER,
            environment_id TEXT,
            snapshot TEXT,
            created_at TEXT NOT NULL,
            ended_at TEXT,
            exit_code INTEGER,
            target TEXT NOT NULL,
            source TEXT NOT NULL,
            record TEXT NOT NULL,
            UNIQUE (experiment, number)
        )""",
        "CREATE INDEX runs_created ON runs (created_at)",
        "CREATE INDEX runs_experiment ON runs (experiment, created_at)",
        "CREATE INDEX runs_status ON runs (status, created_at)",
        "CREATE INDEX runs_environment ON runs (environment_name, environment_version)",
        """CREATE TABLE run_tags (
            run TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
            tag TEXT NOT NULL,
            value TEXT NOT NULL,
            PRIMARY KEY (run, tag)
        )""",
        "CREATE INDEX run_tags_value ON run_tags (tag, value)",
        """CREATE TABLE run_digests (
            run TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
            digest TEXT NOT NULL,
            PRIMARY KEY (run, digest)
        )""",
    ),
    (
        "ALTER TABLE runs ADD COLUMN parent TEXT",
        "ALTER TABLE runs ADD COLUMN type TEXT NOT NULL DEFAULT 'script'",
        "CREATE INDEX runs_parent ON runs (parent, created_at)",
        """CREATE TABLE run_properties (
            run TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
            property TEXT NOT NULL,
            value TEXT NOT NULL,
            PRIMARY KEY (run, property)
        )""",
        "CREATE INDEX run_properties_value ON run_properties (property, value)",
        "ALTER TABLE experiments ADD COLUMN created_at TEXT",
        """ALTER TABLE experiments ADD COLUMN state TEXT NOT NULL DEFAULT 'active'
            CHECK (state IN ('active', 'archived', 'deleted'))""",
        """UPDATE experiments SET created_at =
            (SELECT MIN(runs.created_at) FROM runs WHERE runs.experiment = experiments.name)""",
        """CREATE TABLE experiment_tags (
            experiment TEXT NOT NULL REFERENCES experiments (name),
            tag TEXT NOT NULL,
            value TEXT NOT NULL,
            PRIMARY KEY (experiment, tag)
        )""",
        "CREATE INDEX experiment_tags_value ON experiment_tags (tag, value)",
        """CREATE TABLE models (
            name TEXT NOT NULL,
            version INTEGER NOT NULL,
            created_at TEXT NOT NULL,
            description TEXT NOT NULL,
            framework TEXT,
            framework_version TEXT,
            run TEXT,
            experiment TEXT,
            environment_name TEXT,
            environment_version INTEGER,
            environment_id TEXT,
            state TEXT NOT NULL CHECK (state IN ('active', 'archived', 'deleted')),
            record TEXT NOT NULL,
            PRIMARY KEY (name, version)
        )""",
        "CREATE INDEX models_active ON models (name, version) WHERE state = 'active'",
        "CREATE INDEX models_run ON models (run)",
        """CREATE TABLE model_tags (
            name TEXT NOT NULL,
            version INTEGER NOT NULL,
            tag TEXT NOT NULL,
            value TEXT NOT NULL,
            PRIMARY KEY (name, version, tag),
            FOREIGN KEY (name, version) REFERENCES models (name, version)
        )""",
        "CREATE INDEX model_tags_value ON model_tags (tag, value)",
        """CREATE TABLE model_properties (
            name TEXT NOT NULL,
            version INTEGER NOT NULL,
            property TEXT NOT NULL,
            value TEXT NOT NULL,
            PRIMARY KEY (name, version, property),
            FOREIGN KEY (name, version) REFERENCES models (name, version)
        )""",
        "CREATE INDEX model_properties_value ON model_properties (property, value)",
        """CREATE TABLE model_digests (
            name TEXT NOT NULL,
            version INTEGER NOT NULL,
            digest TEXT NOT NULL,
            PRIMARY KEY (name, version, digest),
            FOREIGN KEY (name, version) REFERENCES models (name, version)
        )""",
    ),
)
"""What brings a catalogue from one schema to the next; what stands here once never changes, more is put behind it."""
