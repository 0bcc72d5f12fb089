"""A biomarker evaluated as a surrogate, with the truth beside it where the trial was simulated."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from equipoise._atomic import new_file
from equipoise.errors import UserError
from equipoise.job.main_job import Progress, provenance, stage

if TYPE_CHECKING:
    from equipoise.analyse.surrogate.data import Units
    from equipoise.analyse.surrogate.evaluation import Evaluation
    from equipoise.record import AnalysisInput, Record
    from equipoise.simulate.surrogacy.between import BetweenTrials
    from equipoise.simulate.surrogacy.characteristics import Characteristics
    from equipoise.simulate.surrogacy.demonstration import Pitfall
    from equipoise.simulate.surrogacy.truth import Truth


@dataclass(frozen=True)
class Surrogacy:
    """What is known about a biomarker as a surrogate: every measure, the truth behind a simulated trial
    (or why it cannot be looked up), how each method does over many trials, these trials as units of
    trial-level surrogacy, the same in words, the finished files."""

    evaluation: Evaluation
    truth: Truth | None
    no_truth: str
    characteristics: Characteristics | None
    between: BetweenTrials | None
    told: str
    files: Mapping[str, Path]


def surrogate(
    source: Record | AnalysisInput,
    *,
    arm: str | None = None,
    endpoint: str | None = None,
    marker: str | None = None,
    units: Units = "country",
    bootstrap: int | None = None,
    seed: int = 1,
    landmarks: Sequence[float] | None = None,
    horizon: float | None = None,
    scale: str | None = None,
    joint: bool = False,
    trials: int = 0,
    threads: int | None = None,
    out: str | os.PathLike[str] | None = None,
    force: bool = False,
    command: str | None = None,
    progress: Progress | None = None,
) -> Surrogacy:
    """Evaluate a biomarker as a surrogate for an endpoint, in a trial that has been run.

    `scale` of the marker: "log2", "sqrt" or "as-is" (default: as `scale_of` chooses it).
    `source`: a record, or mapped data. `arm`, `endpoint`, `marker`: as `marked_trial` chooses them.
    `units`: "country" or "site", compared at the level of trials. `bootstrap` samples by `seed`. `landmarks`,
    `horizon`: years. `joint`: a joint model too. `trials`: also repeat the simulated trial so many times
    under each preset of effect dials, at the same horizon. `out`: a folder for surrogate.html, surrogate.csv
    and, with `trials`, surrogate-characteristics.csv, surrogate-between.csv and surrogate-trials.csv (none:
    nothing is written). Raises UserError for whatever the user can mend."""
    from equipoise.analyse.inputs import from_record
    from equipoise.analyse.surrogate import evaluation as measures
    from equipoise.analyse.surrogate import telling
    from equipoise.analyse.surrogate.data import marked_trial
    from equipoise.analyse.surrogate.scale import SHORT_NAMES
    from equipoise.record import Record
    from equipoise.report import surrogate as page
    from equipoise.simulate.surrogacy.beside import beside
    from equipoise.simulate.surrogacy.between import between_trials
    from equipoise.simulate.surrogacy.between import told as told_between
    from equipoise.simulate.surrogacy.characteristics import characteristics
    from equipoise.simulate.surrogacy.characteristics import told as told_characteristics
    from equipoise.simulate.surrogacy.truth import setup_of

    say: Progress = progress if progress is not None else lambda stage, share: None
    names = {"page": page.PAGE, "table": "surrogate.csv"}
    if trials:
        names |= {
            "characteristics": "surrogate-characteristics.csv",
            "between": "surrogate-between.csv",
            "trials": "surrogate-trials.csv",
        }
    if scale is not None and scale not in SHORT_NAMES:
        raise UserError(f'no scale "{scale}"; the scales of a biomarker are {", ".join(SHORT_NAMES)}')
    transform = None if scale is None else SHORT_NAMES[scale]
    places = {} if out is None else {what: Path(out) / name for what, name in names.items()}
    with contextlib.ExitStack() as stack:
        # Tried before the work is done; nothing stands there until all of it does.
        files = {what: stack.enter_context(new_file(place, force=force)) for what, place in places.items()}
        say("Reading the trial", None)
        simulated = isinstance(source, Record) and source.manifest.provenance.kind == "simulated"
        if trials and not simulated:
            raise UserError("--trials repeats a simulated trial; these participants are real: leave it out")
        given = from_record(source, source.protocol) if isinstance(source, Record) else source
        marked = marked_trial(given, arm=arm, endpoint=endpoint, marker=marker, units=units)
        found = measures.evaluate(
            marked,
            bootstrap=measures.BOOTSTRAP if bootstrap is None else bootstrap,
            seed=seed,
            times=landmarks,
            horizon=horizon,
            joint=joint,
            transform=transform,
            confidence=given.confidence,
            progress=lambda words, share: say(f"Evaluating: {words}", share),
        )
        known, why, many, between = None, "", None, None
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
                    participants=marked.participants, horizon=known.horizon if known is not None else None,
                    threads=threads or os.cpu_count() or 1,
                    progress=stage(say, words),
                )  # fmt: skip
                between = between_trials(many)
        truths = {} if known is None else beside(found, known)
        told = telling.told(found, {name: each.value for name, each in truths.items()})
        if many is not None and between is not None:
            told += "\n\n" + told_characteristics(many) + "\n\n" + told_between(between)
        if files:
            say("Writing the page", None)
            material = page.SurrogateMaterial(found, known, why, truths, many, between, provenance(command))
            files["page"].write_text(page.rendered(material), encoding="utf-8")
            files["table"].write_text(page.table(found, truths).write_csv(), encoding="utf-8", newline="")
            if many is not None and between is not None:
                tables = {
                    "characteristics": many.table(), "between": between.table(), "trials": between.trials()
                }  # fmt: skip
                for what, frame in tables.items():
                    files[what].write_text(frame.write_csv(), encoding="utf-8", newline="")
    return Surrogacy(found, known, why, many, between, told, places)


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
