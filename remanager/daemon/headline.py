"""The state of the daemon as a line of text, for ``systemctl status``."""

from __future__ import annotations

from remanager.manager.manager import Manager
from remanager.model.states import ManagerState


def headline(manager: Manager) -> str:
    """Say what the manager is doing: ``running plan count (3/5); 2 items in the queue``."""
    parts = [_doing(manager)]
    if size := manager.queue.size:
        parts.append(f"{size} {'item' if size == 1 else 'items'} in the queue")
    depths = manager.task_queue.figures.depths()
    if depths["unacked"] or depths["queued"]:
        parts.append(f"tasks: {depths['unacked']} running, {depths['queued']} queued")
    return "; ".join(parts)


def _doing(manager: Manager) -> str:
    state = manager.state
    running = state.running
    if running is not None:
        word = "paused in" if state.manager_state is ManagerState.PAUSED else "running"
        done = f" ({state.progress[0]}/{state.progress[1]})" if state.progress else ""
        return f"{word} plan {running.item.get('name', '?')}{done}"
    if state.manager_state is not ManagerState.IDLE:
        return str(state.manager_state.value).replace("_", " ")
    return f"idle, environment {'open' if state.environment_exists else 'closed'}"
