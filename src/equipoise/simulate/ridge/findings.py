"""What the likelihood excludes and what it does not: intervals, regions, and everything as tables."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from equipoise.simulate.ridge.expected import DEATHS, DISEASES, PRIMARY
from equipoise.simulate.ridge.explaining import Explanation, Part
from equipoise.simulate.ridge.likelihood import DROP_FOUR, DROP_TWO, LEVELS, interval
from equipoise.simulate.ridge.surface import PSI_LAST, TAU_FIRST, TAU_LAST, TAU_USUAL, rho_limit

Floats = NDArray[np.float64]

PHI, SHARE = np.linspace(0, 1, 41), np.linspace(0, 1, 61)
"""Settings of the pictures: functional share, harm as a share of the largest that is looked at."""
TAUS = (TAU_FIRST, TAU_USUAL, TAU_LAST)


@dataclass(frozen=True)
class Range:
    """A 95% interval of one dial, the others given or at their likeliest."""

    evidence: str
    dial: str
    given: str
    low: float
    high: float
    best: float
    looked_at: tuple[float, float]

    @property
    def open_low(self) -> bool:
        """Whether the interval ends only where nothing smaller was looked at."""
        return self.low <= self.looked_at[0]

    @property
    def open_high(self) -> bool:
        return self.high >= self.looked_at[1]

    @property
    def everything(self) -> bool:
        return self.open_low and self.open_high


@dataclass(frozen=True, eq=False)
class Plane:
    """The log likelihood over functional share and harm, less its largest value anywhere in the box."""

    evidence: str
    tau: float
    psi: float
    below: Floats
    """Shape (PHI, SHARE): 0 or less."""

    @property
    def rho(self) -> Floats:
        """The harms of the picture."""
        return SHARE * rho_limit(self.tau)

    @property
    def compatible(self) -> float:
        """Share of the plane within the 95% region of two dials."""
        return float((self.below >= -DROP_TWO[LEVELS.index(0.95)]).mean())

    @property
    def compatible_four(self) -> float:
        """Share of the plane within the 95% region of all four dials."""
        return float((self.below >= -DROP_FOUR).mean())


class Findings:
    """What an explanation comes to. Everything is worked out from the surfaces, once."""

    def __init__(self, explanation: Explanation) -> None:
        self.explanation = explanation
        phi, share = np.linspace(0, 1, 21), np.linspace(0, 1, 41)
        tau = TAU_FIRST * (TAU_LAST / TAU_FIRST) ** np.linspace(0, 1, 11)
        tau[np.abs(tau - TAU_USUAL).argmin()] = TAU_USUAL
        psi = np.union1d(np.linspace(0, PSI_LAST, 7), [explanation.psi])
        self._axes = (phi, share, tau, psi)
        self._ranges: dict[str, list[Range]] = {}
        self._box = {
            which: explanation.log_likelihood(which, phi, share, tau, psi) for which in explanation.evidence
        }

    def best(self, which: str) -> float:
        """The largest log likelihood in the box."""
        return float(self._box[which].max())

    def plane(self, which: str, tau: float, psi: float) -> Plane:
        """The log likelihood over functional share and harm."""
        found = self.explanation.log_likelihood(which, PHI, SHARE, np.array([tau]), np.array([psi]))[
            :, :, 0, 0
        ]
        return Plane(which, tau, psi, found - max(self.best(which), float(found.max())))

    def ranges(self, which: str) -> list[Range]:
        """95% intervals: of the functional share without harm, of the harm if all or none of the cells
        protect, and of each dial whatever the others (profile likelihood)."""
        if which not in self._ranges:
            self._ranges[which] = self._worked_out(which)
        return self._ranges[which]

    def _worked_out(self, which: str) -> list[Range]:
        psi = self.explanation.psi
        fine = np.linspace(0, 1, 201)
        alone, one = np.array([0.0]), np.array([1.0])
        usual, mine = np.array([TAU_USUAL]), np.array([psi])
        largest = rho_limit(TAU_USUAL)

        def line(phi: Floats, share: Floats) -> Floats:
            return self.explanation.log_likelihood(which, phi, share, usual, mine).ravel()

        phi, share, tau, frailty = self._axes
        box = self._box[which]
        here = int(np.abs(tau - TAU_USUAL).argmin())
        at_130 = f"tau {TAU_USUAL:g} days"
        out = [
            self._range(which, "phi", f"no harm (rho 0), psi {psi:g}", fine, line(fine, alone)),
            self._range(which, "rho", f"phi 1, {at_130}, psi {psi:g}", fine * largest, line(one, fine)),
            self._range(which, "rho", f"phi 0, {at_130}, psi {psi:g}", fine * largest, line(alone, fine)),
            self._range(which, "phi", "whatever rho, tau and psi", phi, box.max(axis=(1, 2, 3))),
            self._range(
                which,
                "rho",
                f"{at_130}, whatever phi and psi",
                share * largest,
                box[:, :, here].max(axis=(0, 2)),
            ),
            self._range(which, "psi", "whatever phi, rho and tau", frailty, box.max(axis=(0, 1, 2))),
        ]
        for k in (0, len(tau) - 1):
            out.append(
                self._range(
                    which, "rho", f"tau {tau[k]:g} days, whatever phi and psi",
                    share * rho_limit(float(tau[k])),
                    box[:, :, k].max(axis=(0, 2)),
                )
            )  # fmt: skip
        return out

    @staticmethod
    def _range(which: str, dial: str, given: str, places: Floats, found: Floats) -> Range:
        low, high = interval(places, found)
        best = float(places[int(found.argmax())])
        return Range(which, dial, given, low, high, best, (float(places[0]), float(places[-1])))

    # --- tables ---------------------------------------------------------------------------------------------

    def tables(self) -> dict[str, pl.DataFrame]:
        """Everything as tables, by the name of their file."""
        return {
            "ridge": self.ridge(),
            "explanations": self.explanations(),
            "intervals": self.intervals(),
            "lesson": self.lesson(),
            "told_apart": self.told_apart(),
        }

    def ridge(self) -> pl.DataFrame:
        """Hazard ratios and log likelihoods over the dials: one row for each setting."""
        x = self.explanation
        phi, share = np.linspace(0, 1, 21), np.linspace(0, 1, 31)
        tau, psi = np.array(TAUS), np.array(sorted({0.0, x.psi, PSI_LAST}))
        grids = np.meshgrid(phi, share, tau, psi, indexing="ij")
        limits = np.array([rho_limit(float(t)) for t in tau])[None, None, :, None]
        columns: dict[str, Floats] = {
            "phi": grids[0], "rho": grids[1] * limits, "tau": grids[2], "psi": grids[3]
        }  # fmt: skip
        for part in x.parts:
            ratios = np.exp(part.surface.grid(phi, share, tau, psi))
            for k, name in enumerate(part.names):
                columns[f"{part.published.trial}|{name}"] = ratios[..., k]
        for which in x.evidence:
            columns[f"log likelihood|{which}"] = x.log_likelihood(which, phi, share, tau, psi)
        return pl.DataFrame({name: np.round(column.ravel(), 5) for name, column in columns.items()})

    def explanations(self) -> pl.DataFrame:
        """Expected hazard ratios at the presets and at the settings of the table, with their errors."""
        x = self.explanation
        names = [f"preset {p.name}" for p in x.presets] + ["table"] * len(x.table)
        points = [*(p.point for p in x.presets), *x.table]
        rows = []
        for k, (name, point) in enumerate(zip(names, points, strict=True)):
            for part in x.parts:
                for j, figure in enumerate(part.names):
                    rows.append(
                        (
                            name, *point, part.published.trial, figure,
                            round(math.exp(part.named.values[k, j]), 5),
                            round(float(part.named.errors[k, j]), 5),
                        )
                    )  # fmt: skip
        table = pl.DataFrame(
            rows,
            ["name", "phi", "rho", "tau", "psi", "trial", "figure", "hazard ratio", "log_se"],
            orient="row",
        )
        likelihoods = {
            f"log likelihood|{which}": np.repeat(
                np.round(x.of_named(which), 4), sum(len(part.names) for part in x.parts)
            )
            for which in x.evidence
        }
        return table.with_columns(**{name: pl.Series(values) for name, values in likelihoods.items()})

    def intervals(self) -> pl.DataFrame:
        """95% intervals of the dials from each evidence."""
        return pl.DataFrame(
            [
                {
                    "evidence": each.evidence, "dial": each.dial, "given": each.given,
                    "low": round(each.low, 4),
                    "high": round(each.high, 4), "best": round(each.best, 4), "low is an end": each.open_low,
                    "high is an end": each.open_high,
                }
                for which in self.explanation.evidence
                for each in self.ranges(which)
            ]
        )  # fmt: skip

    def lesson(self) -> pl.DataFrame:
        """Each trial under each preset: what it expects, how often it wins, what it would have needed."""
        x = self.explanation
        rows = []
        for number, part in enumerate(x.parts):
            for k, preset in enumerate(x.presets):
                each = part.simulated[preset.name]
                won, marker = each.wins(part.critical), each.marker_z >= part.critical
                needed = x.events_needed(number, preset.name)
                rows.append(
                    {
                        "trial": part.published.trial, "preset": preset.name, "trials": each.count,
                        "expected hazard ratio": _rounded(math.exp(float(part.named.of(PRIMARY)[k])), 5),
                        "participants": each.participants, "events": _rounded(each.events.mean(), 3),
                        "SD of log hazard ratio": _rounded(float(np.nanstd(each.log_hr[:, 0], ddof=1)), 5),
                        "power": _rounded(won.mean(), 5),
                        "power error": _rounded(math.sqrt(won.mean() * (1 - won.mean()) / each.count), 5),
                        "biomarker wins": _rounded(marker.mean(), 5),
                        "biomarker wins, endpoint does not": _rounded((marker & ~won).mean(), 5),
                        "events for 90% power": _rounded(needed, 1),
                        "participants for 90% power": _rounded(
                            needed / each.events.mean() * each.participants, 1
                        ),
                        **_confirmed(part, preset.name),
                    }
                )  # fmt: skip
        return pl.DataFrame(rows)

    def told_apart(self) -> pl.DataFrame:
        """Primary events that tell each two presets apart, by trial and by what is looked at."""
        x = self.explanation
        rows = []
        for number, part in enumerate(x.parts):
            known = part.simulated[x.default].endpoints
            pair = [name for name in (DISEASES, DEATHS) if name in known]
            for i, one in enumerate(x.presets):
                for two in x.presets[i + 1 :]:
                    for figures in ([PRIMARY], pair):
                        told = x.told_apart(number, one.name, two.name, figures)
                        low, high = told.interval
                        rows.append(
                            {
                                "trial": part.published.trial, "one": one.name, "other": two.name,
                                "by": " and ".join(figures), "events": _rounded(told.events, 1),
                                "low": _rounded(low, 1), "high": _rounded(high, 1), "answer": told.answer,
                            }
                        )  # fmt: skip
        return pl.DataFrame(rows)


def _confirmed(part: Part, preset: str) -> dict[str, float | None]:
    each = part.confirmed.get(preset)
    if each is None:
        return {"simulated with participants": None, "power then": None, "power then error": None}
    won = float(each.wins(part.critical).mean())
    return {
        "simulated with participants": float(each.participants),
        "power then": _rounded(won, 5),
        "power then error": _rounded(math.sqrt(won * (1 - won) / each.count), 5),
    }


def _rounded(value: float, places: int) -> float | None:
    """None where there is no number: an empty cell."""
    return round(float(value), places) if math.isfinite(value) else None
