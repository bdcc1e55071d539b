-- name: queue_insert
INSERT INTO task (task_uid, item_type, name, state, user, user_group, queue_rank, origin_uid, time_created,
                  properties, attempt, body)
VALUES (:task_uid, :item_type, :name, 'pending', :user, :user_group, :queue_rank, :origin_uid, :time,
        :properties, :attempt, :body);

-- name: queue_rank_set
UPDATE task SET queue_rank = :queue_rank WHERE task_uid = :task_uid AND queue_rank IS NOT NULL;

-- Ranks are unique at every step: all places are left before the new ones are taken.
-- name: queue_rank_permute
UPDATE task SET queue_rank = NULL WHERE task_uid = :task_uid AND queue_rank IS NOT NULL;
UPDATE task SET queue_rank = :queue_rank WHERE task_uid = :task_uid AND state = 'pending';

-- name: queue_replace_same
UPDATE task
SET item_type = :item_type, name = :name, user = :user, user_group = :user_group, queue_rank = :queue_rank,
    properties = :properties, attempt = :attempt, body = :body
WHERE task_uid = :task_uid AND queue_rank IS NOT NULL;

-- name: queue_replace_new
UPDATE task SET state = 'superseded', queue_rank = NULL, time_stop = :time
WHERE task_uid = :old_uid AND queue_rank IS NOT NULL;
INSERT INTO task (task_uid, item_type, name, state, user, user_group, queue_rank, origin_uid, time_created,
                  properties, attempt, body)
VALUES (:task_uid, :item_type, :name, 'pending', :user, :user_group, :queue_rank, :origin_uid, :time,
        :properties, :attempt, :body);

-- name: queue_remove
UPDATE task SET state = :state, queue_rank = NULL, time_stop = :time
WHERE task_uid = :task_uid AND queue_rank IS NOT NULL;

-- name: queue_clear
UPDATE task SET state = 'cancelled', queue_rank = NULL, time_stop = :time WHERE queue_rank IS NOT NULL;

-- name: queue_all
SELECT task_uid, queue_rank, item_type, name, user, user_group, body, origin_uid, properties, attempt,
       time_created
FROM task WHERE queue_rank IS NOT NULL ORDER BY queue_rank;
