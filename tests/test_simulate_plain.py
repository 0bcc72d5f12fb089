"""Plain event-time trials: people, calendar, looks and tests, against textbook computations and theory."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from lifelines import CoxPHFitter, KaplanMeierFitter
from lifelines.utils import restricted_mean_survival_time
from scipy import stats

from equipoise.analyse.combined_tests import maxcombo
from equipoise.analyse.survival import logrank
from equipoise.errors import UserError
from equipoise.protocol.model import Looks
from equipoise.protocol.plain import PlainTrial, load_plain
from equipoise.simulate import plain_kernel as kernel
from equipoise.simulate.looks import cut_offs, events_at, look_rules
from equipoise.simulate.plain import plain_participants, plain_rows, prepare_plain

EXAMPLES = Path(__file__).parent.parent / "docs" / "examples" / "plain"
YEAR = 365.25


def trial(**changes: Any) -> PlainTrial:
    """A small trial of 300 in two arms; the keys of a file replace its own."""
    data: dict[str, Any] = {
        "equipoise": 1,
        "plain": "Small",
        "arms": {"control": {"hazard": "0.3 / year"}, "treated": {"hazard_ratio": 0.7}},
        "reference_arm": "control",
        "participants": 300,
        "accrual": "1 year",
        "dropout": "0.05 / year",
        "primary_events": 120,
    }
    return PlainTrial.model_validate({**data, **changes})


def the_required_trial(**changes: Any) -> PlainTrial:
    return load_plain(EXAMPLES / "simple.yaml").model_copy(update=changes)


# --- what a look should say, computed another way ---------------------------------------------------------


def observed_at(people: pl.DataFrame, cut: float, final: bool) -> pl.DataFrame:
    """What is known at a cut-off: time under observation and event of everybody randomised by then."""
    seen = people.filter(pl.col("randomised") <= cut)
    by_status = pl.col("status")
    follow_up = cut - pl.col("randomised")
    known = 0.0 if final else pl.col("reported")
    event = (by_status == "event") & (pl.col("randomised") + pl.col("event") <= cut)
    event = event & (pl.col("randomised") + pl.col("event") + known <= cut)
    left = (by_status == "dropout") & (pl.col("randomised") + pl.col("dropout") <= cut)
    time = pl.when(event).then(pl.col("event")).when(left).then(pl.col("dropout")).otherwise(follow_up)
    return seen.with_columns(time=time, happened=event)


def textbook(data: pl.DataFrame, arms: tuple[str, str], strata: list[str], rho: float, gamma: float) -> tuple:
    """(score, variance, log hazard ratio, its standard error): Mantel, Fleming and Harrington, Cox with
    Efron's ties by Newton's method, from risk sets formed one by one."""
    score = variance = 0.0
    risk_sets = []
    for stratum in strata:
        part = data if stratum == "" else data.filter(pl.col("stratum") == stratum)
        time, died = part["time"].to_numpy(), part["happened"].to_numpy()
        other = (part["arm"] == arms[1]).to_numpy()
        survival = 1.0
        for t in np.unique(time[died]):
            at_risk, dying = time >= t, died & (time == t)
            n, n1, d, d1 = at_risk.sum(), (at_risk & other).sum(), dying.sum(), (dying & other).sum()
            weight = survival**rho * (1 - survival) ** gamma
            score += weight * (d1 - d * n1 / n)
            if n > 1:
                variance += weight**2 * d * (n1 / n) * (1 - n1 / n) * (n - d) / (n - 1)
            survival *= 1 - d / n
            risk_sets.append((n - n1, n1, d, d1))
    beta = 0.0
    for _ in range(50):
        u = i = 0.0
        for n0, n1, d, d1 in risk_sets:
            u += d1
            for l in range(d):
                r1 = (n1 - l / d * d1) * math.exp(beta)
                p = r1 / (r1 + n0 - l / d * (d - d1))
                u, i = u - p, i + p * (1 - p)
        beta += u / i
        if abs(u / i) < 1e-13:
            break
    return score, variance, beta, 1 / math.sqrt(i)


def expected_days(setup: Any, people: pl.DataFrame, everyone_by: float) -> list[float]:
    """The day of each look by the words of the schedule, from the table of one trial (`people` holds all)."""
    plan = setup.trial
    first, last = people["randomised"].min(), people["randomised"].max()
    happened = people.filter(pl.col("status") == "event")
    reports = sorted((happened["randomised"] + happened["event"] + happened["reported"]).to_list())

    def nth(count: int) -> float:
        return reports[count - 1] if count <= len(reports) else math.inf

    def span(duration: Any) -> float:
        length: float = duration.value * {"d": 1, "w": 7, "m": 30.4375, "y": 365.25}[duration.unit[0]]
        return float(math.floor(length + 0.5)) if plan.times == "whole days" else length

    end = min(
        math.inf if plan.primary_events is None else nth(plan.primary_events),
        math.inf if plan.follow_up is None else first + span(plan.follow_up),
        everyone_by,
    )
    days: list[float] = []
    for k, look in enumerate(plan.monitoring.schedule):
        waits = [-math.inf]
        if look.at is not None:
            waits.append(nth(events_at(look.at, plan.primary_events)))
        if look.events is not None:
            waits.append(nth(look.events))
        if look.after is not None:
            waits.append(first + span(look.after))
        if look.minimum_follow_up is not None:
            waits.append(last + span(look.minimum_follow_up))
        if look.minimum_gap is not None:
            waits.append(days[k - 1] + span(look.minimum_gap))
        day = max(waits)
        if look.at_latest is not None:
            day = min(day, first + span(look.at_latest))
        days.append(min(max([day, *days]), end))
    days = days or [end]
    return [day if k == len(days) - 1 or day < days[k + 1] else math.nan for k, day in enumerate(days)]


LOOKS = Looks.model_validate(
    {"looks": [{"at": 0.3, "after": "9 months"}, {"events": 70, "minimum_gap": "2 months"}, 1.0]}
)
DELAYED = LOOKS.model_copy(
    update={"reporting_delay": Looks.model_validate({"reporting_delay": "3 weeks"}).reporting_delay}
)
STRATA = {
    "low": {"share": 0.5},
    "middle": {"share": 0.3, "hazard_multiple": 2},
    "high": {"share": 0.2, "hazard_multiple": 4},
}


@pytest.mark.parametrize("times", ["whole days", "exact"])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"monitoring": LOOKS},
        {"monitoring": DELAYED, "follow_up": "2 years"},
        {"monitoring": LOOKS, "strata": STRATA, "analysis": {"stratified": True}},
        {"monitoring": DELAYED, "strata": STRATA, "randomization": "simple"},
        {"analysis": {"test": "fleming-harrington", "rho": 0.5, "gamma": 1}, "strata": STRATA},
        {"primary_events": None, "follow_up": "18 months", "dropout": None, "accrual": "20 days"},
        {
            "monitoring": {
                "looks": [{"minimum_follow_up": "3 months"}, {"events": 100, "at_latest": "20 months"}]
            }
        },
        {
            "arms": {
                "control": {"hazard": "0.3 / year", "dropout": "0.4 / year"},
                "treated": {"hazard_ratio": 1.2},
            }
        },
    ],
)
def test_a_row_says_what_its_participants_say(times: str, changes: dict[str, Any]) -> None:
    setup = prepare_plain(trial(times=times, **changes))
    analysis = setup.trial.analysis
    rho, gamma = analysis.rho or 0.0, analysis.gamma or 0.0
    strata = list(setup.strata) if analysis.stratified else [""]
    rows = plain_rows(setup, 11, 0, 8)
    for number in range(8):
        people = plain_participants(setup, 11, number)
        if people.height == setup.trial.participants:
            gone = float((people["randomised"] + people["observed"]).max())
            days = expected_days(setup, people, gone if rows["end|day"][number] == gone else math.inf)
            assert days == pytest.approx(
                [rows[f"look {k + 1}|day"][number] for k in range(setup.looks)], abs=1e-9, nan_ok=True
            )
        for k in range(setup.looks):
            look = {name: rows[f"look {k + 1}|{name}"][number] for name in setup.columns}
            if math.isnan(look["day"]):
                assert all(math.isnan(value) for value in look.values())
                continue
            data = observed_at(people, look["day"], k == setup.looks - 1)
            score, variance, beta, se = textbook(data, setup.arms, strata, rho, gamma)
            by_arm = [data.filter(pl.col("arm") == arm)["happened"].sum() for arm in setup.arms]
            z = -score / math.sqrt(variance)
            assert (look["events reference"], look["events other"]) == tuple(by_arm)
            assert look["events"] == sum(by_arm)
            assert look["enrolled"] == data.height
            assert look["z"] == pytest.approx(z, abs=1e-9)
            assert look["information"] == pytest.approx(variance, rel=1e-9)
            assert look["log_hr"] == pytest.approx(beta, abs=1e-9)
            assert look["log_se"] == pytest.approx(se, rel=1e-9)
            assert look["p"] == pytest.approx(stats.norm.sf(z), abs=1e-13)
        assert rows["participants"][number] == people.height
        assert rows["end|day"][number] == rows[f"look {setup.looks}|day"][number]


def test_the_estimate_is_that_of_another_package() -> None:
    setup = prepare_plain(trial(times="exact"))
    people = plain_participants(setup, 5, 3)
    frame = pd.DataFrame(
        {
            "time": people["observed"].to_numpy(),
            "event": (people["status"] == "event").to_numpy(),
            "other": (people["arm"] == "treated").to_numpy().astype(int),
        }
    )
    fitted = CoxPHFitter().fit(frame, "time", "event")
    row = plain_rows(setup, 5, 3, 1)
    assert row["look 1|log_hr"][0] == pytest.approx(fitted.params_["other"], abs=1e-6)
    assert row["look 1|log_se"][0] == pytest.approx(fitted.standard_errors_["other"], abs=1e-6)


@pytest.mark.parametrize("strata", [{}, STRATA])
def test_the_maximum_of_weighted_tests_is_that_of_the_participants(strata: dict[str, Any]) -> None:
    stratified = {"test": "maxcombo", "stratified": bool(strata)}
    setup = prepare_plain(trial(analysis=stratified, strata=strata))
    for number in range(3):
        people = plain_participants(setup, 2, number)
        levels = people["stratum"].to_numpy() if strata else None
        found = maxcombo(
            people["observed"], people["status"] == "event", (people["arm"] == "treated").cast(int), levels
        )
        row = plain_rows(setup, 2, number, 1)
        assert row["look 1|p"][0] == pytest.approx(found.p_fewer, abs=1e-9)
        assert stats.norm.sf(row["look 1|z"][0]) == pytest.approx(found.p_fewer, abs=1e-9)


def test_the_difference_of_restricted_means_is_that_of_another_package() -> None:
    setup = prepare_plain(trial(analysis={"test": "rmst", "horizon": "10 months"}, times="exact"))
    people = plain_participants(setup, 2, 0)
    horizon, means = 10 * 30.4375, []
    for arm in setup.arms:
        part = people.filter(pl.col("arm") == arm)
        curve = KaplanMeierFitter().fit(part["observed"].to_numpy(), (part["status"] == "event").to_numpy())
        means.append(restricted_mean_survival_time(curve, t=horizon))
    row = {name: values[0] for name, values in plain_rows(setup, 2, 0, 1).items()}
    assert row["look 1|rmst difference"] == pytest.approx(means[1] - means[0], abs=1e-8)
    z = row["look 1|rmst difference"] / row["look 1|rmst se"]
    assert row["look 1|z"] == pytest.approx(z, rel=1e-12)
    assert row["look 1|information"] == pytest.approx(row["look 1|rmst se"] ** -2, rel=1e-12)
    assert row["look 1|p"] == pytest.approx(stats.norm.sf(z), abs=1e-13)


def test_a_restricted_mean_beyond_the_longest_follow_up_is_undefined() -> None:
    row = plain_rows(prepare_plain(trial(analysis={"test": "rmst", "horizon": "30 years"})), 1, 0, 1)
    assert math.isnan(row["look 1|rmst difference"][0])
    assert math.isnan(row["look 1|z"][0])
    assert row["look 1|events"][0] >= 120


# --- who comes, and what becomes of them ------------------------------------------------------------------


def test_with_a_hazard_ratio_of_one_a_person_has_the_same_event_time_in_either_arm() -> None:
    same = prepare_plain(trial(arms={"control": {"hazard": "0.3 / year"}, "treated": {"hazard_ratio": 1}}))
    turned = prepare_plain(
        trial(
            arms={"control": {"hazard": "0.3 / year"}, "treated": {"hazard_ratio": 1}},
            reference_arm="control",
            randomization="simple",
        )
    )
    a, b = plain_participants(same, 4, 9), plain_participants(turned, 4, 9)
    assert (a["arm"] != b["arm"]).sum() > 50
    assert a["event"].to_list() == b["event"].to_list()
    assert a["dropout"].to_list() == b["dropout"].to_list()


def test_two_trials_with_one_seed_see_the_same_people() -> None:
    mild, strong = (
        plain_participants(
            prepare_plain(
                trial(
                    arms={"control": {"hazard": "0.3 / year"}, "treated": {"hazard_ratio": ratio}},
                    times="exact",
                    primary_events=None,
                    follow_up="5 years",
                )
            ),
            4,
            9,
        )
        for ratio in (0.8, 0.4)
    )
    same = ["participant", "arm", "randomised", "dropout"]
    assert mild.select(same).equals(strong.select(same))
    control = mild["arm"] == "control"
    assert mild.filter(control)["event"].equals(strong.filter(control)["event"])
    ratio = (strong.filter(~control)["event"] / mild.filter(~control)["event"]).to_numpy()
    assert ratio == pytest.approx(2.0, rel=1e-12)


def test_rows_do_not_depend_on_chunks_or_threads() -> None:
    setup = prepare_plain(trial(monitoring=DELAYED, strata=STRATA))
    whole = plain_rows(setup, 8, 100, 60)
    with ThreadPoolExecutor(3) as pool:
        parts = list(pool.map(lambda first: plain_rows(setup, 8, first, 12), range(100, 160, 12)))
    for name, values in whole.items():
        assert np.concatenate([part[name] for part in parts]).tobytes() == values.tobytes()


def test_results_do_not_depend_on_how_far_ahead_events_are_searched_for() -> None:
    setup = prepare_plain(trial(monitoring=LOOKS))
    rows = plain_rows(setup, 8, 0, 40)
    everybody = setup.plan._replace(
        horizons=np.array([math.inf]),
        event_word=np.zeros((1, 2), np.uint32),
        dropout_word=np.zeros((1, 2), np.uint32),
    )
    too_short = setup.plan._replace(horizons=np.array([1.0, 250.0, math.inf]))
    for plan in (everybody, too_short):
        other = plain_rows(replace(setup, plan=plan), 8, 0, 40)
        assert all(other[name].tobytes() == values.tobytes() for name, values in rows.items())


def test_arrivals_are_spread_evenly_over_an_accrual_without_pieces() -> None:
    setup = prepare_plain(trial(times="exact", primary_events=None, follow_up="5 years"))
    arrivals = np.concatenate([plain_participants(setup, 1, k)["randomised"].to_numpy() for k in range(20)])
    assert stats.kstest(arrivals / YEAR, "uniform").pvalue > 1e-3
    one = plain_participants(setup, 1, 0)["randomised"].to_numpy()
    assert (np.diff(one) > 0).all()


def test_arrivals_follow_the_rates_of_the_countries_and_each_country_its_own() -> None:
    accrual = {
        "north": [
            {"to": "60 days", "rate": "1 / day"},
            {"from": "60 days", "to": "100 days", "rate": "3 / day"},
        ],
        "south": [{"from": "20 days", "to": "100 days", "rate": "2 / day"}],
    }
    setup = prepare_plain(
        trial(accrual=accrual, participants=4000, times="exact", primary_events=None, follow_up="3 years")
    )
    people = plain_participants(setup, 3, 0)
    edges = [0, 20, 60, 100]
    expected = {"north": np.array([20, 40, 120]) / 340, "south": np.array([0, 80, 80]) / 340}
    for country, shares in expected.items():
        came = people.filter(pl.col("country") == country)["randomised"].to_numpy()
        counts = np.histogram(came, edges)[0]
        assert (np.abs(counts - 4000 * shares) <= 4.5 * np.sqrt(4000 * shares * (1 - shares))).all()
    days = plain_participants(prepare_plain(trial(accrual=accrual)), 3, 0)
    assert days.filter(pl.col("country") == "south")["randomised"].min() >= 20


def test_nobody_arrives_while_accrual_pauses() -> None:
    accrual = {
        "north": [
            {"to": "50 days", "rate": "1 / day"},
            {"from": "90 days", "to": "120 days", "rate": "1 / day"},
        ]
    }
    for times in ("exact", "whole days"):
        came = plain_participants(prepare_plain(trial(accrual=accrual, times=times)), 3, 0)["randomised"]
        assert not came.is_between(50, 90, closed="none").any()
        assert (came < 50).sum() == pytest.approx(300 * 50 / 80, abs=4.5 * math.sqrt(300 * 15 / 64))


def test_event_times_follow_the_hazards_of_their_pieces() -> None:
    arms = {
        "control": {
            "hazard": [
                {"until": "100 days", "hazard": "0.002 / day"},
                {"until": "200 days", "hazard": "0 / day"},
                {"hazard": "0.01 / day"},
            ]
        },
        "treated": {
            "hazard_ratio": [
                {"until": "150 days", "hazard_ratio": 1},
                {"until": "250 days", "hazard_ratio": 0.5},
                {"hazard_ratio": 2},
            ]
        },
    }
    setup = prepare_plain(
        trial(
            arms=arms,
            participants=20_000,
            times="exact",
            primary_events=None,
            follow_up="9 years",
            dropout=None,
        )
    )
    people = plain_participants(setup, 3, 0)

    def survival(t: np.ndarray, ratios: tuple[float, float]) -> np.ndarray:
        early = 0.002 * np.minimum(t, 100)
        middle = 0.01 * ratios[0] * np.clip(t - 200, 0, 50)
        return np.exp(-early - middle - 0.01 * ratios[1] * np.maximum(t - 250, 0))

    for arm, ratios in (("control", (1.0, 1.0)), ("treated", (0.5, 2.0))):
        times = people.filter(pl.col("arm") == arm)["event"].to_numpy()
        at = np.array([20.0, 100.0, 199.0, 225.0, 260.0, 350.0])
        share = (times[:, None] > at).mean(axis=0)
        truth = survival(at, ratios)
        assert (np.abs(share - truth) < 4.5 * np.sqrt(truth * (1 - truth) / len(times))).all()
        assert not ((times > 100) & (times < 200)).any()
        assert stats.kstest(survival(times, ratios), "uniform").pvalue > 1e-4


def test_dropout_follows_the_rate_of_each_arm() -> None:
    arms = {"control": {"hazard": "0.3 / year", "dropout": "0.5 / year"}, "treated": {"hazard_ratio": 1}}
    people = plain_participants(
        prepare_plain(
            trial(arms=arms, participants=20_000, times="exact", follow_up="9 years", primary_events=None)
        ),
        3,
        0,
    )
    for arm, rate in (("control", 0.5), ("treated", 0.05)):
        times = people.filter(pl.col("arm") == arm)["dropout"].to_numpy()
        assert stats.kstest(times / YEAR, "expon", (0, 1 / rate)).pvalue > 1e-4


def test_whole_days_are_the_exact_times_rounded_up() -> None:
    exact, whole = (
        plain_participants(
            prepare_plain(trial(times=times, primary_events=None, follow_up="9 years", accrual="365 days")),
            6,
            0,
        )
        for times in ("exact", "whole days")
    )
    assert whole["event"].to_list() == np.maximum(np.ceil(exact["event"].to_numpy()), 1).tolist()
    assert whole["randomised"].to_list() == np.floor(exact["randomised"].to_numpy()).tolist()
    assert whole["event"].min() >= 1


@pytest.mark.parametrize(
    ("shares", "block"), [((1, 1), None), ((1, 2), 6), ((3, 2), 10), ((1, 1), 40), ((1, 3), 500)]
)
@pytest.mark.parametrize("strata", [{}, STRATA])
def test_every_permuted_block_keeps_the_ratio(
    shares: tuple[int, int], block: int | None, strata: dict[str, Any]
) -> None:
    arms = {
        "control": {"hazard": "0.3 / year", "share": shares[0]},
        "treated": {"hazard_ratio": 1, "share": shares[1]},
    }
    people = plain_participants(
        prepare_plain(
            trial(
                arms=arms,
                block=block,
                strata=strata,
                participants=3000,
                primary_events=None,
                follow_up="9 years",
            )
        ),
        3,
        0,
    )
    size = block or 4
    for _, part in people.group_by("stratum", maintain_order=True):
        treated = (part["arm"] == "treated").to_numpy()
        blocks = treated[: len(treated) // size * size].reshape(-1, size)
        assert (blocks.sum(axis=1) == size * shares[1] // sum(shares)).all()
        # every place of a block is treated as often as any other
        spread = math.sqrt(len(blocks) * shares[0] * shares[1]) / sum(shares)
        assert (
            np.abs(blocks.sum(axis=0) - len(blocks) * shares[1] / sum(shares)) <= 4.5 * spread + 1e-9
        ).all()


def test_blocks_of_four_have_their_six_arrangements_equally_often() -> None:
    setup = prepare_plain(trial(participants=24_000, primary_events=None, follow_up="9 years"))
    treated = (plain_participants(setup, 1, 0)["arm"] == "treated").to_numpy().reshape(-1, 4)
    counts = np.unique(treated @ np.array([1, 2, 4, 8]), return_counts=True)[1]
    assert len(counts) == 6
    assert stats.chisquare(counts).pvalue > 1e-4


def test_simple_randomisation_and_strata_keep_their_shares_on_average() -> None:
    arms = {"control": {"hazard": "0.3 / year"}, "treated": {"hazard_ratio": 1, "share": 2}}
    people = plain_participants(
        prepare_plain(
            trial(
                arms=arms,
                strata=STRATA,
                randomization="simple",
                participants=20_000,
                primary_events=None,
                follow_up="9 years",
            )
        ),
        3,
        0,
    )
    assert (people["arm"] == "treated").mean() == pytest.approx(2 / 3, abs=4.5 * math.sqrt(2 / 9 / 20_000))
    for name, share in (("low", 0.5), ("middle", 0.3), ("high", 0.2)):
        assert (people["stratum"] == name).mean() == pytest.approx(share, abs=4.5 * 0.5 / math.sqrt(20_000))
    assert people.group_by("stratum").agg((pl.col("arm") == "treated").mean())["arm"].std() < 0.03


def test_a_stratum_multiplies_the_hazard() -> None:
    people = plain_participants(
        prepare_plain(
            trial(strata=STRATA, participants=20_000, primary_events=None, follow_up="9 years", times="exact")
        ),
        3,
        0,
    )
    for name, multiple in (("low", 1), ("middle", 2), ("high", 4)):
        part = people.filter((pl.col("stratum") == name) & (pl.col("arm") == "control"))
        assert stats.kstest(part["event"].to_numpy() / YEAR * 0.3 * multiple, "expon").pvalue > 1e-4


def test_reports_come_an_exponential_time_after_the_event() -> None:
    setup = prepare_plain(
        trial(
            monitoring={"reporting_delay": "30 days"},
            participants=20_000,
            times="exact",
            primary_events=None,
            follow_up="9 years",
        )
    )
    assert stats.kstest(plain_participants(setup, 3, 0)["reported"].to_numpy() / 30, "expon").pvalue > 1e-4


TWO_STRATA = {"low": {"share": 0.6}, "high": {"share": 0.4, "hazard_multiple": 2}}


def test_by_the_saddlepoint_distribution_z_is_that_of_the_analysis() -> None:
    monitoring = {"looks": [0.5, 1.0], "spending": "pocock", "distribution": "saddlepoint"}
    arms = {"control": {"hazard": "0.3 / year"}, "treated": {"hazard_ratio": 0.7, "share": 2}}
    setup = prepare_plain(
        trial(monitoring=monitoring, arms=arms, strata=TWO_STRATA, analysis={"stratified": True})
    )
    rows, people = plain_rows(setup, 8, 3, 1), plain_participants(setup, 8, 3)
    for look, final in ((1, False), (2, True)):
        data = observed_at(people, float(rows[f"look {look}|day"][0]), final)
        treated = (data["arm"] == "treated").to_numpy().astype(int)
        found = logrank(data["time"], data["happened"], treated, data["stratum"], distribution="saddlepoint")
        assert rows[f"look {look}|z"][0] == pytest.approx(-found.z, abs=1e-8)


def test_another_test_has_no_saddlepoint_distribution() -> None:
    with pytest.raises(UserError, match="the log-rank statistic, not of rmst; use test: log-rank"):
        prepare_plain(
            trial(
                monitoring={"distribution": "saddlepoint"}, analysis={"test": "rmst", "horizon": "9 months"}
            )
        )


# --- power, error, time -----------------------------------------------------------------------------------


def test_power_and_duration_of_a_trial_whose_theory_is_known() -> None:
    trials = 5000
    rows = plain_rows(prepare_plain(the_required_trial()), 20, 0, trials)
    power = (rows["look 1|z"] > stats.norm.isf(0.025)).mean()
    # Schoenfeld (1981): 230 events, hazard ratio 0.75
    theory = stats.norm.sf(stats.norm.isf(0.025) + math.log(0.75) * math.sqrt(230) / 2)
    assert theory == pytest.approx(0.588, abs=5e-4)
    assert power == pytest.approx(theory, abs=4 * math.sqrt(theory * (1 - theory) / trials))
    years = rows["end|day"] / YEAR
    assert years.mean() == pytest.approx(9.13, abs=4 * years.std() / math.sqrt(trials) + 0.005)
    assert (rows["look 1|events"] >= 230).all()
    assert rows["look 1|log_hr"].mean() == pytest.approx(math.log(0.75), abs=4 * 0.133 / math.sqrt(trials))


def test_with_no_effect_the_test_errs_as_often_as_it_should() -> None:
    trials, level = 6000, 0.025
    arms = {"control": {"hazard": "0.3 / year"}, "treated": {"hazard_ratio": 1}}
    for analysis in ({}, {"test": "fleming-harrington", "gamma": 1}, {"test": "rmst", "horizon": "9 months"}):
        rows = plain_rows(prepare_plain(trial(arms=arms, analysis=analysis)), 30, 0, trials)
        p = rows["look 1|p"]
        assert (p < level).mean() == pytest.approx(level, abs=4.5 * math.sqrt(level * (1 - level) / trials))
        assert stats.kstest(p, "uniform").pvalue > 1e-5


def test_a_delayed_effect_is_found_by_late_weights_and_by_the_maximum_more_often_than_by_the_log_rank() -> (
    None
):
    delayed = load_plain(EXAMPLES / "delayed.yaml")
    power = {}
    for name, analysis in (
        ("log-rank", {"test": "log-rank"}),
        ("late", {"test": "fleming-harrington", "gamma": 1}),
        ("maximum", {"test": "maxcombo"}),
    ):  # fmt: skip
        setup = prepare_plain(
            delayed.model_copy(update={"analysis": type(delayed.analysis).model_validate(analysis)})
        )
        power[name] = (plain_rows(setup, 12, 0, 600)["look 1|p"] < 0.025).mean()
    # the same people in all three, so differences of a few hundredths are no chance
    assert power["late"] > power["log-rank"] + 0.05
    assert power["maximum"] > power["log-rank"] + 0.03


# --- when the data are looked at --------------------------------------------------------------------------


def days_of(
    looks: list[Any],
    events: list[float],
    *,
    first: float = 10,
    last: float = 400,
    end: float = 2000,
    planned: int = 100,
) -> list[float]:
    """Cut-offs of a schedule of whole days, with the days on which the awaited events are known."""
    schedule = Looks.model_validate({"looks": looks}).schedule
    rules = look_rules(schedule, planned, whole_days=True)
    out = np.empty(len(schedule))
    cut_offs(rules, np.array(events, float), float(first), float(last), float(end), out)
    return [None if math.isnan(day) else day for day in out]  # type: ignore[misc]


def test_a_look_waits_for_its_events() -> None:
    assert days_of([0.5, 1.0], [700, 1500]) == [700, 1500]
    assert look_rules(
        Looks.model_validate({"looks": [0.5, {"events": 60}, 1.0]}).schedule, 99, whole_days=True
    ).events.tolist() == [50, 60, 99]


def test_a_look_waits_for_everything_it_asks_for() -> None:
    look = {"at": 0.5, "after": "2 years", "minimum_follow_up": "1 year"}
    assert days_of([look, 1.0], [500, 1500]) == [400 + 365, 1500]
    assert days_of([look, 1.0], [900, 1500]) == [900, 1500]
    assert days_of([{"at": 0.5, "after": "3 years"}, 1.0], [500, 1500]) == [10 + 1096, 1500]


def test_a_look_keeps_its_distance_from_the_look_before() -> None:
    assert days_of([0.3, {"at": 0.5, "minimum_gap": "6 months"}, 1.0], [500, 520, 1500]) == [
        500,
        500 + 183,
        1500,
    ]
    assert days_of([0.3, {"at": 0.5, "minimum_gap": "6 months"}, 1.0], [500, 900, 1500]) == [500, 900, 1500]


def test_a_wait_ends_at_the_latest_day() -> None:
    assert days_of([{"at": 0.5, "at_latest": "2 years"}, 1.0], [1200, 1500]) == [10 + 731, 1500]
    assert days_of([{"at": 0.5, "at_latest": "2 years"}, 1.0], [math.inf, 1500]) == [10 + 731, 1500]


def test_a_look_at_or_after_the_end_of_the_trial_is_the_final_analysis() -> None:
    assert days_of([0.5, 0.8, 1.0], [700, 2500, math.inf]) == [700, None, 2000]
    assert days_of([0.5, 1.0], [2000, 2000]) == [None, 2000]


def test_looks_that_fall_on_one_day_are_one_and_a_missed_latest_day_does_not_turn_time_back() -> None:
    assert days_of([0.5, 0.51, 1.0], [700, 700, 1500]) == [None, 700, 1500]
    assert days_of([0.5, {"at": 0.8, "at_latest": "1 year"}, 1.0], [700, 900, 1500]) == [None, 700, 1500]


def test_the_last_look_ends_the_trial_even_before_its_planned_end() -> None:
    assert days_of([0.5, 0.75], [700, 1100]) == [700, 1100]


def test_a_share_of_the_information_is_the_first_number_of_events_that_reaches_it() -> None:
    assert [events_at(share, 230) for share in (0.25, 0.5, 1 / 3, 1.0, 1e-9)] == [58, 115, 77, 230, 1]
    assert events_at(0.7, 10) == 7  # 0.7 x 10 is a little more than 7 in binary


def test_dates_are_days_of_the_trial_where_there_is_a_calendar() -> None:
    schedule = Looks.model_validate(
        {"looks": [{"date": "2003-03-01"}, {"events": 9, "at_latest": "2004-01-01"}]}
    ).schedule
    rules = look_rules(schedule, 9, whole_days=True, day_of=lambda when: (when - date(2003, 1, 1)).days)
    assert rules.not_before[0] == 59
    assert rules.latest[1] == 365


def test_a_trial_whose_events_never_come_ends_when_nobody_is_left() -> None:
    setup = prepare_plain(trial(dropout="2 / year", primary_events=200))
    row = plain_rows(setup, 3, 0, 1)
    people = plain_participants(setup, 3, 0)
    assert row["look 1|events"][0] < 200
    assert row["end|day"][0] == (people["randomised"] + people["observed"]).max()
    assert set(people["status"]) == {"event", "dropout"}


def test_a_trial_that_ends_during_accrual_counts_only_those_who_came() -> None:
    rows = plain_rows(prepare_plain(trial(accrual="10 years", primary_events=20)), 3, 0, 5)
    assert (rows["participants"] < 300).all()
    assert (rows["participants"] == rows["look 1|enrolled"]).all()


def test_without_any_event_there_is_no_test_and_no_estimate() -> None:
    setup = prepare_plain(
        trial(
            primary_events=None,
            follow_up="30 days",
            arms={"control": {"hazard": "0.0001 / year"}, "treated": {"hazard_ratio": 1}},
        )
    )
    row = plain_rows(setup, 3, 0, 1)
    assert row["look 1|events"][0] == 0
    assert all(math.isnan(row[f"look 1|{name}"][0]) for name in ("z", "p", "log_hr", "log_se"))
    assert row["look 1|information"][0] == 0


# --- order ------------------------------------------------------------------------------------------------


def test_times_are_sorted_and_selected_whatever_their_distribution() -> None:
    rng = np.random.default_rng(3)
    for values in (
        rng.random(500), rng.lognormal(0, 4, 700), np.zeros(60), rng.integers(0, 5, 900).astype(float),
        np.concatenate([rng.random(300) * 1e-9, [1.0]]), np.array([2.0]),
    ):  # fmt: skip
        n = len(values)
        order, place = np.empty(n, np.uint32), np.empty(2 * n + 8, np.int64)
        kernel.sort_times(values, n, order, place)
        assert values[order].tolist() == sorted(values)
        assert sorted(order) == list(range(n))
        for nth in {1, n, n // 2 + 1}:
            assert kernel.nth_smallest(values, n, nth, np.empty(n)) == sorted(values)[nth - 1]
        assert kernel.nth_smallest(values, n, n + 1, np.empty(n)) == math.inf


# --- what is refused --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"monitoring": {"looks": [{"date": "2003-03-01"}, 1.0]}}, "no calendar"),
        ({"monitoring": {"looks": [{"at": 0.5, "at_latest": "2003-03-01"}, 1.0]}}, "no calendar"),
        ({"monitoring": {"looks": [{"at": 0.5, "minimum_gap": "1 month"}, 1.0]}}, "no look before it"),
        ({"monitoring": {"looks": [0.5, 0.4, 1.0]}}, "must rise"),
        ({"monitoring": {"looks": [{"events": 301}]}}, "cannot happen to 300 participants"),
        ({"monitoring": {"looks": [0.5, 1.0]}, "analysis": {"test": "maxcombo"}}, "single analysis"),
        (
            {"monitoring": {"looks": [0.5, 1.0]}, "analysis": {"test": "rmst", "horizon": "1 year"}},
            "single analysis",
        ),
        (
            {"follow_up": "1 year", "analysis": {"test": "rmst", "horizon": "2 years"}},
            "nobody is followed for 2 years",
        ),
        ({"block": 5}, "not a multiple of 2"),
        ({"block": 4, "randomization": "simple"}, "no blocks"),
        (
            {
                "accrual": {
                    "a": [
                        {"to": "50 days", "rate": "1 / day"},
                        {"from": "40 days", "to": "60 days", "rate": "1 / day"},
                    ]
                }
            },
            "overlap",
        ),
        (
            {
                "dropout": None,
                "arms": {
                    "control": {
                        "hazard": [{"until": "1 year", "hazard": "0.1 / year"}, {"hazard": "0 / year"}]
                    },
                    "treated": {"hazard_ratio": 1},
                },
            },
            "never end",
        ),
        ({"strata": {f"s{k}": {"share": 1 / 128} for k in range(128)}}, "too many"),
    ],
)
def test_what_cannot_be_carried_out_is_refused_with_the_reason(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        prepare_plain(trial(**changes))


def test_numbers_outside_their_range_are_refused() -> None:
    setup = prepare_plain(trial())
    with pytest.raises(UserError, match="seed"):
        plain_rows(setup, -1, 0, 1)
    with pytest.raises(UserError, match="numbered from 0"):
        plain_rows(setup, 1, 2**32 - 1, 2)
    with pytest.raises(UserError, match="numbered from 0"):
        plain_participants(setup, 1, -1)
    assert len(plain_rows(setup, 2**64 - 1, 2**32 - 1, 1)["trial"]) == 1
    assert len(plain_rows(setup, 1, 5, 0)["trial"]) == 0


@pytest.mark.parametrize("name", ["simple", "delayed", "three-looks"])
def test_the_examples_of_the_manual_run(name: str) -> None:
    setup = prepare_plain(load_plain(EXAMPLES / f"{name}.yaml"))
    rows = plain_rows(setup, 1, 0, 3)
    assert len(rows) == 3 + setup.looks * len(setup.columns)
    assert (rows[f"look {setup.looks}|events"] > 0).all()


def test_the_file_in_the_manual_is_the_simple_example(tmp_path: Path) -> None:
    page = (EXAMPLES.parent.parent / "plain-trials.md").read_text(encoding="utf-8")
    file = tmp_path / "simple.yaml"
    file.write_text(page.split("```yaml\n")[1].split("```")[0], encoding="utf-8")
    shown, example = load_plain(file), the_required_trial()
    assert shown == example.model_copy(update={"title": "", "power": None})
