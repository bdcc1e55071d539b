"""The RunEngine and where its documents go."""

from bluesky import RunEngine

RE = RunEngine({"facility": "simulation", "instrument": "remanager demo"})


def _announce(name, document):
    """Say on the console when a run begins and ends."""
    if name == "start":
        print(
            f"Run {document['scan_id']} begins: {document.get('plan_name', 'plan')} ({document['uid'][:8]})"
        )
    elif name == "stop":
        counts = sum(document.get("num_events", {}).values())
        print(f"Run ends: {document['exit_status']}, {counts} events")


RE.subscribe(_announce)
