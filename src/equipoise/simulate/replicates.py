"""Many simulated trials of one protocol: the figures of each, under the names of the results table.

Each trial gives the numbers that are compared with published figures: events, hazard ratios with the plan's
strata, means over follow-up, cycles, disposition, baseline. They are computed straight from what happened,
without a record, by the same definitions as the analysis of one, with one difference, which is named where it
matters: the mean difference over follow-up is that of the participants' own means, where the analysis of a
single trial fits a mixed model."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Container, Iterable, Mapping
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from equipoise.analyse.survival import cox_binary, logrank_binary
from equipoise.errors import UserError
from equipoise.protocol import criteria
from equipoise.protocol.model import Endpoint, Protocol
from equipoise.protocol.quantities import DAYS_PER_YEAR
from equipoise.simulate.assemble import event_terms
from equipoise.simulate.enrolment import Enrolment, enrol
from equipoise.simulate.plans import DialChoice, Setup, prepare
from equipoise.simulate.progress import Progress, silent
from equipoise.simulate.runs import checked_seed, checked_trial, in_order, walk_everybody
from equipoise.simulate.trial import COMPLETED, DIED, LOST, OD, WITHDREW, Outcomes

CLEAR_OF_A_CYCLE = 30
"""Days from the start of the last cycle from which a measurement counts as clear of it."""
_NEVER = np.iinfo(np.int64).max

Column = NDArray[Any]
Figures = dict[str, float]


def replicates(
    protocol: Protocol,
    trials: int,
    seed: int,
    dials: DialChoice = None,
    threads: int | None = None,
    progress: Progress | None = None,
    first: int = 0,
    participants: int | None = None,
) -> pl.DataFrame:
    """Simulate the trials number `first` .. `first` + `trials` - 1 and give the figures of each.

    One row per trial, in order. Columns: `trial`, then figures named "analysis|group|parameter|statistic" as
    in the results table (docs/results.md), Float64; a figure that does not exist in one trial (no events) is
    NaN. Trial k here is the trial that `equipoise.simulate.trial` simulates with the same seed and trial=k.
    `participants`, `dials`: as there. Raises UserError when the protocol cannot be simulated."""
    return simulate_setup(prepare(protocol, dials), trials, seed, threads, progress, first, participants)


def simulate_setup(
    setup: Setup,
    trials: int,
    seed: int,
    threads: int | None = None,
    progress: Progress | None = None,
    first: int = 0,
    participants: int | None = None,
) -> pl.DataFrame:
    """As `replicates`, of a protocol that is prepared already (with another population, say)."""
    if isinstance(trials, bool) or not isinstance(trials, int) or trials < 1:
        raise UserError(f"the number of trials must be a whole number above 0, not {trials}")
    seed, first = checked_seed(seed), checked_trial(first)
    count = threads if threads is not None else os.cpu_count() or 1
    tell = progress if progress is not None else silent

    def one(number: int) -> Figures:
        enrolment = enrol(setup, seed, number, participants)
        happened = walk_everybody(setup, enrolment, seed, number)
        return figures(setup, enrolment, happened, seed, number)

    rows: list[Figures] = []
    tell("trials", 0, trials)
    for row in in_order(one, range(first, first + trials), count):
        rows.append(row)
        tell("trials", len(rows), trials)
    names = list(dict.fromkeys(name for row in rows for name in row))
    return pl.DataFrame(
        {
            "trial": np.arange(first, first + trials, dtype=np.int64),
            **{name: np.array([row.get(name, math.nan) for row in rows]) for name in names},
        }
    )


# --- the figures of one trial -------------------------------------------------------------------------------


def figures(setup: Setup, enrolment: Enrolment, happened: Outcomes, seed: int, trial: int) -> Figures:
    """The figures of one trial by name."""
    out: Figures = {}
    known = endpoint_times(setup, enrolment, happened, seed, trial)
    _endpoints(out, setup, enrolment, happened, known)
    _measures(out, setup, enrolment, happened)
    _exposure(out, setup, enrolment, happened)
    _disposition(out, setup, enrolment, happened)
    _baseline(out, setup, enrolment)
    return out


def _groups(setup: Setup, enrolment: Enrolment) -> Iterable[tuple[str, Column]]:
    for number, arm in enumerate(setup.arms):
        yield arm.name, enrolment.arm == number


def _comparisons(protocol: Protocol) -> list[tuple[int, int, str]]:
    """Position of an arm, of the reference arm, and the name of the comparison."""
    arms = list(protocol.arms)
    reference = protocol.analysis.reference_arm
    return [
        (number, arms.index(reference), f"{arm} vs {reference}")
        for number, arm in enumerate(arms)
        if arm != reference
    ]


def endpoint_times(
    setup: Setup,
    enrolment: Enrolment,
    happened: Outcomes,
    seed: int,
    trial: int,
    only: Container[str] | None = None,
) -> dict[str, tuple[Column, Column]]:
    """Day (int64) and status (0 censored, 1 event, 2 competing event) of everybody, for each endpoint that
    the population knows (of those named in `only`); rules as in `equipoise.rules.endpoints.derive`."""
    processes = setup.population.file.processes
    disease, death, grade4 = (processes[name].kind for name in ("opportunistic", "death", "grade4"))
    days = {
        disease: _since(happened.diseases[:, 0]),
        death: _since(happened.death),
        grade4: _since(happened.grade4),
    }
    found = {}
    for name, endpoint in setup.protocol.endpoints.items():
        if only is not None and name not in only:
            continue
        kinds = [*endpoint.first_of, *endpoint.competing]
        if not all(kind in days for kind in kinds):
            continue
        mine = dict(days)
        only_new = endpoint.recurrences == "left out" or not _recurrences_count(setup.protocol, disease)
        if disease in endpoint.first_of and (endpoint.terms or only_new):
            mine[disease] = _first_counted(setup, enrolment, happened, endpoint, only_new, seed, trial)
        first = np.minimum.reduce([mine[kind] for kind in endpoint.first_of])
        competing = (
            np.minimum.reduce([days[kind] for kind in endpoint.competing])
            if endpoint.competing
            else np.full(len(first), _NEVER)
        )
        event = (first != _NEVER) & (first <= competing)
        other = (competing != _NEVER) & ~event
        day = np.where(event, first, np.where(other, competing, happened.last_day))
        found[name] = (day, np.where(event, 1, np.where(other, 2, 0)))
    return found


def _since(day: Column) -> Column:
    return np.where(day < 0, _NEVER, day)


def _recurrences_count(protocol: Protocol, kind: str) -> bool:
    return kind not in protocol.events or protocol.events[kind].recurrent_counts


def _first_counted(
    setup: Setup,
    enrolment: Enrolment,
    happened: Outcomes,
    endpoint: Endpoint,
    only_new: bool,
    seed: int,
    trial: int,
) -> Column:
    """First opportunistic disease that the endpoint counts: of its terms, and new where only those count."""
    person, occurrence = np.nonzero(happened.diseases >= 0)
    terms, again = event_terms(setup, enrolment, person, np.full(len(person), OD), occurrence, seed, trial)
    first = np.full(len(happened.last_day), _NEVER)
    for row, term in enumerate(terms):
        if (not endpoint.terms or term in endpoint.terms) and not (only_new and again[row]):
            who = person[row]
            first[who] = min(first[who], happened.diseases[who, occurrence[row]])
    return first


def _endpoints(
    out: Figures,
    setup: Setup,
    enrolment: Enrolment,
    happened: Outcomes,
    known: Mapping[str, tuple[Column, Column]],
) -> None:
    protocol = setup.protocol
    strata = {plan.endpoint: plan.strata for plan in protocol.analysis.time_to_event}
    z = _normal_quantile(0.5 + protocol.analysis.confidence / 2)
    groups = list(_groups(setup, enrolment))
    sizes = {arm: int(mine.sum()) for arm, mine in groups}
    compared = [
        (pair, (enrolment.arm == number) | (enrolment.arm == reference), enrolment.arm == number)
        for number, reference, pair in _comparisons(protocol)
    ]
    for name, (day, status) in known.items():
        event, whole = (status == 1).astype(np.uint8), day.astype(np.int32)
        for arm, mine in groups:
            n, years = int(event[mine].sum()), float(day[mine].sum()) / DAYS_PER_YEAR
            out[f"{name}|{arm}|participants|n"] = float(sizes[arm])
            out[f"{name}|{arm}|events|n"] = float(n)
            out[f"{name}|{arm}|events|percent"] = 100.0 * n / max(1, sizes[arm])
            out[f"{name}|{arm}|person-years|estimate"] = years
            out[f"{name}|{arm}|rate|estimate"] = 100.0 * n / years if years > 0 else math.nan
        stratum, cells = stratum_cells(setup, enrolment, strata.get(name, []))
        for pair, mine, treated in compared:
            data = (whole[mine], event[mine], treated[mine].astype(np.uint8))
            nobody = np.zeros(len(data[0]), np.int32)
            _hazard_ratio(out, f"{name}|{pair}|hazard ratio", data, stratum[mine], cells, z)
            _log_rank(out, f"{name}|{pair}|log-rank", data, nobody, 1)
            if cells > 1:
                _hazard_ratio(out, f"{name}|{pair}|hazard ratio, unstratified", data, nobody, 1, z)
                _log_rank(out, f"{name}|{pair}|stratified log-rank", data, stratum[mine], cells)
    _subgroups(out, setup, enrolment, known, strata, z)


def stratum_cells(setup: Setup, enrolment: Enrolment, names: list[str]) -> tuple[Column, int]:
    """The cell of each participant in the cross-classification of these strata, and the number of cells."""
    cell, cells = np.zeros(enrolment.participants, np.int32), 1
    for name in names:
        place = list(setup.protocol.strata).index(name)
        levels = max(1, len(enrolment.stratum_levels[place]))
        cell = cell * levels + enrolment.levels[:, place].astype(np.int32)
        cells *= levels
    return cell.astype(np.int32), cells


def _hazard_ratio(
    out: Figures, key: str, data: tuple[Column, Column, Column], stratum: Column, cells: int, z: float
) -> None:
    """`data`: day (int32), event and treated (uint8) of those compared; `stratum` of 0 .. cells - 1
    (int32)."""
    beta, se, converged, _ = cox_binary(*data, stratum, cells)
    if not converged:
        beta = se = math.nan
    out[f"{key}|estimate"] = math.exp(beta)
    out[f"{key}|lower"] = math.exp(beta - z * se)
    out[f"{key}|upper"] = math.exp(beta + z * se)
    out[f"{key}|log_se"] = se
    out[f"{key}|p_value"] = _two_sided(beta / se) if se > 0 else math.nan


def _log_rank(
    out: Figures, key: str, data: tuple[Column, Column, Column], stratum: Column, cells: int
) -> None:
    difference, variance = logrank_binary(*data, stratum, cells)
    score = difference / math.sqrt(variance) if variance > 0 else math.nan
    out[f"{key}|chi_square"] = score * score
    out[f"{key}|p_value"] = _two_sided(score)


def _two_sided(z: float) -> float:
    return math.erfc(abs(z) / math.sqrt(2.0)) if not math.isnan(z) else math.nan


def _normal_quantile(u: float) -> float:
    from statistics import NormalDist

    return NormalDist().inv_cdf(u)


def _subgroups(
    out: Figures,
    setup: Setup,
    enrolment: Enrolment,
    known: Mapping[str, tuple[Column, Column]],
    strata: Mapping[str, list[str]],
    z: float,
) -> None:
    protocol = setup.protocol
    endpoint = protocol.analysis.subgroup_endpoint
    if endpoint is None or endpoint not in known:
        return
    day, status = known[endpoint]
    event, whole = (status == 1).astype(np.uint8), day.astype(np.int32)
    wanted = {name for _, levels in setup.screen.subgroups for _, each in levels for name in each.names}
    columns = _columns(setup, enrolment, wanted)
    stratum, cells = stratum_cells(setup, enrolment, strata.get(endpoint, []))
    for label, levels in setup.screen.subgroups:
        for level, expression in levels:
            if not all(name in columns for name in expression.names):
                continue
            needed = {name: columns[name] for name in expression.names}
            inside = criteria.evaluate_columns(expression, needed) == 1
            for number, reference, pair in _comparisons(protocol):
                mine = inside & ((enrolment.arm == number) | (enrolment.arm == reference))
                data = (whole[mine], event[mine], (enrolment.arm[mine] == number).astype(np.uint8))
                key = f"subgroup:{label}|{pair}|{level}: hazard ratio"
                _hazard_ratio(out, key, data, stratum[mine], cells, z)


def _columns(setup: Setup, enrolment: Enrolment, wanted: Container[str]) -> dict[str, Column]:
    """What replicate trials know of everybody at baseline, as columns of the criteria language, if wanted."""
    people = enrolment.people
    known: dict[str, Callable[[], Column]] = {
        setup.count_item: lambda: people.baseline,
        "age": lambda: people.age,
        "prior_aids": lambda: people.prior_aids.astype(np.int8),
        "cd4_nadir": lambda: np.round(people.nadir),
        "sex": lambda: np.array(["male", "female"], dtype=object)[people.female],
        "country": lambda: np.array(_countries(setup), dtype=object)[enrolment.country[enrolment.position]],
    }
    columns = {
        name: column() for name, column in known.items() if name in setup.protocol.items and name in wanted
    }
    for place, (name, item, _) in enumerate(setup.screen.strata):
        if item is None and name in wanted:
            names = np.array(enrolment.stratum_levels[place], dtype=object)
            columns[name] = names[enrolment.levels[:, place]]
    return columns


def _countries(setup: Setup) -> list[str]:
    simulation = setup.protocol.simulation
    return [] if simulation is None else list(simulation.accrual)


# --- measures -----------------------------------------------------------------------------------------------


def _measures(out: Figures, setup: Setup, enrolment: Enrolment, happened: Outcomes) -> None:
    """Mean over follow-up: each participant's mean over the measurements after randomisation, then over
    people."""
    for item, sums, counts in (
        (setup.count_item, happened.count_sum, happened.counts),
        (setup.rna_item, happened.rna_sum, happened.rnas),
    ):
        if item not in setup.protocol.items:
            continue
        means: dict[int, tuple[float, float, int]] = {}
        for number, arm in enumerate(setup.arms):
            mine = (enrolment.arm == number) & (counts > 0)
            own = sums[mine] / counts[mine]
            n = len(own)
            mean = float(own.mean()) if n else math.nan
            sd = float(own.std(ddof=1)) if n > 1 else math.nan
            means[number] = (mean, sd, n)
            key = f"{item}|{arm.name}|mean over follow-up"
            out[f"{key}|n"] = float(n)
            out[f"{key}|estimate"] = mean
            out[f"{key}|sd"] = sd
            out[f"{key}|se"] = sd / math.sqrt(n) if n else math.nan
        for number, reference, pair in _comparisons(setup.protocol):
            one, other = means[number], means[reference]
            se = math.sqrt(one[1] ** 2 / max(one[2], 1) + other[1] ** 2 / max(other[2], 1))
            for parameter in ("difference of means over follow-up", "mean difference over follow-up"):
                out[f"{item}|{pair}|{parameter}|estimate"] = one[0] - other[0]
                out[f"{item}|{pair}|{parameter}|se"] = se
    _landmarks(out, setup, enrolment, happened)


def _landmarks(out: Figures, setup: Setup, enrolment: Enrolment, happened: Outcomes) -> None:
    item = setup.count_item
    for place, name in enumerate(setup.landmarks):
        value = happened.at_landmark[:, place]
        change = value - enrolment.people.baseline
        since = happened.landmark_cycle[:, place]
        for arm, mine in _groups(setup, enrolment):
            _describe(out, f"{item}|{arm}|{name}", value[mine])
            _describe(out, f"{item}|{arm}|{name} change", change[mine])
            clear = mine & (since >= CLEAR_OF_A_CYCLE)
            if clear.any():
                key = f"{item}|{arm}|{name} change, {CLEAR_OF_A_CYCLE} days after a cycle"
                _describe(out, key, change[clear])
        for number, reference, pair in _comparisons(setup.protocol):
            one, other = value[enrolment.arm == number], value[enrolment.arm == reference]
            out[f"{item}|{pair}|{name} difference|estimate"] = _mean(one) - _mean(other)


def _mean(values: Column) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else math.nan


def _describe(out: Figures, key: str, values: Column) -> None:
    known = values[~np.isnan(values)]
    out[f"{key}|n"] = float(len(known))
    if len(known):
        q1, median, q3 = _quartiles(known)
        out[f"{key}|mean"] = float(known.mean())
        out[f"{key}|sd"] = float(known.std(ddof=1)) if len(known) > 1 else math.nan
        out[f"{key}|median"], out[f"{key}|q1"], out[f"{key}|q3"] = median, q1, q3


def _quartiles(values: Column) -> tuple[float, float, float]:
    """Quartiles by linear interpolation between order statistics (definition 7 of Hyndman and Fan 1996)."""
    ordered = np.sort(values)
    places = [share * (len(ordered) - 1) for share in (0.25, 0.5, 0.75)]
    found = []
    for place in places:
        low = int(place)
        high = min(low + 1, len(ordered) - 1)
        found.append(float(ordered[low] + (place - low) * (ordered[high] - ordered[low])))
    return found[0], found[1], found[2]


# --- exposure, disposition, baseline ------------------------------------------------------------------------


def _exposure(out: Figures, setup: Setup, enrolment: Enrolment, happened: Outcomes) -> None:
    for number, arm in enumerate(setup.arms):
        if arm.regimen is None:
            continue
        mine = enrolment.arm == number
        cycles = happened.cycles[mine].astype(np.float64)
        n = max(1, len(cycles))
        _describe(out, f"exposure|{arm.name}|cycles per participant", cycles)
        out[f"exposure|{arm.name}|cycles|total"] = float(cycles.sum())
        out[f"exposure|{arm.name}|participants starting cycles|percent"] = (
            100.0 * float((cycles > 0).sum()) / n
        )
        for least in range(1, 7):
            share = 100.0 * float((cycles >= least).sum()) / n
            out[f"exposure|{arm.name}|participants with at least {least} cycles|percent"] = share
        for parameter, column in (("escalation", happened.escalations), ("reduction", happened.reductions)):
            share = 100.0 * float((column[mine] > 0).sum()) / n
            out[f"exposure|{arm.name}|participants with {parameter}|percent"] = share


def _disposition(out: Figures, setup: Setup, enrolment: Enrolment, happened: Outcomes) -> None:
    everybody = np.full(enrolment.participants, True)
    for group, mine in [*_groups(setup, enrolment), ("all", everybody)]:
        n = max(1, int(mine.sum()))
        out[f"disposition|{group}|randomised|n"] = float(mine.sum())
        for parameter, code in (
            ("completed", COMPLETED),
            ("died", DIED),
            ("lost to follow-up", LOST),
            ("withdrew", WITHDREW),
        ):
            count = float((happened.status[mine] == code).sum())
            out[f"disposition|{group}|{parameter}|n"] = count
            out[f"disposition|{group}|{parameter}|percent"] = 100.0 * count / n
        years = happened.last_day[mine] / DAYS_PER_YEAR
        out[f"disposition|{group}|observation|median"] = float(np.median(years)) if len(years) else math.nan
        out[f"disposition|{group}|observation|mean"] = float(years.mean()) if len(years) else math.nan
        out[f"disposition|{group}|observation|total"] = float(years.sum())
    out["screening|all|screened|n"] = float(len(enrolment.eligible))


def _baseline(out: Figures, setup: Setup, enrolment: Enrolment) -> None:
    items = setup.protocol.items
    columns = _columns(setup, enrolment, ("age", setup.count_item, "cd4_nadir", "prior_aids"))
    shares = {"prior_aids: yes": columns["prior_aids"]} if "prior_aids" in columns else {}
    if "sex" in items:
        shares["sex: female"] = enrolment.people.female
    everybody = np.full(enrolment.participants, True)
    for group, mine in [*_groups(setup, enrolment), ("all", everybody)]:
        for item in ("age", setup.count_item, "cd4_nadir"):
            if item in columns:
                _describe(out, f"baseline|{group}|{item}", columns[item][mine])
        n = max(1, int(mine.sum()))
        for parameter, column in shares.items():
            count = float(column[mine].sum())
            out[f"baseline|{group}|{parameter}|n"] = count
            out[f"baseline|{group}|{parameter}|percent"] = 100.0 * count / n
    if "country" in items:
        counts = np.bincount(enrolment.country[enrolment.position], minlength=len(_countries(setup)))
        for country, number in zip(_countries(setup), counts.tolist(), strict=True):
            out[f"baseline|all|country: {country}|n"] = float(number)
