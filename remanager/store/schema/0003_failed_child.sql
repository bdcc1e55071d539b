-- The first child of an active task that did not succeed. With `fail_fast` the task fails because of it.
ALTER TABLE task ADD COLUMN failed_child TEXT;
