"""A design simulated thousands of times: power and the other operating characteristics; one trial in full."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from equipoise._atomic import new_file, write_parquet
from equipoise.errors import UserError
from equipoise.job.main_job import RECORD, Progress, default_folder, provenance, stage

if TYPE_CHECKING:
    from equipoise.protocol import Protocol
    from equipoise.protocol.plain import PlainTrial
    from equipoise.simulate.power.characteristics import Summary
    from equipoise.simulate.power.engines import Engine
    from equipoise.simulate.power.scenarios import Design, Variation


TRIALS = 2000
"""Of each scenario of a power run, where nothing else is said."""


@dataclass(frozen=True)
class Power:
    """What a power run made: its operating characteristics, the same in words, and the finished files."""

    summary: Summary
    told: str
    files: Mapping[str, Path]
    remarks: tuple[str, ...] = ()
    """What the reader should know: a precision that was not reached, say."""


def power(
    trial: Protocol | PlainTrial | str | os.PathLike[str],
    *,
    trials: int | None = None,
    vary: Sequence[str] | Mapping[str, Sequence[Any]] = (),
    scenarios: str | os.PathLike[str] | None = None,
    until_se: float | None = None,
    resume: bool = False,
    out: str | os.PathLike[str] | None = None,
    seed: int | None = None,
    arm: str | None = None,
    participants: int | None = None,
    dials: Mapping[str, Any] | str | None = None,
    engine: Engine | None = None,
    force: bool = False,
    command: str | None = None,
    progress: Progress | None = None,
) -> Power:
    """Simulate a trial many times, under each scenario, and sum up how it does.

    `trial`: a protocol with a virtual population, or a plain event-time trial. `trials` of each scenario
    (2,000 when left out), or until the standard error of the power is at most `until_se`. `vary`: values by
    path, {"functional_fraction": [0, 0.5, 1]}, or text as the command line takes it; every combination is a
    scenario. `scenarios`: a file of named ones instead. `out`: the folder of the run (default: trial and
    seed); with `resume` the run that is there goes on. `engine`: see `equipoise.simulate.power.engines`
    (default: a thread for each core). Raises UserError for whatever the user can mend.
    """
    from equipoise.report.power import write_power
    from equipoise.simulate.power import characteristics, running, telling
    from equipoise.simulate.power import scenarios as choose

    say: Progress = progress if progress is not None else lambda stage, share: None
    target = choose.load_target(os.fspath(trial)) if isinstance(trial, str | os.PathLike) else trial
    design = choose.design_of(target, dials, participants, arm)
    if scenarios is not None and vary:
        raise UserError("--scenarios names its scenarios, --vary makes them: choose one")
    chosen = (
        choose.from_file(design, Path(scenarios))
        if scenarios is not None
        else choose.grid(design, _variations(vary))
    )
    folder = Path(out) if out is not None else _power_folder(design.name, 1 if seed is None else seed)
    if resume and trials is None and until_se is None:
        trials, until_se = _goal_of(folder)
    most = trials if trials is not None else (running.MOST if until_se is not None else TRIALS)
    saved = running.run(
        chosen,
        running.Goal(most, until_se),
        folder,
        seed=seed,
        engine=engine,
        resume=resume,
        force=force,
        command=command,
        progress=lambda what, done, total: say(f"Simulating: {what}", done / total),
    )
    say("Summing up", None)
    summary = characteristics.summarise(saved)
    say("Writing the page", None)
    files = {"page": write_power(summary, folder, provenance=provenance(command), force=True)}
    table = summary.table()
    for name in ("characteristics.parquet", "characteristics.csv"):
        with new_file(folder / name, force=True) as temporary:
            if name.endswith("csv"):
                temporary.write_text(table.write_csv(), encoding="utf-8", newline="")
            else:
                write_parquet(table, temporary)
    files |= {"table": folder / "characteristics.csv", "rows": folder / "rows"}
    remarks = []
    if until_se is not None:
        worst = max(summary.value(k, "power").error for k in range(len(summary.trials)))
        if worst > until_se:
            remarks.append(
                f"the standard error of the power is {worst:.2g}, not {until_se:g}: {most:,} trials were the "
                "limit; go on with --resume and more --trials"
            )
    return Power(summary, telling.told(summary), files, tuple(remarks))


def _goal_of(folder: Path) -> tuple[int | None, float | None]:
    """What a saved run was to come to: trials of each scenario, and the standard error at which it may end
    before. Raises UserError when there is no run."""
    from equipoise.simulate.power import store

    saved = store.read(folder)
    return saved.trials_wanted, saved.error_wanted


def power_folder(trial: str, seed: int | None) -> Path:
    """Where the run of this trial goes unless told otherwise. Raises UserError when there is no such
    trial."""
    from equipoise.protocol.plain import PlainTrial
    from equipoise.simulate.power.scenarios import load_target

    target = load_target(trial)
    name = target.plain if isinstance(target, PlainTrial) else target.protocol
    return _power_folder(name, 1 if seed is None else seed)


def _power_folder(name: str, seed: int) -> Path:
    return Path(f"{re.sub(r'[^a-z0-9]+', '-', name.lower()).strip('-') or 'trial'}-power-{seed}")


def _variations(vary: Sequence[str] | Mapping[str, Sequence[Any]]) -> list[Variation]:
    from equipoise.simulate.power.scenarios import Variation, variation

    if isinstance(vary, Mapping):
        return [Variation(path, tuple(values)) for path, values in vary.items()]
    return [variation(text) for text in vary]


def is_plain_file(name: str) -> bool:
    """Whether this names the file of a plain event-time trial."""
    from equipoise.protocol import bundled
    from equipoise.protocol.plain import is_plain
    from equipoise.protocol.reading import load_source

    return name not in bundled() and is_plain(load_source(name))


@dataclass(frozen=True)
class Replay:
    """One trial of a power run in full: the finished files, and how the committee ended it there."""

    files: Mapping[str, Path]
    ending: str


def replay(
    trial: str,
    number: int,
    seed: int,
    settings: Sequence[str],
    out: str | os.PathLike[str] | None = None,
    participants: int | None = None,
    dials: Mapping[str, Any] | str | None = None,
    threads: int | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> Replay:
    """One trial of a power run in full: its record, or the table of participants of a plain trial. It goes to
    the end that was planned, whether or not the committee stopped it before.

    `settings` change fields ("aldesleukin.goal.rise=100"). Raises UserError."""
    from equipoise.simulate.power import scenarios as choose

    say: Progress = progress if progress is not None else lambda stage, share: None
    target = choose.load_target(trial)
    changes = {}
    for text in settings:
        chosen = choose.variation(text, "--set")
        if len(chosen.values) != 1:
            raise UserError(f"--set {text}: one value, please; `equipoise power --vary` takes several")
        changes[chosen.path] = chosen.values[0]
    design = choose.design_of(target, dials, participants, _any_arm(target))
    if changes:
        design, _ = choose.changed(design, changes)
    say("Simulating the trial", None)
    if design.kind == "plain":
        from equipoise.simulate.plain import plain_participants, prepare_plain

        place = Path(out) if out is not None else Path(f"{_power_folder(design.name, seed)}-trial-{number}")
        frame = plain_participants(prepare_plain(design.built_plain()), seed, number)
        table = place / "participants.parquet"
        with new_file(table, force=force) as temporary:
            write_parquet(frame, temporary)
        return Replay({"participants": table}, _ending(design, seed, number))
    from equipoise.simulate.plans import prepare
    from equipoise.simulate.runs import trial_of

    protocol, population, baseline = design.built()
    setup = prepare(protocol, design.dials, population=population, baseline=baseline)
    folder = Path(out) if out is not None else default_folder(protocol, seed)
    trial_of(setup, seed, number, None, folder / RECORD, threads, stage(say, "Simulating the trial"), force)
    return Replay({"record": folder / RECORD}, _ending(design, seed, number))


def ending(
    protocol: Protocol, number: int, seed: int, participants: int | None = None,
    dials: Mapping[str, Any] | str | None = None,
) -> str:  # fmt: skip
    """How one trial of a power run ends there, in words; nothing where it cannot be monitored."""
    from equipoise.simulate.power import scenarios as choose

    return _ending(choose.design_of(protocol, dials, participants, _any_arm(protocol)), seed, number)


def _ending(design: Design, seed: int, number: int) -> str:
    """How the row of this trial says that it ended; nothing where it cannot be monitored."""
    from equipoise.simulate.power.deciding import REASONS
    from equipoise.simulate.power.tasks import packed, rows

    try:
        row = rows(packed(design), seed, number, 1).row(0, named=True)
    except UserError:
        return ""
    return (
        f"In a power run it ends at look {row['stop|look']:.0f} ({REASONS[int(row['stop|reason'])]}), on "
        f"day {row['stop|day']:.6g} with {row['stop|events']:.0f} primary events: z {row['stop|z']:.4f}, "
        f"hazard ratio {math.exp(row['stop|log_hr']):.3f}. Here it is followed to the end that was planned."
    )


def _any_arm(target: Protocol | PlainTrial) -> str | None:
    """A whole trial is simulated, whichever arm would be compared."""
    from equipoise.protocol.plain import PlainTrial

    if isinstance(target, PlainTrial):
        return None
    return next(name for name in target.arms if name != target.analysis.reference_arm)
