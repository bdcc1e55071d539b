"""Client of the remanager daemon."""
