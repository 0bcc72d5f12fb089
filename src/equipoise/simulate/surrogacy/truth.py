"""The true share of a treatment's effect that goes through the cells it makes.

In a simulated trial the truth can be looked up. The same virtual people, with the same chances, are
walked in both arms; then once more in the arm compared with the cells that the drug made switched off
(they are counted but protect nobody), and once with its harm switched off. No measurement, decision or
dose changes by that, only what happens to people. So

    total     the arm compared as it is            against the reference arm
    direct    the arm compared, its cells off      against the reference arm
    mediated  total - direct, on the scale of the log hazard ratio and of the risk at the horizon
    share     mediated / total

The share is not confined to 0 to 1: cells that protect beside a harm that undoes it have a share above 1.
It is undefined where there is next to no total effect (`NEGLIGIBLE`). The log hazard ratio is that of the
planned Cox model (its strata and follow-up) in a population without end; the risk is Kaplan-Meier's, or
Aalen-Johansen's where events compete. Direct and mediated effects are those of VanderWeele & Vansteelandt
(Epidemiology 2011), with the intervention on what the cells do, not on their count."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from equipoise.analyse.competing import aalen_johansen
from equipoise.analyse.survival import cox_binary
from equipoise.errors import UserError
from equipoise.protocol.quantities import DAYS_PER_YEAR
from equipoise.record import Record
from equipoise.simulate.enrolment import Enrolment, enrol
from equipoise.simulate.plans import Setup, prepare
from equipoise.simulate.replicates import stratum_cells
from equipoise.simulate.surrogacy.fates import Comparison, Times, all_in, comparison, times

Floats = NDArray[np.float64]

PEOPLE = 20_000
"""Virtual people, each walked in both arms."""
SEED = 20_010_101
"""Of the population in which the truth is looked up: other people than those of any trial."""
GROUPS = 20
"""Groups of people that are left out in turn, for the Monte Carlo error (delete-a-group jackknife)."""
NEGLIGIBLE = 0.01
"""A total effect on the log hazard ratio nearer to zero than this (or than three Monte Carlo errors) has no
share."""


@dataclass(frozen=True)
class Quantity:
    """A number of the truth, and its Monte Carlo standard error."""

    value: float
    error: float


@dataclass(frozen=True)
class Effect:
    """An effect of the treatment: log hazard ratio, and difference of the risks at the horizon."""

    log_hazard_ratio: Quantity
    risk_difference: Quantity


@dataclass(frozen=True)
class Truth:
    """What is true in the virtual population. `horizon`: years. Shares are NaN where `no_share` says why."""

    people: int
    horizon: float
    reference_risk: Quantity
    total: Effect
    direct: Effect
    """With the cells off."""
    without_harm: Effect
    """With the harm off: what the cells do by themselves."""
    mediated: Effect
    share: Quantity
    """Of the log hazard ratio."""
    share_of_risk: Quantity
    no_share: str
    no_share_of_risk: str
    """Why there is no share (of risk), in words; empty where there is one."""


def truth(
    compared: Comparison, *, horizon: float | None = None, people: int = PEOPLE, seed: int = SEED
) -> Truth:
    """The truth of a comparison under the dials of its setup.

    `horizon`: years at which risks are compared (default: `usual_horizon`). Raises UserError for fewer than
    200 people or a horizon beyond all follow-up."""
    if people < 200:
        raise UserError(f"the truth needs at least 200 virtual people, not {people}")
    enrolment = enrol(compared.setup, seed, 0, people)
    years = usual_horizon(enrolment) if horizon is None else horizon
    longest = float(enrolment.people.end_day.max()) / DAYS_PER_YEAR
    if not 0 < years <= longest:
        raise UserError(f"the horizon must lie within the follow-up of {longest:.1f} years, not at {years:g}")
    dials = compared.setup.dials
    treated, control = all_in(enrolment, compared.other), all_in(enrolment, compared.reference)
    cells_off = compared.under(dials._replace(phi=0.0))
    harm_off = compared.under(dials._replace(rho_acute=0.0, rho_chronic=0.0))
    fates = [
        times(compared, control, seed, 0),
        *(times(each, treated, seed, 0) for each in (compared, cells_off, harm_off)),
    ]
    stratum, cells = stratum_cells(compared.setup, enrolment, list(compared.strata))
    day = years * DAYS_PER_YEAR
    # people are numbered in order of entry: every twentieth, so that each group is a sample of everybody
    group = np.arange(enrolment.participants) % GROUPS
    everybody = _figures(fates, stratum, cells, day, group >= 0)
    left_out = np.array([_figures(fates, stratum, cells, day, group != g) for g in range(GROUPS)])
    spread = left_out - left_out.mean(axis=0)
    errors = np.sqrt((GROUPS - 1) / GROUPS * (spread**2).sum(axis=0))
    found = [Quantity(float(v), float(e)) for v, e in zip(everybody, errors, strict=True)]
    total = found[1]
    none = ""
    if abs(total.value) < max(NEGLIGIBLE, 3 * total.error) or math.isnan(total.value):
        none = "the treatment has next to no effect in truth, so that no share of it can be taken"
    no_risk, risk = none, found[2]
    if not none and not abs(risk.value) > 3 * risk.error:
        no_risk = f"treatment changes the risk by year {years:.2f} by next to nothing in truth"
    nothing = Quantity(math.nan, math.nan)
    return Truth(
        enrolment.participants,
        years,
        found[0],
        Effect(found[1], found[2]),
        Effect(found[3], found[4]),
        Effect(found[5], found[6]),
        Effect(found[7], found[8]),
        nothing if none else found[9],
        nothing if no_risk else found[10],
        none,
        no_risk,
    )


def usual_horizon(enrolment: Enrolment) -> float:
    """Whole years for which at least half of the participants were to be followed; the median of that time
    where it is below one year."""
    middle = float(np.median(enrolment.people.end_day)) / DAYS_PER_YEAR
    return float(math.floor(middle)) if middle >= 1 else middle


def _figures(
    fates: list[Times], stratum: NDArray[np.int32], cells: int, day: float, who: NDArray[np.bool_]
) -> Floats:
    """Risk in the reference arm; then total, direct, without harm and mediated, each as log hazard ratio and
    risk difference; then the two shares."""
    control = fates[0]
    base = _risk(control, who, day)
    pairs = [
        (_log_hazard_ratio(f, control, stratum, cells, who), _risk(f, who, day) - base) for f in fates[1:]
    ]
    mediated = (pairs[0][0] - pairs[1][0], pairs[0][1] - pairs[1][1])
    shares = [part / whole if whole else math.nan for part, whole in zip(mediated, pairs[0], strict=True)]
    return np.array([base, *(x for pair in (*pairs, mediated) for x in pair), *shares])


def _risk(fate: Times, who: NDArray[np.bool_], day: float) -> float:
    return aalen_johansen(fate.day[who], fate.status[who]).at(day)[0]


def _log_hazard_ratio(
    treated: Times, control: Times, stratum: NDArray[np.int32], cells: int, who: NDArray[np.bool_]
) -> float:
    days = np.concatenate((treated.day[who], control.day[who])).astype(np.int32)
    event = (np.concatenate((treated.status[who], control.status[who])) == 1).astype(np.uint8)
    arm = np.repeat(np.array([1, 0], np.uint8), int(who.sum()))
    beta, _, converged, _ = cox_binary(days, event, arm, np.tile(stratum[who], 2), cells)
    return float(beta) if converged else math.nan


# --- of a record --------------------------------------------------------------------------------------------


def setup_of(record: Record) -> Setup:
    """The simulation that made a record, ready to be run again.

    Raises UserError where nobody can know it: real participants, or a virtual population that is no
    longer the one that the record was made with."""
    made = record.manifest.provenance
    if made.kind != "simulated":
        raise UserError("these participants are real: nobody knows the truth about them")
    setup = prepare(
        record.protocol, {"preset": made.preset, **made.dials} if made.preset else dict(made.dials)
    )
    if setup.population_sha256 != made.population_sha256:
        raise UserError(
            f"the virtual population {made.population} is not the one that this record was made with: the "
            "truth behind it cannot be looked up; simulate the trial again"
        )
    return setup


def truth_of(
    record: Record,
    *,
    arm: str | None = None,
    endpoint: str | None = None,
    horizon: float | None = None,
    people: int = PEOPLE,
) -> Truth:
    """The truth behind a simulated record. Raises UserError as `setup_of`, `comparison` and `truth` do."""
    return truth(comparison(setup_of(record), arm, endpoint), horizon=horizon, people=people)
