-- What a job that waits or runs reads or builds on, so that retention leaves it alone (rules.md 5.4): the address of a
-- folder, which is the place of its storage and its key.
CREATE TABLE pins (
    job_id  INTEGER NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    address TEXT    NOT NULL,
    PRIMARY KEY (job_id, address)
) STRICT, WITHOUT ROWID;

-- Backups that are being deleted: out of every chain from the row's commit on (rules.md 5.3). The row goes when the
-- backup is gone. No foreign key: pruning the history of jobs must not lose a mark.
CREATE TABLE deletions (
    address    TEXT    NOT NULL PRIMARY KEY,
    place      TEXT    NOT NULL,
    storage    TEXT,
    routine    TEXT    NOT NULL,
    type       TEXT    NOT NULL CHECK (type IN ('full', 'incremental')),
    folder     TEXT    NOT NULL,
    namespace  TEXT    NOT NULL,
    created_ms INTEGER NOT NULL,
    bytes      INTEGER NOT NULL,
    marked_ms  INTEGER NOT NULL,
    job_id     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX deletions_by_routine ON deletions (routine);
