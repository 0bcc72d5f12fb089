"""A protocol told in words: every number is there, nothing is wider than the page, and guesses are marked."""

from __future__ import annotations

from pathlib import Path

import pytest

from equipoise.protocol import bundled, load, loads
from equipoise.protocol.describing import (
    assumptions,
    counted,
    dose_rules,
    eligibility,
    listed,
    plainly,
    published_results,
    schedule_of_activities,
    show,
    told_dose_rules,
)
from equipoise.protocol.template import new

VALID = Path(__file__).parent / "protocols" / "valid"
SILCAAT, ESPRIT = load("silcaat"), load("esprit")


def test_dose_rules_of_silcaat() -> None:
    assert dose_rules(SILCAAT, "aldesleukin") == [
        "Cycle: 4.5 MIU of aldesleukin, subcutaneous, twice a day on 5 consecutive days: 10 doses, 45 "
        "MIU in all.",
        "Limits: never below 1.5 MIU nor above 7.5 MIU; at least 6 weeks from the start of one cycle to "
        "the start "
        "of the next. The doses are 1.5, 3, 4.5, 6 and 7.5 MIU.",
        "Induction: 6 cycles, one every 8 weeks counted from randomisation (days 0, 56, 112, 168, 224 "
        "and 280). A "
        "cycle may start up to 4 weeks late; after that it is missed and the next one is due.",
        "Goal where CD4 count at entry is 50-199: a CD4 count 125 cells/mm3 above baseline.",
        "Goal where CD4 count at entry is 200-299: a CD4 count 175 cells/mm3 above baseline.",
        "Cycles are given to bring the CD4 count to the goal, while it is below it.",
        "Maintenance: from week 49 (day 336) a review every 4 months, and at day 397. If the CD4 count, "
        "measured "
        "at most 3 months before, is below the goal, a cycle may start, up to 1 month after the review.",
        "Escalation: without a response after 3 cycles at one dose, the dose rises to 6 MIU then 7.5 "
        "MIU, each "
        "further step after 3 more cycles. A response: the CD4 count has risen by at least 50 cells/mm3 from "
        "baseline. Nobody is raised after a reduction.",
        "Toxicity: after an event of grade 3 or more that is attributed to the drug, since the last "
        "cycle, the "
        "next lower dose is given (steps: 3 MIU and 1.5 MIU); at the lowest, cycles stop. From grade 5 "
        "on, cycles "
        "stop.",
        "Hold: no cycle while this holds: pregnant, or no negative pregnancy test within 28 days.",
        "Hold: no cycle while this holds: breastfeeding.",
        "Hold: no cycle while this holds: needs effective contraception and does not use it.",
        "Hold: no cycle while this holds: oral contraceptive just restarted, and for 1 month afterwards.",
        "Stopping: without a response 12 months after the first cycle (at the latest 16 months), and "
        "after at "
        "least 3 cycles, cycles stop; follow-up goes on. A response: the CD4 count has risen by at least "
        "1 cell/mm3 from baseline.",
        "Cover, without which no cycle starts: ART.",
        "Where something that a rule needs is unknown, no cycle starts until it is known.",
    ]


def test_goals_of_esprit() -> None:
    goals = [rule for rule in dose_rules(ESPRIT, "aldesleukin") if rule.startswith("Goal")]
    assert goals == [
        "Goal where the baseline value is below 500: a CD4 count of at least twice baseline.",
        "Goal where the baseline value is at least 500: a CD4 count of at least 1000 cells/mm3.",
    ]


def test_a_rule_carries_where_it_comes_from() -> None:
    told = {t.text.split(":")[0].split(" where")[0]: t for t in told_dose_rules(SILCAAT, "aldesleukin")}
    assert told["Cycle"].marks == "[S1]"
    assert told["Escalation"].marks == "[S8, assumed]"
    assert told["Toxicity"].marks == "[assumed]"
    assert "not published" in (told["Toxicity"].assumed or "")


def test_other_kinds_of_treatment() -> None:
    assert dose_rules(ESPRIT, "art") == ["Taken throughout: antiretroviral therapy."]
    assert dose_rules(load("stalwart"), "pericycle_art") == [
        "Taken around each cycle only: antiretroviral therapy, from 3 days before the cycle begins until "
        "2 days after its last dose."
    ]
    first, *_ = dose_rules(load("erythropoietin"), "erythropoietin")
    assert first == (
        "Cycle: 50 IU/kg of epoetin alfa, subcutaneous, once a day on days 1, 8, 15 and 22 of the cycle: "
        "4 doses, "
        "200 IU/kg in all."
    )


def test_criteria_as_sentences() -> None:
    must, never = eligibility(SILCAAT)
    assert len(must) + len(never) == len(SILCAAT.eligibility.criteria)
    assert str(must[0]) == "I1  At least two antiretroviral drugs, unchanged for at least 4 months. [S1]"
    assert str(never[0]).startswith("H12  Any other AIDS-defining condition")


def test_schedule_of_activities() -> None:
    schedule = schedule_of_activities(SILCAAT)
    lines = {activity.label: activity.marks for activity in schedule.activities}
    assert schedule.times[3] == "week 9, week 17, week 25, week 33, week 41, week 49"
    assert lines["CD4 count"] == ("", "x", "x", "x", "x")
    assert lines["Cycle of IL-2 (IL-2 + ART)"] == (
        "",
        "",
        "due",
        "5 of 6 due, if below goal",
        "if below goal",
    )
    assert all(len(marks) == len(schedule.visits) for marks in lines.values())
    asked_once = [n for v in SILCAAT.visits if v.period == "screening" for n in v.collect]
    assert (
        sum(int(n or 0) for n in schedule.activities[0].marks) == len(asked_once) - 3
    )  # on_art, cd4, hiv_rna


def test_a_visit_of_one_arm_has_no_cycle_of_the_other() -> None:
    schedule = schedule_of_activities(load("erythropoietin"))
    lines = {activity.label: activity.marks for activity in schedule.activities}
    assert schedule.arms == ("", "", "Erythropoietin + usual care", "Usual care")
    assert lines["Cycle of Erythropoietin (Erythropoietin + usual care)"] == ("", "due", "if below goal", "")


@pytest.mark.parametrize("name", bundled())
@pytest.mark.parametrize("width", [50, 80, 100])
def test_the_whole_fits_the_page(name: str, width: int) -> None:
    protocol = load(name)
    text = show(protocol, width)
    lines = [line for line in text.splitlines() if "http" not in line]  # an address is never broken
    assert max(map(len, lines)) <= width
    for criterion in protocol.eligibility.criteria:
        assert f"{criterion.id}  " in text
    flat = " ".join(text.split())
    for regimen in protocol.regimens:
        for rule in dose_rules(protocol, regimen):
            assert " ".join(rule.split()) in flat
    for assumption in assumptions(protocol):
        assert " ".join(assumption.text.split()) in flat


def test_every_assumption_is_listed() -> None:
    places = [assumption.place for assumption in assumptions(SILCAAT)]
    assert "regimens.aldesleukin.toxicity" in places
    assert "regimens.aldesleukin.escalation.response" in places
    assert "visits[3].window" in places
    assert len(places) == len(set(places))


def test_published_figures_in_words() -> None:
    shown = {figure.label: words for figure, words in published_results(SILCAAT)}
    assert shown["Opportunistic disease or death, hazard ratio"] == "0.91 (0.70 to 1.18), P = 0.47"
    assert shown["Mean difference in CD4 count over follow-up"] == "53.0 (40.3 to 65.7) cells/mm3, P < 0.001"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("50 <= cd4 < 200", "CD4 count is at least 50 and below 200"),
        ('sex is "female"', "sex is female"),
        ('cd4_stratum is "50-199"', "CD4 count at entry is 50-199"),
        ("not pregnant", "not pregnant (by a test; false for those who cannot be)"),
        (
            "baseline < 500 and age >= 18 years",
            "the baseline value is below 500 and age is at least 18 years",
        ),
    ],
)
def test_conditions_in_plain_words(text: str, words: str) -> None:
    assert plainly(text, SILCAAT) == words


def test_the_rates_that_a_size_counts_on_are_told_per_100_person_years() -> None:
    told = " ".join(show(SILCAAT, 200).split())
    assert "2.1 primary events per 100 person-years on ART alone; 1.65 lost to follow-up" in told
    assert "Planned rates" not in show(load("stalwart"))


def test_small_words() -> None:
    assert listed([]) == ""
    assert listed(["a"]) == "a"
    assert listed(["a", "b", "c"], "or") == "a, b or c"
    assert counted(1, "cycle") == "1 cycle"
    assert counted(3, "cycle") == "3 cycles"


def test_a_direction_down_is_told_as_such() -> None:
    text = (
        new("Down")
        .replace("direction: up", "direction: down")
        .replace("value: 600 cells/mm3", "value: 60 cells/mm3")
    )
    rules = " ".join(dose_rules(loads(text), "study_drug"))
    assert "a marker 100 cells/mm3 below baseline" in rules
    assert "a marker of at most 60 cells/mm3" in rules
    assert "while it is above it" in rules
    assert "the marker has fallen by at least 30 cells/mm3" in rules


def test_doses_in_different_units_are_one_ladder() -> None:
    drug = "drug_b"
    limits = dose_rules(load(str(VALID / "lower.yaml")), drug)[1]
    assert limits.endswith("The doses are 0.25, 0.5, 0.75 and 1 g.")
