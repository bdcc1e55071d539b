-- name: purge_return_values
UPDATE task SET return_value = NULL, return_codec = NULL
WHERE rowid IN (
    SELECT rowid FROM task WHERE return_value IS NOT NULL AND result_expires <= :now
    ORDER BY result_expires LIMIT :chunk
);

-- A record stays at least until its return value expires.
-- name: purge_records
DELETE FROM task
WHERE rowid IN (
    SELECT rowid FROM task
    WHERE state IN (SELECT value FROM json_each(:states)) AND history_seq IS NULL
        AND time_stop <= :records_before
        AND (return_value IS NULL OR result_expires IS NULL OR result_expires <= :now)
    LIMIT :chunk
);

-- The newest task stays, so that its `id` is never used twice.
-- name: tasks_delete
DELETE FROM task
WHERE task_uid = :task_uid AND time_stop IS NOT NULL AND history_seq IS NULL AND id < (SELECT MAX(id) FROM task);

-- name: purge_events
DELETE FROM event
WHERE seq <= (SELECT MAX(seq) FROM event) - :events
    AND seq < (SELECT MIN(seq) FROM event) + :chunk;

-- name: purge_due
SELECT
    EXISTS (SELECT 1 FROM task WHERE return_value IS NOT NULL AND result_expires <= :now)
    OR EXISTS (
        SELECT 1 FROM task
        WHERE state IN (SELECT value FROM json_each(:states)) AND history_seq IS NULL
            AND time_stop <= :records_before
            AND (return_value IS NULL OR result_expires IS NULL OR result_expires <= :now)
    )
    OR COALESCE((SELECT MAX(seq) FROM event) - :events >= (SELECT MIN(seq) FROM event), 0);
