"""A simulated trial has the same bits on every processor, thread and order of work, and memory stays flat."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from equipoise.protocol import load
from equipoise.simulate.enrolment import enrol
from equipoise.simulate.plans import Setup, prepare
from equipoise.simulate.runs import walk_everybody

PROGRAM = """
import hashlib
from equipoise.protocol import load
from equipoise.simulate.enrolment import enrol
from equipoise.simulate.plans import prepare
from equipoise.simulate.runs import walk_everybody
setup = prepare(load("silcaat"))
enrolment = enrol(setup, 11, 3, 300)
bits = hashlib.sha256()
for column in (*enrolment.people, enrolment.assessed, *walk_everybody(setup, enrolment, 11, 3)):
    bits.update(column.tobytes())
print(bits.hexdigest())
"""


def bits(setup: Setup, trial: int) -> str:
    enrolment = enrol(setup, 11, trial, 300)
    answer = hashlib.sha256()
    for column in (*enrolment.people, enrolment.assessed, *walk_everybody(setup, enrolment, 11, trial)):
        answer.update(column.tobytes())
    return answer.hexdigest()


def _has_avx512() -> bool:
    try:
        with open("/proc/cpuinfo") as file:
            return " avx512f" in file.read()
    except OSError:
        return False


@pytest.mark.slow
@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="x86 targets only")
def test_a_trial_has_the_same_bits_on_sse2_on_avx2_and_on_this_processor(tmp_path) -> None:
    # Each target compiles the loop anew, so none is asked for that this processor stands for itself.
    targets = ["x86-64", *(["haswell"] if _has_avx512() else [])]
    running = {}
    for target in targets:
        environment = os.environ | {
            "EQUIPOISE_CACHE": str(tmp_path / target), "NUMBA_CPU_NAME": target, "NUMBA_CPU_FEATURES": "",
        }  # fmt: skip
        environment.pop("NUMBA_CACHE_DIR", None)
        running[target] = subprocess.Popen(
            [sys.executable, "-c", PROGRAM], env=environment, stdout=subprocess.PIPE, text=True
        )
    answers = {target: run.communicate()[0].strip() for target, run in running.items()}
    assert all(run.returncode == 0 for run in running.values())
    answers["host"] = bits(prepare(load("silcaat")), 3)
    assert len(set(answers.values())) == 1, answers


def test_trials_walked_by_several_threads_at_once_have_the_bits_of_one_after_another() -> None:
    setup, vanguard = prepare(load("silcaat")), prepare(load("vanguard"))
    jobs = [(setup, trial) for trial in range(6)] + [(vanguard, trial) for trial in range(6)]
    alone = [bits(*job) for job in jobs]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda job: bits(*job), jobs))
    assert together == alone
    assert len(set(alone)) == len(jobs)


def test_what_happens_does_not_depend_on_who_is_walked_with_whom() -> None:
    loop = sys.modules["equipoise.simulate.trial"]
    setup = prepare(load("silcaat"))
    enrolment = enrol(setup, 11, 0, 300)
    whole = walk_everybody(setup, enrolment, 11, 0)
    apart = loop.outcomes(300, len(setup.landmarks))
    nothing = loop.diary(0, 0, 0, 0, 0)
    for number, arm in enumerate(setup.arms):
        rows = np.flatnonzero(enrolment.arm == number)
        for some in map(np.ascontiguousarray, (rows[::3][::-1], rows[1::3], rows[2::3])):
            loop.walk(
                setup.kernel, arm.plan, setup.plan, enrolment.people, some, np.uint64(11), 0, False, apart,
                nothing,
            )  # fmt: skip
    for field in loop.Outcomes._fields:
        np.testing.assert_array_equal(getattr(apart, field), getattr(whole, field), err_msg=field)


def test_leaving_the_hiv_rna_out_changes_nothing_else() -> None:
    setup = prepare(load("silcaat"))
    enrolment = enrol(setup, 11, 0, 200)
    whole = walk_everybody(setup, enrolment, 11, 0)
    lean = walk_everybody(setup, enrolment, 11, 0, measures="counts only")
    assert (whole.rnas > 0).any()
    assert not lean.rnas.any()
    assert not lean.rna_sum.any()
    for field in set(whole._fields) - {"rnas", "rna_sum"}:
        np.testing.assert_array_equal(getattr(lean, field), getattr(whole, field), err_msg=field)


MEMORY = """
from equipoise.protocol import load
from equipoise.simulate.enrolment import enrol
from equipoise.simulate.plans import prepare
from equipoise.simulate.runs import walk_everybody
setup = prepare(load("silcaat"))
def largest():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) / 1024 for line in file if line.startswith("VmHWM"))
def run(first, stop):
    for trial in range(first, stop):
        walk_everybody(setup, enrol(setup, 1, trial), 1, trial)
run(0, 20)
early = largest()
run(20, 220)
print(early, largest())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="peak memory is read from /proc")
def test_memory_does_not_grow_with_the_number_of_trials() -> None:
    bits(prepare(load("silcaat")), 0)  # compiled by now: the new process only loads what it needs
    run = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True)
    early, late = map(float, run.stdout.split())
    assert late - early < 8.0
    assert late < 500.0
