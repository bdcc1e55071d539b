-- name: task_insert
INSERT INTO task (task_uid, item_type, name, state, user, user_group, background, worker_uid, origin_uid,
                  time_created, time_start, time_ready, time_first_start, properties, body)
VALUES (:task_uid, :item_type, :name, :state, :user, :user_group, :background, :worker_uid, :origin_uid,
        :time_created, :time_start, IIF(:time_start IS NULL, NULL, :time_created), :time_start, :properties, :body);

-- name: task_start
UPDATE task
SET state = 'running', queue_rank = NULL, time_ready = time_created, time_first_start = :time, time_start = :time,
    worker_uid = :worker_uid
WHERE task_uid = :task_uid AND state = 'pending';

-- A plan that is paused keeps its worker. The log has its pauses, and is bounded as those of the task queue are.
-- name: task_pause
UPDATE task
SET state = 'paused', pause_reasons = :pause_reasons, paused_since = :time, time_updated = :time,
    log = CASE WHEN LENGTH(log) < 65536 THEN log
               ELSE SUBSTR(log, 32768 + INSTR(SUBSTR(log, 32768), CHAR(10))) END || :log
WHERE task_uid = :task_uid AND state = 'running';

-- name: task_resume
UPDATE task
SET state = 'running', pause_reasons = NULL, paused_s = paused_s + MAX(:time - paused_since, 0.0),
    paused_since = NULL, time_updated = :time,
    log = CASE WHEN LENGTH(log) < 65536 THEN log
               ELSE SUBSTR(log, 32768 + INSTR(SUBSTR(log, 32768), CHAR(10))) END || :log
WHERE task_uid = :task_uid AND state = 'paused';

-- Numbers in the history only grow, whatever is removed from it.
-- name: task_finish
UPDATE counter SET value = value + :in_history WHERE name = 'history_seq';
UPDATE task
SET state = :state, queue_rank = NULL, time_start = COALESCE(:time_start, time_start), time_stop = :time_stop,
    success = :success, return_codec = :return_codec, result_expires = :result_expires, msg = :msg,
    error_type = :error_type, traceback = :traceback, result = :result, return_value = :return_value, pause_reasons = NULL,
    paused_s = paused_s + COALESCE(MAX(:time_stop - paused_since, 0.0), 0.0), paused_since = NULL,
    history_seq = CASE WHEN :in_history THEN (SELECT value FROM counter WHERE name = 'history_seq') END
WHERE task_uid = :task_uid AND time_stop IS NULL AND attempt = COALESCE(:attempt, attempt);

-- name: task_get
SELECT task_uid, item_type, name, state, user, user_group, queue_rank, history_seq, background, attempt, worker_uid,
       origin_uid, time_created, time_start, time_stop, success, return_codec, result_expires, properties, msg,
       traceback, result, body, return_value
FROM task WHERE task_uid = :task_uid;

-- name: task_running
SELECT task_uid, item_type, name, state, user, user_group, queue_rank, history_seq, background, attempt, worker_uid,
       origin_uid, time_created, time_start, time_stop, success, return_codec, result_expires, properties, msg,
       traceback, result, body, return_value
FROM task WHERE state IN ('running', 'paused') AND time_stop IS NULL AND task_number IS NULL
ORDER BY time_start, rowid;

-- name: task_states
SELECT task_uid, state FROM task WHERE task_uid IN (SELECT value FROM json_each(:task_uids));

-- name: task_exists
SELECT EXISTS (SELECT 1 FROM task);
