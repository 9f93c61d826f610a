-- Lists of jobs, newest first, by what they are filtered by: without these a list of what is rare (restores, jobs that were
-- interrupted) reads every row of the history.
CREATE INDEX jobs_by_kind ON jobs (kind, id);
CREATE INDEX jobs_of_routine ON jobs (routine, id);
CREATE INDEX jobs_by_status ON jobs (status, id);
