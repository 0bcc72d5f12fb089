"""The command line: thin, and quick to start; each command loads the rooms it needs."""

from equipoise.cli.main import main

__all__ = ["main"]
