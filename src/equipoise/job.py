"""The main job: simulate a trial, analyse it, repeat it many times, report it beside the published one."""

from __future__ import annotations

import contextlib
import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from equipoise._atomic import new_file, new_folder, write_parquet
from equipoise.errors import UserError

if TYPE_CHECKING:
    import polars as pl

    from equipoise.analyse import Results
    from equipoise.analyse.surrogate.evaluation import Evaluation
    from equipoise.protocol import Protocol
    from equipoise.protocol.plain import PlainTrial
    from equipoise.record import AnalysisInput, Record
    from equipoise.simulate.fitting.running import Fit
    from equipoise.simulate.power.characteristics import Summary
    from equipoise.simulate.power.engines import Engine
    from equipoise.simulate.power.scenarios import Design, Variation
    from equipoise.simulate.ridge.findings import Findings
    from equipoise.simulate.surrogacy.characteristics import Characteristics
    from equipoise.simulate.surrogacy.demonstration import Pitfall
    from equipoise.simulate.surrogacy.truth import Truth

RECORD = "record"
REPLICATES = "replicates.parquet"
REPORT = "report.html"
RESULTS = ("results.parquet", "results.csv", "results.json")
REPLICATE_TRIALS = 1000
"""Repeated trials of the main job: enough for the 2.5th and 97.5th percentile to be steady."""
TRIALS = 2000
"""Of each scenario of a power run, where nothing else is said."""

Progress = Callable[[str, float | None], None]
"""Called with the stage in words, and the share of it that is done (0 to 1; None when nobody can tell)."""


@dataclass(frozen=True)
class Outcome:
    """What the main job made. `files` are the finished files by what they are; `folder` holds them all."""

    folder: Path
    files: Mapping[str, Path]
    record: Record
    results: Results
    replicates: pl.DataFrame | None
    remarks: tuple[str, ...] = ()
    """What the reader should know: a PDF that could not be written, say."""


def default_folder(protocol: Protocol, seed: int) -> Path:
    """Where the files go unless told otherwise: `silcaat-1` for seed 1."""
    name = re.sub(r"[^a-z0-9]+", "-", protocol.protocol.lower()).strip("-") or "trial"
    return Path(f"{name}-{seed}")


def run(
    protocol: Protocol | str | os.PathLike[str],
    *,
    seed: int = 1,
    out: str | os.PathLike[str] | None = None,
    force: bool = False,
    participants: int | None = None,
    trials: int = REPLICATE_TRIALS,
    dials: Mapping[str, Any] | str | None = None,
    threads: int | None = None,
    pdf: bool = True,
    command: str | None = None,
    progress: Progress | None = None,
) -> Outcome:
    """Simulate a trial of `protocol`, analyse it, repeat it `trials` times and write everything into `out`.

    `out` (default: name of the protocol and seed) appears whole, at the end, or not at all. `participants`:
    randomised, when not as many as the protocol says. `dials`: a preset, or dials by name. `command` is shown
    in the report as the way to reproduce it. Raises UserError for whatever the user can mend.
    """
    from equipoise import analyse, record, report, simulate
    from equipoise.protocol import Protocol, load

    plan = protocol if isinstance(protocol, Protocol) else load(os.fspath(protocol))
    folder = Path(out) if out is not None else default_folder(plan, seed)
    say: Progress = progress if progress is not None else lambda stage, share: None
    remarks: list[str] = []
    with new_folder(folder, force=force, marker=RECORD + "/manifest.json") as place:
        say("Simulating the trial", None)
        made = simulate.trial(
            plan,
            seed,
            participants=participants,
            dials=dials,
            out=place / RECORD,
            threads=threads,
            progress=stage(say, "Simulating the trial"),
        )
        say("Analysing the record", 0.0)
        results = analyse.run(
            made, progress=lambda words, share: say(f"Analysing the record: {words}", share)
        )
        analyse.write(results, place)
        repeated = None
        if trials > 0:
            words = f"Repeating the trial {trials:,} times"
            say(words, 0.0)
            repeated = simulate.replicates(
                plan,
                trials,
                seed,
                participants=participants,
                dials=dials,
                threads=threads,
                progress=stage(say, words),
            )
            write_parquet(repeated, place / REPLICATES)
        say("Writing the report", None)
        provenance = {"Command": command} if command is not None else {}
        written = report.write(
            results, plan, made, repeated, out=place, paper="if possible" if pdf else "never",
            provenance=provenance, say=remarks.append,
        )  # fmt: skip
        names = {
            "report": place / REPORT,
            **({"paper": written["pdf"]} if "pdf" in written else {}),
            "results": place / "results.csv",
            "record": place / RECORD,
            **({"replicates": place / REPLICATES} if repeated is not None else {}),
        }
        names = {what: folder / path.relative_to(place) for what, path in names.items()}
    finished = record.read(folder / RECORD, verify=False)
    return Outcome(folder, names, finished, results, repeated, tuple(remarks))


def stage(say: Progress, words: str) -> Callable[[str, int, int], None]:
    """Progress of one stage that is counted: called with what, how many are done and how many there are."""
    return lambda what, done, total: say(words, done / total if total else None)


# --- many trials --------------------------------------------------------------------------------------------


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
    files = {"page": write_power(summary, folder, provenance=_provenance(command), force=True)}
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


def _provenance(command: str | None) -> dict[str, str]:
    return {} if command is None else {"Command": command}


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


# --- fits ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Fitted:
    """What a fit made: the fit itself, its result in words, and the finished files."""

    fit: Fit
    told: str
    files: Mapping[str, Path]


def fit_folder(population: str, seed: int) -> Path:
    """Where a fit goes unless told otherwise: `hiv-il2-fit-1`."""
    name = re.sub(r"[^a-z0-9]+", "-", Path(population).stem.lower()).strip("-") or "population"
    return Path(f"{name}-fit-{seed}")


def fit(
    population: str | os.PathLike[str],
    targets: str | os.PathLike[str] | None = None,
    *,
    seed: int = 1,
    participants: int | None = None,
    steps: int | None = None,
    starts: int = 1,
    profiles: Sequence[str] = (),
    draws: int | None = None,
    out: str | os.PathLike[str] | None = None,
    write: str | os.PathLike[str] | None = None,
    resume: bool = False,
    force: bool = False,
    threads: int | None = None,
    command: str | None = None,
    progress: Progress | None = None,
    note: Callable[[str], None] | None = None,
) -> Fitted:
    """Fit the free rows of a virtual population to published figures, with what is not known of them.

    `population`: a bundled one or a file. `targets`: a targets file, or the name of a bundled one (that of
    the same name as the population, when left out). `participants` of each simulated trial (40,000),
    `steps` at most (10; 0 only compares), `starts`: descents from so many points, `profiles`: names of rows,
    `draws` of the predictive check (200; 0: none). `out`: the folder (default: population and seed); with
    `resume` the fit that is there goes on. `write`: where to put the population file with the new values.
    Raises UserError for whatever the user can mend.
    """
    from equipoise._atomic import refuse_existing
    from equipoise.report.fit import write_fit
    from equipoise.simulate.fitting import rows, running, telling
    from equipoise.simulate.fitting.targets import bundled_targets, load_targets
    from equipoise.virtual.parameters import load_population

    people = load_population(os.fspath(population))
    if targets is None and people.name not in bundled_targets():
        raise UserError(
            f"no targets come with Equipoise for the population {people.name}: give a targets file "
            "with --targets"
        )
    held_against = load_targets(os.fspath(targets) if targets is not None else people.name)
    settings = running.Settings(
        seed, running.PARTICIPANTS if participants is None else participants,
        running.STEPS if steps is None else steps, starts, tuple(profiles),
        running.DRAWS if draws is None else draws,
    )  # fmt: skip
    if write is not None:
        if settings.steps == 0:
            raise UserError("--write needs a fit: --steps 0 only compares")
        refuse_existing(Path(write), force, "another name with --write")
        free = [row for row in rows.free_rows(held_against, people) if row.moves]
        text = rows.text_of(people)
        rows.written(text, people, free, people.place)  # whether it can be done is known before any work
    folder = Path(out) if out is not None else fit_folder(os.fspath(population), seed)
    done = running.fit(
        people, held_against, settings, folder, resume=resume, force=force, threads=threads,
        command=command, progress=progress, note=note,
    )  # fmt: skip
    files = {"page": write_fit(done, folder, provenance=_provenance(done.command), force=True)}
    for name, table in telling.tables(done).items():
        with new_file(folder / name, force=True) as temporary:
            temporary.write_text(table.write_csv(), encoding="utf-8", newline="")
        files[name.removesuffix(".csv").replace("_", " ")] = folder / name
    if write is not None:
        with new_file(write, force=force) as temporary:
            content = rows.written(text, done.population, free, people.place)
            temporary.write_text(content, encoding="utf-8", newline="")
        files["population"] = Path(write)
    return Fitted(done, telling.told(done), files)


# --- the biomarker as a surrogate ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Surrogacy:
    """What is known about a biomarker as a surrogate: every measure, the truth behind a simulated trial
    (or why it cannot be looked up), how each method does over many trials, the same in words, the
    finished files."""

    evaluation: Evaluation
    truth: Truth | None
    no_truth: str
    characteristics: Characteristics | None
    told: str
    files: Mapping[str, Path]


def surrogate(
    source: Record | AnalysisInput,
    *,
    arm: str | None = None,
    endpoint: str | None = None,
    marker: str | None = None,
    bootstrap: int | None = None,
    seed: int = 1,
    landmarks: Sequence[float] | None = None,
    horizon: float | None = None,
    trials: int = 0,
    threads: int | None = None,
    out: str | os.PathLike[str] | None = None,
    force: bool = False,
    command: str | None = None,
    progress: Progress | None = None,
) -> Surrogacy:
    """Evaluate a biomarker as a surrogate for an endpoint, in a trial that has been run.

    `source`: a record, or mapped data. `arm`, `endpoint`, `marker`: as `marked_trial` chooses them.
    `bootstrap` samples by `seed`. `landmarks`, `horizon`: years. `trials`: also repeat the simulated
    trial so many times under each preset of effect dials. `out`: a folder for surrogate.html,
    surrogate.csv and surrogate-characteristics.csv (none: nothing is written). Raises UserError for
    whatever the user can mend."""
    from equipoise.analyse.inputs import from_record
    from equipoise.analyse.surrogate import evaluation as measures
    from equipoise.analyse.surrogate import telling
    from equipoise.analyse.surrogate.data import marked_trial
    from equipoise.record import Record
    from equipoise.report import surrogate as page
    from equipoise.simulate.surrogacy.beside import beside
    from equipoise.simulate.surrogacy.characteristics import characteristics
    from equipoise.simulate.surrogacy.characteristics import told as told_characteristics
    from equipoise.simulate.surrogacy.truth import setup_of

    say: Progress = progress if progress is not None else lambda stage, share: None
    names = {"page": page.PAGE, "table": "surrogate.csv"}
    if trials:
        names["characteristics"] = "surrogate-characteristics.csv"
    places = {} if out is None else {what: Path(out) / name for what, name in names.items()}
    with contextlib.ExitStack() as stack:
        # Tried before the work is done; nothing stands there until all of it does.
        files = {what: stack.enter_context(new_file(place, force=force)) for what, place in places.items()}
        say("Reading the trial", None)
        simulated = isinstance(source, Record) and source.manifest.provenance.kind == "simulated"
        if trials and not simulated:
            raise UserError("--trials repeats a simulated trial; these participants are real: leave it out")
        given = from_record(source, source.protocol) if isinstance(source, Record) else source
        marked = marked_trial(given, arm=arm, endpoint=endpoint, marker=marker)
        found = measures.evaluate(
            marked,
            bootstrap=measures.BOOTSTRAP if bootstrap is None else bootstrap,
            seed=seed,
            times=landmarks,
            horizon=horizon,
            confidence=given.confidence,
            progress=lambda words, share: say(f"Evaluating: {words}", share),
        )
        known, why, many = None, "", None
        if isinstance(source, Record) and simulated:
            say("Looking up the truth", None)
            known, why = _truth_behind(source, given, found, arm, endpoint, marker)
            if trials and known is None:
                raise UserError(f"--trials needs the truth, which cannot be looked up: {why}")
            if trials:
                words = "Repeating the trial under each preset"
                say(words, 0.0)
                many = characteristics(
                    setup_of(source), trials, arm=arm, endpoint=endpoint, seed=seed + 1,
                    participants=marked.participants, threads=threads or os.cpu_count() or 1,
                    progress=stage(say, words),
                )  # fmt: skip
        truths = {} if known is None else beside(found, known)
        told = telling.told(found, {name: each.value for name, each in truths.items()})
        if many is not None:
            told += "\n\n" + told_characteristics(many)
        if files:
            say("Writing the page", None)
            material = page.SurrogateMaterial(found, known, why, truths, many, _provenance(command))
            files["page"].write_text(page.rendered(material), encoding="utf-8")
            files["table"].write_text(page.table(found, truths).write_csv(), encoding="utf-8", newline="")
            if many is not None:
                files["characteristics"].write_text(many.table().write_csv(), encoding="utf-8", newline="")
    return Surrogacy(found, known, why, many, told, places)


def _truth_behind(
    record: Record,
    given: AnalysisInput,
    found: Evaluation,
    arm: str | None,
    endpoint: str | None,
    marker: str | None,
) -> tuple[Truth | None, str]:
    """The truth behind a simulated record at the horizon of its mediation analyses; or none, and why."""
    from equipoise.simulate.surrogacy.fates import comparison
    from equipoise.simulate.surrogacy.truth import setup_of, truth

    chosen = marker if marker is not None else given.measures[0].name
    try:
        setup = setup_of(record)
        if chosen != setup.count_item:
            return None, f"{found.trial.marker_label} is not what the treatment works through in the model"
        horizon = None if math.isnan(found.horizon) else found.horizon
        return truth(comparison(setup, arm, endpoint), horizon=horizon), ""
    except UserError as problem:
        return None, str(problem)


@dataclass(frozen=True)
class Demonstration:
    """The pitfall of adjusting for the biomarker, where the truth is known: rows, words, finished files."""

    rows: tuple[Pitfall, ...]
    told: str
    files: Mapping[str, Path]


def demonstrate_pitfall(
    *,
    people: int | None = None,
    seed: int | None = None,
    threads: int | None = None,
    out: str | os.PathLike[str] | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> Demonstration:
    """Why a hazard ratio that is adjusted for the biomarker says nothing about harm: SILCAAT and ESPRIT
    on virtual people, each in both arms, under four truths (docs/surrogate.md).

    `people` in each arm. `out`: a folder for surrogate-pitfall.csv. Raises UserError for whatever the
    user can mend."""
    from equipoise.simulate.surrogacy import demonstration

    say: Progress = progress if progress is not None else lambda stage, share: None
    places = {} if out is None else {"table": Path(out) / "surrogate-pitfall.csv"}
    words = "Walking everybody in both arms"
    say(words, 0.0)
    with contextlib.ExitStack() as stack:
        files = {what: stack.enter_context(new_file(place, force=force)) for what, place in places.items()}
        rows = demonstration.demonstrate(
            people=demonstration.PEOPLE if people is None else people,
            seed=demonstration.SEED if seed is None else seed,
            threads=threads or os.cpu_count() or 1,
            progress=stage(say, words),
        )
        for file in files.values():
            file.write_text(demonstration.table(rows).write_csv(), encoding="utf-8", newline="")
    return Demonstration(rows, demonstration.told(rows), places)


# --- explanations -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Explained:
    """What `explain` made: everything that it found, the answer in sentences, and the finished files."""

    findings: Findings
    told: tuple[str, ...]
    files: Mapping[str, Path]


EXPLANATION = "explain.html"


def explain(
    trials: Sequence[Protocol | str | os.PathLike[str]],
    *,
    out: str | os.PathLike[str] | None = None,
    seed: int = 1,
    participants: int | None = None,
    simulated: int | None = None,
    threads: int | None = None,
    force: bool = False,
    command: str | None = None,
    progress: Progress | None = None,
) -> Explained:
    """Hold the explanations (cells that do not protect, cycles that harm) against the published hazard ratios
    of some trials, jointly, and write the page and the tables into `out` (default: explain and the names).

    `participants`: virtual people of each trial whose expected events are added up in both arms (20,000 when
    left out). `simulated`: trials of each protocol that are simulated under each preset (300). Nothing
    depends on `threads`. Raises UserError for whatever the user can mend."""
    from equipoise.protocol import Protocol, load
    from equipoise.report import explain as page
    from equipoise.simulate.ridge import explaining
    from equipoise.simulate.ridge.findings import Findings

    say: Progress = progress if progress is not None else lambda stage, share: None
    plans = [each if isinstance(each, Protocol) else load(os.fspath(each)) for each in trials]
    folder = (
        Path(out) if out is not None else Path("-".join(["explain", *(_short(p.protocol) for p in plans)]))
    )
    with new_folder(folder, force=force, marker=EXPLANATION) as place:
        found = explaining.explain(
            plans,
            seed=seed,
            participants=explaining.PARTICIPANTS if participants is None else participants,
            simulated=explaining.TRIALS if simulated is None else simulated,
            threads=threads,
            say=say,
        )
        say("Drawing the regions", None)
        findings = Findings(found)
        tables = findings.tables()
        page.write_explanation(findings, tables, place, provenance=_provenance(command))
        for name, table in tables.items():
            write_parquet(table, place / f"{name}.parquet")
            (place / f"{name}.csv").write_text(table.write_csv(), encoding="utf-8", newline="")
    files = {"page": folder / EXPLANATION}
    files |= {name: folder / f"{name}.csv" for name in tables}
    return Explained(findings, tuple(page.told(findings)), files)


def _short(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "trial"
