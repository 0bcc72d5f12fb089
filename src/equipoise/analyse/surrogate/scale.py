"""The scale on which a marker is related to risk: its logarithm to base 2, its square root, or as it is."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np

from equipoise.analyse.surrogate.data import MarkedTrial
from equipoise.errors import UserError

Transform = Literal["log2", "square root", "as is"]

SHORT_NAMES: dict[str, Transform] = {"log2": "log2", "sqrt": "square root", "as-is": "as is"}
"""The scales by the words of a command line."""


def on_scale(trial: MarkedTrial, transform: Transform) -> tuple[MarkedTrial, tuple[str, ...]]:
    """The trial with its marker transformed, and warnings.

    "log2" makes a hazard ratio one per doubling. A count that is not positive has no logarithm and is taken
    as half the smallest positive one (assumed), with a warning that says how many there were. Raises
    UserError for an unknown transform, for "log2" without positive values and "square root" of negative ones.
    """
    known = ~np.isnan(trial.value)
    if transform == "as is":
        return trial, ()
    if transform == "square root":
        if (trial.value[known] < 0).any():
            raise UserError('the marker has negative values: take it "as is", not as its square root')
        return replace(trial, value=np.sqrt(trial.value)), ()
    if transform != "log2":
        raise UserError(f'the marker is taken as "log2", "square root" or "as is", not "{transform}"')
    positive = trial.value[known & (trial.value > 0)]
    low = known & (trial.value <= 0)
    if not low.any():
        return replace(trial, value=np.log2(trial.value)), ()
    if not len(positive):
        raise UserError('the marker has no positive values: take it "as is", not as its logarithm')
    least = float(positive.min()) / 2
    value = np.where(low, least, trial.value)
    warning = f"{int(low.sum())} of {int(known.sum())} values are not positive: taken as {least:g} (assumed)"
    return replace(trial, value=np.log2(value)), (warning,)


def per_unit(trial: MarkedTrial, transform: Transform) -> str:
    """What one step on the scale is, in words."""
    unit = trial.marker_unit or "unit"
    return {
        "log2": f"doubling of {trial.marker_label}",
        "square root": f"unit of the square root of {trial.marker_label}",
        "as is": f"{unit} of {trial.marker_label}",
    }[transform]
