"""What people do, each a command of the gateway. A module for each part of the work."""

from importlib import import_module

_PARTS = ("trial", "people", "screening", "randomization", "forms", "queries", "treatment", "safety")


def load() -> None:
    """Make every command known to the gateway."""
    for part in _PARTS:
        import_module(f"equipoise.conduct.commands.{part}")
