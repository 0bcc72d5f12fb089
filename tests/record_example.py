"""A small invented trial and a record of it, made by hand, for the tests of the record."""

from __future__ import annotations

from datetime import date

import polars as pl

from equipoise.protocol import Protocol, loads, sha256

PROTOCOL_TEXT = """
equipoise: 1
protocol: Small
title: A small invented trial
version: "1"
indication: HIV
background: Only to test the record.
design: {phase: II, allocation: randomised, masking: open label, comparison: superiority}
items:
  age: {label: Age, unit: years, collect: [screening]}
  sex: {label: Sex, type: category, categories: [female, male], collect: [screening]}
  cd4:
    {label: CD4 count, unit: cells/mm3, range: [0, 3000], collect: [screening, baseline, visits]}
  hiv_rna:
    {label: HIV RNA, unit: copies/mL, range: [0, 10000000], detection_limit: 50, collect: [baseline, visits]}
  pregnant: {label: Pregnant, type: boolean, collect: [screening, as it happens]}
strata:
  cd4_stratum: {label: CD4 at entry, levels: {low: "cd4 < 200", high: "cd4 >= 200"}}
eligibility:
  within: 45 days
  criteria:
    - {id: I1, text: Adult, require: age >= 18}
    - {id: E1, text: Not pregnant, exclude: pregnant}
arms:
  il2: {label: IL-2, regimens: [aldesleukin]}
  control: {label: Control, regimens: [], control: true}
randomization: {ratio: {il2: 1, control: 1}, method: permuted blocks, blocks: [4], strata: [cd4_stratum]}
regimens:
  aldesleukin:
    kind: cycles
    drug: aldesleukin
    cycle: {dose: 4.5 MIU, times_per_day: 2, days: 5, route: subcutaneous}
    ceiling: 7.5 MIU
    floor: 1.5 MIU
    minimum_gap: 8 weeks
    maximum_cycles: 3
    induction: {cycles: 3, every: 8 weeks, start_within: 2 weeks}
    hold_while: [{id: pregnancy, text: Pregnant, when: pregnant}]
visits:
  - id: entry
    label: Entry
    period: treatment
    at: [day 0]
    window: {early: 0 days, late: 0 days}
    collect: [cd4]
  - id: quarterly
    label: Every four months
    period: follow-up
    every: 4 months
    from: day 0
    window: {early: 2 weeks, late: 4 weeks}
    collect: [cd4, hiv_rna]
events:
  death: {label: Death, definition: Any cause, terminal: true}
  od: {label: Opportunistic disease, definition: A listed condition, terms: [candidiasis]}
endpoints:
  primary: {label: Disease or death, first_of: [od, death], role: primary}
analysis:
  reference_arm: control
  time_to_event: [{endpoint: primary, strata: [cd4_stratum]}]
  measures: [{measure: cd4, by: 4 months}]
size: {planned: 4, simulated: 4}
calendar: {first_randomization: 1999-01-01, last_randomization: 2000-01-01, end_of_follow_up: 2003-01-01}
monitoring: {committee: None}
simulation: {population: hiv_il2, baseline: small, accrual: {USA: 2, Spain: 2}, sites: 2}
"""

_FEBRUARY_AND_MARCH = (date(1999, 2, 1), date(1999, 3, 1))


def protocol() -> Protocol:
    """The invented trial."""
    return loads(PROTOCOL_TEXT, "small.yaml")


def tables() -> dict[str, pl.DataFrame]:
    """Four participants: 1 and 3 have interleukin-2, 3 dies on day 200, 4 is lost on day 130."""
    mine = sha256(protocol())
    numbers = [1, 2, 3, 4]
    return {
        "participants": pl.DataFrame(
            {
                "participant": numbers,
                "site": [1, 2, 1, 2],
                "country": ["USA", "Spain", "USA", "Spain"],
                "arm": ["il2", "control", "il2", "control"],
                "screened_date": [date(1999, month, day) for month, day in ((1, 4), (1, 5), (2, 1), (3, 1))],
                "randomized_date": [
                    date(1999, month, day) for month, day in ((1, 20), (1, 25), (2, 20), (3, 9))
                ],
                "age": [34.5, 41.0, 52.25, 29.0],
                "sex": ["male", "female", "male", "male"],
                "stratum_cd4_stratum": ["low", "high", "high", "low"],
            }
        ),
        "screening": pl.DataFrame(
            {
                "candidate": [1, 2, 3, 4, 5],
                "date": [date(1999, 1, 4), date(1999, 1, 5), date(1999, 1, 6), *_FEBRUARY_AND_MARCH],
                "country": ["USA", "Spain", "USA", "USA", "Spain"],
                "site": [1, 2, 1, 1, 2],
                "eligible": ["yes", "yes", "no", "yes", "yes"],
                "failed": ["", "", "E1", "", ""],
                "participant": [1, 2, None, 3, 4],
            }
        ),
        "baseline": pl.DataFrame(
            {
                "participant": [n for n in numbers for _ in range(2)],
                "item": ["cd4", "sex"] * 4,
                "value": [150.0, None, 250.0, None, 200.0, None, 199.0, None],
                "text": [None, "male", None, "female", None, "male", None, "male"],
            }
        ),
        "visits": pl.DataFrame(
            {
                "participant": [1, 1, 1, 2, 3, 4],
                "visit": ["day 0", "month 4", "month 8", "day 0", "month 4", "month 4"],
                "visit_id": ["entry", "quarterly", "quarterly", "entry", "quarterly", "quarterly"],
                "planned_day": [0, 122, 244, 0, 122, 122],
                "day": [0, 125, 290, 0, None, 120],
                "status": ["attended", "attended", "late", "attended", "missed", "attended"],
            }
        ),
        "measurements": pl.DataFrame(
            {
                "participant": [1, 1, 1, 2, 4, 4],
                "day": [0, 125, 125, 0, -3, 120],
                "visit": ["day 0", "month 4", "month 4", "day 0", "screening", "month 4"],
                "item": ["cd4", "cd4", "hiv_rna", "cd4", "cd4", "cd4"],
                "value": [150.0, 310.0, 50.0, 250.0, 199.0, 180.0],
                "unit": ["cells/mm3", "cells/mm3", "copies/mL", "cells/mm3", "cells/mm3", "cells/mm3"],
                "qualifier": [None, None, "<", None, None, None],
            }
        ),
        "decisions": pl.DataFrame(
            {
                "participant": [1, 1, 1, 3],
                "sequence": [1, 2, 3, 1],
                "day": [0, 56, 112, 0],
                "regimen": ["aldesleukin"] * 4,
                "action": ["start", "reduce", "hold", "start"],
                "dose": [4.5, 3.0, None, 4.5],
                "unit": ["MIU"] * 4,
                "reason": ["INDUCTION_DUE", "TOXICITY_REDUCES", "ON_HOLD", "INDUCTION_DUE"],
                "not_before": [0, 56, None, 0],
                "unknown": [""] * 4,
                "accepted": ["yes", "yes", "not asked", "no"],
                "measure": [150.0, 180.0, 180.0, 200.0],
                "measured_day": [0, 50, 50, 0],
                "goal": [275.0, 275.0, 275.0, 375.0],
                "baseline": [150.0, 150.0, 150.0, 200.0],
                "cycles": [0, 1, 2, 0],
                "toxicity": [0, 3, 0, 0],
                "protocol_sha256": [mine] * 4,
            }
        ),
        "cycles": pl.DataFrame(
            {
                "participant": [1, 1],
                "regimen": ["aldesleukin"] * 2,
                "cycle": [1, 2],
                "day": [2, 58],
                "phase": ["induction"] * 2,
                "dose": [4.5, 3.0],
                "unit": ["MIU"] * 2,
                "administrations_planned": [10, 10],
                "administrations_given": [10, 2],
                "decision": [1, 2],
            }
        ),
        "injections": pl.DataFrame(
            {
                "participant": [1] * 12,
                "regimen": ["aldesleukin"] * 12,
                "cycle": [1] * 10 + [2] * 2,
                "number": [*range(1, 11), 1, 2],
                "day": [2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 58, 58],
                "given": [True] * 12,
            }
        ),
        "events": pl.DataFrame(
            {
                "participant": [1, 3, 3],
                "event": [1, 1, 2],
                "day": [40, 150, 200],
                "kind": ["od", "od", "death"],
                "term": ["candidiasis", "candidiasis", "other"],
                "grade": [3, None, 5],
                "serious": [False, False, True],
                "attributed": [True, False, None],
                "cycle": [1, None, None],
                "adjudication": ["confirmed"] * 3,
            }
        ),
        "holds": pl.DataFrame(
            {"participant": [1], "hold": ["pregnancy"], "from_day": [100], "to_day": [300]}
        ),
        "disposition": pl.DataFrame(
            {
                "participant": numbers,
                "day": [1000, 995, 200, 130],
                "status": ["completed", "completed", "died", "lost to follow-up"],
            }
        ),
    }  # fmt: skip


def many(rows: int, chunk: int) -> list[pl.DataFrame]:
    """Measurements of participant 1 on consecutive days, in chunks, with a column that is empty at first."""
    days = pl.int_range(0, rows, eager=True)
    frame = pl.DataFrame({"day": days}).select(
        pl.lit(1).cast(pl.Int32).alias("participant"),
        "day",
        pl.concat_str(pl.lit("month "), pl.col("day") // 30).alias("visit"),
        pl.lit("hiv_rna").alias("item"),
        pl.when(pl.col("day") < rows - 1000).then(50.5 + pl.col("day") % 977).otherwise(50.0).alias("value"),
        pl.lit("copies/mL").alias("unit"),
        pl.when(pl.col("day") < rows - 1000).then(None).otherwise(pl.lit("<")).alias("qualifier"),
    )
    return [frame.slice(start, chunk) for start in range(0, rows, chunk)]
