"""How long work tells its caller how far it is."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[int, int, str], None]
"""``progress(done, total, unit)``: ``done`` never falls and ends at ``total``; ``unit`` is a noun, like ``bytes``."""
