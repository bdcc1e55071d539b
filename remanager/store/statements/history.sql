-- name: history_clear
UPDATE task SET history_seq = NULL WHERE history_seq IS NOT NULL;

-- name: history_trim_size
UPDATE task SET history_seq = NULL
WHERE history_seq IS NOT NULL AND history_seq <= (
    SELECT history_seq FROM task WHERE history_seq IS NOT NULL ORDER BY history_seq DESC LIMIT 1 OFFSET :size
);

-- name: history_trim_uid
UPDATE task SET history_seq = NULL
WHERE history_seq IS NOT NULL AND history_seq <= (SELECT history_seq FROM task WHERE task_uid = :task_uid);

-- name: history_page
SELECT history_seq, body, result FROM task
WHERE history_seq IS NOT NULL AND history_seq < :before_seq ORDER BY history_seq DESC LIMIT :limit;

-- name: history_place
SELECT COUNT(*) FROM task
WHERE history_seq IS NOT NULL AND history_seq <= (SELECT history_seq FROM task WHERE task_uid = :task_uid);

-- name: history_count
SELECT COUNT(*) FROM task WHERE history_seq IS NOT NULL;
