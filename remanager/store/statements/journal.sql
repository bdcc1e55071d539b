-- name: event_insert
INSERT OR FAIL INTO event (seq, time, type, task_uid, data) VALUES (?, ?, ?, ?, ?);

-- name: event_last_seq
SELECT COALESCE(MAX(seq), 0) FROM event;

-- name: event_page
SELECT seq, time, type, task_uid, data FROM event WHERE seq > :since ORDER BY seq LIMIT :limit;

-- name: event_matching
SELECT seq, time, type, task_uid, data FROM event
WHERE seq >= :first AND (:types IS NULL OR type IN (SELECT value FROM json_each(:types)))
    AND (:task_uid IS NULL OR task_uid = :task_uid)
ORDER BY seq LIMIT :limit;

-- name: event_bounds
SELECT (SELECT MIN(seq) FROM event), (SELECT MAX(seq) FROM event);
