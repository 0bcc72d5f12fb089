"""Where everybody went: screening, the CONSORT flow with numbers that close, how follow-up ended."""

from __future__ import annotations

import polars as pl

from equipoise.analyse.results import Rows
from equipoise.errors import UserError
from equipoise.protocol.model import Protocol
from equipoise.protocol.quantities import DAYS_PER_YEAR
from equipoise.record import AnalysisInput, Record

ENDS = ("completed", "died", "lost to follow-up", "withdrew")
STILL_FOLLOWED = "in follow-up"
"""At the data cut of a trial that goes on; there is a row for it only where there is somebody."""
_CONSORT_WORDS = {"completed": "completed follow-up"}
_PEOPLE = {"percent": "%"}


def add_screening(rows: Rows, record: Record, protocol: Protocol) -> None:
    """Candidates, criteria failed (all of them, then by the first), eligibility unknown."""
    screened = (
        record.scan("screening")
        .select("eligible", "failed", randomised=pl.col("participant").is_not_null())
        .group_by("eligible", "failed", "randomised")
        .agg(n=pl.len())
        .collect()
    )
    if screened.is_empty():
        return
    total = int(screened["n"].sum())
    rows.add("screening", "all", "screened", "participants", n=total)
    for words, parameter in (
        ("yes", "eligible"), ("no", "not eligible"), ("unknown", "eligibility unknown"),
    ):  # fmt: skip
        n = int(screened.filter(pl.col("eligible") == words)["n"].sum())
        rows.add("screening", "all", parameter, "participants", _PEOPLE, n=n, percent=100 * n / total)
    any_failed = screened.with_columns(pl.col("failed").str.split(";")).explode("failed")
    by_criterion = dict(any_failed.group_by("failed").agg(pl.col("n").sum()).iter_rows())
    for criterion in protocol.eligibility.criteria:
        n = int(by_criterion.get(criterion.id, 0))
        if n:
            rows.add(
                "screening", "all", f"failed {criterion.id}", "participants", _PEOPLE,
                n=n, percent=100 * n / total,
            )  # fmt: skip
    out = screened.filter(~pl.col("randomised"))
    rows.add("consort", "all", "assessed for eligibility", "participants", n=total)
    rows.add("consort", "all", "not randomised", "participants", n=int(out["n"].sum()))
    first = dict(
        out.with_columns(first=pl.col("failed").str.split(";").list.first())
        .group_by("first")
        .agg(pl.col("n").sum())
        .iter_rows()
    )
    listed = 0
    for criterion in protocol.eligibility.criteria:
        n = int(first.get(criterion.id, 0))
        listed += n
        if n:
            rows.add("consort", "all", f"not randomised: {criterion.id}", "participants", n=n)
    none_failed = out.filter(pl.col("failed") == "")
    unknown = int(none_failed.filter(pl.col("eligible") == "unknown")["n"].sum())
    other = int(out["n"].sum()) - listed - unknown
    rows.add("consort", "all", "not randomised: eligibility unknown", "participants", n=unknown)
    rows.add("consort", "all", "not randomised: other reasons", "participants", n=other)
    randomised = int(screened.filter(pl.col("randomised"))["n"].sum())
    on_record = int(record.scan("participants").select(pl.len()).collect().item())
    if randomised != on_record:
        raise UserError(
            f"the flow of participants does not close: screening shows {randomised:,} randomised, "
            f"the table of participants has {on_record:,}; run `equipoise record check`"
        )


def add_flow(rows: Rows, record: Record, protocol: Protocol) -> None:
    """The CONSORT flow from allocation to analysis, and the disposition table."""
    people = record.table("participants").select("participant", "arm")
    started = record.scan("cycles").select("participant").unique().collect()["participant"].implode()
    ends = people.join(
        record.table("disposition"), on="participant", how="left", maintain_order="left"
    ).with_columns(
        pl.col("status").fill_null("lost to follow-up"),
        pl.col("day").fill_null(0),
        started=pl.col("participant").is_in(started),
    )
    how = (*ENDS, STILL_FOLLOWED) if (ends["status"] == STILL_FOLLOWED).any() else ENDS
    rows.add("consort", "all", "randomised", "participants", n=people.height)
    for arm, given in protocol.arms.items():
        own = ends.filter(pl.col("arm") == arm)
        n = own.height
        in_cycles = any(protocol.regimens[r].kind == "cycles" for r in given.regimens)
        received = int(own["started"].sum()) if in_cycles else n
        rows.add("consort", arm, "allocated", "participants", n=n)
        rows.add("consort", arm, "received allocated treatment", "participants", n=received)
        rows.add("consort", arm, "did not receive allocated treatment", "participants", n=n - received)
        for end in how:
            words = _CONSORT_WORDS.get(end, end)
            rows.add("consort", arm, words, "participants", n=int((own["status"] == end).sum()))
        rows.add("consort", arm, "analysed", "participants", n=n)
        rows.add("consort", arm, "excluded from analysis", "participants", n=0)
    visits = (
        record.scan("visits")
        .group_by("participant")
        .agg(due=pl.len(), seen=(pl.col("status") != "missed").sum())
        .collect()
    )
    ends = ends.join(visits, on="participant", how="left", maintain_order="left")
    for group in (*protocol.arms, "all"):
        own = ends if group == "all" else ends.filter(pl.col("arm") == group)
        n = own.height
        rows.add("disposition", group, "randomised", "participants", n=n)
        for end in how:
            k = int((own["status"] == end).sum())
            rows.add(
                "disposition", group, end, "participants", _PEOPLE,
                n=k, percent=100 * k / n if n else None,
            )  # fmt: skip
        years = own["day"].cast(pl.Float64) / DAYS_PER_YEAR
        rows.add(
            "disposition", group, "observation", "years", mean=_float(years.mean()),
            median=_float(years.median()), q1=years.quantile(0.25, "linear"),
            q3=years.quantile(0.75, "linear"), total=_float(years.sum()),
        )  # fmt: skip
        due, seen = int(own["due"].sum()), int(own["seen"].sum())
        rows.add(
            "disposition", group, "visits attended", "visits", _PEOPLE,
            n=seen, percent=100 * seen / due if due else None,
        )  # fmt: skip


def add_mapped_flow(rows: Rows, given: AnalysisInput) -> None:
    """What is known of the flow when there is no record: who was analysed in which arm."""
    rows.add("consort", "all", "randomised", "participants", n=given.participants.height)
    for arm in given.arms:
        n = int((given.participants["arm"] == arm).sum())
        rows.add("consort", arm, "analysed", "participants", n=n)


def check_flow(table: pl.DataFrame, arms: list[str]) -> None:
    """Raises UserError when the numbers of the CONSORT flow do not add up."""
    consort = table.filter(pl.col("analysis") == "consort")
    count = {(g, p): int(v) for g, p, v in consort.select("group", "parameter", "value").iter_rows()}

    def close(what: str, whole: int, parts: list[int]) -> None:
        if whole != sum(parts):
            raise UserError(
                f"the flow of participants does not close: {what}: {whole} is not the sum of {parts}; "
                "run `equipoise record check`"
            )

    everybody = count["all", "randomised"]
    if ("all", "assessed for eligibility") in count:
        out = count["all", "not randomised"]
        close("assessed", count["all", "assessed for eligibility"], [out, everybody])
        reasons = [n for (_, p), n in count.items() if p.startswith("not randomised: ")]
        close("reasons", out, reasons)
    if (arms[0], "allocated") not in count:
        close("arms", everybody, [count[a, "analysed"] for a in arms])
        return
    close("arms", everybody, [count[a, "allocated"] for a in arms])
    for arm in arms:
        n = count[arm, "allocated"]
        treated = "received allocated treatment"
        close(f"{arm}, treatment", n, [count[arm, treated], count[arm, f"did not receive {treated[9:]}"]])
        still = count.get((arm, STILL_FOLLOWED), 0)
        close(f"{arm}, follow-up", n, [*(count[arm, _CONSORT_WORDS.get(e, e)] for e in ENDS), still])
        close(f"{arm}, analysis", n, [count[arm, "analysed"], count[arm, "excluded from analysis"]])


def _float(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None
