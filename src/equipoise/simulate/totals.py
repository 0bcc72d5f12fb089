"""What the participants of one arm came to, added up for the row of a trial."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from equipoise._compile import njit


class ArmTotals(NamedTuple):
    """Whole numbers over the participants of one arm."""

    participants: int
    days: int
    """Of follow-up."""
    diseases: int
    """Those with an opportunistic disease, and so on."""
    deaths: int
    grade4: int
    cycles: int
    injections: int
    starting: int
    """Those given a cycle, those whose dose was raised, and lowered."""
    escalated: int
    reduced: int


@njit
def arm_totals(
    number, arm, counts, count_sum, last_day, disease, death, grade4, cycles, injections, doses, escalations,
    reductions,
):  # fmt: skip
    """Totals of the arm of that number, of the columns of `Outcomes` (int64[n], count_sum and doses
    float64[n]; disease: the first). arm: int64[n].

    Returns (`ArmTotals`, each one's mean CD4 count over those measured, doses (MIU) of everybody in the
    arm)."""
    n = len(arm)
    means, given = np.empty(n), np.empty(n)
    people = measured = days = diseases = deaths = serious = all_cycles = all_injections = 0
    starting = escalated = reduced = 0
    for i in range(n):
        if arm[i] != number:
            continue
        given[people] = doses[i]
        people += 1
        if counts[i] > 0:
            means[measured] = count_sum[i] / counts[i]
            measured += 1
        days += last_day[i]
        diseases += 1 if disease[i] >= 0 else 0
        deaths += 1 if death[i] >= 0 else 0
        serious += 1 if grade4[i] >= 0 else 0
        all_cycles += cycles[i]
        all_injections += injections[i]
        starting += 1 if cycles[i] > 0 else 0
        escalated += 1 if escalations[i] > 0 else 0
        reduced += 1 if reductions[i] > 0 else 0
    totals = ArmTotals(
        people, days, diseases, deaths, serious, all_cycles, all_injections, starting, escalated, reduced
    )
    return totals, means[:measured], given[:people]
