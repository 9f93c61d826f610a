-- What the order of a restore was decided by, per namespace of the destination, before the first write (rules.md 2.5,
-- 4.3): a retry finds there what the first attempt wrote, and must not take another order for it. The request decides the
-- rest, and a retry has the same.
CREATE TABLE restore_destinations (
    job_id    INTEGER NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    namespace TEXT    NOT NULL,
    was_empty INTEGER NOT NULL CHECK (was_empty IN (0, 1)),
    PRIMARY KEY (job_id, namespace)
) STRICT, WITHOUT ROWID;

-- The job that this one is another attempt of. No foreign key: that row may be pruned first (rules.md 2.7).
ALTER TABLE jobs ADD COLUMN retry_of INTEGER;

CREATE INDEX jobs_by_retried ON jobs (retry_of) WHERE retry_of IS NOT NULL;

-- In which order the history is pruned (rules.md 2.7).
CREATE INDEX jobs_by_end ON jobs (finished_ms) WHERE finished_ms IS NOT NULL;
