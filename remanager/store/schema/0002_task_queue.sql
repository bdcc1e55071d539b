-- The task queue. The table of tasks is made anew, so that its small columns still come first.
--
-- A task of the task queue has a `task_number`; plans and what is executed at once have none. Most indexes leave
-- out what the plan queue holds: adding a plan costs no more than before, but for one step of the tally.
CREATE TABLE task_new (
    id INTEGER PRIMARY KEY,          -- order of insertion
    task_uid TEXT NOT NULL UNIQUE,
    item_type TEXT NOT NULL,
    name TEXT NOT NULL,
    state TEXT NOT NULL,
    user TEXT NOT NULL,
    user_group TEXT NOT NULL,
    queue_rank INTEGER,              -- place in the plan queue
    history_seq INTEGER,             -- place in the plan history
    task_number INTEGER,             -- order of submission to the task queue; NULL for what is not of it
    background INTEGER NOT NULL DEFAULT 0 CHECK (background IN (0, 1)),
    priority INTEGER NOT NULL DEFAULT 128,
    attempt INTEGER NOT NULL DEFAULT 1,
    lease_epoch INTEGER NOT NULL DEFAULT 0,
    time_created REAL NOT NULL,
    time_ready REAL,
    time_first_start REAL,
    time_start REAL,
    time_stop REAL,                  -- time of the terminal record; NULL while the task is active
    time_updated REAL,
    run_after REAL,
    expires_at REAL,
    result_expires REAL,
    success INTEGER CHECK (success IN (0, 1)),
    stage TEXT,
    domain TEXT NOT NULL DEFAULT '',
    task_group TEXT NOT NULL DEFAULT '',
    label TEXT NOT NULL DEFAULT '',
    key TEXT NOT NULL DEFAULT '',
    worker_uid TEXT,
    origin_uid TEXT,                 -- the task that this one repeats or replaces
    job_uid TEXT,
    parent_uid TEXT,
    schedule_uid TEXT,
    paused_since REAL,
    paused_s REAL NOT NULL DEFAULT 0.0,
    pause_reasons TEXT,              -- JSON list
    cancel_reason TEXT NOT NULL DEFAULT '',
    cancel_state TEXT,
    rerun INTEGER NOT NULL DEFAULT 0 CHECK (rerun IN (0, 1)),
    state_reason TEXT NOT NULL DEFAULT '',
    return_codec TEXT,
    error_type TEXT,
    depends TEXT,                    -- JSON list of the UIDs of the prerequisites
    options TEXT,                    -- JSON
    properties TEXT,
    progress TEXT,                   -- JSON
    actual_io TEXT,                  -- JSON
    msg TEXT,
    traceback TEXT,
    log TEXT NOT NULL DEFAULT '',    -- JSON lines: one for each transition
    result TEXT,                     -- plans: `result` of the history entry as JSON text
    body TEXT NOT NULL,
    checkpoint BLOB,
    return_value BLOB,
    CHECK ((state IN ('pending', 'blocked', 'paused', 'running', 'waiting_children')) = (time_stop IS NULL)),
    CHECK (queue_rank IS NULL OR time_stop IS NULL),
    CHECK (history_seq IS NULL OR time_stop IS NOT NULL)
) STRICT;

INSERT INTO task_new (id, task_uid, item_type, name, state, user, user_group, queue_rank, history_seq, background,
                      attempt, worker_uid, origin_uid, time_created, time_start, time_stop, success, return_codec,
                      result_expires, properties, msg, traceback, result, body, return_value)
SELECT rowid, task_uid, item_type, name, state, user, user_group, queue_rank, history_seq, background,
       attempt, worker_uid, origin_uid, time_created, time_start, time_stop, success, return_codec,
       result_expires, properties, msg, traceback, result, body, return_value
FROM task ORDER BY rowid;

DROP TABLE task;
ALTER TABLE task_new RENAME TO task;

CREATE UNIQUE INDEX task_queue ON task (queue_rank) WHERE queue_rank IS NOT NULL;
CREATE UNIQUE INDEX task_history ON task (history_seq) WHERE history_seq IS NOT NULL;
CREATE INDEX task_return_value ON task (result_expires) WHERE return_value IS NOT NULL;

-- Active tasks: those of the task queue in the order of dispatch, and the others. A column that is always NULL in
-- a partial index costs nothing; without it SQLite would read the row to check that it is NULL.
CREATE INDEX task_waiting ON task (state, time_stop, priority, task_number)
WHERE time_stop IS NULL AND task_number IS NOT NULL;
CREATE INDEX task_active ON task (state) WHERE time_stop IS NULL AND task_number IS NULL;
CREATE INDEX task_delayed ON task (run_after) WHERE time_stop IS NULL AND run_after IS NOT NULL;

-- Ended tasks in the order of their ends: what retention may delete, and what the plan history keeps.
CREATE INDEX task_ended ON task (state, history_seq, time_stop)
WHERE time_stop IS NOT NULL AND history_seq IS NULL;
CREATE INDEX task_kept ON task (state, time_stop) WHERE time_stop IS NOT NULL AND history_seq IS NOT NULL;

-- Both: the active ones (without time_stop) come first, in the order of their insertion.
CREATE INDEX task_name ON task (name, time_stop) WHERE task_number IS NOT NULL OR time_stop IS NOT NULL;
CREATE INDEX task_user ON task (user, time_stop) WHERE task_number IS NOT NULL OR time_stop IS NOT NULL;
CREATE INDEX task_domain ON task (domain, time_stop) WHERE domain <> '';
CREATE INDEX task_group ON task (task_group, time_stop) WHERE task_group <> '';
CREATE INDEX task_created ON task (time_created) WHERE task_number IS NOT NULL OR time_stop IS NOT NULL;
CREATE INDEX task_key ON task (key, name) WHERE key <> '';
CREATE INDEX task_job ON task (job_uid) WHERE job_uid IS NOT NULL;
CREATE INDEX task_parent ON task (parent_uid) WHERE parent_uid IS NOT NULL;
CREATE INDEX task_schedule ON task (schedule_uid) WHERE schedule_uid IS NOT NULL;

CREATE TABLE tag (
    task_id INTEGER NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (task_id, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX tag_value ON tag (key, value, task_id);

-- Which tasks need which; the needed one may be gone.
CREATE TABLE dependency (
    task_id INTEGER NOT NULL,
    needs_uid TEXT NOT NULL,
    PRIMARY KEY (task_id, needs_uid)
) STRICT, WITHOUT ROWID;

CREATE INDEX dependency_needs ON dependency (needs_uid, task_id);

CREATE TABLE schedule (
    schedule_uid TEXT PRIMARY KEY,
    time_created REAL NOT NULL,
    body TEXT NOT NULL               -- JSON
) STRICT, WITHOUT ROWID;

-- Figures of the past: one value for each minute (of the epoch), metric and type of task ('' for all types).
CREATE TABLE stats_sample (
    metric TEXT NOT NULL,
    task_type TEXT NOT NULL,
    minute INTEGER NOT NULL,
    value REAL NOT NULL,
    PRIMARY KEY (metric, task_type, minute)
) STRICT, WITHOUT ROWID;

CREATE INDEX stats_sample_minute ON stats_sample (minute);

INSERT INTO counter (name, value) VALUES ('task_number', 0);

-- How many tasks there are of each kind: the sum of `n` over the rows of the kind. A change of a task appends to
-- `tally_change`, which costs little; now and then the changes are added up. Sums of 0 are left to retention.
CREATE TABLE tally_sum (
    state TEXT NOT NULL,
    item_type TEXT NOT NULL,
    name TEXT NOT NULL,
    domain TEXT NOT NULL,
    task_group TEXT NOT NULL,
    user TEXT NOT NULL,
    priority INTEGER NOT NULL,
    n INTEGER NOT NULL,
    PRIMARY KEY (state, item_type, name, domain, task_group, user, priority)
) STRICT, WITHOUT ROWID;

CREATE TABLE tally_change (
    id INTEGER PRIMARY KEY,
    state TEXT NOT NULL,
    item_type TEXT NOT NULL,
    name TEXT NOT NULL,
    domain TEXT NOT NULL,
    task_group TEXT NOT NULL,
    user TEXT NOT NULL,
    priority INTEGER NOT NULL,
    n INTEGER NOT NULL
) STRICT;

CREATE VIEW task_tally AS
SELECT state, item_type, name, domain, task_group, user, priority, n FROM tally_sum
UNION ALL
SELECT state, item_type, name, domain, task_group, user, priority, n FROM tally_change;

INSERT INTO tally_sum (state, item_type, name, domain, task_group, user, priority, n)
SELECT state, item_type, name, domain, task_group, user, priority, COUNT(*) FROM task GROUP BY 1, 2, 3, 4, 5, 6, 7;

CREATE TRIGGER tally_changed AFTER INSERT ON tally_change WHEN NEW.id >= 500
BEGIN
    INSERT INTO tally_sum (state, item_type, name, domain, task_group, user, priority, n)
    SELECT state, item_type, name, domain, task_group, user, priority, SUM(n) FROM tally_change
    WHERE true GROUP BY 1, 2, 3, 4, 5, 6, 7 HAVING SUM(n) <> 0
    ON CONFLICT DO UPDATE SET n = n + excluded.n;
    DELETE FROM tally_change;
END;

CREATE TRIGGER task_inserted AFTER INSERT ON task
BEGIN
    INSERT INTO tally_change (state, item_type, name, domain, task_group, user, priority, n)
    VALUES (NEW.state, NEW.item_type, NEW.name, NEW.domain, NEW.task_group, NEW.user, NEW.priority, 1);
END;

CREATE TRIGGER task_changed AFTER UPDATE OF state, item_type, name, domain, task_group, user, priority ON task
WHEN (OLD.state, OLD.item_type, OLD.name, OLD.domain, OLD.task_group, OLD.user, OLD.priority)
    IS NOT (NEW.state, NEW.item_type, NEW.name, NEW.domain, NEW.task_group, NEW.user, NEW.priority)
BEGIN
    INSERT INTO tally_change (state, item_type, name, domain, task_group, user, priority, n)
    VALUES (OLD.state, OLD.item_type, OLD.name, OLD.domain, OLD.task_group, OLD.user, OLD.priority, -1),
           (NEW.state, NEW.item_type, NEW.name, NEW.domain, NEW.task_group, NEW.user, NEW.priority, 1);
END;

CREATE TRIGGER task_deleted AFTER DELETE ON task
BEGIN
    INSERT INTO tally_change (state, item_type, name, domain, task_group, user, priority, n)
    VALUES (OLD.state, OLD.item_type, OLD.name, OLD.domain, OLD.task_group, OLD.user, OLD.priority, -1);
    DELETE FROM tag WHERE task_id = OLD.id;
    DELETE FROM dependency WHERE task_id = OLD.id;
END;
