"""What all tests share."""

from __future__ import annotations

import pytest
from hypothesis import settings

# A test says whether the code is right, never how fast it was on the machine of the day.
settings.register_profile("equipoise", deadline=None)
settings.load_profile("equipoise")

SIMULATING = (
    "test_adversity", "test_simulate", "test_cli", "test_docs", "test_report", "test_power", "test_explain",
    "test_fit", "test_analyse_simulated", "test_surrogate_command", "test_surrogate_truth",
    "test_rules_properties", "test_virtual_walk", "test_published_trials",
)  # fmt: skip
"""Tests that need the machine code of the simulation, which takes a minute or two to make."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Simulating tests first: of two workers that share the list between them, one makes the machine code
    while the other does tests that need none, and finds it made when it comes to those that do."""
    items.sort(key=lambda item: not item.path.stem.startswith(SIMULATING))
