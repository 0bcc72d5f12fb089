"""Trial-level surrogacy where the units are simulated trials: does the effect on the biomarker tell the
effect on the outcome, between trials of one explanation and between explanations?

Under one preset of effect dials all trials have one truth, and what differs is chance. Between presets the
truth differs: cells that do nothing, that work, that harm beside it. Trials of the same number have the
same people, with the same chances, under each preset. So presets are compared trial by trial (paired
differences); and where all presets stand together, each trial is taken under one preset, in turn, so that no
two units share their people."""

from __future__ import annotations

import math
import textwrap
from dataclasses import dataclass

import numpy as np
import polars as pl

from equipoise.analyse.surrogate.data import Floats
from equipoise.analyse.surrogate.telling import value
from equipoise.analyse.surrogate.trial_level import TrialLevel, UnitEffects, joined, trial_level
from equipoise.simulate.surrogacy.characteristics import Characteristics, Scenario

ALL = "all"
"""In the place of a preset: all of them together."""
MEANING = (
    "Trials of one preset have the same truth: what differs between them is chance. R-squared between them "
    "says how far errors of the two effects go together in the same people, and nothing about a surrogate; "
    "random effects take these errors away, have next to nothing left, and are refused or say anything from "
    "0 to 1. Between presets the truth differs. Where the outcome moves from preset to preset and the "
    "biomarker does not, different explanations move the outcome without moving the biomarker: R-squared of "
    "the regression with all presets together is then low, and no effect on the biomarker tells which "
    "explanation holds."
)
"""How to read it, for page and terminal."""


@dataclass(frozen=True)
class PresetMean:
    """Mean effects of the trials of a preset: on the marker (on its scale) and on the outcome (log hazard
    ratio), and their mean paired differences from the first preset; each with its Monte Carlo standard error.
    Differences are NaN of the first preset, errors with fewer than two trials."""

    preset: str
    label: str
    trials: int
    on_marker: float
    on_marker_error: float
    on_outcome: float
    on_outcome_error: float
    marker_difference: float
    marker_difference_error: float
    outcome_difference: float
    outcome_difference_error: float


@dataclass(frozen=True)
class BetweenTrials:
    """All presets together (n trials, each under one preset in turn; `presets_of` its units), each preset by
    itself, and the means of the presets."""

    together: TrialLevel
    presets_of: tuple[str, ...]
    within: tuple[tuple[str, str, TrialLevel], ...]
    means: tuple[PresetMean, ...]
    units: tuple[tuple[str, UnitEffects], ...]
    """Of each preset, the effects in its trials."""

    def table(self) -> pl.DataFrame:
        """One row for each preset ("all": together) and measure: preset, label (of the preset), units, name,
        measure, scale, estimate, lower, upper, p_value, method, refused, warnings."""
        groups = ((ALL, "all presets together", self.together), *self.within)
        return pl.DataFrame([
            {
                "preset": preset, "label": label, "units": len(level.effects.names), "name": m.name,
                "measure": m.label, "scale": m.scale, "estimate": m.estimate, "lower": m.low,
                "upper": m.high, "p_value": m.p, "method": m.method, "refused": m.refused,
                "warnings": "; ".join(m.warnings),
            }
            for preset, label, level in groups for m in level.measures
        ]).fill_nan(None)  # fmt: skip

    def trials(self) -> pl.DataFrame:
        """One row for each preset and trial with estimates: preset, trial (name), participants, events,
        on_marker, on_marker_se, on_outcome (log hazard ratio), on_outcome_se, correlation (of their
        errors)."""
        rows = []
        for preset, found in self.units:
            for k, name in enumerate(found.names):
                first, second = np.sqrt(np.diag(found.covariance[k])).tolist()
                rows.append({
                    "preset": preset, "trial": name, "participants": int(found.participants[k]),
                    "events": int(found.events[k]), "on_marker": float(found.on_marker[k]),
                    "on_marker_se": first, "on_outcome": float(found.on_outcome[k]),
                    "on_outcome_se": second,
                    "correlation": float(found.covariance[k, 0, 1]) / (first * second),
                })  # fmt: skip
        schema = dict.fromkeys(("preset", "trial"), pl.String) | dict.fromkeys(
            ("participants", "events"), pl.Int64
        )
        names = ("on_marker", "on_marker_se", "on_outcome", "on_outcome_se", "correlation")
        return pl.DataFrame(rows, schema=schema | dict.fromkeys(names, pl.Float64))


def between_trials(found: Characteristics, confidence: float = 0.95) -> BetweenTrials:
    """Trial-level surrogacy with the trials of operating characteristics as units, as `trial_level`."""
    scenarios, count = found.scenarios, len(found.scenarios)
    turns = [(scenarios[k % count].preset, scenarios[k % count].units[k]) for k in range(found.trials)]
    units = tuple((each.preset, joined(each.units)) for each in scenarios)
    return BetweenTrials(
        trial_level(joined([one for _, one in turns]), confidence=confidence),
        tuple(preset for preset, one in turns for _ in one.names),
        tuple(
            (each.preset, each.label, trial_level(effects, confidence=confidence))
            for each, (_, effects) in zip(scenarios, units, strict=True)
        ),
        tuple(_mean(each, scenarios[0]) for each in scenarios),
        units,
    )


def _pairs(scenario: Scenario) -> Floats:
    """Effects on marker and outcome in each trial, shape (trials, 2); NaN where there is no estimate."""
    return np.array([
        (one.on_marker[0], one.on_outcome[0]) if one.names else (math.nan, math.nan)
        for one in scenario.units
    ])  # fmt: skip


def _mean(scenario: Scenario, first: Scenario) -> PresetMean:
    own = _pairs(scenario)
    apart = own - _pairs(first)
    marker, outcome = _with_error(own[:, 0]), _with_error(own[:, 1])
    same = scenario is first
    nothing = (math.nan, math.nan)
    return PresetMean(
        scenario.preset, scenario.label, int((~np.isnan(own[:, 0])).sum()), *marker, *outcome,
        *(nothing if same else _with_error(apart[:, 0])), *(nothing if same else _with_error(apart[:, 1])),
    )  # fmt: skip


def _with_error(x: Floats) -> tuple[float, float]:
    known = x[~np.isnan(x)]
    n = len(known)
    mean = float(known.mean()) if n else math.nan
    return mean, float(known.std(ddof=1)) / math.sqrt(n) if n > 1 else math.nan


def told(found: BetweenTrials) -> str:
    """Means of the presets and R-squared as tables for a terminal, and what they mean."""
    lines = [
        "Simulated trials as units: does the effect on the biomarker tell the effect on the outcome?",
        f"  {'preset (± Monte Carlo error)':<36}{'effect on biomarker':>22}{'log hazard ratio':>20}",
    ]
    lines += [
        f"  {each.preset + ' ' + each.label:<36}"
        f"{_plus_minus(each.on_marker, each.on_marker_error):>22}"
        f"{_plus_minus(each.on_outcome, each.on_outcome_error):>20}"
        for each in found.means
    ]
    for each in found.means[1:]:
        lines.append(
            f"  {each.preset + ' less ' + found.means[0].preset + ', same people':<36}"
            f"{_plus_minus(each.marker_difference, each.marker_difference_error):>22}"
            f"{_plus_minus(each.outcome_difference, each.outcome_difference_error):>20}"
        )
    lines += ["", f"  {'R-squared between trials':<36}{'regression':>22}{'random effects':>26}"]
    for preset, label, level in ((ALL, "presets, each trial under one", found.together), *found.within):
        shown = [
            "refused" if m.refused else value(m).replace(" to ", "-")
            for m in (level.r_squared, level.r_squared_random)
        ]
        lines.append(f"  {preset + ' ' + label:<36}{shown[0]:>22}{shown[1]:>26}")
    return "\n".join([*lines, "", *textwrap.wrap(MEANING, 100)])


def _plus_minus(x: float, error: float) -> str:
    return "-" if math.isnan(x) else f"{round(x, 3) + 0.0:.3f} ± {error:.3f}"
