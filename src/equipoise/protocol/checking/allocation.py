"""Arms, ratio, blocks, minimisation."""

from __future__ import annotations

import itertools
from collections import Counter

from equipoise.protocol.checking.problem import Problems, error, there_is_no, warning
from equipoise.protocol.model import Protocol


def allocation_problems(protocol: Protocol) -> Problems:
    """Criteria with one id, arms, regimens, ratio, blocks, minimisation."""
    ids = Counter(criterion.id for criterion in protocol.eligibility.criteria)
    for name, count in ids.items():
        if count > 1:
            yield error("eligibility.criteria", f'{count} criteria have the id "{name}"')
    plan = protocol.randomization
    for arm in plan.ratio:
        if arm not in protocol.arms:
            yield error(f"randomization.ratio.{arm}", there_is_no("arm", arm, protocol.arms))
    for arm in protocol.arms:
        if arm not in plan.ratio:
            yield error("randomization.ratio", f'the arm "{arm}" has no part in the ratio')
    for name, arm_ in protocol.arms.items():
        if not arm_.regimens and not arm_.control:
            yield error(f"arms.{name}.regimens", "an arm that is not a control needs a regimen")
        for regimen in arm_.regimens:
            if regimen not in protocol.regimens:
                yield error(f"arms.{name}.regimens", there_is_no("regimen", regimen, protocol.regimens))
                continue
            cover = protocol.regimens[regimen].cover
            if cover is not None and cover in protocol.regimens and cover not in arm_.regimens:
                yield error(
                    f"arms.{name}.regimens",
                    f'"{regimen}" needs "{cover}" as its cover, which this arm does not take',
                )
    for (a, first), (b, second) in itertools.combinations(protocol.arms.items(), 2):
        if sorted(first.regimens) == sorted(second.regimens):
            yield warning(f"arms.{b}.regimens", f'the arms "{a}" and "{b}" take the same regimens')
    taken = {regimen for arm_ in protocol.arms.values() for regimen in arm_.regimens}
    for name, regimen_ in protocol.regimens.items():
        place = f"regimens.{name}"
        if name not in taken:
            yield warning(place, "no arm takes this regimen")
        taken_by = protocol.items.get(regimen_.taken) if regimen_.taken is not None else None
        if regimen_.taken is not None and (taken_by is None or taken_by.type != "boolean"):
            yield error(f"{place}.taken", f'"{regimen_.taken}" is not an item that is true or false')
        elif taken_by is not None and not {"visits", "cycles", "as it happens"} & set(taken_by.collect):
            yield error(f"{place}.taken", f'nobody asks for "{regimen_.taken}" during treatment')
        if regimen_.cover is not None and regimen_.cover not in protocol.regimens:
            yield error(f"{place}.cover", there_is_no("regimen", regimen_.cover, protocol.regimens))
        elif regimen_.cover is not None and protocol.regimens[regimen_.cover].kind == "cycles":
            yield error(f"{place}.cover", "a cover is taken continuously or around cycles, not in cycles")
    yield from _method(protocol)


def _method(protocol: Protocol) -> Problems:
    plan = protocol.randomization
    total = sum(plan.ratio.values())
    ratio = ":".join(str(part) for part in plan.ratio.values())
    if plan.method == "permuted blocks":
        if not plan.blocks:
            yield error("randomization.blocks", "permuted blocks need their sizes")
        for index, size in enumerate(plan.blocks or ()):
            if total and size % total:  # an arm without a part is told above
                yield error(
                    f"randomization.blocks[{index}]",
                    f"a block of {size} cannot hold the ratio {ratio}: sizes must be multiples of {total}",
                )
    elif plan.blocks:
        yield warning("randomization.blocks", f'block sizes have no effect with method "{plan.method}"')
    if plan.method == "minimisation":
        if plan.best_arm_probability is None:
            yield error("randomization.best_arm_probability", "minimisation needs its random element")
        elif plan.best_arm_probability == 1:
            yield warning(
                "randomization.best_arm_probability",
                "without a random element the next arm can be foretold",
            )
        if not plan.strata:
            yield error("randomization.strata", "minimisation needs the strata that it balances")
    elif plan.best_arm_probability is not None:
        yield warning("randomization.best_arm_probability", "only minimisation uses this probability")
    if plan.method == "simple" and plan.strata:
        yield warning("randomization.strata", "simple randomisation does not use strata")
    for name in plan.strata:
        if name not in protocol.strata:
            yield error("randomization.strata", there_is_no("stratum", name, protocol.strata))
