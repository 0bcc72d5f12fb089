"""Equipoise executes clinical trials: one protocol file, from design to result."""

__version__ = "0.1.0"
