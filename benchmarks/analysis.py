"""How long the statistics take: processor time on this machine, one thread, after compilation.

python benchmarks/analysis.py              # the limits, where the time goes, other packages, the whole plan
python benchmarks/analysis.py --peers      # other packages at a million participants too: some minutes
python benchmarks/analysis.py --large      # also the analysis of 100,000 participants, with its memory
"""

from __future__ import annotations

import argparse
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from equipoise import analyse, simulate
from equipoise.analyse import two_arm
from equipoise.analyse.combined_tests import TWO_SIDED, maxcombo_of_table, maxcombo_scratch
from equipoise.analyse.risk_table import risk_table_of_days, risk_table_of_times
from equipoise.protocol import load

SMALL, LARGE = 1_695, 1_000_000
Work = Callable[[], object]


def median_seconds(work: Work, repeats: int) -> float:
    """Median processor time of one run, after one that compiles; short runs are timed by the dozen, so that
    the clock does not count."""
    work()
    batch = 50 if repeats >= 500 else 1
    times = []
    for _ in range(max(3, repeats // batch)):
        start = time.process_time()
        for _ in range(batch):
            work()
        times.append((time.process_time() - start) / batch)
    return statistics.median(times)


def written(seconds: float) -> str:
    unit, scale = ("s", 1.0) if seconds >= 1 else ("ms", 1e3) if seconds >= 1e-3 else ("us", 1e6)
    return f"{seconds * scale:8.1f} {unit:<2}"


def show(what: str, seconds: float, remark: str = "") -> None:
    print(f"  {what:<62} {written(seconds)}  {remark}".rstrip())


def repeats(n: int) -> int:
    return 2_500 if n < 10_000 else 9


def people(n: int, strata: int) -> tuple[np.ndarray, ...]:
    """A trial of n in two arms: about a tenth have the event within eight years."""
    rng = np.random.default_rng(n)
    until, end = rng.exponential(25_000, n), rng.uniform(1_800, 2_900, n)
    day = np.minimum(until, end).astype(np.int32)
    event = (until < end).astype(np.uint8)
    return day, event, (np.arange(n) % 2).astype(np.uint8), rng.integers(0, strata, n).astype(np.int32)


def real_times(day: np.ndarray) -> np.ndarray:
    """The same trial by the clock: no two times alike, in no order."""
    return day + np.random.default_rng(0).random(len(day))


# --- the limits -------------------------------------------------------------------------------------------


def limits() -> None:
    print("Log-rank and Cox (one arm, Efron ties, exact) in one call, and their limits")
    for n, on_days, by_clock in ((SMALL, 15e-6, 40e-6), (LARGE, 10e-3, 80e-3)):
        day, event, arm, stratum = people(n, 1)
        real = real_times(day)
        scratch = two_arm.two_arm_scratch(n, 1, int(day.max()))
        for what, limit, work in (
            ("whole days", on_days, lambda: two_arm.two_arm_days(day, event, arm, stratum, 1, scratch)),  # noqa: B023
            ("real times", by_clock, lambda: two_arm.two_arm_times(real, event, arm, stratum, 1, scratch)),  # noqa: B023
        ):
            seconds = median_seconds(work, repeats(n))
            show(f"{what}, unsorted, n = {n:,}", seconds, _against(seconds, limit))
    day, event, arm, stratum = people(LARGE, 22)
    seconds = median_seconds(lambda: analyse.logrank(day, event, arm, stratum), 9)
    show("logrank(), 22 strata, whole days, n = 1,000,000", seconds, _against(seconds, 20e-3))


def _against(seconds: float, limit: float) -> str:
    return f"limit {written(limit).strip()}: {'held' if seconds <= limit else 'NOT HELD'}"


def parts() -> None:
    """What the time consists of, and what it could not fall below."""
    print("\nWhere that time goes")
    for n in (SMALL, LARGE):
        day, event, arm, stratum = people(n, 1)
        real = real_times(day)
        scratch = two_arm.two_arm_scratch(n, 1, int(day.max()))
        columns = (event, arm, stratum, 1, scratch)
        often = repeats(n)
        call = median_seconds(lambda: two_arm.score_of_table(0.0, 0, scratch, True), 1_000)  # noqa: B023
        table = median_seconds(lambda: risk_table_of_days(day, *columns), often)  # noqa: B023
        by_clock = median_seconds(lambda: risk_table_of_times(real, *columns), often)  # noqa: B023
        rows = risk_table_of_days(day, *columns)
        start = np.divide(*two_arm.logrank_of_table(rows, scratch))
        test = median_seconds(lambda: two_arm.logrank_of_table(rows, scratch), often)  # noqa: B023
        newton = median_seconds(lambda: two_arm.cox_of_table(rows, scratch, True, start), often)  # noqa: B023
        read = np.empty(10 * n, np.uint8)
        traffic = median_seconds(lambda: read.max(), often)  # noqa: B023
        times = real[event == 1]
        ordered = median_seconds(lambda: np.sort(times), often)  # noqa: B023
        print(
            f"  n = {n:,}: {int(event.sum()):,} events on {rows:,} days; one call from Python {written(call)}"
        )
        show("risk table, whole days: a histogram in one pass, no sort", table - call)
        show("risk table, real times: events by bucket, people between", by_clock - call)
        show("log-rank from the table", test - call)
        show("Cox from the table, to the last digit", newton - call)
        show("floor: reading the 10 bytes of each participant once", traffic)
        show("floor: NumPy's sort of the event times alone", ordered)


# --- the public estimators, and other packages -----------------------------------------------------------


def estimators() -> None:
    print("\nThe estimators as they are called")
    for n in (SMALL, LARGE):
        day, event, arm, stratum = people(n, 22)
        real = real_times(day)
        X = np.column_stack([arm, np.random.default_rng(1).normal(size=(n, 2))])
        often = 30 if n == SMALL else 3
        for what, work in (
            ("log-rank, strata, real times", lambda: analyse.logrank(real, event, arm, stratum)),  # noqa: B023
            ("Cox, arm, strata, whole days", lambda: analyse.cox(day, event, arm, stratum)),  # noqa: B023
            ("Cox, arm, strata, real times", lambda: analyse.cox(real, event, arm, stratum)),  # noqa: B023
            ("Cox, three covariates, strata, days", lambda: analyse.cox(day, event, X, stratum)),  # noqa: B023
            ("Cox, three covariates, strata, real times", lambda: analyse.cox(real, event, X, stratum)),  # noqa: B023
            ("Kaplan-Meier, whole days", lambda: analyse.kaplan_meier(day, event)),  # noqa: B023
            ("restricted means, whole days", lambda: analyse.rmst_difference(day, event, arm, 1_500)),  # noqa: B023
            ("maximum of four log-ranks, whole days", lambda: analyse.maxcombo(day, event, arm)),  # noqa: B023
        ):
            show(f"{what}, n = {n:,}", median_seconds(work, often))
    in_loops()


def in_loops() -> None:
    day, event, arm, stratum = people(SMALL, 1)
    scratch = two_arm.two_arm_scratch(SMALL, 1, int(day.max()))
    risk_table_of_days(day, event, arm, stratum, 1, scratch)
    two_arm.follow_up(day, arm, stratum, 1, scratch)
    weights, own = np.array([(0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0)]), maxcombo_scratch(4)
    score, covariance, space = np.empty(4), np.empty((4, 4)), np.empty(4)
    print("  from a risk table of 1,695, for compiled loops:")
    for what, work in (
        (
            "four weighted log-ranks and their covariance",
            lambda: two_arm.weighted_logrank_of_table(1, scratch, weights, score, covariance, space),
        ),
        ("the same with the p-value", lambda: maxcombo_of_table(1, scratch, weights, TWO_SIDED, own)),
        ("restricted means", lambda: two_arm.restricted_means_of_table(1, scratch, 1_500.0)),
    ):
        show(f"  {what}", median_seconds(work, 500))


def peers(large: bool) -> None:
    """The same test and model by other packages, where they are installed, in the same run."""
    for n in (SMALL, LARGE) if large else (SMALL,):
        day, event, arm, stratum = people(n, 1)
        real = real_times(day)
        scratch = two_arm.two_arm_scratch(n, 1, int(day.max()))
        both = median_seconds(
            lambda: two_arm.two_arm_times(real, event, arm, stratum, 1, scratch),  # noqa: B023
            repeats(n),
        )
        print(f"\nLog-rank and Cox on real times, n = {n:,}: {written(both).strip()} here; by others:")
        for what, work in _others(real, event, arm):
            seconds = median_seconds(work, 5 if n == SMALL else 1)
            show(what, seconds, f"{seconds / both:,.0f} times as long")


def _others(time: np.ndarray, event: np.ndarray, arm: np.ndarray) -> list[tuple[str, Work]]:
    found: list[tuple[str, Work]] = []
    try:
        from lifelines import CoxPHFitter
        from lifelines.statistics import logrank_test

        one, frame = arm == 1, pd.DataFrame({"t": time, "e": event, "a": arm})
        found.append(
            ("lifelines, log-rank", lambda: logrank_test(time[one], time[~one], event[one], event[~one]))
        )
        found.append(("lifelines, Cox", lambda: CoxPHFitter().fit(frame, "t", "e")))
    except ImportError:
        pass
    try:
        from sksurv.compare import compare_survival
        from sksurv.linear_model import CoxPHSurvivalAnalysis
        from sksurv.util import Surv

        outcome, X = Surv.from_arrays(event == 1, time), arm[:, None].astype(float)
        found.append(("scikit-survival, log-rank", lambda: compare_survival(outcome, arm)))
        model = CoxPHSurvivalAnalysis(ties="efron")
        found.append(("scikit-survival, Cox", lambda: model.fit(X, outcome)))
    except ImportError:
        pass
    try:
        from statsmodels.duration.hazard_regression import PHReg

        X1 = arm[:, None].astype(float)
        found.append(("statsmodels, Cox", lambda: PHReg(time, X1, status=event, ties="efron").fit(disp=0)))
    except ImportError:
        pass
    return found


def plans() -> None:
    print("\nThe whole analysis plan")
    for name in ("silcaat", "esprit"):
        record = simulate.trial(load(name), 1)
        n = record.table("participants").height
        show(f"{name}, {n:,} participants", median_seconds(lambda r=record: analyse.run(r), 5))


def large() -> None:
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "record"
        record = simulate.trial(load("silcaat"), 1, participants=100_000, out=place)
        start = time.perf_counter()
        analyse.run(record)
        show("silcaat, 100,000 participants", time.perf_counter() - start)
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    print(f"  most memory, simulation included: {most:,.0f} MB")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peers", action="store_true", help="other packages at a million participants too")
    parser.add_argument("--large", action="store_true", help="also 100,000 participants")
    given = parser.parse_args()
    limits()
    parts()
    estimators()
    peers(given.peers)
    plans()
    if given.large:
        large()
