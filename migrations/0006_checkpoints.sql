-- What a try of a namespace that was cut off has finished, so that another try can go on from there (rules.md 6.3). A row
-- is made before the folder is used, and goes with the folder or with its commit: while it is there and has files, the
-- folder is kept. It moves to the try that goes on.
CREATE TABLE checkpoints (
    job_id       INTEGER NOT NULL,
    namespace    TEXT    NOT NULL,
    attempt      INTEGER NOT NULL,
    key          TEXT    NOT NULL,
    safe_from_ms INTEGER NOT NULL,
    PRIMARY KEY (job_id, namespace, attempt),
    FOREIGN KEY (job_id, namespace, attempt) REFERENCES attempts (job_id, namespace, attempt) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

-- A file that was closed and is durable, and what it covers; in the order of `id`. `blocks`: 32 bytes for each block of
-- the file; `cursors`: 20 bytes, the last digest, for each partition in it; `opened` and `vouched`: 8 bytes for each query.
CREATE TABLE checkpoint_files (
    id          INTEGER NOT NULL PRIMARY KEY,
    job_id      INTEGER NOT NULL,
    namespace   TEXT    NOT NULL,
    attempt     INTEGER NOT NULL,
    name        TEXT    NOT NULL,
    size_bytes  INTEGER NOT NULL,
    records     INTEGER NOT NULL,
    unsupported INTEGER NOT NULL,
    first       INTEGER NOT NULL CHECK (first IN (0, 1)),
    blocks      BLOB    NOT NULL,
    cursors     BLOB    NOT NULL,
    done        TEXT    NOT NULL,
    opened      BLOB    NOT NULL,
    vouched     BLOB    NOT NULL,
    FOREIGN KEY (job_id, namespace, attempt) REFERENCES checkpoints (job_id, namespace, attempt)
        ON DELETE CASCADE ON UPDATE CASCADE
) STRICT;

CREATE UNIQUE INDEX checkpoint_files_by_attempt ON checkpoint_files (job_id, namespace, attempt, name);
