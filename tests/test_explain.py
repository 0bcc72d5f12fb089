"""Explaining a result: expected hazard ratios, what was published, what agrees, and what would have told."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy.linalg import expm
from scipy.stats import multivariate_normal
from typer.testing import CliRunner, Result

from equipoise import job
from equipoise.analyse.survival import cox_binary
from equipoise.cli.main import app
from equipoise.errors import UserError
from equipoise.protocol import load
from equipoise.report.explain import SYMBOLS
from equipoise.simulate.plans import prepare
from equipoise.simulate.ridge import expected as expected_module
from equipoise.simulate.ridge import explaining, kernel, lesson, likelihood
from equipoise.simulate.ridge.courses import Crowd, crowd, cut_arm
from equipoise.simulate.ridge.expected import (
    DEATHS,
    DISEASES,
    LATER,
    PRIMARY,
    RECENT,
    Point,
    Rates,
    batches_of,
    expected,
    jackknife_error,
    log_ratios,
    reference_figures,
)
from equipoise.simulate.ridge.explaining import largest_gap, one_sided_alpha, solve_rates, table_points
from equipoise.simulate.ridge.published import Ratio, published
from equipoise.simulate.ridge.surface import Nodes, Surface, chebyshev, rho_limit
from equipoise.simulate.ridge.trials import Trials
from equipoise.simulate.trial import diary, outcomes, walk
from equipoise.virtual.hazards import functional, hazards
from equipoise.virtual.latent import Person

USUAL = {0.85: Rates(1.0, 1.0, 1.0)}
PRESET_C, PRESET_D, PRESET_E = Point(1, 0.5, 130, 0.85), Point(1, 0, 130, 0.85), Point(1, 4, 14, 0.85)


@pytest.fixture(scope="module")
def esprit() -> Crowd:
    return crowd(prepare(load("esprit"), "C"), "il2", 6000, 1, "CD4 at entry")


@pytest.fixture(scope="module")
def silcaat() -> Crowd:
    return crowd(prepare(load("silcaat")), "il2", 1000, 1)


# --- expected hazard ratios ---------------------------------------------------------------------------------


def test_times_and_events_of_a_constant_course_are_those_of_the_markov_chain() -> None:
    od, death, after, years = 0.0004, 0.0003, 8.0, 5
    many = 12
    pieces = kernel.pieces_for(1, many, 1)
    pieces.first[:] = 0, many
    for name, value in (
        ("interval", 0), ("recent", 0), ("length", years * 365.25 / many), ("native", 300.0),
        ("induced", 0.0), ("disease", 1.0), ("background", death / 3), ("linked", 1.0),
    ):  # fmt: skip
        getattr(pieces, name)[:] = value
    pieces.exposure[:] = 0.0
    sums = np.zeros((1, 1, kernel.SUMS))
    dials = prepare(load("esprit"), "A").dials
    kernel.add_up(
        dials, after, pieces, np.full(many, od), np.full(many, 2 * death / 3), np.ones(1),
        np.zeros(1, np.int64), 0.0, 0, 1.0, 1.0, sums,
    )  # fmt: skip
    # free, ill, dead of free, dead of ill; and the integrals of the first two
    rates = np.zeros((6, 6))
    rates[0, 1], rates[0, 2], rates[0, 0] = od, death, -od - death
    rates[1, 3], rates[1, 1] = after * death, -after * death
    rates[0, 4] = rates[1, 5] = 1.0
    state = expm(rates * years * 365.25)[0]
    got = sums[0, 0]
    assert got[kernel.FREE] == pytest.approx(state[4], rel=1e-10)
    assert got[kernel.AFTER] == pytest.approx(state[5], rel=1e-9)
    assert got[kernel.DEATH_FREE] == pytest.approx(state[2], rel=1e-10)
    assert got[kernel.DEATH_AFTER] == pytest.approx(state[3], rel=1e-9)
    assert got[kernel.DISEASE] == pytest.approx(1 - state[0] - state[2], rel=1e-10)


def test_the_factors_of_a_piece_make_the_hazards_of_the_model(silcaat: Crowd) -> None:
    rows = np.arange(30)
    pieces = cut_arm(silcaat, silcaat.other, rows, np.array([130.0]))
    biology = silcaat.setup.kernel.biology
    dials = silcaat.setup.dials._replace(phi=0.7, rho_acute=0.8, tau_acute=130.0, rho_chronic=0.0)
    used = int(pieces.first[-1])
    disease, linked = np.empty(used), np.empty(used)
    kernel.protection(dials, biology.od_power, biology.death_power, 0.7, pieces, disease, linked)
    harm = 0.8 * pieces.exposure[0, :used]
    od = disease * (1.0 + dials.harm_opportunistic * harm)
    people = silcaat.enrolment.people
    viraemic = 0
    for k in rows:
        one = Person(
            people.number[k], people.count[k], people.nadir[k], people.age[k], people.female[k],
            people.prior_aids[k], people.viraemic[k], people.log10_level[k], 0.0, 0.0, 0.0, 0.0, 0.6,
        )  # fmt: skip
        begin = 0.0
        for j in range(pieces.first[k], pieces.first[k + 1]):
            day = begin + 0.5 * pieces.length[j]
            begin += pieces.length[j]
            count = functional(dials, pieces.native[j], pieces.induced[j])
            of_model = [
                hazards(biology, dials, one, state, False, day, count, pieces.exposure[0, j], 0.0)
                for state in (0, 1)
            ]
            state = int(abs(of_model[1].opportunistic / od[j] - 1) < 1e-9)
            viraemic += state
            assert od[j] == pytest.approx(of_model[state].opportunistic, rel=1e-12)
            death = (pieces.background[j] + 0.6 * linked[j]) * (1.0 + dials.harm_death * harm[j])
            assert death == pytest.approx(of_model[state].death, rel=1e-12)
    assert 0 < viraemic < used
    assert pieces.induced[:used].max() > 50
    assert harm.max() > 0.3


def test_without_protection_and_harm_the_hazard_ratio_is_one(esprit: Crowd, silcaat: Crowd) -> None:
    for people in (esprit, silcaat):
        found = expected(people, [Point(0, 0, 130, 0.85)], USUAL, 1)
        for name in (PRIMARY, DISEASES, DEATHS):
            assert found.of(name)[0] == pytest.approx(0, abs=1e-5)  # the pieces differ


def test_expectations_agree_with_people_whose_events_are_drawn(esprit: Crowd) -> None:
    """The same people in both arms, walked by the loop of the simulated trials, their events drawn."""
    found = expected(esprit, [PRESET_C], USUAL, 1)
    n = esprit.participants
    arms = []
    for number, arm in enumerate(esprit.setup.arms):
        happened = outcomes(n, len(esprit.setup.landmarks))
        people = esprit.enrolment.people._replace(
            goal=np.ascontiguousarray(esprit.enrolment.goals[:, number])
        )
        everybody, plan = np.arange(n), esprit.setup.plan
        walk(
            esprit.setup.kernel, arm.plan, plan, people, everybody, np.uint64(1), 0, False, happened,
            diary(0, 0, 0, 0, 0),
        )  # fmt: skip
        first = np.where(happened.diseases[:, 0] < 0, 10**9, happened.diseases[:, 0])
        first = np.minimum(first, np.where(happened.death < 0, 10**9, happened.death))
        arms.append((np.where(first < 10**9, first, happened.last_day), first < 10**9))
    shares = [event.mean() for _, event in arms]
    for share, wanted in zip(shares, (found.other[0, 0], found.reference[0, 0]), strict=True):
        assert share == pytest.approx(wanted, abs=4 * math.sqrt(wanted / n))

    def drawn(people: np.ndarray) -> float:
        days = np.concatenate([day[people] for day, _ in arms]).astype(np.int32)
        events = np.concatenate([event[people] for _, event in arms]).astype(np.uint8)
        treated = np.repeat([1, 0], len(people)).astype(np.uint8)
        return float(cox_binary(days, events, treated, np.zeros(len(days), np.int32), 1)[0])

    everybody = np.arange(n)
    apart = drawn(everybody) - found.values[0, 0]
    left_out = [drawn(np.setdiff1d(everybody, batch)) for batch in batches_of(esprit)]
    assert abs(apart) < 4 * jackknife_error(np.array(left_out) - found.left_out[:, 0, 0])
    assert abs(apart) < 0.04


def test_batches_are_small_samples_of_everybody(esprit: Crowd) -> None:
    batches = batches_of(esprit)
    assert np.array_equal(np.sort(np.concatenate(batches)), np.arange(esprit.participants))
    assert len(batches) == 20
    ends = esprit.enrolment.people.end_day
    # who enters late is followed for less long: consecutive people differ by years
    assert np.ptp([ends[rows].mean() for rows in batches]) < 120
    assert np.ptp([rows.mean() for rows in np.array_split(ends, 20)]) > 240


def test_the_estimate_is_that_of_everybody_at_once(esprit: Crowd, monkeypatch: pytest.MonkeyPatch) -> None:
    points = [PRESET_C, PRESET_D]
    found = expected(esprit, points, USUAL, 1, errors_at=[1])
    assert np.isnan(found.errors[0]).all()
    assert (found.errors[1] > 0).all()
    monkeypatch.setattr(expected_module, "BATCHES", 1)
    monkeypatch.setattr(expected_module, "BATCH", esprit.participants)
    monkeypatch.setattr(expected_module, "AT_ONCE", 1)
    whole = expected(esprit, points, USUAL, 1)
    assert found.values == pytest.approx(whole.values, abs=1e-9)
    assert found.reference == pytest.approx(whole.reference, rel=1e-12)
    assert np.isnan(whole.errors).all()  # one batch says nothing about chance


def test_the_monte_carlo_error_is_the_scatter_between_other_people() -> None:
    setup = prepare(load("esprit"), "C")
    found = [
        expected(crowd(setup, "il2", 600, seed), [PRESET_C, PRESET_D], USUAL, 1) for seed in range(2, 14)
    ]
    values = np.array([each.of(PRIMARY) for each in found])
    errors = np.array([each.errors[:, 0] for each in found])
    # 12 seeds know a standard deviation to about a fifth
    ratio = np.sqrt((errors**2).mean(axis=0)) / values.std(axis=0, ddof=1)
    assert (ratio > 0.6).all(), ratio
    assert (ratio < 1.8).all(), ratio
    apart = [each.apart(0, 1, [PRIMARY]) for each in found]
    paired = math.sqrt(np.mean([jackknife_error(left_out)[0] ** 2 for _, left_out in apart]))
    scatter = np.std([value[0] for value, _ in apart], ddof=1)
    assert 0.6 < paired / scatter < 1.8
    assert paired < 0.8 * math.hypot(*np.sqrt((errors**2).mean(axis=0)))  # the same people at both points


def test_a_hazard_ratio_that_is_not_found_is_told_and_one_that_is_not_there_is_none(
    esprit: Crowd, monkeypatch: pytest.MonkeyPatch
) -> None:
    zero, one = (np.full((2, esprit.groups.cell.max() + 1, 5, kernel.SUMS), v) for v in (1.0, 1.2))
    zero[..., kernel.FREE] = one[..., kernel.FREE] = 50.0
    zero[..., kernel.FREE_RECENT] = one[..., kernel.FREE_RECENT] = 25.0
    zero[1, ..., kernel.DISEASE] = one[1, ..., kernel.DISEASE] = 0.0
    found = log_ratios(zero, one, esprit)
    assert np.isfinite(found[0, :3]).all()
    assert np.isnan(found[1, 1])
    assert np.isfinite(found[1, 2])
    monkeypatch.setattr(expected_module, "STEPS", 1)
    with pytest.raises(UserError, match=r"ESPRIT, primary: an expected hazard ratio is not found"):
        log_ratios(zero, one, esprit)


def test_rates_that_are_not_found_are_told(silcaat: Crowd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explaining, "ROUNDS", 1)
    with pytest.raises(UserError, match=r"SILCAAT: no rates are found .* at frailty 1\.2"):
        solve_rates([silcaat], 1.2, 0.85, 1)


def test_a_figure_that_is_missing_at_some_settings_is_told() -> None:
    worked_out = np.array([[0.1, np.nan], [0.2, np.nan]])
    assert largest_gap(worked_out, worked_out + np.array([0.01, 0]), "X") == pytest.approx(0.01)
    worked_out[1, 0] = np.nan
    with pytest.raises(UserError, match="X: a hazard ratio is expected at some settings"):
        largest_gap(worked_out, worked_out, "X")


def test_harm_shows_in_the_months_after_a_cycle_and_protection_later_too(esprit: Crowd) -> None:
    found = expected(esprit, [PRESET_C, PRESET_D], USUAL, 1)
    assert found.of(RECENT)[0] > found.of(LATER)[0] + 0.1
    assert max(found.of(RECENT)[1], found.of(LATER)[1]) < 0
    below, above = (found.of(f"subgroup: {level}")[1] for level in esprit.groups.levels)
    assert below < above < 0  # each new cell protects more where there are few


def test_no_digit_depends_on_the_number_of_threads(esprit: Crowd) -> None:
    points = [PRESET_C, PRESET_D, PRESET_E]
    one, two = (expected(esprit, points, USUAL, threads) for threads in (1, 2))
    assert one.values.tobytes() == two.values.tobytes()
    assert one.errors.tobytes() == two.errors.tobytes()


def test_only_the_arm_with_cycles_has_induced_cells_and_exposure(silcaat: Crowd) -> None:
    rows = np.arange(200)
    taus = np.array([14.0, 130.0])
    other, reference = (cut_arm(silcaat, k, rows, taus) for k in (silcaat.other, silcaat.reference))
    assert not reference.induced[: reference.first[-1]].any()
    assert not reference.exposure[:, : reference.first[-1]].any()
    assert other.induced[: other.first[-1]].max() > 50
    for pieces in (other, reference):  # the pieces of a person cover all of their follow-up
        days = np.add.reduceat(pieces.length[: pieces.first[-1]], pieces.first[:-1])
        assert days.max() <= silcaat.enrolment.people.end_day[rows].max()
        assert days.min() > 0


def test_another_frailty_leaves_what_the_control_arm_shows_as_it_was(silcaat: Crowd) -> None:
    rates = solve_rates([silcaat], 1.2, 0.85, 1)
    usual = reference_figures(silcaat, 0.85, [Rates(1.0, 1.0, 1.0)], 1)[0]
    assert reference_figures(silcaat, 1.2, [rates], 1)[0] == pytest.approx(usual, rel=1e-6)
    assert rates.power < 1  # more of the link is frailty, less an effect of the count


# --- surfaces and likelihood --------------------------------------------------------------------------------


def test_a_surface_goes_through_its_nodes_and_is_exact_for_polynomials() -> None:
    chosen = Nodes(chebyshev(0, 1, 4), chebyshev(0, 1, 5), (14.0, 55.0, 130.0, 730.0), (0.0, 0.85, 1.5))

    def truth(points: list[Point]) -> np.ndarray:
        p = np.array(points)
        share = p[:, 1] / np.array([rho_limit(t) for t in p[:, 2]])
        return (p[:, 0] ** 3 - p[:, 0] * share**4 + share * np.log(p[:, 2]) ** 3 + p[:, 3] ** 2)[:, None]

    surface = Surface(chosen, truth(chosen.points()).reshape(*chosen.shape, 1))
    elsewhere = [Point(0.3, 0.4, 20, 0.1), Point(0.77, 0.1, 400, 1.3), *chosen.points()[5:9]]
    assert surface.at(elsewhere) == pytest.approx(truth(elsewhere), rel=1e-10)
    grid = surface.grid(np.array([0.3]), np.array([0.5]), np.array([200.0]), np.array([0.85]))
    assert grid.ravel() == pytest.approx(truth([Point(0.3, 0.5 * rho_limit(200), 200, 0.85)]).ravel())


def test_the_likelihood_of_correlated_hazard_ratios_is_the_normal_one() -> None:
    ratios = (Ratio(PRIMARY, "", 0.9, 0.13, None), Ratio(DEATHS, "", 1.06, 0.16, None))
    correlation = np.array([[1.0, 0.8], [0.8, 1.0]])
    evidence = likelihood.correlated(0, ratios, correlation)
    place = np.log([0.95, 0.97])
    normal = multivariate_normal(np.log([0.9, 1.06]), evidence.covariance)
    wanted = normal.logpdf(place) - normal.logpdf(normal.mean)
    found = evidence.log_likelihood(np.array([place[0], 99.0, place[1]]), (PRIMARY, DISEASES, DEATHS))
    assert found == pytest.approx(wanted)


def test_an_interval_of_a_normal_likelihood_is_the_estimate_give_or_take_1_96_errors() -> None:
    x = np.linspace(0, 1, 2001)
    low, high = likelihood.interval(x, -0.5 * ((x - 0.5) / 0.1) ** 2)
    assert (low, high) == pytest.approx((0.5 - 0.195996, 0.5 + 0.195996), abs=1e-4)
    assert likelihood.interval(x, -0.5 * ((x - 0.5) / 10) ** 2) == (0, 1)


def test_the_bundled_trials_give_their_hazard_ratios() -> None:
    found = {name: published(load(name), prepare(load(name)).population) for name in ("silcaat", "esprit")}
    assert [r.value for r in found["silcaat"].all] == [0.91, 0.73, 1.06]
    assert [r.value for r in found["esprit"].all] == [0.94, 0.90]
    assert found["esprit"].primary.error == pytest.approx(0.111, abs=0.001)  # 2 / sqrt(324)
    assert found["esprit"].recent is not None
    assert [r.value for r in found["esprit"].recent] == [1.66, 0.98]
    assert found["esprit"].levels == (("below 450", 0.83), ("450 and over", 1.09))
    assert found["silcaat"].recent is None


# --- what would have told -----------------------------------------------------------------------------------


def _trials(mean: float, scatter: float, count: int, seed: int) -> Trials:
    generator = np.random.Generator(np.random.Philox(seed))
    log_hr = generator.normal(mean, scatter, (count, 1))
    events = np.full(count, 4 / scatter**2)
    nothing = np.zeros(count)
    return Trials((PRIMARY,), log_hr, np.full((count, 1), scatter), events, 1, nothing, nothing)


@pytest.mark.parametrize("apart", [0.14, 0.06])
def test_events_that_tell_normal_hazard_ratios_apart_are_those_of_the_closed_form(apart: float) -> None:
    """Chosen rightly with probability Phi(d / (2 SE)), SE = 2 / sqrt(events)."""
    one, two = _trials(0, 0.11, 1000, 1), _trials(-apart, 0.11, 1000, 2)
    told = lesson.told_apart(one, two, [PRIMARY], np.array([apart]), _left_out([apart], [[1e-8]]), 1)
    assert told.answer == "events"
    assert told.events == pytest.approx((4 * 1.2815516 / apart) ** 2, rel=0.12)
    assert 0.02 < told.error < 0.08


def _left_out(apart: list[float], covariance: list[list[float]]) -> np.ndarray:
    """Differences without each of 20 batches that have exactly this jackknife covariance."""
    generator = np.random.Generator(np.random.Philox(3))
    draws = generator.normal(size=(20, len(apart)))
    draws -= draws.mean(axis=0)
    white = draws @ np.linalg.inv(np.linalg.cholesky(draws.T @ draws)).T
    return np.array(apart) + white @ np.linalg.cholesky(20 / 19 * np.array(covariance)).T


@pytest.mark.parametrize(
    ("apart", "error", "answer"),
    [
        (0.001, 0.0001, "never"),  # known to need 6.6 million events
        (0.001, 0.0005, "never"),  # and so does anything that is not ruled out: 0.002 needs 1.6 million
        (0.001, 0.01, "not known"),  # 0.02 would need 16,000
        (0.0, 0.01, "not known"),
        (0.0, 0.0, "never"),
    ],
)
def test_what_is_not_known_is_no_never(apart: float, error: float, answer: str) -> None:
    one, two = _trials(0, 0.11, 200, 1), _trials(0, 0.11, 200, 2)
    left_out = _left_out([apart], [[1.0]]) if error == 0 else _left_out([apart], [[error**2]])
    left_out = np.full((20, 1), apart) if error == 0 else left_out
    told = lesson.told_apart(one, two, [PRIMARY], np.array([apart]), left_out, 1)
    assert told.answer == answer
    assert not math.isfinite(told.events)


def test_errors_of_two_differences_that_go_together_count_together() -> None:
    """Where weights have opposite signs, errors that go together cancel."""
    generator = np.random.Generator(np.random.Philox(5))
    both = generator.multivariate_normal([0, 0], 0.0121 * np.array([[1, 0.6], [0.6, 1]]), 400)
    nothing, events = np.zeros(400), np.full(400, 330.0)
    one = Trials((DISEASES, DEATHS), both, np.full((400, 2), 0.11), events, 1, nothing, nothing)
    apart = [0.05, -0.05]
    answers = [
        lesson.told_apart(
            one, one, [DISEASES, DEATHS], np.array(apart),
            _left_out(apart, [[4e-4, sign * 3.9e-4], [sign * 3.9e-4, 4e-4]]), 1,
        )
        for sign in (1, -1)
    ]  # fmt: skip
    assert answers[0].answer == "events"  # error of the difference 0.004
    assert answers[1].answer == "not known"  # 0.04


def test_the_level_of_the_test_is_the_protocols() -> None:
    protocol = load("esprit")
    assert one_sided_alpha(protocol) == 0.025
    for alpha, sides, wanted in ((0.025, 1, 0.025), (0.01, 2, 0.005), (None, 2, 0.025), (None, 1, 0.025)):
        changed = protocol.model_copy(
            update={
                "size": protocol.size.model_copy(update={"alpha": alpha}),
                "monitoring": protocol.monitoring.model_copy(update={"sides": sides}),
            }
        )
        assert one_sided_alpha(changed) == wanted


def test_events_for_power_are_schoenfelds() -> None:
    assert lesson.events_for_power(math.log(0.73), 0.80, 0.025, 0.5) == pytest.approx(317.0, abs=0.1)
    assert math.isinf(lesson.events_for_power(0.0, 0.9, 0.025, 0.5))


# --- the command --------------------------------------------------------------------------------------------


def _equipoise(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["stalwart"], "STALWART: "),
        (["silcaat", "silcaat"], "the same trial is named twice"),
        (["silkaat"], "silcaat"),
        (["esprit", "--people", "10"], "--people must be 2,000 at the least, not 10"),
        (["esprit", "--trials", "3"], "--trials must be 40 at the least, not 3"),
    ],
)
def test_a_mistake_is_one_message(arguments: list[str], said: str, tmp_path: Path) -> None:
    result = _equipoise("explain", *arguments, "--out", tmp_path / "x")
    assert result.exit_code == 2, result.output
    assert said in result.stderr
    assert "Traceback" not in result.output
    assert not (tmp_path / "x").exists()


def test_something_else_in_the_folder_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    for more in ([], ["--force"]):
        result = _equipoise("explain", "esprit", "--out", tmp_path, *more)
        assert result.exit_code == 2
    assert (tmp_path / "mine.txt").read_text() == "mine"


@pytest.mark.slow
def test_one_trial_is_explained_the_same_on_any_number_of_threads(tmp_path: Path) -> None:
    made = [
        job.explain(["esprit"], out=tmp_path / str(n), participants=2000, simulated=40, threads=n)
        for n in (1, 2)
    ]
    for name in ("ridge", "explanations", "intervals", "lesson", "told_apart"):
        one, two = (each.files[name].read_bytes() for each in made)
        assert one == two, name
        table = pl.read_csv(made[0].files[name])
        assert table.equals(pl.read_parquet(tmp_path / "1" / f"{name}.parquet").cast(table.schema))  # type: ignore[arg-type]
    page = (tmp_path / "1" / "explain.html").read_text(encoding="utf-8")
    assert page == (tmp_path / "2" / "explain.html").read_text(encoding="utf-8")
    assert SYMBOLS in made[0].told, "the terminal explains the signs, the page explains them in its question"
    told = [words for words in made[0].told if words != SYMBOLS]
    for words in (*told, "What trial would have told", "The lesson for a design"):
        assert words in page.replace("&#39;", "'"), words
    assert "<script" not in page
    assert made[0].findings.explanation.interpolation_error < 0.003
    with pytest.raises(UserError, match="exists already"):
        job.explain(["esprit"], out=tmp_path / "1")


@pytest.mark.slow
def test_the_table_of_expected_hazard_ratios_is_that_of_the_model_notes() -> None:
    """The figures of the first implementation (25,000 people an arm), before parameters were fitted again.

    ESPRIT agrees within 0.02 everywhere. In SILCAAT harm alone does less here, for the arm gets fewer full
    cycles than it did then; the hazard ratio is what the cycles that are given imply."""
    notes = {
        "silcaat": (1.00, 1.11, 1.22, 0.95, 0.91, 0.95, 0.92, 0.85, 0.89, 0.93, 1.00),
        "esprit": (1.00, 1.12, 1.22, 0.95, 0.91, 0.96, 0.93, 0.86, 0.91, 0.95, 1.04),
    }
    for name, wanted in notes.items():
        people = crowd(prepare(load(name)), "il2", 8000, 1)
        points = table_points(0.85)
        found = np.exp(expected(people, points, USUAL, 2).of(PRIMARY))
        for point, ours, theirs in zip(points, found, wanted, strict=True):
            if name == "silcaat" and point.phi == 0 and point.rho > 0:
                assert ours == pytest.approx(1 + point.rho * _mean_exposure(people), abs=0.02), point
            else:
                assert ours == pytest.approx(theirs, abs=0.02), point


def _mean_exposure(people: Crowd) -> float:
    """Full cycles in effect at a time, weighted by the hazard without harm: what a rho of 1 adds to it."""
    rows = np.arange(0, people.participants, 4)
    pieces = cut_arm(people, people.other, rows, np.array([130.0]))
    used = int(pieces.first[-1])
    disease, linked = np.empty(used), np.empty(used)
    b = people.setup.kernel.biology
    kernel.protection(people.setup.dials, b.od_power, b.death_power, 0.0, pieces, disease, linked)
    weight = pieces.length[:used] * (disease + pieces.background[:used] + linked)
    return float((pieces.exposure[0, :used] * weight).sum() / weight.sum())
