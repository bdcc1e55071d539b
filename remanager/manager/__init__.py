"""What the manager process knows and does, apart from its sockets and processes.

The services of this room own the state in memory, turn requests and worker messages into transactions of the
store, and tell the workers what to do. Decisions are taken in :mod:`remanager.engine`; sockets, processes and
the event loop are handed in by :mod:`remanager.daemon` (see :mod:`remanager.manager.ports`).
"""
