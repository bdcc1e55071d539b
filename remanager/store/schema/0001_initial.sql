-- Every item of work: plans, instructions, functions, scripts, updates. One row from submission to retention.
-- `body` is the item as JSON text, in the form in which it is sent to clients. Small columns come first.
CREATE TABLE task (
    task_uid TEXT PRIMARY KEY,
    item_type TEXT NOT NULL,
    name TEXT NOT NULL,
    state TEXT NOT NULL,
    user TEXT NOT NULL,
    user_group TEXT NOT NULL,
    queue_rank INTEGER,              -- place in the plan queue
    history_seq INTEGER,             -- place in the plan history
    background INTEGER NOT NULL DEFAULT 0 CHECK (background IN (0, 1)),
    attempt INTEGER NOT NULL DEFAULT 1,
    worker_uid TEXT,
    origin_uid TEXT,                 -- the task that this one repeats or replaces
    time_created REAL NOT NULL,
    time_start REAL,
    time_stop REAL,                  -- time of the terminal record; NULL while the task is active
    success INTEGER CHECK (success IN (0, 1)),
    return_codec TEXT,
    result_expires REAL,
    properties TEXT,
    msg TEXT,
    traceback TEXT,
    result TEXT,                     -- plans: `result` of the history entry as JSON text
    body TEXT NOT NULL,
    return_value BLOB,
    CHECK ((state IN ('pending', 'blocked', 'paused', 'running', 'waiting_children')) = (time_stop IS NULL)),
    CHECK (queue_rank IS NULL OR time_stop IS NULL),
    CHECK (history_seq IS NULL OR time_stop IS NOT NULL)
) STRICT;

CREATE UNIQUE INDEX task_queue ON task (queue_rank) WHERE queue_rank IS NOT NULL;
CREATE UNIQUE INDEX task_history ON task (history_seq) WHERE history_seq IS NOT NULL;
CREATE INDEX task_active ON task (state) WHERE time_stop IS NULL;
CREATE INDEX task_retired ON task (time_stop) WHERE time_stop IS NOT NULL AND history_seq IS NULL;
CREATE INDEX task_return_value ON task (result_expires) WHERE return_value IS NOT NULL;

-- The journal. `seq` is given by the writer and never used twice: the newest event is always kept.
CREATE TABLE event (
    seq INTEGER PRIMARY KEY,
    time REAL NOT NULL,
    type TEXT NOT NULL,
    task_uid TEXT,
    data TEXT NOT NULL
) STRICT;

-- Queue mode, autostart, lock, permissions, uids of lists: one JSON value each.
CREATE TABLE setting (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE counter (
    name TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO counter (name, value) VALUES ('history_seq', 0);

-- Worker processes, so that a restarted manager finds them again. A pid together with the start time of its
-- process (field 22 of /proc/PID/stat) is never that of another process.
CREATE TABLE worker (
    worker_uid TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    pid INTEGER NOT NULL,
    start_ticks INTEGER NOT NULL,
    time_started REAL NOT NULL,
    acked_seq INTEGER NOT NULL DEFAULT 0,
    config TEXT NOT NULL
) STRICT, WITHOUT ROWID;
