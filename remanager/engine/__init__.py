"""Decisions: the order and mode of the plan queue, what follows when an item ends, states, statistics.

Everything here is pure: no I/O, no clock, no randomness. Times and UIDs are handed in.
"""
