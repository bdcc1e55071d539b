-- The two parts of the tally are asked one by one: the first then gives its groups in order.
-- name: figures_by_type
SELECT state, item_type, name, SUM(n) FROM tally_sum GROUP BY state, item_type, name;

-- name: figures_by_type_changes
SELECT state, item_type, name, SUM(n) FROM tally_change GROUP BY state, item_type, name;

-- Of the task queue alone: plans have no priority.
-- name: figures_by_priority
SELECT priority, state, SUM(n) FROM tally_sum
WHERE state IN ('pending', 'blocked', 'paused') AND item_type NOT IN ('plan', 'instruction') GROUP BY 1, 2;

-- name: figures_by_priority_changes
SELECT priority, state, SUM(n) FROM tally_change
WHERE state IN ('pending', 'blocked', 'paused') AND item_type NOT IN ('plan', 'instruction') GROUP BY 1, 2;

-- name: figures_oldest_queued
SELECT time_created FROM task INDEXED BY task_waiting
WHERE state = :state AND time_stop IS NULL AND task_number IS NOT NULL AND priority = :priority
ORDER BY task_number LIMIT 1;

-- name: figures_oldest_plan
SELECT time_created FROM task INDEXED BY task_active
WHERE state = 'pending' AND time_stop IS NULL AND task_number IS NULL ORDER BY id LIMIT 1;
