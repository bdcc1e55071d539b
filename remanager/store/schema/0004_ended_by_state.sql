-- Ended tasks of a state in the order of their insertion: a page of failures, newest first, sorts nothing.
CREATE INDEX task_state ON task (state) WHERE time_stop IS NOT NULL;
