"""The truth behind a simulated trial: what the cells do, what they do not, and how a trial is told without a
record."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from equipoise.analyse import inputs
from equipoise.analyse.surrogate import marked_trial
from equipoise.errors import UserError
from equipoise.protocol import load
from equipoise.record import Record
from equipoise.simulate import trial
from equipoise.simulate.plans import prepare
from equipoise.simulate.surrogacy.demonstration import REFERENCE, TRUTHS, pitfall
from equipoise.simulate.surrogacy.fates import both_fates, comparison, simulated_trial
from equipoise.simulate.surrogacy.truth import NEGLIGIBLE, Truth, setup_of, truth, truth_of


def compared(dials):
    return comparison(prepare(load("silcaat"), dials))


@pytest.fixture(scope="module")
def cells_and_harm() -> Truth:
    return truth(compared("C"), people=3000)


def test_a_trial_told_without_a_record_is_the_trial_of_its_record():
    protocol = load("silcaat")
    record = trial(protocol, seed=3, trial=2, participants=150)
    from_record = marked_trial(inputs.from_record(record, protocol))
    lean = simulated_trial(comparison(prepare(protocol)), 3, 2, 150)
    for field in dataclasses.fields(lean):
        ours, theirs = getattr(lean, field.name), getattr(from_record, field.name)
        if field.name == "stratum":  # numbered otherwise, the same people together
            assert len(set(zip(ours, theirs, strict=True))) == len(set(ours)) == len(set(theirs))
        else:
            assert np.array_equal(ours, theirs), field.name


def test_without_effect_everybody_fares_alike_in_both_arms_though_the_counts_differ():
    both = both_fates(compared("A"), 5, 0, 200)
    assert both.participants == 400
    assert not both.treated[:200].any()
    assert both.treated[200:].all()
    assert np.array_equal(both.time[:200], both.time[200:])
    assert np.array_equal(both.event[:200], both.event[200:])
    late = both.value_at(1.0)
    assert np.nanmean(late[200:]) > np.nanmean(late[:200]) + 50


def test_cells_that_do_nothing_have_no_share_of_anything():
    found = truth(compared("A"), people=1000)
    assert found.total.log_hazard_ratio.value == 0
    assert found.mediated.log_hazard_ratio.value == 0
    assert found.mediated.risk_difference.value == 0
    assert math.isnan(found.share.value)
    assert "no share" in found.no_share


def test_without_harm_the_cells_are_the_whole_effect():
    found = truth(compared("D"), people=3000)
    assert found.total.log_hazard_ratio.value < -0.05
    assert found.direct.log_hazard_ratio.value == 0
    assert found.share.value == 1
    assert found.share_of_risk.value == 1
    assert found.without_harm == found.total


def test_no_share_is_taken_of_a_risk_that_has_not_changed_yet():
    found = truth(compared("D"), people=3000, horizon=0.05)
    assert found.share.value == 1
    assert math.isnan(found.share_of_risk.value)
    assert "by year 0.05" in found.no_share_of_risk


def test_cells_beside_a_harm_have_more_than_the_whole(cells_and_harm):
    found = cells_and_harm
    assert found.direct.log_hazard_ratio.value > NEGLIGIBLE
    assert found.mediated.log_hazard_ratio.value < found.total.log_hazard_ratio.value < 0
    assert found.share.value > 1
    assert found.total.risk_difference.value == pytest.approx(
        found.direct.risk_difference.value + found.mediated.risk_difference.value, abs=1e-12
    )


def test_the_truth_is_the_same_for_the_same_people_and_near_that_of_others(cells_and_harm):
    assert truth(compared("C"), people=3000) == cells_and_harm
    other = truth(compared("C"), people=3000, seed=77)
    for name in ("total", "direct", "mediated"):
        ours = getattr(cells_and_harm, name).log_hazard_ratio
        theirs = getattr(other, name).log_hazard_ratio
        assert abs(ours.value - theirs.value) < 4 * math.hypot(ours.error, theirs.error)


def test_the_truth_behind_a_record_is_that_of_its_dials(cells_and_harm):
    record = trial(load("silcaat"), seed=3, participants=50, dials="C")
    assert truth_of(record, people=3000) == cells_and_harm


def test_the_truth_of_another_population_is_not_claimed():
    record = trial(load("silcaat"), seed=3, participants=50)
    made = dataclasses.replace(record.manifest.provenance, population_sha256="0" * 64)
    changed = Record(record.protocol, dataclasses.replace(record.manifest, provenance=made))
    with pytest.raises(UserError, match="cannot be looked up"):
        setup_of(changed)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"people": 10}, "at least 200"),
        ({"horizon": 40.0}, "within the follow-up"),
        ({"horizon": 0.0}, "within"),
    ],
)
def test_what_the_truth_cannot_answer_is_said(changed, said):
    with pytest.raises(UserError, match=said):
        truth(compared("C"), **({"people": 200} | changed))


def test_a_comparison_names_what_there_is():
    with pytest.raises(UserError, match="no arm `il3`"):
        comparison(prepare(load("silcaat")), arm="il3")
    with pytest.raises(UserError, match="no simulated endpoint `deth`; did you mean"):
        comparison(prepare(load("silcaat")), endpoint="deth")


def test_an_adjusted_hazard_ratio_lies_above_one_although_nothing_harms():
    found = pitfall("silcaat", 0.0, 0.0, people=3000)
    assert found.hazard_ratio == pytest.approx(1.0, abs=1e-9)
    assert found.adjusted > 1.05
    assert math.isnan(found.explained)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["silcaat", "esprit"])
def test_the_pitfall_is_that_of_the_reference(name):
    """Hazard ratios to within 0.05 of an independent first implementation. The proportion explained is a
    ratio of small numbers (0.05 in the reference where harm is on), and only its order is held."""
    explained = []
    for functional, harm in TRUTHS:
        ours = pitfall(name, functional, harm, people=15_000)
        ratio, adjusted, share = REFERENCE[name, functional, harm]
        assert ours.hazard_ratio == pytest.approx(ratio, abs=0.05)
        assert ours.adjusted == pytest.approx(adjusted, abs=0.05)
        assert ours.adjusted > 1
        explained.append((ours.explained, share))
    known = [pair for pair in explained if not math.isnan(pair[1])]
    assert all(ours > 1 for ours, _ in known)
    assert np.argsort([o for o, _ in known]).tolist() == np.argsort([r for _, r in known]).tolist()
