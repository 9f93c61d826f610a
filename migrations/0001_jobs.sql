-- Every job is a row before it is a task (rules.md 2). Instants are unix milliseconds (`_ms`) or seconds (`_s`), UTC.
-- A word that the program does not know is refused by CHECK, so that no state exists that only a human can read.

CREATE TABLE meta (
    key   TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- The schedule version in force per routine and type (rules.md 1.1), and the mark at or below which nothing fires (1.2).
CREATE TABLE schedules (
    routine           TEXT    NOT NULL,
    type              TEXT    NOT NULL CHECK (type IN ('full', 'incremental', 'verify')),
    cron              TEXT    NOT NULL,
    zone              TEXT    NOT NULL,
    effective_from_ms INTEGER NOT NULL,
    mark_ms           INTEGER,
    PRIMARY KEY (routine, type)
) STRICT, WITHOUT ROWID;

-- A slot fires once (rules.md 1.1). A `missed` row stands for `count` slots from `first_s` to `last_s`; its key is the last.
CREATE TABLE slots (
    id      INTEGER NOT NULL PRIMARY KEY,
    routine TEXT    NOT NULL,
    type    TEXT    NOT NULL CHECK (type IN ('full', 'incremental', 'verify')),
    fire_s  INTEGER NOT NULL,
    state   TEXT    NOT NULL CHECK (state IN ('fired', 'missed', 'void')),
    count   INTEGER NOT NULL CHECK (count >= 1),
    first_s INTEGER NOT NULL,
    last_s  INTEGER NOT NULL CHECK (last_s = fire_s AND first_s <= last_s)
) STRICT;

-- Void rows keep their history and free their key (rules.md 1.4).
CREATE UNIQUE INDEX slots_once ON slots (routine, type, fire_s) WHERE state <> 'void';
CREATE INDEX slots_by_time ON slots (fire_s) WHERE state <> 'void';

-- AUTOINCREMENT from the creation time of the store: a new store reuses no id of a lost one (rules.md 2.7).
CREATE TABLE jobs (
    id                  INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    kind                TEXT    NOT NULL CHECK (kind IN ('backup', 'restore', 'retention', 'verify')),
    type                TEXT    CHECK (type IN ('full', 'incremental')),
    routine             TEXT,
    trigger             TEXT    NOT NULL CHECK (trigger IN ('schedule', 'catch-up', 'api', 'retry', 'recovery',
                                                            'after-backup')),
    status              TEXT    NOT NULL CHECK (status IN ('scheduled', 'queued', 'running', 'succeeded', 'failed',
                                                           'canceled', 'skipped', 'missed', 'interrupted')),
    reason_code         TEXT,
    reason              TEXT,
    slot_id             INTEGER REFERENCES slots (id),
    cluster             TEXT,
    storage             TEXT,
    concurrent          INTEGER NOT NULL CHECK (concurrent IN (0, 1)),
    namespaces          TEXT,
    admitted_ms         INTEGER NOT NULL,
    due_ms              INTEGER NOT NULL,
    queued_ms           INTEGER,
    started_ms          INTEGER,
    finished_ms         INTEGER,
    owner               TEXT,
    lease_until_ms      INTEGER,
    generation          INTEGER NOT NULL DEFAULT 0,
    cancel_requested_ms INTEGER,
    config              TEXT,
    request             TEXT,
    requested_by        TEXT,
    created_ms          INTEGER,
    error_code          TEXT,
    error               TEXT,
    warnings            TEXT    NOT NULL DEFAULT '[]',
    result              TEXT,
    counters            TEXT,
    CHECK ((kind = 'backup') = (type IS NOT NULL)),
    CHECK (kind <> 'backup' OR routine IS NOT NULL),
    CHECK (status <> 'running' OR (owner IS NOT NULL AND lease_until_ms IS NOT NULL AND started_ms IS NOT NULL)),
    CHECK ((status IN ('scheduled', 'queued', 'running')) = (finished_ms IS NULL)),
    CHECK (status NOT IN ('skipped', 'missed', 'interrupted') OR reason_code IS NOT NULL),
    CHECK (status <> 'failed' OR error_code IS NOT NULL)
) STRICT;

-- What the runner asks twice a second reads open jobs only, however long the history is. A query must say
-- `finished_ms IS NULL` to use these: SQLite does not conclude it from the status.
CREATE INDEX jobs_open ON jobs (status, kind, due_ms) WHERE finished_ms IS NULL;
CREATE INDEX jobs_open_by_routine ON jobs (routine, status) WHERE finished_ms IS NULL;
CREATE INDEX jobs_by_routine ON jobs (routine, type, status, id);
CREATE INDEX jobs_created ON jobs (routine, created_ms) WHERE created_ms IS NOT NULL;
CREATE INDEX jobs_by_slot ON jobs (slot_id) WHERE slot_id IS NOT NULL;

-- One try of one namespace of a backup (rules.md 3.9); its folder is recorded before its first use (6.1).
CREATE TABLE attempts (
    job_id        INTEGER NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    namespace     TEXT    NOT NULL,
    attempt       INTEGER NOT NULL CHECK (attempt >= 1),
    folder        TEXT    NOT NULL,
    storage       TEXT    NOT NULL,
    status        TEXT    NOT NULL CHECK (status IN ('running', 'committed', 'empty', 'failed', 'canceled', 'absent',
                                                     'unknown')),
    created_ms    INTEGER NOT NULL,
    started_ms    INTEGER NOT NULL,
    finished_ms   INTEGER,
    from_ms       INTEGER,
    safe_from_ms  INTEGER,
    promoted      TEXT,
    records       INTEGER NOT NULL DEFAULT 0,
    bytes         INTEGER NOT NULL DEFAULT 0,
    files         INTEGER NOT NULL DEFAULT 0,
    indexes       INTEGER NOT NULL DEFAULT 0,
    udfs          INTEGER NOT NULL DEFAULT 0,
    error_code    TEXT,
    error         TEXT,
    manifest_hash TEXT,
    PRIMARY KEY (job_id, namespace, attempt)
) STRICT, WITHOUT ROWID;

-- Per (job, namespace) at most one attempt commits (rules.md 2.5).
CREATE UNIQUE INDEX attempts_commit_once ON attempts (job_id, namespace) WHERE status = 'committed';
CREATE INDEX attempts_open ON attempts (status) WHERE status IN ('running', 'unknown');

CREATE TABLE progress (
    job_id      INTEGER NOT NULL PRIMARY KEY REFERENCES jobs (id) ON DELETE CASCADE,
    done        INTEGER NOT NULL,
    total       INTEGER NOT NULL,
    bytes       INTEGER NOT NULL,
    in_pipeline INTEGER NOT NULL,
    updated_ms  INTEGER NOT NULL
) STRICT;

-- What a job that waits or runs holds of a cluster (rules.md 2.4); '*' is every namespace, until the plan knows which.
CREATE TABLE claims (
    job_id    INTEGER NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    cluster   TEXT    NOT NULL,
    namespace TEXT    NOT NULL,
    mode      TEXT    NOT NULL CHECK (mode IN ('backup', 'restore')),
    PRIMARY KEY (job_id, cluster, namespace)
) STRICT, WITHOUT ROWID;

CREATE INDEX claims_by_cluster ON claims (cluster, mode);
