"""For notebooks: how replies look, live displays, plans and devices as objects.

Nothing here is imported before it is used: :mod:`remanager_api` stays small for programs.
"""
