-- name: figures_by_type
SELECT item_type, name, state, SUM(n) FROM task_tally GROUP BY 1, 2, 3 HAVING SUM(n) <> 0;

-- Of the task queue alone: plans have no priority.
-- name: figures_by_priority
SELECT priority, state, SUM(n) FROM task_tally
WHERE state IN ('pending', 'blocked', 'paused') AND item_type NOT IN ('plan', 'instruction')
GROUP BY 1, 2 HAVING SUM(n) > 0;

-- name: figures_oldest_queued
SELECT time_created FROM task INDEXED BY task_waiting
WHERE state = :state AND time_stop IS NULL AND task_number IS NOT NULL AND priority = :priority
ORDER BY task_number LIMIT 1;

-- name: figures_oldest_plan
SELECT time_created FROM task INDEXED BY task_active
WHERE state = 'pending' AND time_stop IS NULL AND task_number IS NULL ORDER BY id LIMIT 1;
