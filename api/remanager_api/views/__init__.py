"""What the manager answers, in the words of other systems.

Each module has a vocabulary as data (``STATUS``: native state to foreign word, ``STATES``: the other way
round, for selectors) and makes the answers of that system from those of the manager:

``memos``      MemOS: status lists, summaries, figures of a user's queue
``sitq``       sitq: results, status records, statistics
``taskmill``   taskmill: records, snapshots, figures of a type; handles in ``taskmill_handles``
``cubefs``     CubeFS: figures of background tasks, details of a task, progress of a disk
"""
