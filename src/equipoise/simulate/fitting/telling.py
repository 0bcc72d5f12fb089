"""A fit in words and in tables, for the terminal, the page and the files."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping

import polars as pl

from equipoise.simulate.fitting.predictive import Check
from equipoise.simulate.fitting.running import PARTICIPANTS, Fit
from equipoise.simulate.fitting.targets import Target
from equipoise.simulate.fitting.uncertainty import in_words

FAR = 1.0
"""Standard errors from the file's value beyond which a row is said to have moved."""


def figures(value: float, count: int = 3) -> str:
    """A number to so many figures, whole numbers in full: 0.00536, 1.17, 550."""
    if not math.isfinite(value):
        return "–"
    if abs(value) >= 10**count:
        return f"{value:.0f}"
    return f"{float(f'{value:.{count}g}'):g}"


def named(fit: Fit, target: Target) -> str:
    """A figure within a sentence: "SILCAAT, Deaths (ART alone)"."""
    return f"{fit.bench.targets.protocols[target.trial].protocol}, {of_group(fit, target)}"


def of_group(fit: Fit, target: Target) -> str:
    """A figure with its group, by the labels of the arms: "Deaths (ART alone)"."""
    protocol, group = fit.bench.targets.protocols[target.trial], target.parts[1]
    arms = [protocol.arms[arm].label if arm in protocol.arms else arm for arm in group.split(" vs ")]
    return f"{target.label} ({' vs '.join(arms)})"


USUAL_PARTICIPANTS = PARTICIPANTS
"""Below so many participants of a simulated trial, chance moves expected figures by a good part of their
tolerances."""


def monte_carlo(fit: Fit, position: int) -> float:
    """Monte Carlo standard error of the expectation of a target, on the scale of comparison; NaN if unknown.

    After a fit, from simulated trials of the published size. Where figures were only compared: the published
    standard error, or that of a binomial count or percentage, or of a standard deviation of normal values
    (SD over the root of twice the number); each as it is in a trial of the simulated size."""
    target = fit.bench.targets.targets[position]
    sizes = fit.bench.targets.sizes[target.trial]
    ratio = sum(sizes.values()) / fit.settings.participants
    if fit.uncertainty is not None:
        whole = float(fit.uncertainty.errors[position])
        if target.se is None:
            return whole * math.sqrt(ratio / (1 + ratio))
        return math.sqrt(max(whole**2 - target.se**2, 0.0))
    return _sampling_error(target, sizes) * math.sqrt(ratio)


def _sampling_error(target: Target, sizes: Mapping[str, int]) -> float:
    """Standard error of the figure in a trial of the published size, as far as it follows from the figure."""
    if target.se is not None:
        return target.se
    _, group, _, statistic = target.parts
    number = sizes.get(group, sum(sizes.values()) if group == "all" else 0)
    if number == 0:
        return math.nan
    if statistic == "n" and 0 < target.value < number:
        return math.sqrt(target.value * (1 - target.value / number))
    if statistic == "percent" and 0 < target.value < 100:
        return math.sqrt(target.value * (100 - target.value) / number)
    if statistic == "sd":
        return target.value / math.sqrt(2 * number)
    return math.nan


def chance(fit: Fit, position: int) -> float:
    """The Monte Carlo standard error of a target in tolerances; NaN without a tolerance, or if unknown."""
    tolerance = fit.bench.targets.targets[position].tolerance
    return math.nan if tolerance is None else monte_carlo(fit, position) / tolerance


def few(fit: Fit) -> str:
    """A warning where so few participants were simulated that misses may be chance; or nothing."""
    if fit.settings.participants >= USUAL_PARTICIPANTS:
        return ""
    known = [c for c in (chance(fit, k) for k in fit.bench.targets.fitted) if math.isfinite(c)]
    text = f"{fit.settings.participants:,} participants of each trial are few: "
    if known:
        text += (
            f"chance alone moves the model's figures by up to {max(known):.1f} tolerances (standard error). "
        )
    else:
        text += "chance alone may move the model's figures by more than their tolerances. "
    return f"{text}{USUAL_PARTICIPANTS:,} are usual; four times as many halve it."


def moved(fit: Fit) -> str:
    """Whether the estimate is where the file has the rows."""
    known = fit.uncertainty
    if known is None:
        return ""
    far = [e for e in known.estimates if abs(e.moved) > FAR]
    if far:
        said = ", ".join(f"{e.free.name} ({e.moved:+.1f})" for e in far)
        return f"Rows that moved by more than one standard error from where the file has them: {said}."
    most = max(known.estimates, key=lambda e: abs(e.moved))
    return (
        "No row moved by more than one standard error from where the file has it; most did "
        f"{most.free.name} ({most.moved:+.1f})."
    )


def missed(fit: Fit) -> list[Check]:
    """Figures outside their predictive interval."""
    return [check for check in fit.checks if check.missed]


def told(fit: Fit) -> str:
    """The result for the terminal."""
    if fit.uncertainty is None:
        return "\n".join([_sums(fit), "", _comparison(fit)])
    lines = [_sums(fit), moved(fit), "", _estimates(fit), ""]
    flat = [d for d in fit.uncertainty.directions if d.flat]
    if flat:
        lines.append("Directions that the figures do not see (a plausible step moves them by less than one")
        lines.append("standard error, all together):")
        lines += [f"  {in_words(d, fit.bench.rows)} ({d.seen:.2f})" for d in flat]
    else:
        lines.append("The figures see every direction of the rows that move.")
    if fit.settings.draws:
        lines += ["", *_predictive(fit)]
    return "\n".join(lines)


def _sums(fit: Fit) -> str:
    count = len(fit.bench.targets.fitted)
    if not fit.descents:
        said = f"Sum of squares over {count} fitted figures and the priors, with the rows of the file"
        return f"{said}: {fit.start_sum:.2f}"
    starts = f", the least of {len(fit.descents)} descents" if len(fit.descents) > 1 else ""
    return (
        f"Sum of squares over {count} fitted figures and the priors: {fit.start_sum:.2f} with the "
        "rows of the "
        f"file, {fit.sum_of_squares:.2f} at the estimate{starts}."
    )


def _estimates(fit: Fit) -> str:
    assert fit.uncertainty is not None
    head = f"{'row':30} {'file':>9} {'estimate':>9}  {'95% interval':22} {'/ prior SD':>10}"
    lines = [head]
    for e in fit.uncertainty.estimates:
        interval = f"{figures(e.lower)} to {figures(e.upper)}"
        prior = "" if math.isnan(e.prior_ratio) else f"{e.prior_ratio:.2f}"
        line = f"{e.free.name:30} {figures(e.began):>9} {figures(e.value):>9}  {interval:22} {prior:>10}"
        lines.append(line.rstrip())
    return "\n".join(lines)


def _predictive(fit: Fit) -> list[str]:
    out = missed(fit)
    kinds = []
    for fitted, words in ((True, "fitted"), (False, "held out")):
        mine = [c for c in fit.checks if c.target.fitted == fitted]
        if mine:
            kinds.append(f"{sum(c.missed for c in mine)} of {len(mine)} {words}")
    lines = [f"Published figures outside their 95% predictive interval: {', '.join(kinds)}."]
    for c in out:
        lines.append(
            f"  {named(fit, c.target)}: {figures(c.target.value, 4)}, predicted {figures(c.median)} "
            f"({figures(c.lower, 4)} to {figures(c.upper, 4)})"
        )
    return lines


def _comparison(fit: Fit) -> str:
    lines = [f"{'figure':76} {'published':>9} {'model':>9} {'off':>6} {'chance':>6}  unit"]
    for k, c in enumerate(fit.checks):
        off, by_chance = ("" if math.isnan(x) else f"{x:.2f}" for x in (c.off, chance(fit, k)))
        name = named(fit, c.target)
        name = name if len(name) <= 76 else name[:75] + "…"
        numbers = f"{figures(c.target.value):>9} {figures(c.expected):>9} {off:>6} {by_chance:>6}"
        lines.append(f"{name:76} {numbers}  {c.target.unit}".rstrip())
    lines.append(
        "off: in tolerances, of the figures that are fitted; chance: standard error of it that comes"
    )
    lines.append("from simulating so many participants, where it can be told")
    lines += textwrap.wrap(few(fit), 100)
    return "\n".join(lines)


# --- tables for files ---------------------------------------------------------------------------------------


def tables(fit: Fit) -> dict[str, pl.DataFrame]:
    """The tables of a fit by the names of their files; see docs/fit.md for the columns."""
    found = {"predictive.csv": _predictive_table(fit)}
    if fit.uncertainty is None:
        return found
    found["estimates.csv"] = _estimates_table(fit)
    found["flat_directions.csv"] = _directions_table(fit)
    found["identifiability.csv"] = _compensations_table(fit)
    if fit.profiles:
        found["profiles.csv"] = _profiles_table(fit)
    return found


def _estimates_table(fit: Fit) -> pl.DataFrame:
    assert fit.uncertainty is not None
    return pl.DataFrame(
        [
            {
                "row": e.free.row, "of": "spread" if e.free.spread else "value", "symbol": e.free.symbol,
                "unit": e.free.unit, "file": e.began, "estimate": e.value, "lower": e.lower,
                "upper": e.upper, "scale": "log" if e.free.logarithmic else "natural", "se": e.se,
                "monte_carlo_se": e.monte_carlo,
                "prior_centre": None if e.free.prior is None else e.free.prior.centre,
                "prior_sd": None if e.free.prior is None else e.free.prior.sd,
                "se_over_prior_sd": None if math.isnan(e.prior_ratio) else e.prior_ratio,
                "moved_in_se": e.moved,
            }
            for e in fit.uncertainty.estimates
        ]
    )  # fmt: skip


def _predictive_table(fit: Fit) -> pl.DataFrame:
    def known(value: float) -> float | None:
        return None if math.isnan(value) else value

    return pl.DataFrame(
        [
            {
                "trial": c.target.trial, "figure": c.target.key, "label": c.target.label,
                "unit": c.target.unit, "use": "fit" if c.target.fitted else "held out",
                "published": c.target.value, "source": c.target.source, "tolerance": c.target.tolerance,
                "file": known(c.before), "estimate": known(c.expected), "off": known(c.off),
                "monte_carlo_se": known(monte_carlo(fit, k)),
                "lower": known(c.lower), "median": known(c.median), "upper": known(c.upper),
                "tail_probability": known(c.tail), "share_from_rows": known(c.from_rows), "draws": c.draws,
                "missed": c.missed,
                "note": c.target.note,
            }
            for k, c in enumerate(fit.checks)
        ],
        infer_schema_length=None,
    )  # fmt: skip


def _directions_table(fit: Fit) -> pl.DataFrame:
    assert fit.uncertainty is not None
    rows = fit.bench.rows
    out = []
    for which, all_of_them in (
        ("fitted rows", fit.uncertainty.directions),
        ("fitted and what-if rows", fit.uncertainty.with_what_if),
    ):  # fmt: skip
        for number, d in enumerate(all_of_them, 1):
            loadings = {f.name: l for f, l in zip(rows, d.loadings, strict=True)}
            out.append(
                {
                    "rows": which,
                    "direction": number,
                    "seen": d.seen,
                    "flat": d.flat,
                    "words": in_words(d, rows),
                }
                | loadings
            )
    return pl.DataFrame(out, infer_schema_length=None)


def _compensations_table(fit: Fit) -> pl.DataFrame:
    assert fit.uncertainty is not None
    return pl.DataFrame(
        [
            {
                "row": c.free.name, "fitted": c.free.moves, "step": c.free.step,
                "scale": "log" if c.free.logarithmic else "natural", "alone": c.alone, "left": c.left,
                "absorbed": c.absorbed,
                "by": "; ".join(f"{other.name} {move:+.2f} steps" for other, move in c.others),
            }
            for c in fit.uncertainty.compensations
        ]
    )  # fmt: skip


def _profiles_table(fit: Fit) -> pl.DataFrame:
    return pl.DataFrame(
        [
            {"row": p.free.name, "held_at": value, "rise": rise}
            | {f.name: other for f, other in zip(fit.bench.rows, others, strict=True) if f.moves}
            for p in fit.profiles
            for value, rise, others in zip(p.values, p.rises, p.others, strict=True)
        ],
        infer_schema_length=None,
    )
