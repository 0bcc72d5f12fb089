"""Mediation by a marker that changes over time: constructed trials of which the answer is known in closed
form, the regressions against least squares written out, and refusals."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from lifelines import AalenAdditiveFitter

from equipoise.analyse.surrogate import MarkedTrial, marked_trial
from equipoise.analyse.surrogate.additive import additive_hazards
from equipoise.analyse.surrogate.cohort import subset
from equipoise.analyse.surrogate.g_formula import g_formula
from equipoise.analyse.surrogate.mediation import mediation
from equipoise.analyse.surrogate.path import dynamic_path
from equipoise.analyse.surrogate.sensitivity import sensitivity
from equipoise.analyse.surrogate.telling import value
from equipoise.errors import UserError
from equipoise.record.mapping import analysis_input
from test_real_data import EXAMPLES, shared

EVERY = 0.25
PERIODS = 12
YEARS = EVERY * PERIODS
LIFT = np.where(np.arange(PERIODS) > 0, np.exp(-np.arange(PERIODS) * EVERY / 4), 0.0)
"""What treatment adds to log2 of the marker at each visit: nothing at the first, at entry."""
SD_PERSON, SD_VISIT = 0.7, 0.4


def _trial(hazard_of, people, seed, lift=LIFT, cause_on_marker=0.0):
    """Half of the people treated; the marker, log2, measured every quarter of a year: 8, a person's level,
    what treatment adds, and noise. `hazard_of(arm, log2 marker - 8, cause)` acts from visit to visit."""
    rng = np.random.default_rng(seed)
    arm = (np.arange(people) % 2).astype(float)
    cause = rng.normal(size=people)
    level = SD_PERSON * rng.normal(size=people) + cause_on_marker * cause
    marker = level[:, None] + arm[:, None] * lift + SD_VISIT * rng.normal(size=(people, PERIODS))
    hazard = np.broadcast_to(hazard_of(arm[:, None], marker, cause[:, None]), marker.shape)
    assert (hazard > 0).mean() > 0.999
    cumulative = np.cumsum(np.maximum(hazard, 0.0) * EVERY, axis=1)
    reached = rng.exponential(size=people)
    last = (cumulative < reached[:, None]).sum(axis=1)
    happens = last < PERIODS
    at = np.minimum(last, PERIODS - 1)
    row = np.arange(people)
    left = cumulative[row, at] - reached
    time = np.where(happens, (at + 1) * EVERY - left / hazard[row, at], YEARS)
    gone = np.minimum(rng.exponential(25.0, people), YEARS)
    visits = np.arange(PERIODS) * EVERY
    who, visit = np.nonzero(visits < np.minimum(time, gone)[:, None])
    return MarkedTrial(
        treated=arm == 1, time=np.minimum(time, gone), event=happens & (time <= gone),
        stratum=np.zeros(people, np.int64), unit=np.full(people, ""), who=who, at=visits[visit],
        value=2.0 ** (8 + marker[who, visit]), treated_label="new", reference_label="old",
        endpoint_label="death", marker_label="CD4", marker_unit="cells/mm3",
    )  # fmt: skip


def _additive(base, direct, slope):
    return lambda arm, marker, cause: base + direct * arm + slope * marker


def _indirect(slope):
    """Closed form: the slope times the area under what treatment adds to the marker."""
    return slope * EVERY * LIFT.sum()


def _free(base, direct, slope, arm, marker_as):
    """Closed form of the chance of no event by the end: the cumulative hazard of a person is normal."""
    mean = (base + direct * arm) * YEARS + slope * EVERY * LIFT.sum() * marker_as
    variance = slope**2 * (SD_PERSON**2 * YEARS**2 + SD_VISIT**2 * EVERY**2 * PERIODS)
    return np.exp(-mean + variance / 2)


@pytest.fixture(scope="module")
def half():
    """A trial in which half of the effect passes through the marker."""
    slope = -0.07
    return _trial(_additive(0.3, _indirect(slope) / YEARS, slope), 2500, 1)


def _written_out(trial, columns):
    """Aalen's estimator as it is defined: at each event time, least squares among those at risk, whose design
    `columns(who, value)` gives. Cumulative coefficients and the two variances."""
    spells = trial.spells()
    steps, optional, parts = [], [], np.zeros((trial.participants, 0))
    for time in np.unique(spells.stop[spells.event]):
        here = (spells.start < time) & (time <= spells.stop)
        x = columns(spells.who[here], spells.value[here])
        died = (spells.event & (spells.stop == time))[here].astype(float)
        jump = np.linalg.lstsq(x, died, rcond=None)[0]
        solve = np.linalg.inv(x.T @ x) @ x.T
        steps.append(jump)
        optional.append((solve**2) @ died)
        part = np.zeros((trial.participants, len(jump)))
        part[spells.who[here]] = (solve * (died - x @ jump)).T
        parts = part if not parts.size else parts + part
    return np.cumsum(steps, axis=0), np.cumsum(optional, axis=0), (parts**2).sum(axis=0)


def test_the_additive_model_is_least_squares_at_each_event_with_both_its_variances():
    trial = _trial(_additive(0.3, -0.05, -0.04), 90, 3)
    fitted = additive_hazards(trial)
    cumulative, optional, _ = _written_out(
        trial, lambda who, value: np.column_stack([np.ones(len(who)), trial.treated[who], np.log2(value)])
    )
    assert len(fitted.times) > 30
    assert fitted.cumulative == pytest.approx(cumulative, rel=1e-7)
    assert fitted.optional == pytest.approx(optional, rel=1e-7)


def test_the_additive_model_ends_where_an_arm_is_empty_and_says_so():
    trial = _trial(_additive(0.3, -0.05, -0.04), 90, 3)
    end = np.where(trial.treated, 1.0, np.inf)
    left = replace(trial, time=np.minimum(trial.time, end), event=trial.event & (trial.time <= end))
    kept = left.at < left.time[left.who]
    left = replace(left, who=left.who[kept], at=left.at[kept], value=left.value[kept])
    fitted, whole = additive_hazards(left), additive_hazards(trial, until=1.0)
    assert "singular" in fitted.ended
    assert fitted.cumulative == pytest.approx(whole.cumulative, rel=1e-10)
    assert fitted.robust == pytest.approx(whole.robust, rel=1e-10)


def test_the_robust_variance_sums_the_squares_of_the_participants_contributions():
    trial = _trial(_additive(0.3, -0.05, -0.04), 90, 3)
    until = additive_hazards(trial).times[30]
    stopped = replace(trial, time=np.minimum(trial.time, until), event=trial.event & (trial.time <= until))
    _, _, robust = _written_out(
        stopped, lambda who, value: np.column_stack([np.ones(len(who)), trial.treated[who], np.log2(value)])
    )
    assert additive_hazards(trial, until=until).robust[-1] == pytest.approx(robust, rel=1e-7)


def test_with_fixed_covariates_the_additive_model_agrees_with_lifelines():
    """lifelines 0.30 keeps at risk whoever is censored between two events, so that only those are compared
    who had the event or stayed to the end; and it divides the variances of covariates by their standard
    deviation once where the scale of a variance wants twice, which is made good here."""
    everybody = _trial(_additive(0.3, -0.05, -0.04), 400, 5)
    trial = subset(everybody, everybody.event | (everybody.time == YEARS))
    age = np.random.default_rng(1).normal(size=trial.participants)
    ours = additive_hazards(trial, marker=None, covariates=age, names=("age",))
    frame = pd.DataFrame({"time": trial.time, "event": trial.event, "arm": trial.treated * 1.0, "age": age})
    theirs = AalenAdditiveFitter(coef_penalizer=0.0).fit(frame, "time", "event")
    at = theirs.cumulative_hazards_.loc[ours.times, ["Intercept", "arm", "age"]]
    assert ours.names == ("baseline", "new", "age")
    assert ours.cumulative == pytest.approx(at.to_numpy(), rel=1e-8, abs=1e-10)
    spread = theirs.cumulative_variance_.loc[ours.times, ["Intercept", "arm", "age"]].to_numpy()
    spread[:, 1:] /= frame[["arm", "age"]].std().to_numpy()
    assert ours.optional == pytest.approx(spread, rel=1e-8, abs=1e-10)


def test_direct_and_indirect_are_the_two_regressions_written_out_and_add_up_to_the_total():
    trial = _trial(_additive(0.3, -0.05, -0.04), 300, 4)
    path = dynamic_path(trial, horizon=2.5, bootstrap=2)
    spells, baseline = trial.spells(), np.log2(trial.baseline())
    direct = indirect = 0.0
    for time in np.unique(spells.stop[spells.event & (spells.stop <= 2.5)]):
        here = (spells.start < time) & (time <= spells.stop)
        who, marker = spells.who[here], np.log2(spells.value[here])
        died = (spells.event & (spells.stop == time))[here].astype(float)
        z = np.column_stack([np.ones(len(who)), trial.treated[who], baseline[who]])
        theta = np.linalg.lstsq(z, marker, rcond=None)[0]
        if time <= EVERY:  # the marker is the baseline still
            direct += np.linalg.lstsq(z, died, rcond=None)[0][1]
            continue
        beta = np.linalg.lstsq(np.column_stack([z, marker]), died, rcond=None)[0]
        direct, indirect = direct + beta[1], indirect + beta[3] * theta[1]
    assert path.direct.value[-1] == pytest.approx(direct, rel=1e-8)
    assert path.indirect.value[-1] == pytest.approx(indirect, rel=1e-8)
    total = additive_hazards(trial, marker=None, covariates=baseline, until=2.5).cumulative[-1, 1]
    assert path.total.value[-1] == pytest.approx(total, rel=1e-8)
    assert path.total.value == pytest.approx(path.direct.value + path.indirect.value, rel=1e-12)


def test_without_covariates_the_total_is_the_difference_of_two_nelson_aalen_estimates():
    trial = _trial(_additive(0.3, -0.05, -0.04), 300, 4)
    path = dynamic_path(trial, horizon=2.5, adjust_baseline=False, bootstrap=2)
    both = []
    for arm in (trial.treated, ~trial.treated):
        died = np.sort(trial.time[arm & trial.event & (trial.time <= 2.5)])
        both.append(sum(1 / (trial.time[arm] >= time).sum() for time in died))
    assert path.total.value[-1] == pytest.approx(both[0] - both[1], rel=1e-10)
    assert path.reference_hazard[-1] == pytest.approx(both[1], rel=1e-10)


@pytest.mark.parametrize(
    ("direct", "slope", "share"),
    [(_indirect(-0.14) / YEARS, 0.0, 0.0), (_indirect(-0.07) / YEARS, -0.07, 0.5), (0.0, -0.09, 1.0)],
)
def test_both_analyses_find_a_share_that_is_known(direct, slope, share):
    trial = _trial(_additive(0.3, direct, slope), 2500, 1)
    path = dynamic_path(trial, horizon=YEARS, bootstrap=40, confidence=0.999)
    total, past, through, part = path.measures
    for measure, truth in ((total, direct * YEARS + _indirect(slope)), (past, direct * YEARS)):
        assert abs(measure.estimate - truth) < 3 * measure.se
    assert abs(through.estimate - _indirect(slope)) < 3 * through.se
    assert part.low < share < part.high, part.refused


def test_the_g_formula_gives_the_risks_of_the_closed_form_and_agrees_with_the_path(half):
    slope = -0.07
    direct = _indirect(slope) / YEARS
    formula = g_formula(half, horizon=YEARS, interval=EVERY, bootstrap=20)
    path = dynamic_path(half, horizon=YEARS, bootstrap=20)
    truth = [_free(0.3, direct, slope, *under) for under in ((1, 1), (1, 0), (0, 0))]
    found = [formula.treated[-1], formula.treated_with_reference_marker[-1], formula.reference[-1]]
    assert found == pytest.approx(truth, abs=0.04)
    for ours, theirs, expected in zip(
        formula.measures[:3], path.risk_differences,
        (truth[2] - truth[0], truth[2] - truth[1], truth[1] - truth[0]), strict=True,
    ):  # fmt: skip
        assert abs(ours.estimate - expected) < 3 * ours.se
        assert abs(ours.estimate - theirs.estimate) < ours.se
    assert formula.share.estimate == pytest.approx(path.share.estimate, abs=0.08)


def test_the_g_formula_is_right_where_the_hazard_is_log_linear():
    """The truth by running another 100,000 people under each regimen, marker and hazard as constructed."""
    trial = _trial(lambda arm, marker, cause: 0.15 * np.exp(-0.3 * arm - 0.5 * marker), 4000, 11)
    formula = g_formula(trial, horizon=YEARS, interval=EVERY, bootstrap=20)
    rng = np.random.default_rng(0)
    own = SD_PERSON * rng.normal(size=(100_000, 1)) + SD_VISIT * rng.normal(size=(100_000, PERIODS))
    risks = [
        1 - np.exp(-0.15 * EVERY * np.exp(-0.3 * arm - 0.5 * (own + lifted * LIFT)).sum(axis=1)).mean()
        for arm, lifted in ((1, 1), (1, 0), (0, 0))
    ]
    for measure, truth in zip(
        formula.measures, (risks[0] - risks[2], risks[1] - risks[2], risks[0] - risks[1]), strict=False
    ):
        assert abs(measure.estimate - truth) < 3 * measure.se
    assert formula.slope == pytest.approx(-0.5, abs=0.12)
    assert formula.arm == pytest.approx(-0.3, abs=0.2)


def test_a_share_of_no_effect_is_refused_with_the_reason_but_its_parts_are_given():
    slope = -0.05
    trial = _trial(_additive(0.25, -_indirect(slope) / YEARS, slope), 2500, 21)
    found = mediation(trial, horizon=YEARS, interval=EVERY, bootstrap=20)
    for share in (found.path.share, found.g_formula.share):
        assert "cannot be told from none" in share.refused
        assert np.isnan(share.estimate)
    for total, share in (
        (found.path.measures[0], found.path.share),
        (found.g_formula.measures[0], found.g_formula.share),
    ):
        assert f"a {total.scale} of {value(total)}, cannot be told" in share.refused
    assert "%" in found.g_formula.share.refused
    assert found.path.measures[2].high < 0 < found.path.measures[1].low


def test_the_relative_survivals_multiply_to_the_total_and_the_risks_add_up(half):
    path = dynamic_path(half, horizon=YEARS, bootstrap=5)
    total, past, through = (m.estimate for m in path.relative_survival)
    assert total == pytest.approx(past * through, rel=1e-12)
    assert total == pytest.approx(np.exp(-path.measures[0].estimate), rel=1e-12)
    total, past, through = (m.estimate for m in path.risk_differences)
    assert total == pytest.approx(past + through, rel=1e-12)
    free = np.exp(-path.reference_hazard[-1])
    assert total == pytest.approx(free - free * path.relative_survival[0].estimate, rel=1e-12)


def test_an_unmeasured_cause_of_known_strength_takes_the_fraction_of_the_slope_that_the_formula_says():
    """The marker does nothing here: all of its slope is the cause's, whose strength is the tipping point. The
    slope per standard deviation is the cause's harm times its correlation with the marker."""
    harm, on_marker = 0.1, -0.8
    trial = _trial(
        lambda arm, marker, cause: 0.4 + harm * cause + 0 * marker, 4000, 31, cause_on_marker=on_marker
    )
    path = dynamic_path(trial, horizon=2.0, adjust_baseline=False, bootstrap=5)
    said = sensitivity(path)
    correlation = -on_marker / np.sqrt(SD_PERSON**2 + SD_VISIT**2 + on_marker**2)
    assert said.slope_per_sd == pytest.approx(-harm * correlation * 2.0, rel=0.2)
    times_marker = harm * 2.0 / abs(said.slope_per_sd)
    assert times_marker * correlation == pytest.approx(1.0, rel=0.2)


def test_causal_fractions_run_from_no_mediation_to_the_analysis_as_it_is(half):
    path = dynamic_path(half, horizon=YEARS, bootstrap=20)
    rows = sensitivity(path).fractions
    total, direct, indirect, share = path.measures
    assert [row.fraction for row in rows] == [0, 0.25, 0.5, 0.75, 1]
    assert rows[0].direct.estimate == pytest.approx(total.estimate)
    assert rows[0].direct.se == pytest.approx(total.se)
    assert (rows[-1].direct.estimate, rows[-1].direct.se) == pytest.approx((direct.estimate, direct.se))
    assert rows[2].share.estimate == pytest.approx(share.estimate / 2)
    for one, next_one in pairwise(rows):
        assert one.indirect.estimate > next_one.indirect.estimate
        assert one.direct.estimate + one.indirect.estimate == pytest.approx(total.estimate)
    assert sensitivity(path).to_interval == pytest.approx(indirect.high / indirect.estimate)


def test_what_is_needed_of_a_cause_falls_as_its_correlation_with_the_marker_rises(half):
    said = sensitivity(dynamic_path(half, horizon=YEARS, bootstrap=5), correlations=(0.5, 1.0))
    weak, strong = said.confounders
    assert weak.times_marker == 2.0
    assert strong.times_marker == 1.0
    assert weak.relative_excess == pytest.approx(2 * strong.relative_excess)
    assert "marker's variation" in said.verdict


def test_the_seed_fixes_every_number(half):
    small = dynamic_path(half, horizon=YEARS, bootstrap=5, seed=4), g_formula(half, bootstrap=3, seed=4)
    again = dynamic_path(half, horizon=YEARS, bootstrap=5, seed=4), g_formula(half, bootstrap=3, seed=4)
    other = dynamic_path(half, horizon=YEARS, bootstrap=5, seed=5)
    assert small[0].measures == again[0].measures
    assert small[1].measures == again[1].measures
    assert other.measures[0].estimate == small[0].measures[0].estimate
    assert other.measures[0].se != small[0].measures[0].se


def test_participants_without_a_baseline_value_are_left_out_and_counted():
    trial = _trial(_additive(0.3, -0.05, -0.04), 600, 4)
    first = np.append(True, np.diff(trial.who) > 0) & (trial.who < 60)
    lacking = replace(trial, who=trial.who[~first], at=trial.at[~first], value=trial.value[~first])
    path = dynamic_path(lacking, horizon=2.0, bootstrap=5)
    assert path.participants == 540
    assert "60 of 600 participants without a value at randomisation are left out" in path.share.warnings
    everybody = dynamic_path(lacking, horizon=2.0, adjust_baseline=False, bootstrap=5)
    assert everybody.participants > 540


def test_with_a_lag_the_events_before_a_value_counts_are_left_out_and_counted():
    trial = _trial(_additive(0.3, -0.05, -0.04), 600, 4)
    path = dynamic_path(trial, horizon=2.0, lag=EVERY, bootstrap=5)
    early, all_of_them = (int((trial.event & (trial.time <= t)).sum()) for t in (EVERY, 2.0))
    assert path.events == all_of_them - early
    assert path.times[0] > EVERY
    warning = f"{early} of {all_of_them} events, before a value of the marker counts, are left out"
    assert warning in path.share.warnings


def test_what_the_data_do_not_allow_is_refused_in_words():
    trial = _trial(_additive(0.3, -0.05, -0.04), 300, 4)
    quiet = replace(trial, event=np.zeros(300, bool))
    one_arm = replace(trial, treated=np.ones(300, bool))
    unmeasured = replace(trial, value=np.full(len(trial.value), np.nan))
    once = replace(trial, at=np.zeros(len(trial.at)))
    healthy = replace(trial, event=trial.event & ~trial.treated)
    assert "0 events" in mediation(quiet, horizon=2.0).path.share.refused
    assert "nobody of arm old" in mediation(one_arm, horizon=2.0).path.share.refused
    assert "nobody of arm new" in mediation(unmeasured).g_formula.share.refused
    assert "not known after randomisation in arm new" in mediation(once, horizon=2.0).path.share.refused
    assert "is followed up to the horizon of 9 years" in mediation(trial, horizon=9.0).path.share.refused
    assert "0 events in arm new" in g_formula(healthy, horizon=2.0).share.refused
    assert "nothing to explain" not in sensitivity(dynamic_path(quiet, horizon=2.0)).verdict
    assert "0 events" in sensitivity(dynamic_path(quiet, horizon=2.0)).verdict


def test_a_marker_that_follows_from_the_arm_alone_is_refused():
    trial = _trial(_additive(0.3, -0.05, 0.0), 400, 4)
    later = trial.at > 0
    flat = replace(trial, value=np.where(later & trial.treated[trial.who], 2.0, 1.0))
    assert "follows from arm and covariates" in dynamic_path(flat, horizon=2.0, bootstrap=5).share.refused


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"horizon": -1.0}, "the horizon must be a number of years above 0, not -1"),
        ({"transform": "log"}, "the marker is taken as"),
        ({"covariates": np.zeros(3)}, "a row for each of the 300 participants"),
        ({"covariates": np.full(300, np.nan)}, "must be known numbers"),
        ({"bootstrap": 1}, "at least 2 samples"),
        ({"seed": -1}, "must not be negative"),
    ],
)
def test_a_mistake_is_named(given, message):
    trial = _trial(_additive(0.3, -0.05, -0.04), 300, 4)
    with pytest.raises(UserError, match=message):
        dynamic_path(trial, **({"horizon": 2.0} | given))
    with pytest.raises(UserError, match=message):
        g_formula(trial, **({"horizon": 2.0} | given))


def test_in_cpcra_002_the_lower_cd4_counts_on_zalcitabine_worked_against_it():
    """Abrams and others, N Engl J Med 1994;330:657-62: fewer deaths on zalcitabine though its CD4 counts were
    lower, the difference not to be told from none."""
    shared("aids-ddi-ddc", "aids_long.csv")
    given = analysis_input(EXAMPLES / "ddi_ddc.yaml", shared("aids-ddi-ddc", "aids_id.csv"))
    trial = marked_trial(given)
    path = dynamic_path(trial, horizon=1.5, transform="square root", bootstrap=100)
    total, direct, indirect, share = path.measures
    counts = {arm: trial.value_at(0.5)[(trial.treated == arm) & (trial.time > 0.5)] for arm in (True, False)}
    by_hand = np.sqrt(counts[True]).mean() - np.sqrt(counts[False]).mean()
    plain = dynamic_path(trial, horizon=1.5, transform="square root", adjust_baseline=False, bootstrap=2)
    near = int(np.searchsorted(plain.times, 0.52))
    assert plain.on_marker.value[near] == pytest.approx(by_hand, abs=0.1)
    assert direct.estimate < total.estimate < 0 < indirect.estimate
    assert "cannot be told from none" in share.refused


@pytest.mark.slow
def test_intervals_of_the_path_cover_the_truth_as_often_as_they_say():
    slope = -0.05
    direct = _indirect(slope) / YEARS
    truths = (direct * YEARS + _indirect(slope), direct * YEARS, _indirect(slope), 0.5)
    covered = np.zeros((80, 4))
    for k in range(80):
        trial = _trial(_additive(0.25, direct, slope), 600, 1000 + k)
        found = dynamic_path(trial, horizon=YEARS, bootstrap=50).measures
        for i, (measure, truth) in enumerate(zip(found, truths, strict=True)):
            covered[k, i] = bool(measure.refused) or measure.low <= truth <= measure.high
    assert (covered.mean(axis=0) >= 0.88).all()
