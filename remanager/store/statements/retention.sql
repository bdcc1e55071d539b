-- name: purge_return_values
UPDATE task SET return_value = NULL, return_codec = NULL
WHERE rowid IN (
    SELECT rowid FROM task WHERE return_value IS NOT NULL AND result_expires <= :now
    ORDER BY result_expires LIMIT :chunk
);

-- name: tasks_delete
DELETE FROM task
WHERE task_uid = :task_uid AND time_stop IS NOT NULL AND history_seq IS NULL;

-- name: purge_events
DELETE FROM event
WHERE seq <= (SELECT MAX(seq) FROM event) - :events
    AND seq < (SELECT MIN(seq) FROM event) + :chunk;

-- name: purge_tally
DELETE FROM tally_sum WHERE n = 0;

-- name: purge_due
SELECT
    EXISTS (SELECT 1 FROM task WHERE return_value IS NOT NULL AND result_expires <= :now)
    OR COALESCE((SELECT MAX(seq) FROM event) - :events >= (SELECT MIN(seq) FROM event), 0)
    OR EXISTS (SELECT 1 FROM stats_sample WHERE minute < :before)
    OR (SELECT COUNT(*) FROM tally_sum WHERE n = 0) > 1000;
