"""Writes the tables of docs/surrogate-real-data.md from the data of the two trials.

    python docs/render_surrogate_real_data.py            # write them
    python docs/render_surrogate_real_data.py --check    # status 1 if the page is not up to date, 2: no data

The data are not part of the repository: they are looked for in `shared/data` beside it, or where
EQUIPOISE_SHARED_DATA says. A test keeps the page up to date where they are.
"""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl

from equipoise.analyse import Cox, cox
from equipoise.analyse.joint import Estimate, JointModel, joint_model
from equipoise.analyse.surrogate import (
    MarkedTrial,
    Measure,
    TimeVarying,
    marked_trial,
    prentice,
    time_varying,
)
from equipoise.errors import UserError
from equipoise.record import AnalysisInput
from equipoise.record.mapping import analysis_input

FOLDER = Path(__file__).resolve().parent
PAGE = FOLDER / "surrogate-real-data.md"
WEEK_20 = 20 * 7 / 365.25
"""Years: where the mean CD4 count of ACTG 175 may change its slope."""
MONTH_2 = 2 / 12
"""Years: the first visit of CPCRA 002 after randomisation."""

HAMMER = {"zdv_ddi": "0.50 (0.39 to 0.63)", "zdv_ddc": "0.54 (0.43 to 0.68)", "ddi": "0.61 (0.49 to 0.76)"}
"""Hammer et al., N Engl J Med 1996;335:1081-90."""


def data_folder() -> Path:
    """Where the data of real trials are."""
    chosen = os.environ.get("EQUIPOISE_SHARED_DATA")
    return Path(chosen) if chosen else FOLDER.parents[1] / "shared" / "data"


@dataclass(frozen=True)
class Cpcra002:
    """Death on didanosine or zalcitabine, compared in every way of the page."""

    as_published: JointModel
    by_deaths: JointModel
    bent: JointModel
    moved: Measure
    crude: Cox
    adjusted: Cox
    latest: TimeVarying
    latest_and_aids: TimeVarying


@dataclass(frozen=True)
class Actg175:
    """One arm of ACTG 175 against zidovudine."""

    label: str
    crude: Cox
    latest: TimeVarying
    joint: JointModel


def cuts_of_jm(trial: MarkedTrial) -> tuple[float, ...]:
    """Cuts of the baseline hazard as the published fit has them: sevenths of the follow-up times."""
    return tuple(np.quantile(trial.time, np.arange(1, 7) / 7) + 1e-6 / 12)


def cpcra_002(folder: Path) -> Cpcra002:
    """Fit all models of the first trial. About two seconds."""
    given = analysis_input(FOLDER / "examples" / "ddi_ddc.yaml", folder / "aids-ddi-ddc" / "aids_id.csv")
    published = marked_trial(replace(given, reference_arm="ddc"))  # didanosine against zalcitabine
    trial = marked_trial(given)  # zalcitabine against didanosine, as the report of the trial has it
    aids = _yes(given, "aids")
    arm, entry = trial.treated.astype(float), np.sqrt(trial.baseline())
    return Cpcra002(
        joint_model(published, cuts=cuts_of_jm(published)),
        joint_model(published),
        joint_model(published, bends=(MONTH_2,)),
        prentice(published, transform="square root").treatment_on_marker,
        cox(trial.time, trial.event, arm),
        cox(trial.time, trial.event, np.column_stack([arm, entry, aids])),
        time_varying(trial, transform="square root"),
        time_varying(
            trial, terms=("arm", "marker", "aids"), covariates={"aids": aids}, transform="square root"
        ),
    )


def actg_175(folder: Path) -> dict[str, Actg175]:
    """Fit all models of the second trial, arm by arm. About five seconds."""
    given = analysis_input(FOLDER / "examples" / "actg175.yaml", folder / "actg175" / "actg175.csv")
    return {name: _against_zidovudine(given, name) for name in HAMMER}


def _against_zidovudine(given: AnalysisInput, arm: str) -> Actg175:
    trial = marked_trial(given, arm=arm)
    return Actg175(
        given.arms[arm],
        cox(trial.time, trial.event, trial.treated.astype(float)),
        time_varying(trial, transform="square root"),
        joint_model(trial, bends=(WEEK_20,)),
    )


def difference_at_20_weeks(folder: Path) -> tuple[float, float]:
    """Mean CD4 count at 20 weeks, the three other arms less zidovudine alone, with its standard error."""
    given = analysis_input(FOLDER / "examples" / "actg175.yaml", folder / "actg175" / "actg175.csv")
    values = given.measures[0].values.filter(pl.col("day") == 140).join(given.participants, on="participant")
    control = values["arm"] == given.reference_arm
    one, other = values.filter(~control)["value"].to_numpy(), values.filter(control)["value"].to_numpy()
    se = np.sqrt(one.var(ddof=1) / len(one) + other.var(ddof=1) / len(other))
    return float(one.mean() - other.mean()), float(se)


def _yes(given: AnalysisInput, item: str) -> np.ndarray:
    assert given.baseline is not None
    rows = given.baseline.filter(pl.col("item") == item).sort("participant")
    return (rows["text"] == "yes").to_numpy().astype(float)


# --- tables ------------------------------------------------------------------------------------------------


def joint_table(found: Cpcra002) -> str:
    """The joint model of didanosine against zalcitabine, beside the published fit."""
    fits = (found.as_published, found.by_deaths)

    def row(label: str, published: str, *here: str) -> tuple[str, ...]:
        return (label, published, *here)

    def estimates(label: str, published: str, of: str | None, per: float = 1.0) -> tuple[str, ...]:
        here = [(f.fixed[of] if of else f.association) for f in fits]
        return row(label, published, *(_with_se(e, per) for e in here))

    events = found.as_published.events
    alone = [f.apart.log_hazard_arm for f in fits]
    rows = [
        row(
            "log hazard ratio of didanosine at the same CD4", "0.3348 (0.1565)",
            *(_with_se(f.log_hazard_arm) for f in fits),
        ),
        estimates("log hazard ratio of one unit of √CD4", "−0.2875 (0.0359)", None),
        estimates("√CD4 at randomisation", "", "at randomisation"),
        estimates("slope per month on zalcitabine", "−0.1917", "slope per year", 12),
        estimates("difference of slope on didanosine", "0.0116", "difference of slope per year", 12),
        row("SD of participants' levels", "", *(f"{f.random_sd[0]:.2f}" for f in fits)),
        row("SD of participants' slopes, per month", "", *(f"{f.random_sd[1] / 12:.3f}" for f in fits)),
        row("correlation of level and slope", "", *(_signed(f.random_correlation, 2) for f in fits)),
        row("residual SD", "", *(f"{f.residual_sd:.3f}" for f in fits)),
        row(
            "log likelihood, times in months", "",
            *(_signed(f.log_likelihood - events * np.log(12), 2) for f in fits),
        ),
        row("log hazard ratio of didanosine, CD4 left out", "", *(_with_se(h) for h in alone)),
    ]  # fmt: skip
    return _table(("", "published", "here, cuts as published", "here, cuts at the deaths"), rows)


def bend_table(found: Cpcra002) -> str:
    """What didanosine did to CD4, and the joint model whose means may bend at the first visit."""
    bent, straight = found.bent, found.by_deaths
    gap, change = (
        f"difference of {what}" for what in ("slope per year", f"change of slope at {MONTH_2:.3g} years")
    )
    likelihoods = (_signed(f.log_likelihood - f.events * np.log(12), 2) for f in (straight, bent))
    rows = [
        ("mean of the counts after randomisation, given that at randomisation",
         f"{found.moved.estimate:.2f} ({found.moved.se:.2f})", ""),
        ("slope per month until month 2", "", _with_se(bent.fixed[gap], 12, 3)),
        ("change of that slope at month 2", "", _with_se(bent.fixed[change], 12, 3)),
        ("slope per month, one line", _with_se(straight.fixed[gap], 12, 3), ""),
        ("log hazard ratio at the same CD4", *(_with_se(f.log_hazard_arm) for f in (straight, bent))),
        ("log likelihood, times in months", *likelihoods),
    ]  # fmt: skip
    return _table(("√CD4, didanosine less zalcitabine", "without a bend", "bend at 2 months"), rows)


def deaths_table(found: Cpcra002) -> str:
    """Death on zalcitabine against didanosine, in five ways."""
    low, high = found.as_published.log_hazard_arm, found.as_published.association
    z = low.interval()
    arms = ("crude", "adjusted for √CD4 and AIDS at entry", "given the latest √CD4")
    rows = [
        (arms[0], _ratio(found.crude.hazard_ratio()), "", "0.78 (P = 0.09)"),
        (arms[1], _ratio(found.adjusted.hazard_ratio()), _ratio(found.adjusted.hazard_ratio(1)),
         "0.63 (P = 0.003), adjusted for the Karnofsky score too"),
        (arms[2], *_latest(found.latest), ""),
        ("given the latest √CD4 and AIDS at entry", *_latest(found.latest_and_aids), ""),
        ("given the true current √CD4 (joint model)",
         _ratio(tuple(np.exp([-low.value, -z[1], -z[0]]))), _ratio(high.ratio()), "0.72, from 0.3348"),
    ]  # fmt: skip
    heads = ("", "zalcitabine against didanosine", "one unit of √CD4", "published")
    return _table(heads, rows)


def actg_table(found: dict[str, Actg175]) -> str:
    """The arms of ACTG 175 against zidovudine, without and with the CD4 count."""
    rows = [
        (a.label, HAMMER[name], _ratio(a.crude.hazard_ratio()), _latest(a.latest)[0],
         _ratio(a.joint.log_hazard_arm.ratio()))
        for name, a in found.items()
    ]  # fmt: skip
    heads = (
        "against zidovudine", "published, 2,467", "here, 2,139", "given the latest √CD4",
        "given the true current √CD4",
    )  # fmt: skip
    return _table(heads, rows)


def actg_marker_table(found: dict[str, Actg175]) -> str:
    """What the joint models of ACTG 175 say of CD4."""
    rows = [
        (
            a.label, _latest(a.latest)[1], _ratio(a.joint.association.ratio()),
            _with_se(a.joint.fixed["difference of slope per year"], 1, 2),
            _with_se(a.joint.fixed["difference of change of slope at 0.383 years"], 1, 2),
        )
        for a in found.values()
    ]  # fmt: skip
    heads = (
        "", "one unit of √CD4, latest value", "one unit of √CD4, joint model",
        "difference of slope per year until week 20", "change of that difference at week 20",
    )  # fmt: skip
    return _table(heads, rows)


def difference_table(folder: Path) -> str:
    """CD4 at 20 weeks, against zidovudine alone."""
    value, se = difference_at_20_weeks(folder)
    row = ("other arms less zidovudine, cells/mm³", "46.81 (SE 6.76)", f"{value:.2f} (SE {se:.2f})")
    return _table(("mean CD4 count at 20 weeks", "published, 2,139", "here"), [row])


def _latest(found: TimeVarying) -> tuple[str, str]:
    arm, marker = found.of("arm"), found.of("marker")
    return _ratio((arm.estimate, arm.low, arm.high)), _ratio((marker.estimate, marker.low, marker.high))


def _ratio(numbers: tuple[float, ...]) -> str:
    estimate, low, high = numbers
    return f"{estimate:.2f} ({low:.2f} to {high:.2f})"


def _with_se(estimate: Estimate, per: float = 1.0, digits: int = 4) -> str:
    return f"{_signed(estimate.value / per, digits)} ({estimate.se / per:.{digits}f})"


def _signed(value: float, digits: int) -> str:
    return f"{value:.{digits}f}".replace("-", "−")


def _table(heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [heads, ("---",) * len(heads), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def rendered(text: str, first: Cpcra002, second: dict[str, Actg175], folder: Path) -> str:
    """The page with every block between `<!-- table: X -->` and `<!-- end -->` written anew."""
    blocks = {
        "joint": joint_table(first),
        "bend": bend_table(first),
        "deaths": deaths_table(first),
        "arms": actg_table(second),
        "marker": actg_marker_table(second),
        "difference": difference_table(folder),
    }

    def block(match: re.Match[str]) -> str:
        return f"<!-- table: {match[1]} -->\n\n{blocks[match[1]]}\n\n<!-- end -->"

    return re.sub(r"<!-- table: ([a-z ]+) -->.*?<!-- end -->", block, text, flags=re.DOTALL)


def main(arguments: list[str]) -> int:
    """See the top of this file."""
    folder = data_folder()
    text = PAGE.read_text(encoding="utf-8")
    try:
        new = rendered(text, cpcra_002(folder), actg_175(folder), folder)
    except UserError as problem:
        print(problem)
        return 2
    if "--check" in arguments:
        if new != text:
            print(f"{PAGE.name} is not up to date: run python docs/{Path(__file__).name}")
        return int(new != text)
    PAGE.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
