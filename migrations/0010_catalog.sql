-- What storage was last seen to hold: a cache, made anew from storage alone. Chains, restores, retention and deletion do not
-- look here (rules.md 3.5, 5.1, 6.1).

-- One row for each routine at each place. `place` is the storage as configured, `true_place` as its driver names it.
CREATE TABLE catalog_listings (
    place       TEXT    NOT NULL,
    routine     TEXT    NOT NULL,
    true_place  TEXT    NOT NULL,
    as_of_ms    INTEGER, -- when the last reading began that storage answered; null: none yet
    whole_ms    INTEGER, -- the same of the last one that read every document again
    failed_ms   INTEGER, -- when the newest reading failed; null: it did not
    failed_code TEXT,
    failed      TEXT,
    PRIMARY KEY (place, routine),
    CHECK ((failed_ms IS NULL) = (failed_code IS NULL) AND (failed_ms IS NULL) = (failed IS NULL))
) STRICT, WITHOUT ROWID;

-- One row for each folder of a namespace, or of a run that has none. A row says what the reading with the highest
-- `generation` saw; `gone` is what was deleted while a reading may have been under way.
CREATE TABLE catalog_backups (
    place       TEXT    NOT NULL,
    routine     TEXT    NOT NULL,
    type        TEXT    NOT NULL CHECK (type IN ('full', 'incremental')),
    folder      TEXT    NOT NULL,
    run_ms      INTEGER NOT NULL, -- in the name of the run's folder
    generation  INTEGER NOT NULL,
    state       TEXT    NOT NULL CHECK (state IN
                ('whole', 'broken', 'void', 'corrupt', 'incomplete', 'unreadable', 'foreign', 'gone')),
    reason      TEXT,
    -- From here on null where there is no backup that can be read.
    namespace   TEXT,
    created_ms  INTEGER,
    finished_ms INTEGER,
    from_ms     INTEGER,
    attempt     INTEGER,
    records     INTEGER,
    bytes       INTEGER,
    files       INTEGER,
    indexes     INTEGER,
    udfs        INTEGER,
    compression TEXT,
    encryption  TEXT,
    PRIMARY KEY (place, routine, type, folder)
) STRICT, WITHOUT ROWID;

-- Folders that an attempt committed to and that no reading has looked at since.
CREATE TABLE catalog_unread (
    id      INTEGER PRIMARY KEY,
    storage TEXT    NOT NULL,
    routine TEXT    NOT NULL,
    folder  TEXT    NOT NULL
) STRICT;
