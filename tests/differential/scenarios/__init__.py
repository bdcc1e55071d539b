"""The scripts; importing this registers them."""

from scenarios import access, items, lists, plans, requests, starts, tasks

__all__ = ["access", "items", "lists", "plans", "requests", "starts", "tasks"]
