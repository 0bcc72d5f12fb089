"""What participants do: visits inside and after their windows, acceptance, cycles cut short, leaving,
episodes."""

from __future__ import annotations

import numpy as np
import pytest

from equipoise.virtual import habits, latent, load_population
from equipoise.virtual.hazards import NEVER

POPULATION = load_population("hiv_il2")
B, D, H = POPULATION.kernel(POPULATION.dials(), 0.0165, 0.0016)
YEARS = 365.25


def someone(number=1, female=0, age=40.0):
    return latent.person(B, D, H, 3, 0, number, 300.0, 100.0, age, female, 0, 0, 3.7)


def test_visits_keep_to_their_window_from_below_and_may_be_late():
    days = np.array([habits.visit_day(H, 1, 0, i, 4, 122, 112, 214) for i in range(20_000)])
    kept = days[days >= 0]
    assert np.mean(days < 0) == pytest.approx(H.missed_visit, abs=0.006)
    assert kept.min() == 112
    assert kept.max() < 214
    assert kept.mean() == pytest.approx(122, abs=0.5)


def test_nobody_misses_the_day_of_randomisation():
    assert {habits.visit_day(H, 1, 0, i, 0, 0, 0, 10) for i in range(500)} == {0}


def test_leaving_happens_at_the_rates_of_the_trial():
    lost, withdrew = np.array([habits.leaving(H, 1, 0, i) for i in range(20_000)]).T
    assert np.mean(lost < YEARS * 5) == pytest.approx(1 - np.exp(-5 * 0.0165), abs=0.006)
    assert np.mean(withdrew < YEARS * 5) == pytest.approx(1 - np.exp(-5 * 0.0016), abs=0.003)
    assert min(lost.min(), withdrew.min()) >= 1


def test_nobody_leaves_when_the_rates_are_zero():
    none = H._replace(loss=0.0, withdrawal=0.0)
    assert min(min(habits.leaving(none, 1, 0, i)) for i in range(2000)) > 100_000


def accepted(offer, cycles, maintenance, day):
    return np.mean(
        [habits.accepts(H, someone(i), 1, 0, offer, cycles, maintenance, day) for i in range(20_000)]
    )


def test_acceptance_falls_with_cycles_with_maintenance_and_with_time():
    first = accepted(0, 0, False, 0)
    assert first == pytest.approx(0.77, abs=0.02)
    assert accepted(0, 5, False, 300) < first
    assert accepted(0, 3, True, 365) < accepted(0, 3, False, 365)
    assert accepted(0, 3, True, 365 * 5) < accepted(0, 3, True, 365)


def test_the_willing_stay_willing():
    """The person's own willingness ties their answers together."""
    answers = np.array(
        [[habits.accepts(H, someone(i), 1, 0, k, 3, True, 500) for k in range(2)] for i in range(10_000)]
    )
    assert np.corrcoef(answers.T)[0, 1] > 0.1


def test_cycles_are_complete_or_cut_short_and_toxic_as_the_file_says():
    outcomes = np.array([habits.cycle_outcome(B, H, 1, 0, i, 0, 7.5, 10) for i in range(40_000)])
    given, grade, delay = outcomes.T
    assert set(np.unique(given)) == set(range(1, 11))
    assert np.mean(given == 10) == pytest.approx(H.complete_cycle, abs=0.01)
    assert np.mean(grade == 4) == pytest.approx(B.grade4_cycle, rel=0.15)
    assert np.mean(grade == 3) == pytest.approx(B.grade3_cycle, rel=0.1)
    assert (delay.min(), delay.max()) == (1, 7)


def test_a_lower_dose_is_less_toxic():
    def share(dose):
        return np.mean([habits.cycle_outcome(B, H, 1, 0, i, 0, dose, 10)[1] > 0 for i in range(20_000)])

    assert share(4.5) < 0.6 * share(7.5)


def test_a_single_injection_is_given_or_not_at_all_never_half():
    assert {habits.cycle_outcome(B, H, 1, 0, i, 0, 7.5, 1)[0] for i in range(500)} == {1}


@pytest.mark.parametrize("kind", [0, 1])
def test_pregnancy_and_contraception_concern_women_under_48(kind):
    far = 100 * 365
    assert all(habits.episode_switch(H, someone(i, female=0), 1, 0, kind, 0, 0) > far for i in range(300))
    assert all(
        habits.episode_switch(H, someone(i, female=1, age=50.0), 1, 0, kind, 0, 0) > far for i in range(300)
    )
    starts = np.array(
        [habits.episode_switch(H, someone(i, female=1, age=30.0), 1, 0, kind, 0, 0) for i in range(5000)]
    )
    rate = (H.pregnancy, H.no_contraception)[kind]
    assert np.mean(starts <= 5 * YEARS) == pytest.approx(1 - np.exp(-rate * 5 * YEARS), abs=0.02)


def test_pregnancy_lasts_its_time_and_other_episodes_theirs_on_average():
    assert habits.episode_switch(H, someone(1, 1, 30.0), 1, 0, 0, 1, 100) == 100 + round(H.pregnancy_days)
    ends = [habits.episode_switch(H, someone(i), 1, 0, 2, 1, 0) for i in range(5000)]
    assert np.mean(ends) == pytest.approx(H.off_art_days, rel=0.06)
    assert max(ends) < NEVER
