"""Free rows of a population file: onto the scale of the fit and back, and into a new file."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from equipoise.errors import UserError
from equipoise.protocol.nearest import near_or_all
from equipoise.simulate.fitting.targets import Prior, RowBlock, Targets
from equipoise.virtual.parameters import Population, Row

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Free:
    """A row that may move: its value or its spread between people, on a log or a natural scale.

    `step`: a move that plausibly matters; `low` and `high`: bounds; all on the scale of the fit."""

    row: str
    spread: bool
    logarithmic: bool
    step: float
    low: float
    high: float
    prior: Prior | None
    symbol: str
    meaning: str
    unit: str
    moves: bool
    """False for a row that is only examined."""

    @property
    def name(self) -> str:
        """How the row is called in tables: `gain`, or `spread of gain`."""
        return f"spread of {self.row}" if self.spread else self.row

    @property
    def key(self) -> str:
        """How an option names it: `gain`, or `gain.spread`."""
        return f"{self.row}.spread" if self.spread else self.row

    @property
    def short(self) -> str:
        """The symbol: `G`, or `SD of G`."""
        return f"SD of {self.symbol}" if self.spread else self.symbol

    @property
    def centre(self) -> float:
        """Centre of the prior on the scale of the fit; NaN without one."""
        if self.prior is None:
            return math.nan
        return self.onto(self.prior.centre)

    def onto(self, value: float) -> float:
        """A value of the row on the scale of the fit."""
        return math.log(value) if self.logarithmic else value

    def back(self, x: float) -> float:
        """A point on the scale of the fit in the units of the row."""
        return math.exp(x) if self.logarithmic else x


def free_rows(targets: Targets, population: Population) -> tuple[Free, ...]:
    """The rows that the file frees, then those that it only examines.

    Raises UserError for a row that the population has not, said twice, or that cannot be on its scale."""
    found: list[Free] = []
    for part, blocks in (("rows", targets.file.rows), ("what_if", targets.file.what_if)):
        for k, block in enumerate(blocks):
            found.append(_free(block, population, targets, (part, k)))
            if [each.name for each in found].count(found[-1].name) > 1:
                raise targets.source.error(f"`{found[-1].name}` is said twice", (part, k, "row"))
    return tuple(found)


def _free(block: RowBlock, population: Population, targets: Targets, path: tuple[str | int, ...]) -> Free:
    rows: dict[str, Row] = {**population.file.parameters, **population.file.habits}
    if block.row not in rows:
        raise targets.source.error(
            f"{population.place} has no row `{block.row}`{near_or_all(block.row, list(rows))}",
            (*path, "row"),
        )
    row, spread = rows[block.row], block.of == "spread"
    if spread and row.between_people is None:
        raise targets.source.error(f"`{block.row}` does not differ between people", (*path, "of"))
    now = row.between_people.sd if spread and row.between_people is not None else row.value
    logarithmic = block.scale == "log"
    ends = block.between or ((0.0, math.inf) if logarithmic or spread else (-math.inf, math.inf))
    if not ends[0] < now < ends[1]:
        raise targets.source.error(
            f"`{block.row}` is {now:g}, which does not lie within {ends[0]:g} and {ends[1]:g}"
            + (" (a log scale is for rows above zero)" if logarithmic and now <= 0 else ""),
            (*path, "between" if block.between else "scale"),
        )
    if block.prior is not None and logarithmic and block.prior.centre <= 0:
        raise targets.source.error("must be above zero on a log scale", (*path, "prior", "centre"))
    low, high = ((math.log(e) if e > 0 else -math.inf) if logarithmic else e for e in ends)
    return Free(
        block.row, spread, logarithmic, block.step, low, high, block.prior, row.symbol, row.meaning,
        "" if spread else row.unit, path[0] == "rows",
    )  # fmt: skip


def start(population: Population, rows: Sequence[Free]) -> Vector:
    """The rows of the file on the scale of the fit."""
    return np.array([f.onto(in_file(population, f)) for f in rows], np.float64)


def in_file(population: Population, free: Free) -> float:
    """What the population has for a row, in its units."""
    return population.spread(free.row) if free.spread else population.value(free.row)


def with_rows(population: Population, x: Vector, rows: Sequence[Free]) -> Population:
    """The population with the rows at x. Where a row is where the file has it, its bits are the file's."""
    values: dict[str, float] = {}
    spreads: dict[str, float] = {}
    for f, at, was in zip(rows, x.tolist(), start(population, rows).tolist(), strict=True):
        if at != was:
            (spreads if f.spread else values)[f.row] = f.back(at)
    return population.replace(values, spreads) if values or spreads else population


def written(text: str, population: Population, rows: Sequence[Free], place: str) -> str:
    """The text of a population file with the new values of the rows, to three figures; all else as it was.

    Raises UserError where a row does not stand on a line of its own."""
    for f in rows:
        line = re.search(rf"^  {f.row}: .*$", text, re.MULTILINE)
        if line is None or "{" not in line[0]:
            raise UserError(
                f"{place}: the row `{f.row}` does not stand on one line (`{f.row}: {{...}}`), so it cannot "
                "be written anew; its estimate is in estimates.csv"
            )
        key = "sd" if f.spread else "value"
        number = f"{float(f'{in_file(population, f):.3g}'):g}"
        changed, count = re.subn(
            rf"\b{key}: *[-+]?[\d.]+(?:[eE][-+]?\d+)?", f"{key}: {number}", line[0], count=1
        )
        if count == 0:
            raise UserError(f"{place}: the row `{f.row}` has no `{key}:` on its line")
        text = text.replace(line[0], changed, 1)
    return text


def text_of(population: Population) -> str:
    """The text of the file that a population was read from. Raises UserError when it is gone."""
    path = Path(population.place)
    try:
        if path.is_file():
            return path.read_text(encoding="utf-8")
        bundled = resources.files("equipoise.virtual") / "library" / path.name
        return bundled.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"{population.place}: cannot be read again: {error.strerror}") from None
