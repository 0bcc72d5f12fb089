"""Targets of a fit: the published figures that a virtual population is held against, in a file.

A targets file names the trials, the figures (by the names of the results table), how far off counts as one
unit, which figures the fit may see and which are held out, and which rows of the population file are free.
What a protocol quotes already is not said again: `published: cd4_mean_control` takes value, unit and source
from there.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from equipoise.errors import UserError
from equipoise.protocol import load
from equipoise.protocol.forms import read_form
from equipoise.protocol.model import Name, Protocol, PublishedFigure, Reference
from equipoise.protocol.nearest import near_or_all
from equipoise.protocol.reading import Source, bundled, parse_yaml, read_limited

Positive = Annotated[float, Field(gt=0)]
SIZES_FROM = ("disposition", "randomised", "n")
"""Published figures that say how many of an arm were analysed."""
SCALED_BY_SIZE = ("n", "total")
"""Statistics that grow with the number of participants."""
SHRINK_WITH_SIZE = ("se", "log_se")
"""Statistics that fall with its square root."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)


class Prior(_Part):
    """What is known of a row from elsewhere: its centre in the units of the row, and the standard deviation
    on the scale of the fit (of the logarithm, for a row on a log scale)."""

    centre: float
    sd: Positive
    source: list[str] = []
    assumed: str | None = None
    note: str | None = None

    @model_validator(mode="after")
    def _has_a_source(self) -> Prior:
        if not self.source and self.assumed is None:
            raise ValueError("a prior names its source, or says with `assumed` why it is a guess")
        return self


class RowBlock(_Part):
    """A row of the population file that may move."""

    row: Name
    of: Literal["value", "spread"] = "value"
    """The value itself, or its standard deviation between people."""
    scale: Literal["log", "natural"]
    step: Positive
    """A move that plausibly matters, on the scale of the fit."""
    between: tuple[float, float] | None = None
    """Bounds, in the units of the row."""
    prior: Prior | None = None
    note: str | None = None


class TargetBlock(_Part):
    """One published figure."""

    trial: Name
    published: Name | None = None
    """A figure that the protocol quotes, by its key there."""
    figure: str | None = None
    """Otherwise: "analysis | group | parameter | statistic", as in the results table."""
    label: str | None = None
    value: float | None = None
    unit: str = ""
    """Of a `figure`; a `published` one has that of the protocol."""
    tolerance: Positive | None = None
    """How far off counts as one unit of the fit (of the logarithm, for a hazard ratio)."""
    se: Positive | None = None
    """Standard error of the published figure; simulated where it is left out."""
    use: Literal["fit", "held out"] = "fit"
    source: list[str] = []
    assumed: str | None = None
    note: str | None = None

    @model_validator(mode="after")
    def _one_figure(self) -> TargetBlock:
        if (self.published is None) == (self.figure is None):
            raise ValueError("a target is either `published`, a figure that the protocol quotes, or `figure`")
        if self.figure is not None and self.value is None:
            raise ValueError("a `figure` needs its `value`")
        if self.figure is not None and not self.source and self.assumed is None:
            raise ValueError("a `figure` names its source, or says with `assumed` why it is a guess")
        if self.published is not None and self.value is not None:
            raise ValueError("the protocol gives the value of a `published` figure; leave `value` out")
        if self.published is not None and self.unit:
            raise ValueError("the protocol gives the unit of a `published` figure; leave `unit` out")
        if self.use == "fit" and self.tolerance is None:
            raise ValueError("a figure that is fitted needs a `tolerance`")
        return self


class TrialBlock(_Part):
    """A trial that is simulated."""

    protocol: str
    """A bundled protocol, or a file (a path from the folder of the targets file)."""
    sizes: dict[Name, Annotated[int, Field(ge=2)]] | None = None
    """Participants analysed in each arm, where the protocol does not quote them."""


class TargetsFile(_Part):
    """The whole file."""

    equipoise_targets: Literal[1]
    name: Name
    title: str
    dials: dict[str, float | str | list[str]] = {}
    """Effect dials during the fit; the population's default preset when left out."""
    references: dict[str, Reference] = {}
    trials: dict[Name, TrialBlock] = Field(min_length=1)
    rows: list[RowBlock] = Field(min_length=1)
    what_if: list[RowBlock] = []
    """Rows that stay where they are, but whose identifiability is examined."""
    targets: list[TargetBlock] = Field(min_length=1)


@dataclass(frozen=True)
class Target:
    """One figure, resolved. `key` is "analysis|group|parameter|statistic"; `value` in the figure's unit."""

    trial: str
    key: str
    label: str
    unit: str
    value: float
    tolerance: float | None
    se: float | None
    fitted: bool
    source: str
    note: str

    @property
    def parts(self) -> tuple[str, str, str, str]:
        """Analysis, group, parameter, statistic."""
        analysis, group, parameter, statistic = self.key.split("|")
        return analysis, group, parameter, statistic

    @property
    def logarithmic(self) -> bool:
        """Whether the figure is compared by its logarithm: ratios are."""
        return "ratio" in self.parts[2] and self.parts[3] == "estimate"

    def onto(self, value: float) -> float:
        """A value of this figure on the scale of comparison; NaN where there is none."""
        if not self.logarithmic:
            return value
        return math.log(value) if value > 0 else math.nan


@dataclass(frozen=True)
class Targets:
    """A targets file with its protocols, resolved. `sizes`: participants analysed by trial and arm."""

    file: TargetsFile
    place: str
    source: Source
    protocols: Mapping[str, Protocol]
    sizes: Mapping[str, Mapping[str, int]]
    targets: tuple[Target, ...]

    @property
    def fitted(self) -> tuple[int, ...]:
        """Positions of the targets that the fit may see."""
        return tuple(k for k, target in enumerate(self.targets) if target.fitted)

    @property
    def sha256(self) -> str:
        """Hash of the file's content and of the protocols it leads to."""
        said = self.file.model_dump(mode="json")
        said["protocols"] = {name: plan.model_dump(mode="json") for name, plan in self.protocols.items()}
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()

    def where(self, number: int) -> str:
        """File, line and column of a target."""
        return f"{self.source.where(f'targets[{number}]')}: targets[{number}]"


# --- reading ------------------------------------------------------------------------------------------------


def bundled_targets() -> list[str]:
    """Names of the targets files that come with Equipoise."""
    folder = resources.files("equipoise.simulate.fitting") / "library"
    return sorted(f.name.removesuffix(".yaml") for f in folder.iterdir() if f.name.endswith(".yaml"))


def load_targets(name_or_path: str | Path) -> Targets:
    """Read a bundled targets file ("hiv_il2") or one of the user's, with the protocols that it names.

    Raises UserError at the first thing that is wrong, with its line and the nearest valid name."""
    name = str(name_or_path)
    if name in bundled_targets():
        file = resources.files("equipoise.simulate.fitting") / "library" / f"{name}.yaml"
        with resources.as_file(file) as path:
            return _resolved(path, f"{name}.yaml")
    path = Path(name)
    if not path.exists():
        raise UserError(
            f'there is no targets file "{name}": neither a bundled one ({", ".join(bundled_targets())}) nor '
            "a file"
        )
    return _resolved(path, name)


def _resolved(path: Path, place: str) -> Targets:
    file = read_form(path, TargetsFile, "targets file")
    source = parse_yaml(read_limited(path), place)
    protocols = {name: _protocol(block.protocol, path) for name, block in file.trials.items()}
    for part, rows in (("rows", file.rows), ("what_if", file.what_if)):
        for k, row in enumerate(rows):
            if row.prior is not None:
                _references(row.prior.source, file, source, (part, k, "prior", "source"))
    targets = tuple(_target(k, file, source, protocols) for k in range(len(file.targets)))
    if not any(target.fitted for target in targets):
        raise source.error("no target has `use: fit`, so there is nothing to fit", ("targets",))
    seen: dict[tuple[str, str], int] = {}
    for k, target in enumerate(targets):
        if (target.trial, target.key) in seen:
            raise source.error(
                f"the same figure as targets[{seen[target.trial, target.key]}]", ("targets", k)
            )
        seen[target.trial, target.key] = k
    sizes = {name: _sizes(name, file, source, protocols[name]) for name in file.trials}
    return Targets(file, place, source, protocols, sizes, targets)


def _protocol(name: str, targets: Path) -> Protocol:
    if name in bundled() or Path(name).is_absolute():
        return load(name)
    beside = targets.parent / name
    return load(beside if beside.exists() else name)


def _references(named: Sequence[str], file: TargetsFile, source: Source, path: tuple[str | int, ...]) -> None:
    for key in named:
        if key not in file.references:
            raise source.error(
                f"there is no reference `{key}`{near_or_all(key, list(file.references))}", path
            )


def _target(k: int, file: TargetsFile, source: Source, protocols: Mapping[str, Protocol]) -> Target:
    block, path = file.targets[k], ("targets", k)
    if block.trial not in protocols:
        raise source.error(
            f'there is no trial "{block.trial}"{near_or_all(block.trial, list(protocols))}', (*path, "trial")
        )
    if block.published is not None:
        return _quoted(block, protocols[block.trial], source, path)
    assert block.figure is not None
    assert block.value is not None
    _references(block.source, file, source, (*path, "source"))
    parts = [part.strip() for part in block.figure.split("|")]
    if len(parts) != 4 or not all(parts):
        raise source.error(
            'a figure is "analysis | group | parameter | statistic", as in the results table',
            (*path, "figure"),
        )
    return Target(
        block.trial, "|".join(parts), block.label or ", ".join(parts), block.unit, block.value,
        block.tolerance, block.se, block.use == "fit", ", ".join(block.source) or "assumed",
        block.assumed or block.note or "",
    )  # fmt: skip


def _quoted(block: TargetBlock, protocol: Protocol, source: Source, path: tuple[str | int, ...]) -> Target:
    assert block.published is not None
    if block.published not in protocol.published:
        known = list(protocol.published)
        raise source.error(
            f'{protocol.protocol} quotes no figure "{block.published}"{near_or_all(block.published, known)}',
            (*path, "published"),
        )
    figure = protocol.published[block.published]
    named = figure.source if isinstance(figure.source, str) else ", ".join(figure.source or [])
    return Target(
        block.trial, "|".join((figure.analysis, figure.group, figure.parameter, figure.statistic)),
        block.label or figure.label, figure.unit, figure.value, block.tolerance,
        block.se, block.use == "fit", named, block.note or figure.note or "",
    )  # fmt: skip


def _sizes(name: str, file: TargetsFile, source: Source, protocol: Protocol) -> dict[str, int]:
    """Participants analysed in each arm: of the file, or as the protocol quotes them."""
    given = file.trials[name].sizes or {}
    for arm in given:
        if arm not in protocol.arms:
            raise source.error(
                f'{protocol.protocol} has no arm "{arm}"{near_or_all(arm, list(protocol.arms))}',
                ("trials", name, "sizes", arm),
            )
    analysis, parameter, statistic = SIZES_FROM
    quoted = {
        figure.group: round(figure.value)
        for figure in protocol.published.values()
        if (figure.analysis, figure.parameter, figure.statistic) == (analysis, parameter, statistic)
    }
    found = {arm: given.get(arm, quoted.get(arm, 0)) for arm in protocol.arms}
    missing = [arm for arm, size in found.items() if size < 2]
    if missing:
        raise source.error(
            f"say how many participants were analysed: `sizes: {{{missing[0]}: ...}}`; {protocol.protocol} "
            "quotes no such figure",
            ("trials", name),
        )
    return found


def with_landmarks(protocol: Protocol, targets: Sequence[Target]) -> Protocol:
    """The protocol with these figures among those it quotes, so that a simulated trial looks up the visits
    that they speak of."""
    quoted: dict[str, Any] = dict(protocol.published)
    for k, target in enumerate(targets):
        analysis, group, parameter, statistic = target.parts
        quoted[f"target_{k}"] = PublishedFigure(
            label=target.label, value=target.value, analysis=analysis, group=group, parameter=parameter,
            statistic=statistic, status="derived",
        )  # fmt: skip
    return protocol.model_copy(update={"published": quoted})


def scaled(key: str, value: float, simulated: float, analysed: float) -> float:
    """A figure of a simulated group of one size as it would be in one of the published size."""
    statistic = key.rsplit("|", 1)[1]
    if simulated <= 0:
        return math.nan
    if statistic in SCALED_BY_SIZE:
        return value * analysed / simulated
    if statistic in SHRINK_WITH_SIZE:
        return value * math.sqrt(simulated / analysed)
    return value
