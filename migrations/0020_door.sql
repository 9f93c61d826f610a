-- Who asked for something that changes something: written before it acts, the outcome added after it.
CREATE TABLE audit (
    id         INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    at_ms      INTEGER NOT NULL,
    who        TEXT,
    client     TEXT,
    request_id TEXT    NOT NULL,
    method     TEXT    NOT NULL,
    path       TEXT    NOT NULL,
    ended_ms   INTEGER,
    status     INTEGER,
    code       TEXT,
    job_id     INTEGER
) STRICT;

CREATE INDEX audit_by_age ON audit (at_ms);

-- What the client calls its job, and the key under which it may ask again without a second job. A key is known as long
-- as its job is.
ALTER TABLE jobs ADD COLUMN label TEXT;
ALTER TABLE jobs ADD COLUMN request_key TEXT;
ALTER TABLE jobs ADD COLUMN request_hash TEXT;

CREATE UNIQUE INDEX jobs_by_request_key ON jobs (request_key) WHERE request_key IS NOT NULL;
CREATE INDEX jobs_by_label ON jobs (label, id) WHERE label IS NOT NULL;
