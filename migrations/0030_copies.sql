-- A copy is a kind of job of its own: one word more in the CHECK of the table of jobs. SQLite changes no constraint in
-- place, and a table made anew would take every row that refers to it along (ON DELETE CASCADE): its text is changed, as
-- SQLite's own documentation of ALTER TABLE says for what only widens a CHECK.
PRAGMA writable_schema = ON;
UPDATE sqlite_schema SET sql = replace(sql, '''retention'', ''verify'')', '''retention'', ''verify'', ''copy'')')
WHERE type = 'table' AND name = 'jobs';
PRAGMA writable_schema = RESET;

-- Folders of copies that are being made: the row is there before the folder is used, and goes when the copy is committed
-- or its folder removed (rules.md 6.1, 6.2). No foreign key: pruning the history of jobs must not lose one.
CREATE TABLE copying (
    address    TEXT    NOT NULL PRIMARY KEY,
    job_id     INTEGER NOT NULL,
    routine    TEXT    NOT NULL,
    storage    TEXT    NOT NULL,
    folder     TEXT    NOT NULL,
    started_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
