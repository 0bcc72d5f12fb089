"""An invented record of any size under a bundled protocol, for the tests and benchmarks of the analysis.

Nothing here is biology: values are drawn so that every table has rows of every kind. What an analysis makes
of them is checked against the tables themselves.
"""

from __future__ import annotations

from datetime import date

import numpy as np
import polars as pl

from equipoise.protocol import Protocol, sha256
from equipoise.record import Provenance, Record

VISIT_DAYS = tuple(range(61, 2900, 122))


def tables(protocol: Protocol, n: int, seed: int = 1) -> dict[str, pl.DataFrame]:
    """The tables of `n` participants, allocated to the arms in turn."""
    rng = np.random.default_rng(seed)
    number = np.arange(1, n + 1, dtype=np.int32)
    arms = np.array(list(protocol.arms))
    arm = arms[(number - 1) % len(arms)]
    treated = np.isin(
        arm,
        [
            a
            for a, g in protocol.arms.items()
            if any(protocol.regimens[r].kind == "cycles" for r in g.regimens)
        ],
    )
    countries = np.array(list(protocol.simulation.accrual) if protocol.simulation else ["Elsewhere"])
    country = countries[rng.integers(0, len(countries), n)]
    sex = np.where(rng.random(n) < 0.17, "female", "male")
    age = np.round(rng.normal(42, 9, n).clip(18, 80), 1)
    cd4 = np.round(rng.uniform(60, 295, n))
    strata: dict[str, np.ndarray] = {}
    for name, stratum in protocol.strata.items():
        if stratum.levels is None:
            strata[f"stratum_{name}"] = country if stratum.item == "country" else sex
        else:
            levels = np.array(list(stratum.levels))
            strata[f"stratum_{name}"] = levels[
                ((cd4 - 60) / 236 * len(levels)).astype(int).clip(0, len(levels) - 1)
            ]
    end = rng.integers(1500, 2900, n)
    died = rng.random(n) < 0.1
    lost = ~died & (rng.random(n) < 0.1)
    withdrew = ~died & ~lost & (rng.random(n) < 0.02)
    end = np.where(died | lost | withdrew, rng.integers(30, 2800, n), end)
    status = np.select([died, lost, withdrew], ["died", "lost to follow-up", "withdrew"], "completed")
    out = {
        "participants": pl.DataFrame(
            {
                "participant": number, "site": rng.integers(1, 20, n), "country": country, "arm": arm,
                "screened_date": [date(1999, 6, 1)] * n, "randomized_date": [date(1999, 7, 1)] * n,
                "age": age, "sex": sex, **strata,
            }
        ),
        "disposition": pl.DataFrame({"participant": number, "day": end, "status": status}),
    }  # fmt: skip
    # screening: half as many again, failing one or two criteria, some unknown, some changing their minds
    criteria = [c.id for c in protocol.eligibility.criteria]
    extra = n // 2
    failed = [
        ";".join(
            criteria[k] for k in sorted(set(rng.integers(0, len(criteria), rng.integers(0, 3)).tolist()))
        )
        for _ in range(extra)
    ]
    eligible = ["no" if f else ("unknown" if rng.random() < 0.5 else "yes") for f in failed]
    out["screening"] = pl.DataFrame(
        {
            "candidate": np.arange(1, n + extra + 1), "date": [date(1999, 6, 1)] * (n + extra),
            "country": np.concatenate([country, countries[rng.integers(0, len(countries), extra)]]),
            "site": rng.integers(1, 20, n + extra), "eligible": ["yes"] * n + eligible,
            "failed": [""] * n + failed, "participant": [*number.tolist(), *([None] * extra)],
        }
    )  # fmt: skip
    items = {
        "cd4": cd4, "hiv_rna": 10 ** rng.uniform(1.7, 3.9, n), "cd4_nadir": np.round(cd4 * rng.random(n)),
        "prior_aids": (rng.random(n) < 0.3).astype(float), "age": age,
    }  # fmt: skip
    frames = [
        pl.DataFrame({"participant": number, "item": [name] * n, "value": values, "text": [None] * n})
        for name, values in items.items()
        if name in protocol.items
    ]
    if "sex" in protocol.items:
        frames.append(
            pl.DataFrame({"participant": number, "item": ["sex"] * n, "value": [None] * n, "text": sex})
        )
    baseline_types = {"participant": pl.Int32, "item": pl.String, "value": pl.Float64, "text": pl.String}
    out["baseline"] = pl.concat([f.cast(baseline_types) for f in frames])  # type: ignore[arg-type]
    # visits and measurements
    visit = next(v for v in protocol.visits if v.period == "follow-up" or v.every is not None)
    who = np.repeat(number, len(VISIT_DAYS))
    planned = np.tile(np.array(VISIT_DAYS), n)
    due = planned <= np.repeat(end, len(VISIT_DAYS))
    who, planned = who[due], planned[due]
    seen = rng.random(len(who)) < 0.92
    day = np.minimum(planned + rng.integers(-7, 8, len(who)), end[who - 1])
    names = pl.Series("visit", [f"day {d}" for d in planned.tolist()])
    out["visits"] = pl.DataFrame(
        {
            "participant": who, "visit": names, "visit_id": [visit.id] * len(who), "planned_day": planned,
            "day": pl.Series(day).cast(pl.Int32).set(pl.Series(~seen), None),
            "status": np.where(seen, "attended", "missed"),
        }
    )  # fmt: skip
    who, day, names = who[seen], day[seen], names.filter(pl.Series(seen))
    level = rng.normal(0, 60, n)[who - 1]
    gain = np.where(treated[who - 1], 90 * np.exp(-day / 700), 0.0)
    count = (cd4[who - 1] + level + 12 * day / 365.25 + gain + rng.normal(0, 40, len(who))).clip(1, 2900)
    rna = 10 ** np.where(rng.random(len(who)) < 0.7, 1.0, rng.uniform(1.7, 5, len(who)))
    below = rna < 50
    frames = [
        pl.DataFrame(
            {"participant": who, "day": day, "visit": names, "item": ["cd4"] * len(who),
             "value": np.round(count), "unit": [protocol.items["cd4"].unit] * len(who),
             "qualifier": [None] * len(who)},
            schema_overrides={"qualifier": pl.String},
        )
    ]  # fmt: skip
    if "hiv_rna" in protocol.items:
        frames.append(
            pl.DataFrame(
                {"participant": who, "day": day, "visit": names, "item": ["hiv_rna"] * len(who),
                 "value": np.where(below, 50, rna), "unit": [protocol.items["hiv_rna"].unit] * len(who),
                 "qualifier": pl.Series(np.where(below, "<", "")).replace("", None)},
            )
        )  # fmt: skip
    out["measurements"] = pl.concat(frames)
    out |= _treatment(protocol, rng, number[treated], end, cd4)
    out["events"] = _events(protocol, rng, number, end, died)
    return out


def _treatment(
    protocol: Protocol, rng: np.random.Generator, number: np.ndarray, end: np.ndarray, cd4: np.ndarray
) -> dict[str, pl.DataFrame]:
    regimen = next(name for name, r in protocol.regimens.items() if r.kind == "cycles")
    cycle = protocol.regimens[regimen].cycle
    assert cycle is not None
    decisions, cycles = [], []
    mine = sha256(protocol)
    for who in number.tolist():
        taken = 0
        for k in range(int(rng.integers(1, 9))):
            day = 60 * k
            if day > end[who - 1]:
                break
            action = ["start", "start", "escalate", "reduce", "wait", "stop"][int(rng.integers(0, 6))]
            dose = {"start": 4.5, "escalate": 6.0, "reduce": 3.0}.get(action)
            accepted = "not asked" if dose is None else ("yes" if rng.random() < 0.7 else "no")
            decisions.append(
                (who, k + 1, day, regimen, action, dose, cycle.dose.unit, "X", None, "", accepted, 200.0,
                 day, cd4[who - 1] + 125, cd4[who - 1], taken, 0, mine)
            )  # fmt: skip
            if accepted == "yes":
                taken += 1
                phase = "induction" if k < 6 else "maintenance"
                given = int(rng.integers(5, cycle.administrations + 1))
                cycles.append(
                    (
                        who,
                        regimen,
                        taken,
                        day,
                        phase,
                        dose,
                        cycle.dose.unit,
                        cycle.administrations,
                        given,
                        k + 1,
                    )
                )
    names = {
        "decisions": ["participant", "sequence", "day", "regimen", "action", "dose", "unit", "reason",
                      "not_before", "unknown", "accepted", "measure", "measured_day", "goal", "baseline",
                      "cycles", "toxicity", "protocol_sha256"],
        "cycles": ["participant", "regimen", "cycle", "day", "phase", "dose", "unit",
                   "administrations_planned", "administrations_given", "decision"],
    }  # fmt: skip
    return {
        "decisions": pl.DataFrame(
            decisions, schema=names["decisions"], orient="row", infer_schema_length=None
        ),
        "cycles": pl.DataFrame(cycles, schema=names["cycles"], orient="row", infer_schema_length=None),
    }


def _events(
    protocol: Protocol, rng: np.random.Generator, number: np.ndarray, end: np.ndarray, died: np.ndarray
) -> pl.DataFrame:
    rows = []
    kinds = [k for k, e in protocol.events.items() if not e.terminal]
    terminal = next(k for k, e in protocol.events.items() if e.terminal)
    for who in number.tolist():
        mine = []
        for kind in kinds:
            terms = protocol.events[kind].terms or ["other"]
            for _ in range(int(rng.poisson(0.15))):
                mine.append(
                    (int(rng.integers(0, end[who - 1] + 1)), kind, terms[int(rng.integers(0, len(terms)))], 4)
                )
        if died[who - 1]:
            mine.append((int(end[who - 1]), terminal, "other", 5))
        for k, (day, kind, term, grade) in enumerate(sorted(mine), start=1):
            rows.append((who, k, day, kind, term, grade, kind == terminal, None, None, "confirmed"))
    return pl.DataFrame(
        rows,
        schema=["participant", "event", "day", "kind", "term", "grade", "serious", "attributed", "cycle",
                "adjudication"],
        orient="row", infer_schema_length=None,
    )  # fmt: skip


def record(protocol: Protocol, n: int, seed: int = 1) -> Record:
    """The tables as a record in memory."""
    return Record.of(protocol, tables(protocol, n, seed), Provenance(seed=seed, data_cut=date(2007, 6, 30)))
