-- Statements that change many rows in one transaction. The log is bounded: when it is long, its older half goes.

-- OR FAIL: whatever goes wrong, the writer undoes the whole submission. So SQLite need not be able to undo the
-- statement alone, for which it copies each page that the statement changes.

-- What most new tasks have.
-- name: tasks_insert_plain
INSERT OR FAIL INTO task (background, task_uid, task_number, item_type, name, state, user, user_group, priority, attempt,
                  job_uid, time_created, time_ready, time_updated, run_after, properties, log, body)
VALUES (1, :task_uid, :task_number, :item_type, :name, :state, :user, :user_group, :priority, :attempt,
        :job_uid, :time_created, :time_ready, :time_updated, :run_after, :properties, :log, :body);

-- And what many have.
-- name: tasks_insert_usual
INSERT OR FAIL INTO task (background, task_uid, task_number, item_type, name, state, user, user_group, domain, task_group,
                  label, key, priority, attempt, job_uid, time_created, time_ready, time_updated, run_after, options,
                  properties, log, body)
VALUES (1, :task_uid, :task_number, :item_type, :name, :state, :user, :user_group, :domain, :task_group,
        :label, :key, :priority, :attempt, :job_uid, :time_created, :time_ready, :time_updated, :run_after, :options,
        :properties, :log, :body);

-- name: tasks_insert
INSERT OR FAIL INTO task (background, task_uid, task_number, item_type, name, state, stage, user, user_group, domain,
                  task_group, label, key, priority, attempt, lease_epoch, worker_uid, origin_uid, job_uid,
                  parent_uid, schedule_uid, time_created, time_ready, time_first_start, time_start, time_updated,
                  run_after, expires_at, paused_since, pause_reasons, failed_child, state_reason, depends, options,
                  properties, log, body)
VALUES (1, :task_uid, :task_number, :item_type, :name, :state, :stage, :user, :user_group, :domain,
        :task_group, :label, :key, :priority, :attempt, :lease_epoch, :worker_uid, :origin_uid, :job_uid,
        :parent_uid, :schedule_uid, :time_created, :time_ready, :time_first_start, :time_start, :time_updated,
        :run_after, :expires_at, :paused_since, :pause_reasons, :failed_child, :state_reason, :depends, :options,
        :properties, :log, :body);

-- name: tally_add
INSERT INTO tally_change (state, item_type, name, domain, task_group, user, priority, n)
VALUES (?, ?, ?, ?, ?, ?, ?, ?);

-- name: task_number_reached
UPDATE counter SET value = MAX(value, :task_number) WHERE name = 'task_number';

-- A row without UID changes nothing: the last of several rows at once may be empty.
-- name: tasks_update
UPDATE task
SET state = given.state, stage = given.stage, priority = given.priority, attempt = given.attempt,
    lease_epoch = given.lease_epoch, worker_uid = given.worker_uid, run_after = given.run_after,
    expires_at = given.expires_at, time_ready = given.time_ready, time_first_start = given.time_first_start,
    time_start = given.time_start, time_updated = given.time_updated, paused_since = given.paused_since,
    paused_s = given.paused_s, pause_reasons = given.pause_reasons, cancel_reason = given.cancel_reason,
    cancel_state = given.cancel_state, rerun = given.rerun, failed_child = given.failed_child,
    state_reason = given.state_reason, error_type = given.error_type, msg = given.msg,
    traceback = given.traceback,
    log = CASE WHEN LENGTH(task.log) < 65536 THEN task.log
               ELSE SUBSTR(task.log, 32768 + INSTR(SUBSTR(task.log, 32768), CHAR(10))) END || given.log
FROM (
    WITH given (state, stage, priority, attempt, lease_epoch, worker_uid, run_after, expires_at, time_ready,
                time_first_start, time_start, time_updated, paused_since, paused_s, pause_reasons,
                cancel_reason, cancel_state, rerun, failed_child, state_reason, error_type, msg, traceback,
                log, task_uid)
    AS (VALUES (:state, :stage, :priority, :attempt, :lease_epoch, :worker_uid, :run_after, :expires_at,
                :time_ready, :time_first_start, :time_start, :time_updated, :paused_since, :paused_s,
                :pause_reasons, :cancel_reason, :cancel_state, :rerun, :failed_child, :state_reason,
                :error_type, :msg, :traceback, :log, :task_uid))
    SELECT * FROM given
) AS given
WHERE task.task_uid = given.task_uid AND task.time_stop IS NULL;

-- name: tasks_edit
UPDATE task
SET task_group = :task_group, label = :label, options = :options, time_updated = :time_updated
WHERE task_uid = :task_uid AND time_stop IS NULL;

-- A report of an older hand-over finds no row.
-- name: tasks_end
UPDATE task
SET state = given.state, stage = NULL, attempt = given.attempt, lease_epoch = given.lease_epoch,
    time_start = COALESCE(given.time_start, task.time_start), time_stop = given.time_stop,
    time_updated = given.time_stop, paused_since = NULL, paused_s = given.paused_s, pause_reasons = NULL,
    cancel_reason = given.cancel_reason, cancel_state = NULL, rerun = 0, success = given.success,
    state_reason = given.state_reason, error_type = given.error_type, msg = given.msg,
    traceback = given.traceback, return_codec = given.return_codec, result_expires = given.result_expires,
    progress = COALESCE(given.progress, task.progress), actual_io = COALESCE(given.actual_io, task.actual_io),
    log = CASE WHEN LENGTH(task.log) < 65536 THEN task.log
               ELSE SUBSTR(task.log, 32768 + INSTR(SUBSTR(task.log, 32768), CHAR(10))) END || given.log,
    checkpoint = NULL, return_value = given.return_value
FROM (
    WITH given (state, attempt, lease_epoch, time_start, time_stop, paused_s, cancel_reason, success,
                state_reason, error_type, msg, traceback, return_codec, result_expires, progress, actual_io,
                log, return_value, task_uid)
    AS (VALUES (:state, :attempt, :lease_epoch, :time_start, :time_stop, :paused_s, :cancel_reason,
                :success, :state_reason, :error_type, :msg, :traceback, :return_codec, :result_expires,
                :progress, :actual_io, :log, :return_value, :task_uid))
    SELECT * FROM given
) AS given
WHERE task.task_uid = given.task_uid AND task.time_stop IS NULL AND task.lease_epoch <= given.lease_epoch;

-- name: tasks_retried
UPDATE task SET properties = json_set(COALESCE(properties, '{}'), '$.retried_as', :retried_as)
WHERE task_uid = :task_uid;

-- name: tasks_parted
UPDATE task SET properties = json_set(COALESCE(properties, '{}'), '$.children_from', :number)
WHERE task_uid = :task_uid AND time_stop IS NULL;

-- name: tasks_progress
UPDATE task SET progress = :progress, actual_io = COALESCE(:actual_io, actual_io)
WHERE task_uid = :task_uid AND time_stop IS NULL AND lease_epoch = :lease_epoch;

-- name: tasks_checkpoint
UPDATE task SET checkpoint = :checkpoint
WHERE task_uid = :task_uid AND time_stop IS NULL AND lease_epoch = :lease_epoch;

-- name: tags_insert
INSERT INTO tag (task_id, key, value) SELECT id, :key, :value FROM task WHERE task_uid = :task_uid;

-- name: tags_delete
DELETE FROM tag WHERE task_id = (SELECT id FROM task WHERE task_uid = :task_uid);

-- name: dependencies_insert
INSERT OR IGNORE INTO dependency (task_id, needs_uid) SELECT id, :needs_uid FROM task WHERE task_uid = :task_uid;

-- name: task_number_last
SELECT value FROM counter WHERE name = 'task_number';

-- name: task_log
SELECT log FROM task WHERE task_uid = :task_uid;

-- name: task_results
SELECT task_uid, state, success, attempt, time_start, time_stop, msg, traceback, return_codec, return_value,
       result_expires, properties, result
FROM task WHERE task_uid IN (SELECT value FROM json_each(:task_uids));

-- name: result_bytes
SELECT TOTAL(LENGTH(return_value)) FROM task WHERE task_uid IN (SELECT value FROM json_each(:task_uids));

-- name: body_sizes
SELECT id, LENGTH(body) FROM task WHERE id IN (SELECT value FROM json_each(:ids));

-- name: task_bodies
SELECT task_uid, body FROM task WHERE task_uid IN (SELECT value FROM json_each(:task_uids));

-- name: task_checkpoints
SELECT task_uid, checkpoint FROM task
WHERE task_uid IN (SELECT value FROM json_each(:task_uids)) AND checkpoint IS NOT NULL;

-- name: task_children
SELECT task_uid, state FROM task WHERE parent_uid = :task_uid ORDER BY id LIMIT :limit;

-- name: task_dependents
SELECT task.task_uid, task.state FROM dependency JOIN task ON task.id = dependency.task_id
WHERE dependency.needs_uid = :task_uid ORDER BY dependency.task_id LIMIT :limit;

-- name: task_id_of_key
SELECT id FROM task WHERE key = :key AND key <> '' AND name = :name ORDER BY id DESC LIMIT 1;

-- name: tags_of_tasks
SELECT task_id, key, value FROM tag
WHERE task_id IN (SELECT value FROM json_each(:task_ids));

-- name: tags_of_active
SELECT tag.task_id, tag.key, tag.value
FROM task CROSS JOIN tag ON tag.task_id = task.id
WHERE task.state = :state AND task.time_stop IS NULL AND task.task_number IS NOT NULL;

-- name: type_sample
SELECT state, time_created, time_ready, time_first_start, time_start, time_stop, attempt, actual_io FROM task
WHERE name = :name AND time_stop IS NOT NULL ORDER BY time_stop DESC LIMIT :limit;
