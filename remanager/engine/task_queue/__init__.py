"""The task queue: which task runs when, and what follows from its end. Pure: no I/O, no clock."""
