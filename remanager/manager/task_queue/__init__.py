"""The task queue at work: scheduler, store and pool of workers joined."""
