"""How long a simulated trial takes and where the time goes; memory of a large one; first and second start.

python benchmarks/simulation.py                      # one trial and its parts, replicates: a minute
python benchmarks/simulation.py --large           # also 100,000 participants, streamed to disk
python benchmarks/simulation.py --start           # also the first start, the second, and the whole main job
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np

from equipoise import simulate
from equipoise._compile import njit
from equipoise.protocol import load
from equipoise.simulate.enrolment import Enrolment, enrol
from equipoise.simulate.plans import Setup, prepare
from equipoise.simulate.runs import walk_everybody
from equipoise.simulate.trial import diary, outcomes, walk
from equipoise.virtual import maths, philox

figures = sys.modules["equipoise.simulate.replicates"].figures
SEED = 1


def row(what: str, times: list[float], unit: str = "ms") -> None:
    """One line of a table: median, least and most of the times (seconds)."""
    scale = {"s": 1.0, "ms": 1e3, "us": 1e6}[unit]
    low, middle, high = min(times) * scale, statistics.median(times) * scale, max(times) * scale
    print(f"  {what:<46} {middle:9.2f} {low:9.2f} {high:9.2f} {unit}")


def head(title: str) -> None:
    print(f"\n{title:<48} {'median':>9} {'least':>9} {'most':>9}")


def cpu(work: Callable[[], object]) -> float:
    """Seconds of processor time of one run."""
    start = time.process_time()
    work()
    return time.process_time() - start


def one_trial(name: str, repeats: int) -> None:
    """A whole trial without notes, on one thread: processor time, in parts."""
    setup = prepare(load(name))
    arms = [f"the walk of {arm.name}" for arm in setup.arms]
    parts: dict[str, list[float]] = {
        what: [] for what in ("enrolment", *arms, "the walk", "simulated (enrolment and walk)", "figures")
    }
    for trial in range(-1, repeats):
        number = max(trial, 0)
        start = time.process_time()
        enrolment = enrol(setup, SEED, number)
        enrolled = time.process_time()
        happened = walk_everybody(setup, enrolment, SEED, number)
        walked = time.process_time()
        figures(setup, enrolment, happened, SEED, number)
        done = time.process_time()
        apart = [cpu(partial(walk_arm, setup, enrolment, arm, number)) for arm in range(len(arms))]
        if trial >= 0:
            parts["enrolment"].append(enrolled - start)
            parts["the walk"].append(walked - enrolled)
            parts["simulated (enrolment and walk)"].append(walked - start)
            parts["figures"].append(done - walked)
            for arm, seconds in zip(arms, apart, strict=True):
                parts[arm].append(seconds)
    size = setup.protocol.size.simulated
    head(f"{setup.protocol.protocol}, {size:,} participants, one thread")
    for what, times in parts.items():
        row(what, times)
    if name == "silcaat":
        row("floor: random numbers and exponentials alone", [floor_of(setup) for _ in range(6)][1:])


def walk_arm(setup: Setup, enrolment: Enrolment, arm: int, trial: int) -> None:
    """The participants of one arm, without notes."""
    happened, nothing = outcomes(enrolment.participants, len(setup.landmarks)), diary(0, 0, 0, 0, 0)
    rows = np.flatnonzero(enrolment.arm == arm)
    walk(
        setup.kernel, setup.arms[arm].plan, setup.plan, enrolment.people, rows, np.uint64(SEED), trial, False,
        happened, nothing,
    )  # fmt: skip


@njit(cache=False)
def exponentials(x, out):
    for i in range(np.uint64(len(x))):
        out[i] = maths.exp(x[i])


def floor_of(setup: Setup) -> float:
    """Seconds that a trial of this size cannot do without on this processor: its draws, normals and
    exponentials, each in a long loop of its own, counted from one trial.

    A candidate takes 3 blocks of random words for the counts and, unless they fail, about 26 more; a
    participant 8, a visit 2, a cycle 2, an offer or contact 1. A piece of constant hazard takes about 8
    exponentials or logarithms (5 without cycles), a visit 3, a cycle 8; a piece is about 60 days long."""
    n = 1 << 14
    u = np.random.default_rng(1).uniform(size=n)
    out = np.empty(n)
    exponentials(u, out)
    block = cpu(lambda: philox.uniform_column(np.uint64(1), 1, 0, 0, 0, n)) / n
    normal = cpu(lambda: maths.normal_quantiles(u, out, n)) / n
    exponential = cpu(lambda: exponentials(u, out)) / n
    enrolment = enrol(setup, SEED, 0)
    happened = walk_everybody(setup, enrolment, SEED, 0)
    screened, people = len(enrolment.eligible), enrolment.participants
    visits, cycles = float(happened.visits.sum()), float(happened.cycles.sum())
    pieces = float(happened.last_day.sum()) / 60.0
    blocks = 5 * screened + 0.6 * 24 * screened + 8 * people + 2 * visits + 10 * cycles
    normals = 3 * screened + 6 * people + 2 * visits
    return blocks * block + normals * normal + (6.5 * pieces + 3 * visits + 8 * cycles) * exponential


def parts_of_the_loop(repeats: int) -> None:
    """Time of the loop for each participant as parts of it are taken away."""
    setup = prepare(load("silcaat"))
    enrolment = enrol(setup, SEED, 0)
    rows = np.arange(enrolment.participants)
    happened, nothing = outcomes(enrolment.participants, len(setup.landmarks)), diary(0, 0, 0, 0, 0)
    none = np.zeros(0, np.int64)

    def loop(what: str, plan: object) -> None:
        def run() -> None:
            walk(
                setup.kernel,
                plan,
                setup.plan,
                enrolment.people,
                rows,
                np.uint64(SEED),
                0,
                False,
                happened,
                nothing,
            )

        run()
        row(what, [cpu(run) / len(rows) for _ in range(repeats)], "us")

    head("The loop, for each participant")
    drug = next(arm.plan for arm in setup.arms if arm.regimen is not None)
    control = next(arm.plan for arm in setup.arms if arm.regimen is None)
    bare = {"planned": none, "earliest": none, "before": none, "measures_count": none, "measures_rna": none}
    loop("IL-2 arm", drug)
    loop("IL-2 arm, decisions but no cycles", drug._replace(rules=drug.rules._replace(maximum_cycles=0)))
    loop("control arm", control)
    loop("control arm, visits without measurements", control._replace(
        measures_count=control.measures_count * 0, measures_rna=control.measures_rna * 0))  # fmt: skip
    loop("control arm, no visits (body and hazards)", control._replace(**bare))


def many_trials(trials: int) -> None:
    """Trials of enrolment and walk alone, and replicates with their figures: wall time of each, on one thread
    and on several."""
    setup = prepare(load("silcaat"))

    def one(number: int) -> None:
        walk_everybody(setup, enrol(setup, SEED, number), SEED, number)

    one(0)
    head(f"SILCAAT, {trials} trials, wall time of each")
    for threads in sorted({1, 2, os.cpu_count() or 1}):
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(one, range(threads)))
            start = time.perf_counter()
            list(pool.map(one, range(trials)))
            row(f"enrolment and walk, {threads} threads", [(time.perf_counter() - start) / trials])
    protocol = load("silcaat")
    simulate.replicates(protocol, 2, SEED, threads=1)
    for threads in sorted({1, os.cpu_count() or 1}):
        start = time.perf_counter()
        simulate.replicates(protocol, trials, SEED, threads=threads)
        row(f"replicates with figures, {threads} threads", [(time.perf_counter() - start) / trials])


LONG = """
import resource, sys
from equipoise.protocol import load
from equipoise.simulate.enrolment import Enrolment, enrol
from equipoise.simulate.plans import prepare
from equipoise.simulate.runs import walk_everybody
setup = prepare(load("silcaat"))
def largest():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
for trial in range(int(sys.argv[1])):
    walk_everybody(setup, enrol(setup, 1, trial), 1, trial)
    if trial == 20:
        early = largest()
print(f"  after 20 trials {early:,.0f} MiB, after {int(sys.argv[1]):,} {largest():,.0f} MiB")
"""


def long_run(trials: int) -> None:
    """Largest memory of a process that simulates many trials."""
    print(f"\nLargest memory while {trials:,} trials of SILCAAT are simulated")
    subprocess.run([sys.executable, "-c", LONG, str(trials)], check=True)


def record_of_one_trial(setup: Setup, repeats: int) -> None:
    """One trial with its record, in memory and on disk."""
    protocol = setup.protocol
    head(f"{protocol.protocol}, one trial with its record, wall time")
    for what, on_disk in (("in memory", False), ("on disk", True)):
        times = []
        for _ in range(repeats + 1):
            with tempfile.TemporaryDirectory() as folder:
                start = time.perf_counter()
                simulate.trial(protocol, SEED, out=Path(folder) / "record" if on_disk else None)
                times.append(time.perf_counter() - start)
        row(what, times[1:])


LARGE = """
import resource, sys, time, equipoise.simulate as simulate
from equipoise.protocol import load
start = time.perf_counter()
simulate.trial(load("silcaat"), 1, participants=int(sys.argv[2]), out=sys.argv[1])
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
seconds = time.perf_counter() - start
print(f"  {int(sys.argv[2]):,} participants: {seconds:.1f} s, largest memory {peak:,.0f} MiB")
"""


def large(participants: int) -> None:
    """A large trial streamed to disk, in a process of its own."""
    print("\nA large trial, its record streamed to disk")
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-c", LARGE, f"{folder}/record", str(participants)], check=True)
        size = sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file())
        print(f"  the record takes {size / 2**20:,.0f} MiB")


START = """
import sys, time
start = float(sys.argv[1])
import equipoise.simulate as simulate
from equipoise.protocol import load
first = []
simulate.trial(load("silcaat"), 1, progress=lambda what, done, total: first.append(time.time() - start))
print(f"{first[0]:.2f} {time.time() - start:.2f}")
"""


def starts() -> None:
    """From the start of Python to the first progress and to the record: nothing compiled yet, then again."""
    print("\nStart of Python to        first progress      the record")
    with tempfile.TemporaryDirectory() as folder:
        surroundings = {**os.environ, "EQUIPOISE_CACHE": folder}
        surroundings.pop("NUMBA_CACHE_DIR", None)
        for what in ("first start", "second start"):
            done = subprocess.run(
                [sys.executable, "-c", START, str(time.time())], env=surroundings, capture_output=True,
                text=True, check=True,
            )  # fmt: skip
            first, whole = done.stdout.split()
            print(f"  {what:<22} {first:>12} s  {whole:>12} s")


def main_job() -> None:
    """Wall time of `equipoise run silcaat`, 1,000 replicates and reports: nothing compiled, then again."""
    print("\nequipoise run silcaat, wall time")
    with tempfile.TemporaryDirectory() as folder:
        surroundings = {**os.environ, "EQUIPOISE_CACHE": str(Path(folder) / "cache")}
        surroundings.pop("NUMBA_CACHE_DIR", None)
        for what in ("first ever, compiling", "second"):
            start = time.perf_counter()
            subprocess.run(
                [sys.executable, "-m", "equipoise", "run", "silcaat", "--out", str(Path(folder) / what)],
                env=surroundings, capture_output=True, check=True,
            )  # fmt: skip
            print(f"  {what:<22} {time.perf_counter() - start:>12.1f} s")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=21)
    parser.add_argument("--long", type=int, default=1000, help="trials of the run whose memory is taken")
    parser.add_argument("--large", action="store_true", help="also a trial of 100,000 participants")
    parser.add_argument("--participants", type=int, default=100_000, help="size of the large trial")
    parser.add_argument(
        "--start", action="store_true", help="also the first and the second start, and the main job"
    )
    chosen = parser.parse_args()
    if chosen.start:
        starts()
        main_job()
    one_trial("silcaat", chosen.repeats)
    one_trial("esprit", max(3, chosen.repeats // 3))
    parts_of_the_loop(chosen.repeats)
    many_trials(4 * chosen.repeats)
    long_run(chosen.long)
    record_of_one_trial(prepare(load("silcaat")), max(3, chosen.repeats // 4))
    if chosen.large:
        large(chosen.participants)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"\nlargest memory of this process: {peak:,.0f} MiB")


if __name__ == "__main__":
    main()
