"""How many plain event-time trials one core simulates in a second, where the time goes, and the floor.

The trial is that of docs/examples/plain/simple.yaml: 1,695 participants come over 3.5 years, hazards 0.024
and 0.018 per year, dropout 0.015 per year, analysis at the 230th event with log-rank and exact Cox. Times are
those of the process on one core, after compilation: medians over repeats; of the parts, the least.

python benchmarks/plain.py              # trials per core second, the parts, the ratio to NumPy and lifelines
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from equipoise._compile import njit
from equipoise.analyse.two_arm import cox_of_table, logrank_of_table
from equipoise.protocol.plain import load_plain
from equipoise.simulate import plain_kernel as kernel
from equipoise.simulate.plain import PlainSetup, plain_rows, prepare_plain
from equipoise.simulate.plain_kernel import (
    _allocate,
    _arrive,
    _draw,
    leavers,
    look_days,
    put_in_order,
    risk_table,
)

EXAMPLE = Path(__file__).parent.parent / "docs" / "examples" / "plain" / "simple.yaml"
YEAR = 365.25
PARTS = (
    "random numbers (one Philox block each)",
    "arrivals in order (a logarithm each, running sums)",
    "permuted blocks",
    "who leaves in time: selection, times, competing dropout",
    "day of the 230th event",
    "events sorted, dropouts placed among them",
    "risk table",
    "log-rank",
    "exact Cox",
)


def median_seconds(work: Callable[[], object], repeats: int = 9) -> float:
    """Median processor time of `repeats` runs, after one that compiles."""
    work()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return statistics.median(times)


@njit
def _through(part, plan, rules, trials, work):
    """Each trial as far as the given part."""
    days, event_days = np.empty(1), np.empty(1)
    total = 0.0
    rows, events, dropouts, score, variance = 0, 0, 0, 0.0, 1.0
    seed = np.uint64(1)
    for trial in range(trials):
        if part >= 1:
            _draw(
                seed, trial, plan.participants + 1, work.words[0], work.words[1], work.words[2], work.words[3]
            )
        if part >= 2:
            _arrive(plan, work)
        if part >= 3:
            _allocate(plan, seed, trial, work)
        if part >= 4:
            events, dropouts = leavers(plan, seed, trial, 0, work)
        if part >= 5:
            look_days(plan, rules, events, dropouts, plan.horizons[0], False, work, event_days, days)
        if part >= 6:
            events, dropouts = put_in_order(days[0], events, dropouts, work)
        if part >= 7:
            rows = risk_table(plan, days[0], True, events, dropouts, work)[0]
        if part >= 8:
            score, variance = logrank_of_table(rows, work.table)
            total += score
        if part >= 9:
            total += cox_of_table(rows, work.table, True, score / variance)[0]
    return total


def least_seconds(works: list[Callable[[], object]], repeats: int = 15) -> list[float]:
    """Least processor time of each, taken in turn, so that a busy machine disturbs all alike."""
    for work in works:
        work()
    least = [float("inf")] * len(works)
    for _ in range(repeats):
        for k, work in enumerate(works):
            start = time.process_time()
            work()
            least[k] = min(least[k], time.process_time() - start)
    return least


def parts(setup: PlainSetup, trials: int = 400) -> None:
    work = kernel.workspace(setup.plan)
    reached = least_seconds(
        [
            lambda part=part: _through(part, setup.plan, setup.rules, trials, work)  # type: ignore[misc]
            for part in range(len(PARTS) + 1)
        ]
    )
    for before, after, name in zip(reached[:-1], reached[1:], PARTS, strict=True):
        print(f"  {name:<58} {(after - before) / trials * 1e6:6.1f} us")
    print(f"  {'all of it':<58} {reached[-1] / trials * 1e6:6.1f} us")
    least = (reached[3] + floor(setup, trials)) / trials
    print(f"  {'floor: the first three, a logarithm for each who leaves,':<58}")
    print(f"  {'  and the sorting of the events':<58} {least * 1e6:6.1f} us")


@njit
def _least(trials, u, x, keys, order, place):
    for trial in range(trials):
        for k in range(np.uint64(u.shape[0])):
            x[k] = kernel.log(u[k])
        keys[0] = trial / trials
        kernel.sort_times(keys, keys.shape[0], order, place)


def floor(setup: PlainSetup, trials: int) -> float:
    """Seconds for one logarithm for each who leaves in time (a quarter), and for sorting the events."""
    rng = np.random.default_rng(1)
    leaving = setup.plan.participants // 4
    u, keys = rng.random(leaving), rng.random(setup.plan.primary_events)
    order, place = np.empty(len(keys), np.uint32), np.empty(2 * len(keys) + 8, np.int64)
    return least_seconds([lambda: _least(trials, u, np.empty(leaving), keys, order, place)])[0]


def numpy_trials(rng: np.random.Generator, trials: int) -> list[tuple[np.ndarray, ...]]:
    """The same trials by NumPy, all participants of a block of trials at once; ready for the log-rank
    test."""
    n, k = 1695, 230
    arm = np.tile(np.array([0, 1]), n // 2 + 1)[:n]
    shape = (trials, n)
    arrival = rng.uniform(0, 3.5 * YEAR, shape)
    event = rng.exponential(1.0, shape) / np.where(arm, 0.018, 0.024) * YEAR
    dropout = rng.exponential(YEAR / 0.015, shape)
    calendar = np.where(event <= dropout, arrival + event, np.inf)
    cut = np.partition(calendar, k - 1, axis=1)[:, k - 1 : k]
    observed = np.minimum(np.minimum(event, dropout), cut - arrival)
    return [(observed[i], calendar[i] <= cut[i], arm) for i in range(trials)]


def numpy_logrank(time_: np.ndarray, happened: np.ndarray, arm: np.ndarray) -> float:
    """z of the log-rank test by sorting (continuous times: no ties)."""
    order = np.argsort(time_)
    at_risk1 = np.cumsum(arm[order][::-1])[::-1]
    at_risk = np.arange(len(order), 0, -1)
    died = happened[order]
    share = at_risk1[died] / at_risk[died]
    return float((arm[order][died] - share).sum() / np.sqrt((share * (1 - share)).sum()))


def peers(per_trial: float) -> None:
    rng = np.random.default_rng(1)
    simulate = median_seconds(lambda: numpy_trials(rng, 50), 5) / 50
    some = numpy_trials(rng, 20)
    test = median_seconds(lambda: [numpy_logrank(*each) for each in some], 5) / len(some)
    print(
        f"  NumPy, whole blocks of trials, log-rank only: {1 / (simulate + test):,.0f} per core second;",
        end=" ",
    )
    print(f"ratio {(simulate + test) / per_trial:.0f}")
    try:
        from lifelines.statistics import logrank_test
    except ImportError:
        print("  lifelines is not installed")
        return

    def by_lifelines() -> None:
        for observed, happened, arm in some[:4]:
            one = arm == 1
            logrank_test(observed[one], observed[~one], happened[one], happened[~one])

    slow = median_seconds(by_lifelines, 3) / 4
    print(f"  NumPy and lifelines' log-rank: {1 / (simulate + slow):,.0f} per core second;", end=" ")
    print(f"ratio {(simulate + slow) / per_trial:.0f}")


def main() -> None:
    trial = load_plain(EXAMPLE)
    rates = {}
    print("Plain event-time trials, 1,695 participants, analysis at the 230th event, one core")
    for times in ("whole days", "exact"):
        setup = prepare_plain(trial.model_copy(update={"times": times}))
        rates[times] = median_seconds(lambda s=setup: plain_rows(s, 1, 0, 1000)) / 1000
        print(f"  {times:<58} {1 / rates[times]:8,.0f} trials per core second")
    setup = prepare_plain(trial)
    rows = plain_rows(setup, 1, 0, 20_000)
    power, error = (rows["look 1|p"] < 0.025).mean(), (0.588 * 0.412 / 20_000) ** 0.5
    print(f"  power {power:.3f} (error {error:.3f}; by Schoenfeld's formula 0.588), ", end="")
    print(f"mean cut-off {rows['end|day'].mean() / YEAR:.2f} years")
    print("Where the time of a trial goes (whole days)")
    parts(setup)
    print("Peers in the same run")
    peers(rates["whole days"])


if __name__ == "__main__":
    main()
