"""What an amendment changes, in words: the weightiest first, and whom it affects."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from equipoise.protocol import Protocol, bundled, load
from equipoise.protocol.differences import diff

LIBRARY = Path(__file__).parent.parent / "src" / "equipoise" / "protocol" / "library"
SILCAAT = load("silcaat")
SOURCE: dict[str, Any] = yaml.safe_load((LIBRARY / "silcaat.yaml").read_text(encoding="utf-8"))


def amended(path: str, value: Any) -> Protocol:
    """SILCAAT with one field changed (None: taken away); lists by number."""
    data = copy.deepcopy(SOURCE)
    *parents, last = path.split("/")
    here: Any = data
    for part in parents:
        here = here[int(part)] if isinstance(here, list) else here[part]
    key: Any = int(last) if isinstance(here, list) else last
    if value is None:
        del here[key]
    else:
        here[key] = value
    return Protocol.model_validate(data)


def criterion(name: str) -> int:
    return [c["id"] for c in SOURCE["eligibility"]["criteria"]].index(name)


DRUG = "regimens/aldesleukin"
ENROLLED = "(affects people already enrolled)."
NEW = "(only new participants)."


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        (f"{DRUG}/goal/rules/0/rise", "150 cells/mm3",
         f"Dose of aldesleukin: goal rise for stratum 50-199 raised from 125 to 150 cells/mm3 {ENROLLED}"),
        (f"{DRUG}/cycle/dose", "3 MIU",
         f"Dose of aldesleukin: dose per administration lowered from 4.5 to 3 MIU {ENROLLED}"),
        (f"{DRUG}/cycle/dose", "3000000 IU",
         f"Dose of aldesleukin: dose per administration lowered from 4.5 MIU to 3000000 IU {ENROLLED}"),
        (f"{DRUG}/cycle/dose", "4500000 IU",
         "Dose of aldesleukin: dose per administration written differently, from 4.5 MIU to 4500000 IU "
         f"{ENROLLED}"),
        (f"{DRUG}/maintenance/from", "week 57",
         f"Dose of aldesleukin: begin of maintenance moved later from week 49 to week 57 {ENROLLED}"),
        (f"{DRUG}/escalation/to", ["6 MIU"],
         f"Dose of aldesleukin: steps of escalation changed from 6 MIU and 7.5 MIU to 6 MIU {ENROLLED}"),
        (f"{DRUG}/hold_while/1", None,
         f'Dose of aldesleukin: hold "breastfeeding" removed: Breastfeeding {ENROLLED}'),
        (f"{DRUG}/hold_while/3/resume_after", "2 months",
         'Dose of aldesleukin: hold "oral_contraceptive": wait afterwards raised from 1 to 2 months '
         f"{ENROLLED}"),
        (f"{DRUG}/maximum_cycles", 20, f"Dose of aldesleukin: most cycles added: 20 {ENROLLED}"),
        (f"eligibility/criteria/{criterion('E7')}", None,
         f"Criterion E7 (exclusion) removed: Optic neuritis [optic_neuritis] {NEW}"),
        (f"eligibility/criteria/{criterion('I9')}/require", "age >= 21 years",
         f"Criterion I9: limit raised from 18 to 21: now age >= 21 years, before age >= 18 years {NEW}"),
        ("eligibility/within", "42 days", f"Screening period raised from 28 to 42 days {NEW}"),
        ("randomization/ratio/il2", 2,
         f"Randomisation: part of il2 in the ratio raised from 1 to 2 (ratio 1:1, now 2:1) {NEW}"),
        ("randomization/blocks", [4], f"Randomisation: block sizes changed from 4 and 6 to 4 {NEW}"),
        ("visits/4/every", "3 months",
         f'Visits "Every 4 months from week 49" moved: every lowered from 4 to 3 months {ENROLLED}'),
        ("visits/4/collect", ["cd4", "on_art"],
         f'Visits "Every 4 months from week 49": no longer collect hiv_rna {ENROLLED}'),
        ("visits/3/window/late", "21 days",
         f'Visits "Every 8 weeks of the first year": window, late raised from 14 to 21 days {ENROLLED}'),
        ("calendar/end_of_follow_up", "2009-11-15",
         f"Calendar, end of follow up moved later from 2008-11-15 to 2009-11-15 {ENROLLED}"),
        ("size/control_hazard", "0.03 / year",
         "Size, control hazard raised from 0.021 to 0.03 / year (nobody's treatment or data)."),
        ("size/dropout", "0.1 / month",
         "Size, dropout raised from 0.0165 / year to 0.1 / month (nobody's treatment or data)."),
        ("size/dropout", None, "Size, dropout removed (was 0.0165 / year) (nobody's treatment or data)."),
        ("analysis/confidence", 0.9, "Analysis, confidence lowered from 0.95 to 0.9 (analysis only)."),
        (f"{DRUG}/toxicity/assumed", "another guess", None),
    ],
)  # fmt: skip
def test_one_change_is_one_sentence(path: str, value: Any, sentence: str | None) -> None:
    changes = diff(SILCAAT, amended(path, value))
    assert len(changes) == 1
    if sentence is None:
        assert changes[0].startswith("Assumption of toxicity of aldesleukin")
        assert changes[0].endswith("(nobody's treatment or data).")
    else:
        assert changes == [sentence]


def test_treatment_comes_first_and_sources_last() -> None:
    data = copy.deepcopy(SOURCE)
    data["source"] = "S3"
    data["size"]["analysed"] = 1690
    data["visits"][4]["every"] = "3 months"
    data["eligibility"]["criteria"].pop(criterion("E6"))
    data["randomization"]["blocks"] = [4]
    data["regimens"]["aldesleukin"]["ceiling"] = "9 MIU"
    changes = diff(SILCAAT, Protocol.model_validate(data))
    starts = ("Dose of aldesleukin", "Randomisation", "Criterion E6", "Visits", "Size", "Source")
    assert len(changes) == len(starts)
    for change, start in zip(changes, starts, strict=True):
        assert change.startswith(start)
    assert [ENROLLED in change for change in changes] == [True, False, False, True, False, False]


def test_a_new_criterion_is_told_with_its_rule() -> None:
    data = copy.deepcopy(SOURCE)
    data["eligibility"]["criteria"].append({"id": "E29", "text": "Gout", "exclude": "other_unsafe_condition"})
    assert diff(SILCAAT, Protocol.model_validate(data)) == [
        f"Criterion E29 (exclusion) added: Gout [other_unsafe_condition] {NEW}"
    ]


@pytest.mark.parametrize("name", bundled())
def test_a_protocol_does_not_differ_from_itself(name: str) -> None:
    assert diff(load(name), load(name)) == []


def test_two_trials_differ_in_dose_first() -> None:
    changes = diff(SILCAAT, load("esprit"))
    assert changes[0] == f"Dose of aldesleukin: dose per administration raised from 4.5 to 7.5 MIU {ENROLLED}"
    assert len(changes) == len(set(changes))


NUMBERS = [
    f"{DRUG}/induction/cycles", f"{DRUG}/cycle/times_per_day", f"{DRUG}/cycle/days", "size/planned",
    "simulation/sites", f"{DRUG}/escalation/after", "simulation/accrual/Italy",
]  # fmt: skip


@settings(max_examples=40)
@given(st.sampled_from(NUMBERS), st.integers(2, 20))
def test_no_change_goes_untold(path: str, value: int) -> None:
    before: Any = SOURCE
    for part in path.split("/"):
        before = before[part]
    changed = amended(path, value)
    assert bool(diff(SILCAAT, changed)) == (changed != SILCAAT)
    assert bool(diff(changed, SILCAAT)) == (changed != SILCAAT)
