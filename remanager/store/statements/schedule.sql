-- name: schedule_put
INSERT INTO schedule (schedule_uid, time_created, body) VALUES (:schedule_uid, :time_created, :body)
ON CONFLICT (schedule_uid) DO UPDATE SET body = excluded.body;

-- name: schedule_delete
DELETE FROM schedule WHERE schedule_uid = :schedule_uid;

-- name: schedule_all
SELECT schedule_uid, time_created, body FROM schedule ORDER BY time_created, schedule_uid;

-- name: sample_put
INSERT INTO stats_sample (metric, task_type, minute, value) VALUES (:metric, :task_type, :minute, :value)
ON CONFLICT (metric, task_type, minute) DO UPDATE SET value = excluded.value;

-- name: sample_prune
DELETE FROM stats_sample
WHERE (metric, task_type, minute) IN (
    SELECT metric, task_type, minute FROM stats_sample WHERE minute < :before ORDER BY minute LIMIT :chunk
);

-- name: sample_series
SELECT minute, value FROM stats_sample
WHERE metric = :metric AND task_type = :task_type AND minute >= :first AND minute <= :last
ORDER BY minute LIMIT :limit;
