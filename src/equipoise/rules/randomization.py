"""Which arm: stratified permuted blocks, minimisation with its random element, or simple randomisation.

Nothing here draws a random number: uniform numbers in [0, 1) come in, an arm and the next state come out, so
that recorded inputs replay to the same allocations for ever. Arms are numbered by their place in
`protocol.arms`. The functions of the first part also run compiled; weights, ratios and counts may be tuples
or arrays of whole numbers, one per arm.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from equipoise.errors import UserError
from equipoise.protocol.model import Protocol
from equipoise.rules.truth import NO, UNKNOWN, YES

NOT_ALLOCATED = -1


# --- one draw -----------------------------------------------------------------------------------------------


def weighted_arm(weights: Sequence[int], u: float) -> int:
    """An arm drawn with probability in proportion to its weight; NOT_ALLOCATED when all weights are 0."""
    total = 0
    for weight in weights:
        total += weight
    if total <= 0:
        return NOT_ALLOCATED
    place = min(int(u * total), total - 1)
    arm = 0
    while place >= weights[arm]:
        place -= weights[arm]
        arm += 1
    return arm


def block_size(sizes: Sequence[int], u: float) -> int:
    """The size of the next block: each of the protocol's sizes equally often."""
    return sizes[min(int(u * len(sizes)), len(sizes) - 1)]


def places_in_block(ratio: Sequence[int], size: int, arm: int) -> int:
    """Places of one arm in a new block of `size` (a multiple of the sum of the ratio)."""
    total = 0
    for share in ratio:
        total += share
    return size * ratio[arm] // total


def imbalance(ratio: Sequence[int], counts: Sequence[int], arm: int) -> int:
    """Imbalance over all factors if the next participant went to `arm` (Pocock and Simon, Biometrics
    1975;31:103-15: the range of the arms' marginal totals, summed over factors).

    `counts`: participants so far who share the level of the next one, factor by factor, arm by arm within a
    factor. For unequal ratios totals are compared per unit of the ratio, multiplied out to whole numbers so
    that ties are exact.
    """
    arms = len(ratio)
    scale = 1
    for share in ratio:
        scale *= share
    total = 0
    for factor in range(len(counts) // arms):
        lowest = -1
        highest = 0
        for other in range(arms):
            count = counts[factor * arms + other]
            if other == arm:
                count += 1
            scaled = count * (scale // ratio[other])
            highest = max(highest, scaled)
            if lowest < 0 or scaled < lowest:
                lowest = scaled
        total += highest - lowest
    return total


def arm_probability(
    ratio: Sequence[int], best_arm_probability: float, counts: Sequence[int], arm: int
) -> float:
    """Probability with which minimisation gives `arm` to the next participant.

    The arm with the least imbalance is preferred, chosen in proportion to the ratio when several tie. With
    equal ratios it is taken with `best_arm_probability` and the others share the rest (Pocock and Simon 1975,
    method a). With unequal ratios that probability belongs to the arm with the smallest share, and the others
    follow from the requirement that the ratio is kept on average (biased-coin minimisation: Han, Enas and
    McEntegart, Stat Med 2009;28:3329-46).
    """
    arms = len(ratio)
    total = 0
    smallest = ratio[0]
    for share in ratio:
        total += share
        smallest = min(smallest, share)
    if arms == 1:
        return 1.0
    least = imbalance(ratio, counts, 0)
    for other in range(1, arms):
        least = min(least, imbalance(ratio, counts, other))
    tied = 0
    for other in range(arms):
        if imbalance(ratio, counts, other) == least:
            tied += ratio[other]
    not_preferred = (1.0 - best_arm_probability) / (total - smallest)
    probability = not_preferred * ratio[arm]
    if imbalance(ratio, counts, arm) == least:
        probability += (ratio[arm] / tied) * (1.0 - not_preferred * total)
    return probability


def minimised_arm(ratio: Sequence[int], best_arm_probability: float, counts: Sequence[int], u: float) -> int:
    """The arm that minimisation takes for the uniform number `u`; `counts` as in `imbalance`."""
    arms = len(ratio)
    reached = 0.0
    for arm in range(arms - 1):
        reached += arm_probability(ratio, best_arm_probability, counts, arm)
        if u < reached:
            return arm
    return arms - 1


LOOP_FUNCTIONS: tuple[Callable[..., Any], ...] = (
    weighted_arm,
    block_size,
    places_in_block,
    imbalance,
    arm_probability,
    minimised_arm,
)
"""Every function of this module that the compiled loop may call."""


# --- a whole scheme -----------------------------------------------------------------------------------------


class Scheme(NamedTuple):
    """How the protocol randomises; `ratio` and the arms' numbers follow the order of `protocol.arms`."""

    method: str
    arms: tuple[str, ...]
    ratio: tuple[int, ...]
    blocks: tuple[int, ...]
    best_arm_probability: float
    strata: tuple[str, ...]


State = Mapping[tuple[str, ...], tuple[int, ...]]
"""Permuted blocks: stratum (one level per factor) -> places left in its open block, by arm. Minimisation:
(factor, level) -> participants so far, by arm; with no factor, () -> all participants. Simple: empty."""

EMPTY: State = {}
"""The state before the first participant."""


class Allocation(NamedTuple):
    """`arm` is NOT_ALLOCATED, and the state unchanged, unless the participant may be randomised."""

    arm: int
    state: State
    reason: str


def scheme(protocol: Protocol) -> Scheme:
    """The randomisation of a protocol. Raises UserError when an arm has no share of the ratio."""
    plan = protocol.randomization
    arms = tuple(protocol.arms)
    missing = [arm for arm in arms if arm not in plan.ratio]
    if missing:
        raise UserError(f"{protocol.protocol}: randomization.ratio has no share for {', '.join(missing)}")
    ratio = tuple(plan.ratio[arm] for arm in arms)
    probability = 1.0 if plan.best_arm_probability is None else plan.best_arm_probability
    return Scheme(plan.method, arms, ratio, tuple(plan.blocks or ()), probability, tuple(plan.strata))


def refusal(eligible: int, randomized: int, levels: Sequence[str | None]) -> str:
    """Why nobody is randomised now; empty when nothing stands in the way."""
    if randomized == YES:
        return "already randomised"
    if randomized == UNKNOWN:
        return "it is not known whether the participant is randomised already"
    if eligible == NO:
        return "not eligible"
    if eligible == UNKNOWN:
        return "eligibility is not known"
    if any(level is None for level in levels):
        return "a stratum is not known"
    return ""


def step(plan: Scheme, state: State, levels: Sequence[str], u_size: float, u_arm: float) -> Allocation:
    """The next participant of a stratum: (arm, state after).

    `levels`: the participant's level of each factor, in the order of `plan.strata`. `u_size` draws the size
    of a new block (used only by permuted blocks, when one is begun), `u_arm` the arm.
    """
    if plan.method == "permuted blocks":
        stratum = tuple(levels)
        left = state.get(stratum, ())
        if not any(left):
            size = block_size(plan.blocks, u_size)
            left = tuple(places_in_block(plan.ratio, size, arm) for arm in range(len(plan.ratio)))
        arm = weighted_arm(left, u_arm)
        after = tuple(places - (number == arm) for number, places in enumerate(left))
        return Allocation(arm, {**state, stratum: after}, "allocated")
    if plan.method == "minimisation":
        margins: list[tuple[str, ...]] = list(zip(plan.strata, levels, strict=True))
        margins = margins or [()]
        nobody = (0,) * len(plan.ratio)
        counts = [count for margin in margins for count in state.get(margin, nobody)]
        arm = minimised_arm(plan.ratio, plan.best_arm_probability, counts, u_arm)
        changed = {
            margin: tuple(count + (number == arm) for number, count in enumerate(state.get(margin, nobody)))
            for margin in margins
        }
        return Allocation(arm, {**state, **changed}, "allocated")
    return Allocation(weighted_arm(plan.ratio, u_arm), state, "allocated")


def randomize(
    plan: Scheme,
    state: State,
    eligible: int,
    randomized: int,
    levels: Sequence[str | None],
    u_size: float,
    u_arm: float,
) -> Allocation:
    """Randomise one participant, if and only if they are eligible, not randomised before, and their strata
    are known; otherwise the arm is NOT_ALLOCATED and the state stays as it was."""
    why_not = refusal(eligible, randomized, levels)
    known = [level for level in levels if level is not None]
    if why_not:
        return Allocation(NOT_ALLOCATED, state, why_not)
    return step(plan, state, known, u_size, u_arm)


def replay(plan: Scheme, entries: Iterable[tuple[Sequence[str], float, float]]) -> list[int]:
    """The arms of a whole list from its recorded inputs (levels, u_size, u_arm), from the empty state."""
    state = EMPTY
    arms = []
    for levels, u_size, u_arm in entries:
        allocation = step(plan, state, levels, u_size, u_arm)
        state = allocation.state
        arms.append(allocation.arm)
    return arms
