"""The CONSORT 2025 flow of participants: numbers that must close, and the diagram that shows them.

Layout and items: Hopewell S, Chan A-W, Collins GS, et al. CONSORT 2025 statement: updated guideline for
reporting randomised trials. BMJ 2025;389:e081123.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from equipoise.errors import UserError
from equipoise.protocol.model import Protocol
from equipoise.report import figures as f
from equipoise.report import words as w
from equipoise.report.document import Row, Table, columns, row
from equipoise.report.tables import Arms, Rows

ENDS = ("completed follow-up", "died", "lost to follow-up", "withdrew")
STILL_FOLLOWED = "in follow-up"
"""At the data cut of a trial that goes on."""


@dataclass(frozen=True)
class ArmFlow:
    """One arm of the diagram, in participants. `ends` are in the order of the flow's `ends`."""

    label: str
    allocated: int
    received: int
    not_received: int
    ends: tuple[int, ...]
    analysed: int
    excluded: int


@dataclass(frozen=True)
class Flow:
    """The whole diagram. Without a record of screening `assessed` and `not_randomised` are None."""

    assessed: int | None
    not_randomised: int | None
    reasons: tuple[tuple[str, int], ...]
    randomised: int
    arms: tuple[ArmFlow, ...]
    ends: tuple[str, ...] = ENDS
    """How follow-up ended, and `STILL_FOLLOWED` where it goes on for somebody."""

    def gaps(self) -> list[str]:
        """Every place where the numbers do not add up, in words; none when the diagram closes."""
        found = []

        def equal(what: str, whole: int, parts: Sequence[int]) -> None:
            if whole != sum(parts):
                found.append(f"{what}: {whole} is not {' + '.join(map(str, parts))}")

        if self.assessed is not None and self.not_randomised is not None:
            equal("assessed for eligibility", self.assessed, (self.not_randomised, self.randomised))
            equal("reasons for not being randomised", self.not_randomised, [n for _, n in self.reasons])
        equal("randomised", self.randomised, [a.allocated for a in self.arms])
        for arm in self.arms:
            equal(f"{arm.label}: allocated", arm.allocated, (arm.received, arm.not_received))
            equal(f"{arm.label}: follow-up", arm.allocated, arm.ends)
            equal(f"{arm.label}: analysis", arm.allocated, (arm.analysed, arm.excluded))
        return found


def flow(rows: Rows, protocol: Protocol, arms: Arms) -> Flow | None:
    """The flow of participants from the table of results; None where the table has none.

    Raises UserError when the numbers do not close: such a diagram must not be shown."""

    def n(group: str, parameter: str) -> int:
        return int(rows.value("consort", group, parameter, "n") or 0)

    if rows.value("consort", "all", "randomised", "n") is None:
        return None
    going_on = any(n(a, STILL_FOLLOWED) for a in arms.names)
    ends = (*ENDS, STILL_FOLLOWED) if going_on else ENDS
    reasons: tuple[tuple[str, int], ...] = ()
    assessed = rows.value("consort", "all", "assessed for eligibility", "n")
    if assessed is not None:
        texts = {c.id: c.text for c in protocol.eligibility.criteria}
        prefix = "not randomised: "
        named = [p.removeprefix(prefix) for p in rows.parameters("consort", "all") if p.startswith(prefix)]
        found = [(texts.get(name, name), n("all", prefix + name)) for name in named]
        reasons = tuple(sorted(((t, k) for t, k in found if k), key=lambda pair: -pair[1]))
    result = Flow(
        None if assessed is None else int(assessed),
        None if assessed is None else n("all", "not randomised"),
        reasons,
        n("all", "randomised"),
        tuple(
            ArmFlow(
                arms.label[a],
                n(a, "allocated"),
                n(a, "received allocated treatment"),
                n(a, "did not receive allocated treatment"),
                tuple(n(a, end) for end in ends),
                n(a, "analysed"),
                n(a, "excluded from analysis"),
            )
            for a in arms.names
        ),
        ends,
    )
    if gaps := result.gaps():
        raise UserError(
            "The flow of participants does not add up, so no report is written. Analyse the record again. "
            + "; ".join(gaps)
        )
    return result


def flow_table(found: Flow) -> Table:
    """The diagram as a table, with the same reasons as the diagram names."""
    body: list[Row] = []
    labels = [a.label for a in found.arms]
    blank = [w.NONE] * len(labels)
    if found.assessed is not None and found.not_randomised is not None:
        body.append(row("Assessed for eligibility", *blank, w.count(found.assessed)))
        body.append(row("Not randomised", *blank, w.count(found.not_randomised)))
        body += [row(reason, *blank, w.count(k), kind="detail") for reason, k, _ in _reasons(found, 9)]
    lines: list[tuple[str, list[int]]] = [
        ("Randomised", [a.allocated for a in found.arms]),
        ("Received the allocated treatment", [a.received for a in found.arms]),
        ("Did not receive it", [a.not_received for a in found.arms]),
    ]
    lines += [(w.capital(end), [a.ends[i] for a in found.arms]) for i, end in enumerate(found.ends)]
    lines += [
        ("Analysed", [a.analysed for a in found.arms]),
        ("Excluded from analysis", [a.excluded for a in found.arms]),
    ]
    body += [row(label, *map(w.count, numbers), w.count(sum(numbers))) for label, numbers in lines]
    return Table("table-flow", "Flow of participants", columns(["", *labels, "All"]), tuple(body))


# --- the diagram ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Box:
    """A box with its lines; a line is text, whether it is strong, and how far it is set in."""

    x: float
    y: float
    width: float
    lines: tuple[tuple[str, bool, float], ...]
    size: float

    @property
    def height(self) -> float:
        return len(self.lines) * self.size * 1.35 + self.size * 1.1

    @property
    def middle(self) -> float:
        return self.x + self.width / 2

    @property
    def bottom(self) -> float:
        return self.y + self.height

    def svg(self) -> str:
        out = [
            f'<rect x="{self.x:.1f}" y="{self.y:.1f}" rx="3" '
            f'width="{self.width:.1f}" height="{self.height:.1f}" '
            f'fill="{f.PAPER}" stroke="{f.MUTED}" stroke-width="1.2"/>'
        ]
        for i, (text, strong, indent) in enumerate(self.lines):
            y = self.y + self.size * (1.55 + 1.35 * i)
            weight = "font-weight:bold;" if strong else ""
            out.append(
                f'<text x="{self.x + self.size * 0.7 + indent:.1f}" y="{y:.1f}" fill="{f.INK}" '
                f"style=\"font-family:'DejaVu Sans';{weight}font-size:{self.size:g}px\">{escape(text)}</text>"
            )
        return "".join(out)


def _box(x: float, y: float, width: float, entries: Sequence[tuple[str, int, bool]], size: float) -> _Box:
    """Entries are words, a number and whether strong; details are set in by a little."""
    lines: list[tuple[str, bool, float]] = []
    for text, n, strong in entries:
        indent = 0.0 if strong else size * 0.7
        wrapped = f.wrap(
            f"{text} (n\u00a0=\u00a0{w.count(n)})",
            width - 1.4 * size - indent,
            size * (1.1 if strong else 1.0),
        )
        lines += [
            (line, strong, indent + (size * 0.7 if k and not strong else 0.0))
            for k, line in enumerate(wrapped)
        ]
    return _Box(x, y, width, tuple(lines), size)


def _arrow(x1: float, y1: float, x2: float, y2: float) -> str:
    tip = f"M{x2:.1f} {y2:.1f}l-4 -7h8z" if x1 == x2 else f"M{x2:.1f} {y2:.1f}l-7 -4v8z"
    return (
        f'<path d="M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}" stroke="{f.MUTED}" stroke-width="1.2" fill="none"/>'
        f'<path d="{tip}" fill="{f.MUTED}"/>'
    )


def _reasons(found: Flow, most: int) -> list[tuple[str, int, bool]]:
    """The most frequent reasons by name, the rest together, so that the list still adds up."""
    named = [
        (reason if len(reason) <= 72 else reason[:70].rstrip() + "…", k, False) for reason, k in found.reasons
    ]
    if len(named) <= most + 1:
        return named
    rest = sum(k for _, k, _ in named[most:])
    return [*named[:most], (f"{len(named) - most} further reasons, in the table below", rest, False)]


def _paint(found: Flow, sheet: f.Sheet) -> str:
    size = 10.5 if sheet.narrow else 12.0
    wide = max(sheet.width, len(found.arms) * (150.0 if sheet.narrow else 210.0))
    gap, margin = size * 2.2, 2.0
    parts: list[str] = []
    y = margin
    if found.assessed is not None and found.not_randomised is not None:
        top_width = wide * (0.9 if sheet.narrow else 0.36)
        top = _box(
            margin if sheet.narrow else margin + wide * 0.06,
            y,
            top_width,
            [("Assessed for eligibility", found.assessed, True)],
            size,
        )
        spine = margin + wide * 0.05 if sheet.narrow else top.middle
        entries = [("Not randomised", found.not_randomised, True), *_reasons(found, 6 if sheet.narrow else 9)]
        side_x = margin + wide * 0.12 if sheet.narrow else wide * 0.5
        side = _box(side_x, top.bottom + gap * 0.8, wide - margin - side_x, entries, size)
        second_y = side.bottom + gap * 0.8
        at = side.y + size * 1.3
        parts += [top.svg(), side.svg(), _arrow(spine, at, side.x, at)]
        second = _box(
            margin if sheet.narrow else margin + wide * 0.06,
            second_y,
            top_width,
            [("Randomised", found.randomised, True)],
            size,
        )
        parts.append(_arrow(spine, top.bottom, spine, second.y))
    else:
        second = _box(margin + wide * 0.06, y, wide * 0.4, [("Randomised", found.randomised, True)], size)
    parts.append(second.svg())
    columns_gap = size * (0.9 if sheet.narrow else 2.4)
    width = (wide - 2 * margin - columns_gap * (len(found.arms) - 1)) / len(found.arms)
    lefts = [margin + i * (width + columns_gap) for i in range(len(found.arms))]
    bar = second.bottom + gap * 0.6
    centres = [x + width / 2 for x in lefts]
    joint = second.middle
    parts.append(
        f'<path d="M{joint:.1f} {second.bottom:.1f}V{bar:.1f}M{min(joint, *centres):.1f} {bar:.1f}'
        f'H{max(joint, *centres):.1f}" '
        f'stroke="{f.MUTED}" stroke-width="1.2" fill="none"/>'
    )
    stages: list[list[list[tuple[str, int, bool]]]] = [
        [
            [
                (f"Allocated to {a.label}", a.allocated, True),
                ("Received it", a.received, False),
                ("Did not receive it", a.not_received, False),
            ]
            for a in found.arms
        ],
        [
            [
                (w.capital(found.ends[0]), a.ends[0], True),
                *((w.capital(end), k, False) for end, k in zip(found.ends[1:], a.ends[1:], strict=True)),
            ]
            for a in found.arms
        ],
        [[("Analysed", a.analysed, True), ("Excluded from analysis", a.excluded, False)] for a in found.arms],
    ]
    y, above = bar, [bar] * len(found.arms)
    for stage in stages:
        y = max(above) + gap
        boxes = [_box(x, y, width, entries, size) for x, entries in zip(lefts, stage, strict=True)]
        tallest = max(b.height for b in boxes)
        for box, start in zip(boxes, above, strict=True):
            parts += [_arrow(box.middle, start, box.middle, box.y), box.svg()]
        above = [b.bottom for b in boxes]
        y += tallest
    height = max(above) + margin
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{wide:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {wide:.0f} {height:.0f}">' + "".join(parts) + "</svg>"
    )


def diagram(found: Flow) -> f.Drawn:
    """The flow diagram in two widths."""
    return f.Drawn(_paint(found, f.Sheet(f.WIDE, False)), _paint(found, f.Sheet(f.NARROW, True)))


def in_words(found: Flow) -> str:
    """The diagram for those who cannot see it."""
    start = (
        f"{w.count(found.assessed)} people were assessed for eligibility, "
        f"{w.count(found.not_randomised)} were not "
        f"randomised, "
        if found.assessed is not None
        else ""
    )
    per_arm = "; ".join(
        f"{a.label}: {w.count(a.allocated)} allocated, {w.count(a.received)} received it, "
        f"{w.count(a.ends[0])} completed follow-up, {w.count(a.ends[1])} "
        f"died, {w.count(a.ends[2])} were lost, "
        f"{w.count(a.ends[3])} withdrew, "
        + "".join(f"{w.count(k)} were still followed, " for k in a.ends[4:])
        + f"{w.count(a.analysed)} analysed"
        for a in found.arms
    )
    return w.sentence(f"{start}{w.count(found.randomised)} were randomised. {per_arm}")


# --- the checklist ----------------------------------------------------------------------------------------

CHECKLIST: tuple[tuple[str, str, str, str], ...] = (
    ("1a", "Title says that it is a randomised trial", "top", "Title"),
    ("1b", "Structured summary", "minute", "In one minute"),
    ("2", "Registration", "reproduce", "Registry number, at the top and under How to reproduce this"),
    (
        "3",
        "Where protocol and analysis plan can be read",
        "protocol",
        "The protocol file is both; its hash identifies it",
    ),
    ("4", "Data sharing", "reproduce", "The record, or the command that makes it again"),
    ("5a", "Funding", "", "Not available: {funding}"),
    ("5b", "Conflicts of interest", "", "Not available: concerns the people who ran the trial"),
    ("6", "Background and rationale", "protocol", "Why the trial was done"),
    ("7", "Objectives", "protocol", "Outcomes and what is estimated (estimands)"),
    ("8", "Patient and public involvement", "", "Not available in the protocol file"),
    ("9", "Trial design", "protocol", "Design"),
    (
        "10",
        "Changes to the trial after it began",
        "",
        "Not applicable: one version of the protocol is executed",
    ),
    ("11", "Setting and places", "participants", "Countries, under Participants at randomisation"),
    ("12a", "Eligibility of participants", "protocol", "Who could take part"),
    (
        "12b",
        "Eligibility of sites and of those who give the treatment",
        "",
        "Not available in the protocol file",
    ),
    ("13", "Intervention and comparator", "protocol", "Treatment and dose rules"),
    ("14", "Outcomes, as defined beforehand", "protocol", "Outcomes"),
    ("15", "How harms were defined and assessed", "protocol", "Outcomes; Events"),
    ("16a", "Sample size", "protocol", "Design: size"),
    ("16b", "Interim analyses and stopping", "protocol", "Design: monitoring"),
    ("17a", "Who made the random sequence, and how", "protocol", "Design: randomisation"),
    ("17b", "Type of randomisation, restrictions", "protocol", "Design: randomisation"),
    ("18", "Concealment of allocation", "protocol", "Design: allocation"),
    ("19", "Who enrolled and who assigned", "", "{people}"),
    ("20a", "Who was blinded", "protocol", "Design: masking"),
    ("20b", "How blinding was achieved", "protocol", "Design: masking"),
    ("21a", "Statistical methods", "protocol", "Analysis plan"),
    ("21b", "Who is included in each analysis", "participants", "Flow of participants; everybody randomised"),
    ("21c", "Missing data", "assumed", "What is assumed"),
    ("21d", "Additional analyses", "outcomes", "Endpoints and subgroups"),
    ("22a", "Numbers in each group", "participants", "Flow of participants"),
    ("22b", "Losses and exclusions, with reasons", "participants", "Flow of participants"),
    ("23a", "Dates of recruitment and follow-up", "protocol", "Design: calendar"),
    ("23b", "Why the trial ended", "protocol", "Design: calendar"),
    ("24a", "Intervention as it was given", "treatment", "Treatment received"),
    ("24b", "Other care", "", "Not available in the record"),
    ("25", "Baseline data", "participants", "Participants at randomisation"),
    ("26", "Numbers analysed, outcomes and estimates", "outcomes", "Clinical outcomes"),
    ("27", "Harms", "safety", "Safety"),
    ("28", "Ancillary analyses", "outcomes", "Endpoints and subgroups"),
    ("29", "Interpretation", "minute", "In one minute"),
    ("30", "Limitations", "assumed", "What is assumed and what cannot be known"),
)
"""Item, topic in our words, id of the section it is found in ("" where it is in none), and where."""
