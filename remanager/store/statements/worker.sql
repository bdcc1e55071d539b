-- name: worker_put
INSERT INTO worker (worker_uid, kind, pid, start_ticks, time_started, acked_seq, config)
VALUES (:worker_uid, :kind, :pid, :start_ticks, :time_started, :acked_seq, :config)
ON CONFLICT (worker_uid) DO UPDATE
SET kind = excluded.kind, pid = excluded.pid, start_ticks = excluded.start_ticks,
    time_started = excluded.time_started, acked_seq = excluded.acked_seq, config = excluded.config;

-- name: worker_acked
UPDATE worker SET acked_seq = :acked_seq WHERE worker_uid = :worker_uid AND acked_seq < :acked_seq;

-- name: worker_delete
DELETE FROM worker WHERE worker_uid = :worker_uid;

-- name: worker_all
SELECT worker_uid, kind, pid, start_ticks, time_started, acked_seq, config FROM worker ORDER BY time_started;
