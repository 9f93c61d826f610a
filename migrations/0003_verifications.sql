-- What reading each backup again has shown: the latest outcome only, a cache that another verification makes anew.
-- A backup is known by its storage (configured name) and folder. `job_id` is no reference: history of jobs is pruned.
CREATE TABLE verifications (
    storage    TEXT    NOT NULL,
    folder     TEXT    NOT NULL,
    routine    TEXT    NOT NULL,
    type       TEXT    NOT NULL CHECK (type IN ('full', 'incremental')),
    namespace  TEXT    NOT NULL,
    created_ms INTEGER NOT NULL,
    at_ms      INTEGER NOT NULL,
    job_id     INTEGER NOT NULL,
    outcome    TEXT    NOT NULL CHECK (outcome IN ('verified', 'damaged', 'unreadable', 'chain-broken')),
    reason     TEXT,
    records    INTEGER NOT NULL,
    bytes      INTEGER NOT NULL,
    PRIMARY KEY (storage, folder),
    CHECK ((outcome = 'verified') = (reason IS NULL))
) STRICT, WITHOUT ROWID;

CREATE INDEX verifications_by_routine ON verifications (storage, routine, outcome);
