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
from equipoise.simulate.plans import prepare
from equipoise.simulate.ridge import kernel, lesson, likelihood
from equipoise.simulate.ridge.courses import Crowd, crowd, cut_arm
from equipoise.simulate.ridge.expected import (
    DEATHS,
    DISEASES,
    LATER,
    PRIMARY,
    RECENT,
    Point,
    Rates,
    expected,
    reference_figures,
)
from equipoise.simulate.ridge.explaining import solve_rates, table_points
from equipoise.simulate.ridge.published import Ratio, published
from equipoise.simulate.ridge.surface import Nodes, Surface, chebyshev, rho_limit
from equipoise.simulate.ridge.trials import Trials
from equipoise.simulate.trial import diary, outcomes, walk

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
    drawn = []
    for batch in np.array_split(np.arange(n), n // 1000):
        days = np.concatenate([day[batch] for day, _ in arms]).astype(np.int32)
        events = np.concatenate([event[batch] for _, event in arms]).astype(np.uint8)
        treated = np.repeat([1, 0], len(batch)).astype(np.uint8)
        drawn.append(cox_binary(days, events, treated, np.zeros(len(days), np.int32), 1)[0])
    apart = np.array(drawn) - found.batches[:, 0, 0]
    assert abs(apart.mean()) < 4 * apart.std(ddof=1) / math.sqrt(len(apart))
    assert abs(apart.mean()) < 0.04


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
    means = (np.array([0.0]), np.array([-apart]))
    told = lesson.told_apart(one, two, [PRIMARY], means, np.array([1e-4]), 1)
    assert told.events == pytest.approx((4 * 1.2815516 / apart) ** 2, rel=0.12)
    assert 0.02 < told.error < 0.08


def test_explanations_that_expect_the_same_are_never_told_apart() -> None:
    one, two = _trials(0, 0.11, 200, 1), _trials(0, 0.11, 200, 2)
    told = lesson.told_apart(one, two, [PRIMARY], (np.zeros(1), np.full(1, 1e-3)), np.array([0.002]), 1)
    assert told.never


def test_events_for_power_are_schoenfelds() -> None:
    assert lesson.events_for_power(math.log(0.73), 0.80, 0.05, 0.5) == pytest.approx(317.0, abs=0.1)
    assert math.isinf(lesson.events_for_power(0.0, 0.9, 0.05, 0.5))


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
    for words in (*made[0].told, "What trial would have told", "The lesson for a design"):
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
