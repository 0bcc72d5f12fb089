"""How fast are power runs: response-guided and plain trials, workers, Dask, memory?

Run as `python benchmarks/power.py`, with `--workers 2000 --dask --memory 10000` for the rest.

Times are CPU times of the process (medians of repeats) unless they say wall; ratios are of the same run.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import equipoise as eq
from equipoise.protocol.plain import build_plain
from equipoise.protocol.reading import parse_yaml
from equipoise.simulate.enrolment import enrol
from equipoise.simulate.power import engines, event_times, guided, running
from equipoise.simulate.power.engines import Engine
from equipoise.simulate.power.scenarios import Design, design_of, grid
from equipoise.simulate.runs import walk_everybody

PLAIN = """
equipoise: 1
plain: Benchmark
arms: {control: {hazard: 0.024 / year}, active: {hazard_ratio: 0.75}}
reference_arm: control
participants: 1695
accrual: 3.5 years
dropout: 0.015 / year
primary_events: 230
"""


def cpu(work: Callable[[int], object], repeats: int) -> float:
    """Median CPU seconds of work(repeat)."""
    times = []
    for repeat in range(repeats):
        begin = time.process_time()
        work(repeat)
        times.append(time.process_time() - begin)
    return statistics.median(times)


def guided_trials(name: str, trials: int) -> None:
    """Milliseconds of one core for a response-guided trial, by phase."""
    ready = guided.prepare(design_of(eq.load_protocol(name)))
    guided.rows(ready, 1, 0, 2)
    enrolled = cpu(lambda k: enrol(ready.setup, 1, k), trials)
    people = enrol(ready.setup, 1, 0)
    walked = cpu(lambda k: walk_everybody(ready.setup, people, 1, 0), trials)
    whole = cpu(lambda k: guided.one(ready, 1, k), trials)
    rest = whole - enrolled - walked
    print(
        f"  {name:<10} {1e3 * whole:6.2f} ms a trial: enrolment {1e3 * enrolled:.2f}, walk "
        f"{1e3 * walked:.2f}, looks, decisions and measures {1e3 * rest:.2f}"
    )


def plain_trials(looks: str, trials: int) -> None:
    """Microseconds of one core for a plain trial, decisions included."""
    design = design_of(build_plain(parse_yaml(PLAIN + looks, "benchmark")))
    ready = event_times.prepare(design)
    event_times.rows(ready, 1, 0, 50)
    each = cpu(lambda k: event_times.rows(ready, 1, k * trials, trials), 5) / trials
    what = "one analysis" if not looks else "three looks, adjusted estimates"
    print(f"  {what:<34} {1e6 * each:7.1f} us a trial, {1 / each:9,.0f} trials per core second")


def wall(design: Design, trials: int, engine: Engine) -> float:
    """Wall seconds of a run into a folder."""
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        running.run(grid(design, []), running.Goal(trials), Path(folder) / "run", engine=engine)
        return time.perf_counter() - begin


def workers(design: Design, trials: int, repeats: int, dask: bool) -> None:
    """Speed of two workers against one, interleaved; and what Dask adds."""
    wall(design, 200, engines.threads(2))
    kinds: dict[str, Callable[[int], Engine]] = {"threads": engines.threads, "processes": engines.processes}
    single, both = [], {name: [] for name in kinds}  # type: ignore[var-annotated]
    for _ in range(repeats):
        single.append(wall(design, trials, engines.threads(1)))
        for name, kind in kinds.items():
            both[name].append(wall(design, trials, kind(2)))
    one = statistics.median(single)
    for name, times in both.items():
        two = statistics.median(times)
        print(f"  two {name:<10} {two:6.1f} s, one thread {one:6.1f} s (wall): {one / two:.2f} times as fast")
    if dask:
        from distributed import LocalCluster

        with LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=50
        ) as local:
            engine = engines.cluster(local.scheduler_address)
            wall(design, 400, engine)
            two = statistics.median(both["threads"])
            on_dask = statistics.median([wall(design, trials, engine) for _ in range(repeats)])
        more = 100 * (on_dask / two - 1)
        print(f"  two Dask workers {on_dask:.1f} s (wall): {more:+.1f}% against two threads")


def memory(trials: int) -> None:
    """Peak memory of `equipoise power silcaat` for few and for many trials."""
    for count in (trials // 10, trials):
        with tempfile.TemporaryDirectory() as folder:
            begin = time.perf_counter()
            command = ["power", "silcaat", "--trials", str(count), "--out", f"{folder}/run"]
            subprocess.run([sys.executable, "-m", "equipoise", *command], check=True, capture_output=True)
            seconds = time.perf_counter() - begin
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        print(f"  {count:>7,} trials of SILCAAT: {seconds:6.1f} s (wall), peak {peak:.0f} MiB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=60, help="response-guided trials timed")
    parser.add_argument("--workers", type=int, default=0, help="trials of the comparison of workers; 0: none")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--dask", action="store_true")
    parser.add_argument("--memory", type=int, default=0, help="trials of the memory run; 0: none")
    options = parser.parse_args()
    print("Response-guided trials (one core, CPU)")
    for name in ("silcaat", "esprit"):
        guided_trials(name, options.trials)
    print("Plain event-time trials, N = 1,695, 230 events (one core, CPU)")
    plain_trials("", 4000)
    plain_trials("monitoring: {looks: [0.5, 0.75, 1.0], spending: obrien-fleming}\n", 2000)
    if options.workers:
        print(f"Workers, {options.workers:,} trials of SILCAAT")
        workers(design_of(eq.load_protocol("silcaat")), options.workers, options.repeats, options.dask)
    if options.memory:
        print("Memory")
        memory(options.memory)


if __name__ == "__main__":
    main()
