"""Every standard measure of a surrogate on one trial, in the order in which a reader asks."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from equipoise.analyse.surrogate.data import MarkedTrial
from equipoise.analyse.surrogate.expected import ExpectedHazardRatio, expected_hazard_ratio
from equipoise.analyse.surrogate.explained import ProportionExplained, freedman, lin
from equipoise.analyse.surrogate.individual import IndividualLevel, individual_level
from equipoise.analyse.surrogate.measure import Measure
from equipoise.analyse.surrogate.mediation import Mediation, mediation
from equipoise.analyse.surrogate.prentice import Prentice, prentice
from equipoise.analyse.surrogate.scale import Transform
from equipoise.analyse.surrogate.time_varying import Landmark, landmarks
from equipoise.analyse.surrogate.trial_level import TrialLevel, trial_level, unit_effects
from equipoise.errors import UserError

Progress = Callable[[str, float], None]
BOOTSTRAP = 200
"""Bootstrap samples, where nobody says how many."""
FEWEST_SAMPLES = 20


@dataclass(frozen=True)
class Group:
    """Measures that answer one question."""

    id: str
    title: str
    question: str
    measures: tuple[Measure, ...]


@dataclass(frozen=True)
class Evaluation:
    """What each method says of one trial. `transform`: the scale of the marker; `bootstrap` samples by
    `seed`."""

    trial: MarkedTrial
    transform: Transform
    bootstrap: int
    seed: int
    prentice: Prentice
    expected: ExpectedHazardRatio
    landmarks: tuple[Landmark, ...]
    lin: ProportionExplained
    freedman: ProportionExplained
    individual: IndividualLevel
    trial_level: TrialLevel
    mediation: Mediation
    joint: tuple[Measure, ...] = ()
    """Of the joint model, where it was asked for."""

    @property
    def horizon(self) -> float:
        """Years at which the mediation analyses compare risks; NaN where they were refused."""
        return self.mediation.path.horizon

    @property
    def groups(self) -> tuple[Group, ...]:
        """All measures by question."""
        path = self.mediation.path
        at = "" if math.isnan(self.horizon) else f" by year {self.horizon:.2f}"
        moments = tuple(m for each in self.landmarks for m in (each.arm, each.arm_given_marker, each.marker))
        of_joint = Group(
            "joint", "Joint model",
            "What do arm and biomarker tell when the noise of its measurement is taken away?", self.joint,
        )  # fmt: skip
        return (
            Group(
                "prentice", "Prentice's four criteria",
                "Is the biomarker moved by treatment, tied to the outcome, and all there is to the effect?",
                self.prentice.measures,
            ),
            Group(
                "expected", "Expected from the biomarker, and observed",
                "What would the biomarker alone have promised, and what came?", self.expected.measures,
            ),
            Group(
                "explained", "Proportion of the effect explained",
                "How much smaller does the effect look beside the biomarker?",
                (*self.lin.measures, *self.freedman.measures),
            ),
            Group(
                "landmarks", "Landmark analyses",
                "Among those still at risk at a time, what did the biomarker of that time tell?", moments,
            ),
            *([of_joint] if self.joint else []),
            Group(
                "mediation", "Mediation",
                f"How many events{at} did treatment change through the biomarker, and how many past it?",
                (*path.risk_differences, path.share, *self.mediation.g_formula.measures),
            ),
            Group(
                "individual", "Between people",
                "How closely do biomarker and outcome go together in people?", self.individual.measures,
            ),
            Group(
                "units", "Between countries or sites",
                "Where treatment moved the biomarker more, did it prevent more?", self.trial_level.measures,
            ),
        )  # fmt: skip

    @property
    def measures(self) -> tuple[Measure, ...]:
        return tuple(measure for group in self.groups for measure in group.measures)

    def table(self) -> pl.DataFrame:
        """One row for each measure: group, name, label, scale, estimate, se, lower, upper, p_value,
        confidence, method, refused (the reason; empty where there is an estimate), warnings (joined by
        semicolons)."""
        rows = [
            {
                "group": group.id, "name": m.name, "label": m.label, "scale": m.scale, "estimate": m.estimate,
                "se": m.se, "lower": m.low, "upper": m.high, "p_value": m.p, "confidence": m.confidence,
                "method": m.method, "refused": m.refused, "warnings": "; ".join(m.warnings),
            }
            for group in self.groups
            for m in group.measures
        ]  # fmt: skip
        return pl.DataFrame(rows)


def evaluate(
    trial: MarkedTrial,
    *,
    bootstrap: int = BOOTSTRAP,
    seed: int = 1,
    times: Sequence[float] | None = None,
    horizon: float | None = None,
    joint: bool = False,
    transform: Transform | None = None,
    confidence: float = 0.95,
    progress: Progress | None = None,
) -> Evaluation:
    """Every measure, with the marker's latest value on the scale `transform` (default: that of `scale_of`).

    `times`: landmarks in years (default: `usual_landmarks`). `horizon`: years, of the mediation analyses
    (default: as `dynamic_path`). `joint`: the joint model too, in which the mean of each arm may bend at the
    landmarks; it takes longer than all the others. Raises UserError for fewer than 20 bootstrap samples, bad
    landmarks or horizon, a scale that the marker has no values on; whatever the data do not allow is refused
    in the measures."""
    followed = float(trial.time.max(initial=0.0))
    if horizon is not None and horizon > followed:
        raise UserError(f"the horizon of year {horizon:g} lies beyond the follow-up of {followed:.1f} years")
    if bootstrap < FEWEST_SAMPLES:
        raise UserError(f"a bootstrap needs at least {FEWEST_SAMPLES} samples, not {bootstrap}")
    say: Progress = progress if progress is not None else lambda words, share: None
    scale = scale_of(trial) if transform is None else transform
    usual = usual_landmarks(trial) if times is None else tuple(times)
    say("criteria and expectation", 0.0)
    criteria = prentice(trial, transform=scale, confidence=confidence)
    expected = expected_hazard_ratio(trial, transform=scale, confidence=confidence)
    moments = landmarks(trial, usual, transform=scale, confidence=confidence)
    individual = individual_level(trial, transform=scale, confidence=confidence)
    units = trial_level(unit_effects(trial, transform=scale), confidence=confidence)
    say("proportion explained", 0.1)
    by_lin = lin(trial, transform=scale, bootstrap=bootstrap, seed=seed, confidence=confidence)
    by_freedman = freedman(trial, transform=scale, bootstrap=bootstrap, seed=seed, confidence=confidence)
    say("mediation", 0.5)
    through = mediation(
        trial, horizon=horizon, transform=scale, bootstrap=bootstrap, seed=seed, confidence=confidence
    )
    at_once: tuple[Measure, ...] = ()
    if joint:
        from equipoise.analyse.joint import joint_measures

        say("joint model", 0.8)
        at_once = joint_measures(trial, transform=scale, bends=usual, confidence=confidence)
    say("evaluated", 1.0)
    return Evaluation(
        trial, scale, bootstrap, seed, criteria, expected, moments, by_lin, by_freedman, individual, units,
        through, at_once,
    )  # fmt: skip


def scale_of(trial: MarkedTrial) -> Transform:
    """Counts and concentrations by their logarithm to base 2; what is a logarithm already, or goes below
    zero, as it is."""
    known = trial.value[~np.isnan(trial.value)]
    if trial.marker_unit.startswith("log10") or not len(known) or known.min() < 0 or not (known > 0).any():
        return "as is"
    return "log2"


def usual_landmarks(trial: MarkedTrial) -> tuple[float, ...]:
    """The first, second and third year, as far as half of the participants are followed so long; half of the
    median follow-up where that is below a year."""
    middle = float(np.median(trial.time)) if trial.participants else 0.0
    years = tuple(float(year) for year in (1, 2, 3) if year <= middle)
    return years if years else (middle / 2,)
