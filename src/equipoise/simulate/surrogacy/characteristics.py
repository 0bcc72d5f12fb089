"""How often each measure of a surrogate would have misled: many simulated trials whose truth is known.

The trial is repeated under each preset of effect dials, each repetition with other people. What each method
says is held against the truth of that preset (`equipoise.simulate.surrogacy.truth`). No method resamples here
but dynamic path analysis, of which `SAMPLES` bootstrap samples give the standard error."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from equipoise.analyse.surrogate.evaluation import scale_of
from equipoise.analyse.surrogate.expected import expected_hazard_ratio
from equipoise.analyse.surrogate.explained import freedman, lin
from equipoise.analyse.surrogate.measure import Measure
from equipoise.analyse.surrogate.path import dynamic_path
from equipoise.analyse.surrogate.prentice import prentice
from equipoise.analyse.surrogate.time_varying import landmarks
from equipoise.analyse.surrogate.trial_level import UnitEffects, effects_of_trials
from equipoise.errors import UserError
from equipoise.simulate.plans import Setup
from equipoise.simulate.progress import Progress, silent
from equipoise.simulate.runs import checked_seed, in_order
from equipoise.simulate.surrogacy.fates import Comparison, comparison, simulated_trial
from equipoise.simulate.surrogacy.truth import NEGLIGIBLE, PEOPLE, Quantity, Truth, truth

Floats = NDArray[np.float64]

SAMPLES = 40
"""Bootstrap samples of dynamic path analysis in each trial: enough for a standard error to within a ninth."""
FEWEST_ANSWERS = 10
"""Answers of a method below which no mean and no coverage of them is shown (assumed)."""
LANDMARK = 1.0
"""Years: the landmark analysis whose characteristics are shown."""


@dataclass(frozen=True)
class Method:
    """A method as a reader would use it.

    `target`: which number of the truth it is held against; `log`: a ratio, whose mean and bias are taken
    on the log scale. `misleads` says in words when it counts as misleading."""

    name: str
    label: str
    target: str
    log: bool
    misleads: str


WRONG = "its interval leaves out the truth"
METHODS = (
    Method("observed", "hazard ratio of the arms", "total", True, WRONG),
    Method("expected", "hazard ratio expected from the biomarker", "mediated", True, WRONG),
    Method(
        "adjusted", "hazard ratio of the arms, adjusted for the latest value", "direct", True,
        "its interval lies above 1 while nothing harms, or below 1 while nothing but the cells protects",
    ),
    Method(
        "landmark", f"the same at the landmark of year {LANDMARK:g}", "direct", True,
        "its interval lies above 1 while nothing harms, or below 1 while nothing but the cells protects",
    ),
    Method("lin", "proportion explained (Lin)", "share", False, WRONG),
    Method("freedman", "proportion explained (Freedman)", "share", False, WRONG),
    Method("path", "risk difference through the biomarker (dynamic path)", "mediated risk", False, WRONG),
    Method("path_share", "share through the biomarker (dynamic path)", "share of risk", False, WRONG),
    Method(
        "prentice", "Prentice's criteria 1, 3 and 4 all read as met", "", False,
        "it takes the biomarker for the whole of the effect when it is not, or denies it when it is",
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Scenario:
    """One preset: its truth, and what each method said in each trial.

    `estimates`, `low`, `high`: shape (methods, trials), NaN where refused; of Prentice's criteria the
    estimate is 1 where they were read as met, else 0. `units`: the effects on marker and outcome in each
    trial, one unit each (none where there is no estimate)."""

    preset: str
    label: str
    truth: Truth
    estimates: Floats
    low: Floats
    high: Floats
    units: tuple[UnitEffects, ...]


@dataclass(frozen=True)
class Characteristics:
    """Every preset, every method. Trials `0 .. trials - 1` of the seed; participants of each trial.

    `horizon`: years at which risks are compared."""

    trials: int
    seed: int
    participants: int
    horizon: float
    scenarios: tuple[Scenario, ...]

    def table(self) -> pl.DataFrame:
        """One row for each preset and method: preset, method, label, target, truth, trials, answered
        (number), refused (share), mean, bias, bias_error (Monte Carlo standard error, that of the truth with
        it), median, low and high (5% and 95% quantiles of the estimates), coverage, misled (shares of all
        trials with an answer, and of all trials). Ratios: mean is the geometric mean, bias the difference of
        logarithms."""
        return pl.DataFrame([_row(self, s, k) for s in self.scenarios for k in range(len(METHODS))])


def target_of(known: Truth, target: str) -> float:
    """A number of the truth by its name in `Method.target`; NaN where it is not defined."""
    found = _quantity(known, target).value
    return math.exp(found) if target in ("total", "direct", "mediated") else found


def _quantity(known: Truth, target: str) -> Quantity:
    """The same with its Monte Carlo error; of a hazard ratio the logarithm."""
    return {
        "total": known.total.log_hazard_ratio,
        "direct": known.direct.log_hazard_ratio,
        "mediated": known.mediated.log_hazard_ratio,
        "mediated risk": known.mediated.risk_difference,
        "share": known.share,
        "share of risk": known.share_of_risk,
        "": Quantity(math.nan, math.nan),
    }[target]


def characteristics(
    setup: Setup,
    trials: int,
    *,
    arm: str | None = None,
    endpoint: str | None = None,
    presets: Sequence[str] | None = None,
    seed: int = 1,
    participants: int | None = None,
    horizon: float | None = None,
    people: int = PEOPLE,
    threads: int = 1,
    progress: Progress | None = None,
) -> Characteristics:
    """Repeat the trial `trials` times under each preset (default: all of the population).

    `horizon`: years at which risks are compared, in the truth and in each trial (default: as `truth`).
    `people`: in whom the truth is looked up. The result does not depend on `threads`. Raises UserError for
    fewer than 2 trials, an unknown preset, and as `comparison` and `truth` do."""
    if isinstance(trials, bool) or not isinstance(trials, int) or trials < 2:
        raise UserError(f"operating characteristics need at least 2 trials, not {trials}")
    seed = checked_seed(seed)
    base = comparison(setup, arm, endpoint)
    known = setup.population.file.presets
    chosen = list(known) if presets is None else list(presets)
    tell = progress if progress is not None else silent
    whole, done = len(chosen) * trials, 0
    tell("trials", 0, whole)
    found = []
    for name in chosen:
        compared = base.under(setup.population.dials(name))
        real = truth(compared, horizon=horizon, people=people)
        rows, units = [], []
        for row, unit in in_order(
            lambda k, c=compared, n=name, h=real.horizon: _one(c, n, seed, k, participants, h),
            range(trials),
            threads,
        ):
            rows.append(row)
            units.append(unit)
            done += 1
            tell("trials", done, whole)
        cube = np.array(rows).transpose(2, 1, 0)
        found.append(Scenario(name, known[name].label, real, cube[0], cube[1], cube[2], tuple(units)))
    size = setup.protocol.size.simulated if participants is None else participants
    return Characteristics(trials, seed, size, found[0].truth.horizon, tuple(found))


def _one(
    compared: Comparison, preset: str, seed: int, trial: int, participants: int | None, horizon: float
) -> tuple[Floats, UnitEffects]:
    """What each method says of one trial: estimate and ends of the interval, shape (methods, 3); and the
    trial as a unit among trials."""
    marked = simulated_trial(compared, seed, trial, participants)
    scale: Any = scale_of(marked)
    criteria = prentice(marked, transform=scale)
    expected = expected_hazard_ratio(marked, transform=scale)
    path = dynamic_path(marked, horizon=horizon, transform=scale, bootstrap=SAMPLES, seed=seed + trial)
    said = {
        "observed": criteria.treatment_on_outcome,
        "expected": expected.expected,
        "adjusted": criteria.outcome_given_marker,
        "landmark": landmarks(marked, [LANDMARK], transform=scale)[0].arm_given_marker,
        "lin": lin(marked, transform=scale).fieller,
        "freedman": freedman(marked, horizon=horizon, transform=scale).fieller,
        "path": path.risk_differences[2],
        "path_share": path.share,
    }
    rows = [
        (m.estimate, m.low, m.high) if m is not None and not m.refused else (math.nan,) * 3
        for m in (said.get(method.name) for method in METHODS[:-1])
    ]
    unit = effects_of_trials([marked], [f"{preset} {trial + 1}"], transform=scale)
    return np.array([*rows, _read(criteria.measures)]), unit


def _read(criteria: tuple[Measure, Measure, Measure, Measure]) -> tuple[float, float, float]:
    """Whether a reader takes Prentice's criteria as met: 1 and 3 shown, 4 not refuted at 5%. The second,
    an effect on the outcome, is not asked for: few trials of a failed surrogate show one."""
    first, _, third, fourth = criteria
    if first.refused or third.refused or fourth.refused:
        return math.nan, math.nan, math.nan
    met = float(first.p < 0.05 and third.p < 0.05 and fourth.p >= 0.05)
    return met, math.nan, math.nan


# --- summing up ---------------------------------------------------------------------------------------------


def _row(found: Characteristics, scenario: Scenario, k: int) -> dict[str, Any]:
    method, real = METHODS[k], scenario.truth
    target = target_of(real, method.target)
    values, low, high = scenario.estimates[k], scenario.low[k], scenario.high[k]
    answered = ~np.isnan(values)
    known = np.log(values[answered]) if method.log else values[answered]
    goal = math.log(target) if method.log else target
    n = len(known)
    mean = float(known.mean()) if n else math.nan
    spread = float(known.std(ddof=1)) / math.sqrt(n) if n > 1 else math.nan
    error = math.hypot(spread, _quantity(real, method.target).error)
    quantiles = np.quantile(known, (0.05, 0.5, 0.95)) if n else np.full(3, math.nan)
    shown = np.exp(np.array([mean, *quantiles])) if method.log else np.array([mean, *quantiles])
    inside = (low <= target) & (target <= high)
    judged = answered & ~np.isnan(low) & ~np.isnan(high)
    coverage = float(inside[judged].mean()) if judged.any() and not math.isnan(target) else math.nan
    wrong = misled(method, real, values, low, high)
    return {
        "preset": scenario.preset, "method": method.name, "label": method.label, "target": method.target,
        "truth": target, "trials": found.trials, "answered": n, "refused": 1 - n / found.trials,
        "mean": float(shown[0]), "bias": mean - goal if method.target else math.nan, "bias_error": error,
        "median": float(shown[2]), "low": float(shown[1]), "high": float(shown[3]), "coverage": coverage,
        "misled": float(wrong.mean()),
    }  # fmt: skip


def misled(method: Method, real: Truth, values: Floats, low: Floats, high: Floats) -> NDArray[np.bool_]:
    """Which trials would have misled, by `Method.misleads`; a refusal misleads nobody. Shape (trials,)."""
    answered = ~np.isnan(values)
    direct = real.direct.log_hazard_ratio
    none_direct = abs(direct.value) < max(NEGLIGIBLE, 3 * direct.error)
    if method.name == "prentice":
        mediated = real.mediated.log_hazard_ratio
        whole = none_direct and abs(mediated.value) >= max(NEGLIGIBLE, 3 * mediated.error)
        return np.asarray(answered & ((values == 1) != whole))
    if method.target == "direct":
        harms = direct.value > 0 and not none_direct
        protects = direct.value < 0 and not none_direct
        return answered & (((low > 1) & (not harms)) | ((high < 1) & (not protects)))
    target = target_of(real, method.target)
    if math.isnan(target):
        # a share where there is nothing to share: any number misleads
        return answered
    return answered & ((low > target) | (high < target))


def told(found: Characteristics) -> str:
    """The characteristics as a table for a terminal."""
    lines = [
        f"{found.trials:,} trials of {found.participants:,} participants under each preset, held against "
        "the truth",
        f"(estimate: mean over the trials that had an answer, from {FEWEST_ANSWERS} of them on; ±: Monte",
        "Carlo standard error; covered: intervals that hold the truth; misled: of all trials)",
    ]
    table = found.table()
    for method in METHODS:
        lines += ["", *textwrap.wrap(f"{method.label}; misleads when {method.misleads}", 100)]
        lines.append(
            "  "
            f"{'preset':<34}{'truth':>8}{'estimate':>10}{'bias':>17}{'covered':>9}{'answers':>9}{'misled':>8}"
        )
        for row in table.filter(pl.col("method") == method.name).iter_rows(named=True):
            label = next(s.label for s in found.scenarios if s.preset == row["preset"])
            places = 4 if method.target == "mediated risk" else 2
            few = row["answered"] < FEWEST_ANSWERS
            mean, bias, coverage = (math.nan if few else row[name] for name in ("mean", "bias", "coverage"))
            off = "-" if math.isnan(bias) else f"{bias:.{places}f} ± {row['bias_error']:.{places}f}"
            covered = "-" if math.isnan(coverage) else f"{coverage:.0%}"
            lines.append(
                f"  {row['preset'] + ' ' + label:<34}{_cell(row['truth'], places):>8}"
                f"{_cell(mean, places):>10}{off:>17}{covered:>9}{row['answered']:>9,}{row['misled']:>8.0%}"
            )
    return "\n".join(lines)


def _cell(x: float, places: int) -> str:
    return "-" if math.isnan(x) else f"{x:.{places}f}"
