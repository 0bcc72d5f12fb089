"""The calendar is as the tables say."""

from __future__ import annotations

import pytest
from dosing_cases import of_case, situation, trial, whole
from tables import HERE, Case, cases

from equipoise.errors import UserError
from equipoise.rules import next_decision_day
from equipoise.rules.schedule import PlannedVisit, decision_days, is_missed, visit_on, visits, window_state

SCHEDULE = cases(HERE / "schedule.md")


def of_section(name: str) -> list[Case]:
    return [case for case in SCHEDULE if case.section == name]


@pytest.mark.parametrize("case", of_section("The next day on which a decision is worth taking"), ids=str)
def test_the_next_decision_day_is_as_the_table_says(case: Case) -> None:
    rules, _ = of_case(case)
    assert next_decision_day(rules, situation(case)) == whole(case.cell("next"))


@pytest.mark.parametrize("case", of_section("The days of the plan"), ids=str)
def test_the_days_of_the_plan_are_as_the_table_says(case: Case) -> None:
    rules, _ = of_case(case)
    found = decision_days(rules, int(case.cell("until")))
    assert ", ".join(map(str, found)) == case.cell("days")


@pytest.mark.parametrize(
    "section", ["Planned visits", "Planned visits of another arm", "Planned visits every few weeks"]
)
def test_the_visits_of_an_arm_are_those_of_the_table(section: str) -> None:
    table = of_section(section)
    protocol = trial(table[0].cell("trial", "example"))
    planned = visits(protocol, table[0].cell("arm"), int(table[0].cell("until")))
    assert [(v.name, v.id, v.day, v.earliest, v.latest) for v in planned] == [
        (
            case.cell("case"),
            case.cell("visit"),
            int(case.cell("day")),
            int(case.cell("earliest")),
            int(case.cell("latest")),
        )
        for case in table
    ]


@pytest.mark.parametrize("case", of_section("Windows"), ids=str)
def test_the_window_is_as_the_table_says(case: Case) -> None:
    week_9 = next(v for v in visits(trial("example"), "control", 100) if v.name == "week 9")
    attended = None if case.cell("attended") == "none" else int(case.cell("attended"))
    assert window_state(week_9, attended, int(case.cell("today"))) == case.cell("state")


@pytest.mark.parametrize("case", of_section("Which visit somebody attends"), ids=str)
def test_whoever_comes_attends_the_visit_of_the_table(case: Case) -> None:
    planned = visits(trial("example"), "control", 400)
    day = int(case.cell("day"))
    attended = visit_on(planned, day)
    assert attended is not None
    assert attended.name == case.cell("attends")
    week_9 = next(v for v in planned if v.name == "week 9")
    assert is_missed(planned, week_9, day) == (case.cell("week 9 missed") == "yes")


def test_an_open_window_comes_before_a_nearer_day() -> None:
    """Both ends of a window belong to it; a visit whose window is still open is not missed."""
    first = PlannedVisit("a", "day 0", 0, -5, 20, ())
    second = PlannedVisit("b", "day 20", 20, 20, 30, ())
    third = PlannedVisit("c", "day 28", 28, 25, 40, ())
    assert visit_on((first, third), 20) == first
    assert visit_on((first, third), 21) == third
    assert visit_on((first, PlannedVisit("d", "day 9", 9, 9, 9, ())), -5) == first
    wide = PlannedVisit("e", "day 60", 60, 22, 70, ())
    assert visit_on((second, wide), 31) == wide
    assert visit_on((PlannedVisit("f", "day 10", 10, 8, 12, ()), wide), 22) == wide
    assert not is_missed((first, second), first, 20)
    assert is_missed((first, second), first, 21)


def test_nothing_planned_is_attended_by_nobody() -> None:
    assert visit_on((), 10) is None


def test_an_arm_that_does_not_exist_is_named() -> None:
    with pytest.raises(UserError, match='no arm "placebo"; it has: drugs, control'):
        visits(trial("example"), "placebo", 100)


@pytest.mark.parametrize("name", ["silcaat", "esprit"])
def test_reviews_fall_on_visits(name: str) -> None:
    """The reviews of a bundled trial come on the very days of its visits, to the end of follow-up."""
    from equipoise.rules import dose_rules
    from equipoise.rules.schedule import review_after

    protocol = trial(name)
    rules = dose_rules(protocol, "aldesleukin")
    days = {visit.day for visit in visits(protocol, "il2", 3500)}
    review, reviews = -1, []
    while (review := review_after(rules, review)) <= 3400:
        reviews.append(review)
    extra = set(rules.extra_reviews)
    assert len(reviews) > 20
    assert [day for day in reviews if day not in days and day not in extra] == []
