-- What lists show of a routine is remembered in memory while this number stays the same: a generation, another one whenever
-- the rows of the routine or the outcomes of its verifications change.
ALTER TABLE catalog_listings ADD COLUMN changed INTEGER NOT NULL DEFAULT 0;
