"""The folder that a rehearsal leaves: what was done, what was compared, what disagreed; so that a sponsor can
file it as evidence of acceptance testing."""

from __future__ import annotations

import csv
import hashlib
import html
import io
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

import equipoise
from equipoise._atomic import write_parquet
from equipoise.conduct import entering
from equipoise.conduct.evidence import machine
from equipoise.conduct.rehearsal.client import Sent
from equipoise.conduct.rehearsal.clinic import Judged, Subject, action_word
from equipoise.conduct.rehearsal.judging import Check

MOST_SHOWN = 50
"""Disagreements in the summary; the files hold all (assumed)."""


@dataclass(frozen=True)
class Facts:
    """What a rehearsal was: how it was asked for, and how it went."""

    protocol: str
    protocol_sha256: str
    database: str
    seed: int
    participants: int
    candidates: int
    years: float | None
    clients: int
    workers: int
    faults: bool
    begun: datetime
    seconds_preparing: float
    seconds_living: float
    seconds_judging: float
    entries: int
    head: str


Rows = list[tuple[str, ...]]


def latencies(sent: Sequence[Sent]) -> Rows:
    """Seconds from request to answer, by what was asked: number, median, 95th percentile, longest (ms)."""
    rows: Rows = []
    by_kind: dict[str, list[float]] = {"all requests": [one.seconds for one in sent]}
    for one in sent:
        by_kind.setdefault(one.what, []).append(one.seconds)
    for kind, seconds in by_kind.items():
        ordered = sorted(seconds)
        if not ordered:
            continue
        tail = ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))]
        values = (statistics.median(ordered), tail, ordered[-1])
        rows.append((kind, f"{len(ordered):,}", *(f"{1000 * value:.0f}" for value in values)))
    return [rows[0], *sorted(rows[1:])] if rows else rows


def write(
    folder: Path, facts: Facts, checks: Sequence[Check], subjects: Sequence[Subject], sent: Sequence[Sent]
) -> None:
    """Write everything but the record, the results and the report, which lie there already."""
    write_parquet(decisions_table(subjects), folder / "decisions.parquet")
    write_parquet(requests_table(sent), folder / "requests.parquet")
    (folder / "faults.csv").write_text(_faults(subjects), encoding="utf-8")
    sections = _sections(facts, checks, subjects, sent)
    (folder / "summary.md").write_text(_markdown(facts, checks, sections), encoding="utf-8")
    (folder / "summary.html").write_text(_html(facts, checks, sections), encoding="utf-8")
    (folder / "hashes.txt").write_text(_hashes(folder), encoding="utf-8")


def decisions_table(subjects: Sequence[Subject]) -> pl.DataFrame:
    """One row for each decision: expected, proposed, whether they are the same, what became of it."""
    judged = [one for subject in subjects for one in subject.decisions]
    return pl.DataFrame(
        [
            {
                "participant": one.participant, "sequence": one.sequence, "date": one.on,
                "day": one.situation.day, "measure": one.situation.measure,
                "measured_day": one.situation.measured_day, "cycles": one.situation.cycles,
                "toxicity": one.situation.toxicity,
                **_fields("expected", one), **_fields("proposed", one), "same": one.same,
                "accepted": one.accepted, "flagged": one.flagged,
                "corrected_action": None if one.corrected is None else action_word(one.corrected),
                "corrected_dose": None if one.corrected is None else one.corrected.dose,
            }
            for one in judged
        ],
        schema={
            "participant": pl.String, "sequence": pl.Int32, "date": pl.Date, "day": pl.Int32,
            "measure": pl.Float64, "measured_day": pl.Int32, "cycles": pl.Int32, "toxicity": pl.Int32,
            **{
                f"{which}_{name}": kind
                for which in ("expected", "proposed")
                for name, kind in (("action", pl.String), ("dose", pl.Float64), ("not_before", pl.Int32),
                                   ("reason", pl.Int32), ("unknown", pl.Int32))
            },
            "same": pl.Boolean, "accepted": pl.String, "flagged": pl.Boolean,
            "corrected_action": pl.String, "corrected_dose": pl.Float64,
        },
    )  # fmt: skip


def _fields(which: str, one: Judged) -> dict[str, object]:
    decision = one.expected if which == "expected" else one.proposed
    return {
        f"{which}_action": action_word(decision),
        f"{which}_dose": decision.dose,
        f"{which}_not_before": decision.not_before,
        f"{which}_reason": decision.reason,
        f"{which}_unknown": decision.unknown,
    }


def requests_table(sent: Sequence[Sent]) -> pl.DataFrame:
    """One row for each request that was answered, in order of time."""
    return pl.DataFrame(
        {
            "simulated_time": [one.at for one in sent],
            "what": [one.what for one in sent],
            "who": [one.who for one in sent],
            "key": [one.key for one in sent],
            "status": [one.status for one in sent],
            "seconds": [one.seconds for one in sent],
            "line": [str(one.line) for one in sent],
        },
        schema_overrides={"status": pl.Int16},
    )


def _faults(subjects: Sequence[Subject]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("participant", "date", "fault", "what"))
    for subject in subjects:
        for one in subject.what_went_wrong:
            writer.writerow((one.participant, one.date, one.fault, one.what))
    return out.getvalue()


def _hashes(folder: Path) -> str:
    """SHA-256 of every file of the evidence, as `sha256sum -c` reads it; the trial's own folder, which
    lives on, is left out."""
    lines = []
    for file in sorted(folder.rglob("*")):
        name = file.relative_to(folder)
        if file.is_file() and name.parts[0] != "trial" and not name.name.startswith("."):
            lines.append(f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {name.as_posix()}")
    return "\n".join(lines) + "\n"


# --- the page ---------------------------------------------------------------------------------------------


def verdict(checks: Sequence[Check]) -> str:
    """The outcome in a sentence."""
    wrong = sum(len(check.disagreements) for check in checks)
    return "Nothing disagreed." if not wrong else f"{wrong:,} disagreements."


def _sections(
    facts: Facts, checks: Sequence[Check], subjects: Sequence[Subject], sent: Sequence[Sent]
) -> list[tuple[str, tuple[str, ...], Rows]]:
    judged = [one for subject in subjects for one in subject.decisions]
    follow_up = "as the protocol says" if facts.years is None else f"cut short after {facts.years:g} years"
    went_wrong: dict[str, int] = {}
    for subject in subjects:
        for fault in subject.what_went_wrong:
            went_wrong[fault.fault] = went_wrong.get(fault.fault, 0) + 1
    rate = len(sent) / max(facts.seconds_living, 1e-9)
    about: Rows = [
        ("protocol", f"{facts.protocol}, SHA-256 {facts.protocol_sha256}"),
        ("software", f"Equipoise {equipoise.__version__}"),
        ("begun", f"{entering.short(facts.begun)} {facts.begun:%H:%M} UTC"),
        ("seed", str(facts.seed)),
        ("database", facts.database),
        ("participants", f"{facts.participants:,} randomised of {facts.candidates:,} screened"),
        ("follow-up", follow_up),
        ("decisions compared", f"{len(judged):,}"),
        ("requests", f"{len(sent):,}, from {facts.clients} people at once"),
        ("seconds", f"{facts.seconds_living:.0f} for the trial ({rate:.0f} requests a second), "
                    f"{facts.seconds_preparing:.0f} to prepare it, "
                    f"{facts.seconds_judging:.0f} to judge it"),
        ("ledger", f"{facts.entries:,} entries, head {facts.head}"),
    ]  # fmt: skip
    compared: Rows = [
        (
            check.name,
            f"{check.looked_at:,}",
            "holds" if check.holds else f"{len(check.disagreements):,} disagree",
        )
        for check in checks
    ]
    told: Rows = [(check.name, words) for check in checks for words in check.disagreements[:MOST_SHOWN]]
    wrong: Rows = [(fault, f"{times:,}") for fault, times in sorted(went_wrong.items())]
    sections: list[tuple[str, tuple[str, ...], Rows]] = [
        ("What was rehearsed", ("", ""), about),
        ("What was checked", ("check", "looked at", "outcome"), compared),
        ("What disagreed", ("check", "what"), told),
        ("What went wrong on purpose", ("fault", "times"), wrong),
        ("Seconds to answer", ("request", "number", "median (ms)", "95th percentile (ms)", "longest (ms)"),
         latencies(sent)),
        ("Software and machine", ("", ""), [*machine()]),
    ]  # fmt: skip
    return [section for section in sections if section[2]]


def _title(facts: Facts) -> str:
    return f"Rehearsal of {facts.protocol}, {entering.full(facts.begun)}"


def _markdown(
    facts: Facts, checks: Sequence[Check], sections: Iterable[tuple[str, tuple[str, ...], Rows]]
) -> str:
    parts = [f"# {_title(facts)}", verdict(checks)]
    for title, head, rows in sections:
        lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
        lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
        parts += [f"## {title}", "\n".join(lines)]
    return "\n\n".join(parts) + "\n"


_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem;color:#1b1b1b}"
    "table{border-collapse:collapse;margin:0 0 1.5rem}th,td{border-bottom:1px solid #ccc;padding:.3rem .8rem "
    ".3rem 0;text-align:left;vertical-align:top;overflow-wrap:anywhere}h2{font-size:1.1rem;margin-top:2rem}"
)


def _html(
    facts: Facts, checks: Sequence[Check], sections: Iterable[tuple[str, tuple[str, ...], Rows]]
) -> str:
    title = html.escape(_title(facts))
    parts = [
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">',
        f"<title>{title}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{title}</h1><p>{html.escape(verdict(checks))}</p>",
    ]
    for name, head, rows in sections:
        top = "".join(f'<th scope="col">{html.escape(cell)}</th>' for cell in head)
        body = "".join(
            "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
        )
        parts.append(
            f"<h2>{html.escape(name)}</h2><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"
        )
    return "\n".join([*parts, "</body></html>"]) + "\n"


def now() -> datetime:
    """The time of the machine."""
    return datetime.now(UTC)
