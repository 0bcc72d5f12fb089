"""Does the virtual population still reproduce the two published trials? The table of what must hold.

Expectations over many replicate trials with the default dials are held against what SILCAAT and ESPRIT
published. Run as `equipoise verify` or `python -m equipoise.simulate.verification --trials 400 --write
docs/verification.md`."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

import equipoise
from equipoise.protocol import load, sha256
from equipoise.protocol.model import Protocol
from equipoise.simulate.plans import DialChoice, Setup, prepare
from equipoise.simulate.progress import Progress
from equipoise.simulate.replicates import simulate_setup

TRIALS = 400
"""Replicate trials that the published table rests on."""
SEED = 20090409

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Target:
    """One thing that must hold: a figure of the published trial, the range in which the expectation must lie
    and the reason for that range. `of` turns the figure's values over the trials into (estimate, Monte Carlo
    error)."""

    label: str
    column: str
    low: float
    high: float
    why: str
    of: Callable[[Floats], tuple[float, float]]
    published: float | None = None


@dataclass(frozen=True)
class Check:
    """A target with what the simulation gave."""

    trial: str
    target: Target
    simulated: float
    error: float
    """Monte Carlo standard error of `simulated`."""

    @property
    def holds(self) -> bool:
        """Whether the simulated expectation lies in the range."""
        return self.target.low <= self.simulated <= self.target.high


def _mean(values: Floats) -> tuple[float, float]:
    known = values[~np.isnan(values)]
    return float(known.mean()), float(known.std(ddof=1)) / math.sqrt(len(known))


def _sd_of_log(values: Floats) -> tuple[float, float]:
    known = np.log(values[~np.isnan(values)])
    sd = float(known.std(ddof=1))
    return sd, sd / math.sqrt(2.0 * (len(known) - 1))


def targets(protocol: Protocol) -> list[Target]:
    """What must hold for this trial, from the figures that its protocol file quotes."""
    reference = protocol.analysis.reference_arm
    found: list[Target] = []
    for figure in (figure for figure in protocol.published.values() if figure.compared):
        column = f"{figure.analysis}|{figure.group}|{figure.parameter}|{figure.statistic}"
        value, quoted = figure.value, figure.interval

        def add(
            low: float,
            high: float,
            why: str,
            of: Callable[[Floats], tuple[float, float]] = _mean,
            *,
            label: str = figure.label,
            group: str = figure.group,
            column: str = column,
            value: float = value,
        ) -> None:
            name = f"{label}, {group}" if " vs " not in group and group != "all" else label
            found.append(Target(name, column, low, high, why, of, value))

        row = (figure.analysis, figure.parameter, figure.statistic)
        if row == ("cd4", "mean difference over follow-up", "estimate") and quoted is not None:
            add(quoted[0], quoted[1], "published 95% interval")
        elif row == ("cd4", "mean over follow-up", "estimate") and figure.group == reference:
            add(0.95 * value, 1.05 * value, "published value ± 5%")
        elif row == ("primary", "events", "n"):
            spread = 2.0 * math.sqrt(value)
            add(value - spread, value + spread, "published number ± 2√n")
        elif row == ("primary", "hazard ratio", "log_se"):
            ratio = column.removesuffix("log_se") + "estimate"
            add(
                0.85 * value, 1.15 * value, "published standard error ± 15%", _sd_of_log,
                label="Standard deviation of the log hazard ratio over trials", column=ratio,
            )  # fmt: skip
        elif row == ("grade4", "hazard ratio", "estimate") and quoted is not None:
            add(quoted[0], quoted[1], "published 95% interval")
        elif figure.analysis == "cd4" and figure.parameter.startswith("month 8 change"):
            add(0.85 * value, 1.15 * value, "published value ± 15%")
        elif row == ("exposure", "cycles per participant", "median"):
            add(value - 0.5, value + 0.5, "the published median, rounded")
    return found


def verify(
    protocols: Sequence[str] = ("silcaat", "esprit"),
    trials: int = TRIALS,
    seed: int = SEED,
    dials: DialChoice = None,
    threads: int | None = None,
    progress: Progress | None = None,
) -> list[Check]:
    """Simulate the trials and hold their expectations against the targets."""
    checks = []
    for name in protocols:
        setup = prepare(load(name), dials)
        checks += check_setup(setup, trials, seed, threads, progress)
    return checks


def check_setup(
    setup: Setup, trials: int, seed: int, threads: int | None = None, progress: Progress | None = None
) -> list[Check]:
    """The targets of one protocol against this many trials of a prepared population."""
    frame = simulate_setup(setup, trials, seed, threads, progress)
    return held_against(setup.protocol, frame)


def held_against(protocol: Protocol, frame: pl.DataFrame) -> list[Check]:
    """The targets of a protocol against replicate trials that were simulated already."""
    return [
        Check(protocol.protocol, target, *target.of(frame[target.column].to_numpy()))
        for target in targets(protocol)
    ]


# --- showing ------------------------------------------------------------------------------------------------

_HEAD = ("trial", "figure", "published", "must lie in", "simulated", "Monte Carlo error", "")


def rows(checks: Sequence[Check]) -> list[tuple[str, ...]]:
    """The table as text, row by row, without its head."""
    return [
        (
            check.trial,
            check.target.label,
            _number(check.target.published),
            f"{_number(check.target.low)} to {_number(check.target.high)} ({check.target.why})",
            _number(check.simulated),
            f"{check.error:.2g}",
            "inside" if check.holds else "OUTSIDE",
        )
        for check in checks
    ]


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.3f}" if abs(value) < 3 else f"{value:.1f}"


def table(checks: Sequence[Check]) -> str:
    """The table for a terminal."""
    lines = [_HEAD, *rows(checks)]
    widths = [max(len(line[k]) for line in lines) for k in range(len(_HEAD))]
    return "\n".join(
        "  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def page(checks: Sequence[Check], trials: int, seed: int, protocols: Sequence[str]) -> str:
    """docs/verification.md."""
    body = "\n".join("| " + " | ".join(row) + " |" for row in rows(checks))
    made = ", ".join(f"`{name}` {sha256(load(name))[:12]}" for name in protocols)
    inside = sum(check.holds for check in checks)
    return f"""\
# Verification against the published trials

<!-- Written by `python -m equipoise.simulate.verification --write docs/verification.md`. -->

The virtual population is fitted to SILCAAT and ESPRIT, with one set of parameters for both; only the
protocol and those who came to be screened differ. This page shows whether simulated trials, as the software
makes them today, still behave like the published ones: expectations over {trials} replicate trials of each,
with the default dials, beside what was published. {inside} of {len(checks)} figures lie where they must.

| {" | ".join(_HEAD)} |
|{"---|" * len(_HEAD)}
{body}

The Monte Carlo error is the standard error of the simulated figure over {trials} trials. CD4 counts are
averaged over all visits after randomisation within each participant, then over participants; the simulated
difference is that of these means (the analysis of a single trial fits a mixed model, see
[methods](methods.md)). Figures that were fitted agree because they were fitted; that both trials agree at
once with one set of parameters is the test. Nothing here says that the model is right about what it cannot
be tested on: see [virtual participants](virtual-participants.md).

Made by Equipoise {equipoise.__version__}, seed {seed}, protocols {made}. Repeat it with `equipoise verify`.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; 0 if everything holds, 1 otherwise."""
    parser = argparse.ArgumentParser(prog="python -m equipoise.simulate.verification", description=__doc__)
    parser.add_argument("--trials", type=int, default=TRIALS, help="replicate trials of each protocol")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--write", type=Path, default=None, help="also write the page to this file")
    chosen = parser.parse_args(arguments)
    protocols = ("silcaat", "esprit")
    checks = verify(protocols, chosen.trials, chosen.seed, threads=chosen.threads)
    print(table(checks))
    if chosen.write is not None:
        chosen.write.write_text(page(checks, chosen.trials, chosen.seed, protocols), encoding="utf-8")
    return 0 if all(check.holds for check in checks) else 1


if __name__ == "__main__":
    sys.exit(main())
