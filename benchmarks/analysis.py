"""How long the statistics take: medians on this machine, one thread, after compilation.

python benchmarks/analysis.py              # a table
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

from equipoise import analyse, simulate
from equipoise.analyse import survival
from equipoise.protocol import load


def median_seconds(work: Callable[[], object], repeats: int) -> float:
    """Median time of `repeats` runs, after one that compiles."""
    work()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def show(what: str, seconds: float) -> None:
    unit, scale = ("s", 1.0) if seconds >= 1 else ("ms", 1e3) if seconds >= 1e-3 else ("us", 1e6)
    print(f"  {what:<62} {seconds * scale:8.1f} {unit}")


def people(n: int, strata: int) -> tuple[np.ndarray, ...]:
    """A trial of n in two arms: about a tenth have the event within eight years."""
    rng = np.random.default_rng(n)
    until, end = rng.exponential(25_000, n), rng.uniform(1_800, 2_900, n)
    day = np.minimum(until, end).astype(np.int32)
    event = (until < end).astype(np.uint8)
    return day, event, (np.arange(n) % 2).astype(np.uint8), rng.integers(0, strata, n).astype(np.int32)


def estimators() -> None:
    print("Log-rank and Cox, one arm against another, Efron ties")
    for n, repeats in ((1_695, 500), (1_000_000, 7)):
        for strata in (1, 22):
            day, event, arm, stratum = people(n, strata)
            columns = (day, event, arm, stratum, strata)
            for what, estimator in (("Cox", survival.cox_binary), ("log-rank", survival.logrank_binary)):
                seconds = median_seconds(lambda f=estimator, c=columns: f(*c), repeats)
                show(f"{what}, whole days, n = {n:,}, strata: {strata}", seconds)
    day, event, arm, _ = people(1_695, 1)
    real = day + np.random.default_rng(0).random(len(day))
    show(
        "Cox, real times, general model, n = 1,695",
        median_seconds(lambda: survival.cox(real, event, arm), 50),
    )
    try:
        import pandas as pd
        from lifelines import CoxPHFitter
    except ImportError:
        return
    frame = pd.DataFrame({"t": real, "e": event, "a": arm})
    show("  the same by lifelines", median_seconds(lambda: CoxPHFitter().fit(frame, "t", "e"), 5))


def plans() -> None:
    print("The whole analysis plan")
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
    parser.add_argument("--large", action="store_true", help="also 100,000 participants")
    given = parser.parse_args()
    estimators()
    plans()
    if given.large:
        large()
