"""Simulated trials against the published ones: expectations over many replicate trials."""

from __future__ import annotations

import pytest

from equipoise.simulate.verification import SEED, verify


@pytest.mark.slow
def test_everything_that_must_hold_of_silcaat_and_esprit_holds() -> None:
    checks = verify(trials=400, seed=SEED)
    assert len(checks) == 16
    assert [
        f"{check.trial}: {check.target.label}: {check.simulated:.3f}" for check in checks if not check.holds
    ] == []
