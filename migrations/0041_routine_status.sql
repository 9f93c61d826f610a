-- The jobs of a routine in one status, newest first: without it a list of its failures reads its whole history.
CREATE INDEX jobs_of_routine_by_status ON jobs (routine, status, id);
