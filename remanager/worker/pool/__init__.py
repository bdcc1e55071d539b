"""A worker of the pool: a process that runs tasks of the task queue, one at a time."""
