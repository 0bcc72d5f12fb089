"""Whether somebody may be randomised, and why: each criterion with its value, source and date, how long each
result still counts, the strata, and everything that stands in the way."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import cached_property, lru_cache, reduce
from typing import Any

from equipoise.conduct import journal, opening
from equipoise.conduct.entering import short
from equipoise.conduct.gateway import content_hash
from equipoise.conduct.models import Allocation, Participant, Signature, Site, Trial
from equipoise.conduct.reading import forms
from equipoise.conduct.reading.history import baseline_on_record
from equipoise.protocol import criteria
from equipoise.protocol.model import Protocol
from equipoise.protocol.quantities import days
from equipoise.rules import truth
from equipoise.rules.eligibility import SCREENING_PERIOD, Assessment, assess
from equipoise.rules.values import current, stratum_levels

SIGNED_AS = "eligibility"
"""Kind of the signature under an assessment; its subject is the participant."""
CONSENT, SITE = "consent", "site"
"""Items that the record of the participant itself answers or dates."""


@dataclass(frozen=True)
class Result:
    """One item: its value, when and on which form it was measured, how long it counts. `derived` is the rule
    by which it was worked out; `valid_until` the last day on which it counts."""

    item: str
    label: str
    value: Any
    unit: str
    measured_on: date | None
    days_old: int | None
    form: Any | None
    valid_until: date | None
    days_left: int | None
    expired: bool
    derived: str


@dataclass(frozen=True)
class CriterionShown:
    """One criterion. `met` is yes, no or unknown; an exclusion that does not apply is met."""

    id: str
    text: str
    kind: str
    met: str
    words: str
    results: tuple[Result, ...]
    missing: tuple[str, ...]


@dataclass(frozen=True)
class StratumShown:
    """One stratification factor, with the level that the record gives; None when it is not known.
    `confirmed` says whether the person who randomises confirms it."""

    name: str
    label: str
    level: str | None
    levels: tuple[str, ...]
    results: tuple[Result, ...]
    confirmed: bool


@dataclass(frozen=True)
class Screening:
    """The assessment of one participant on one day. `content` is what the investigator signs; it changes
    with the record, never with the passing of days: that a result is too old stands in the way by itself."""

    participant: Participant
    on: date
    eligible: str
    criteria: tuple[CriterionShown, ...]
    results: tuple[Result, ...]
    strata: tuple[StratumShown, ...]
    last_day: date
    """Last day on which this participant can be randomised by the screening period."""
    days_left: int
    """Until the screening period ends or the first result that is needed expires; below 0 when over."""
    content: Mapping[str, Any]
    signature: Signature | None
    """The latest signature, valid or not."""
    stands_in_way: tuple[str, ...]
    values: Mapping[str, Any]
    """All values known, derived ones included."""

    @cached_property
    def content_sha256(self) -> str:
        """The hash of what is signed."""
        return content_hash(self.content)

    @property
    def signed(self) -> bool:
        """Whether the assessment as it is now is signed."""
        return self.signature is not None and self.signature.content_sha256 == self.content_sha256

    @property
    def by(self) -> date:
        """Last day on which this participant can be randomised as things stand."""
        return self.on + timedelta(days=self.days_left)

    @property
    def aged(self) -> tuple[Result, ...]:
        """Results that no longer count and have to be measured again: not what is worked out from them."""
        expired = {result.item for result in self.results if result.expired}
        worked_out = _names(opening.folder().protocol_sha256).derived_from
        return tuple(
            result for result in self.results
            if result.item in expired and not expired.intersection(worked_out.get(result.item, ()))
        )  # fmt: skip

    def ageing(self, within: timedelta) -> tuple[Result, ...]:
        """Results that count today, and will not count any more before the screening period is over, the
        last of their days being so near."""
        return tuple(
            result for result in self.results
            if result.valid_until is not None and not result.expired
            and result.valid_until < self.last_day and result.valid_until <= self.on + within
        )  # fmt: skip

    @property
    def levels(self) -> dict[str, str | None]:
        """Stratification factor -> level."""
        return {stratum.name: stratum.level for stratum in self.strata}


def screening(participant: Participant, on: date) -> Screening:
    """The assessment of a participant on a day (in the calendar of the site)."""
    return screenings([participant], lambda _: on)[0]


def screenings(participants: Sequence[Participant], on: Callable[[Participant], date]) -> list[Screening]:
    """The assessments of some participants, each on its day, with as many questions to the database for many
    as for one."""
    recorded = forms.recorded_of(participants)
    signatures = {
        one.subject: one
        for one in Signature.objects.filter(
            kind=SIGNED_AS, subject__in=[str(one.id) for one in participants]
        ).order_by("entry")
    }
    trial = Trial.objects.defer("protocol").get(id=1)
    allocated = set(
        Allocation.objects.filter(participant__in=participants).values_list("participant", flat=True)
    )
    ahead = journal.last_sequence(opening.folder()) > trial.allocated
    found = []
    for one in participants:
        assessed = _screening(one, on(one), recorded.get(one.id, []), signatures.get(str(one.id)))
        in_the_way = tuple(_in_the_way(assessed, trial, one.id in allocated, ahead))
        found.append(replace(assessed, stands_in_way=in_the_way))
    return found


def _screening(
    participant: Participant, on: date, recorded: Sequence[forms.Known], signature: Signature | None
) -> Screening:
    trial = opening.folder()
    protocol = trial.protocol
    values, ages = _known(participant, on, recorded)
    assessed = assess(protocol, values, ages, (on - participant.screened_on).days)
    usable = current(protocol.items, values, ages)
    results = _results(protocol, on, recorded, ages, usable.values, values, usable.expired)
    last_day = participant.screened_on + timedelta(days=days(protocol.eligibility.within))
    needed = _names(trial.protocol_sha256).needed
    expiring = [
        found.valid_until for name, found in results.items()
        if name in needed and found.valid_until is not None and not found.expired
    ]  # fmt: skip
    return Screening(
        participant=participant,
        on=on,
        eligible=truth.word(assessed.eligible),
        criteria=_criteria(protocol, assessed, results),
        results=tuple(results.values()),
        strata=_strata(protocol, usable.values, results),
        last_day=last_day,
        days_left=(min([last_day, *expiring]) - on).days,
        content=_content(protocol, trial.protocol_sha256, participant, on, values, ages, assessed),
        signature=signature,
        stands_in_way=(),
        values=usable.values,
    )


def known(participant: Participant, on: date) -> tuple[dict[str, Any], dict[str, int]]:
    """Values and ages for eligibility: what the forms say, and what the record of the participant knows of
    itself (the number of the site; the date of consent, once consent is confirmed on a form)."""
    return _known(participant, on, forms.recorded(participant))


def _known(
    participant: Participant, on: date, recorded: Iterable[forms.Known]
) -> tuple[dict[str, Any], dict[str, int]]:
    values, ages = forms.known_from(recorded, participant, on)
    values, ages = dict(values), dict(ages)
    items = opening.folder().protocol.items
    if SITE in items and values.get(SITE) in (None, ""):
        values[SITE], ages[SITE] = str(participant.site_id), 0
    if CONSENT in items and values.get(CONSENT) is not None:
        ages[CONSENT] = (on - participant.consent_on).days
    return values, ages


def stratum_differences(participant: Participant) -> dict[str, tuple[str | None, str | None]]:
    """Factor -> (level as randomised, level as the record gives it now), for those that differ: the record
    of the day of randomisation was corrected since."""
    if participant.randomized_on is None:
        return {}
    now = stratum_levels(opening.folder().protocol, baseline_on_record(participant))
    used = participant.strata
    return {name: (used[name], now.get(name)) for name in used if used[name] != now.get(name)}


# --- parts ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Names:
    """Which items the rules of a protocol speak of; `sources` adds those that an item is derived from."""

    by_criterion: Mapping[str, tuple[str, ...]]
    by_stratum: Mapping[str, tuple[str, ...]]
    derived_from: Mapping[str, tuple[str, ...]]
    derived_by: Mapping[str, str]

    def sources(self, names: Iterable[str]) -> set[str]:
        """These items, and those from which they are derived."""
        found = set(names)
        for name in reversed(list(self.derived_from)):
            if name in found:
                found.update(self.derived_from[name])
        return found

    @cached_property
    def needed(self) -> set[str]:
        """Items on which eligibility or a stratum depends."""
        spoken_of = [*self.by_criterion.values(), *self.by_stratum.values()]
        return self.sources(name for names in spoken_of for name in names)


@lru_cache(maxsize=8)
def _names(protocol_sha256: str) -> _Names:
    """The names of the protocol that is open, worked out once for each version."""
    protocol = opening.folder().protocol

    def names(expression: str) -> tuple[str, ...]:
        return criteria.compile(expression, protocol.items).names

    derivations = criteria.derivations(protocol.items)
    return _Names(
        {one.id: names(one.require or one.exclude or "") for one in protocol.eligibility.criteria},
        {
            name: (stratum.item,)
            if stratum.item is not None
            else tuple(part for condition in (stratum.levels or {}).values() for part in names(condition))
            for name, stratum in protocol.strata.items()
        },
        {name: expression.names for name, expression in derivations.items()},
        {name: expression.text for name, expression in derivations.items()},
    )


def _results(
    protocol: Protocol,
    on: date,
    recorded: Iterable[forms.Known],
    ages: Mapping[str, int],
    usable: Mapping[str, Any],
    values: Mapping[str, Any],
    expired: tuple[str, ...],
) -> dict[str, Result]:
    """What is known of each item that matters, in the order of the protocol."""
    spoken_of = _names(opening.folder().protocol_sha256)
    on_forms = {(one.item, one.on): one.form for one in recorded if not one.missing}
    found: dict[str, Result] = {}
    for name, item in protocol.items.items():
        if name not in spoken_of.needed:
            continue
        parts = spoken_of.derived_from.get(name, ())
        worked_out = bool(parts) and usable.get(name) is not None
        worked_out = worked_out and all(usable.get(part) is not None for part in parts)
        age = None if worked_out else ages.get(name)
        measured = None if age is None else on - timedelta(days=age)
        until = None
        if item.valid_for is not None and measured is not None:
            until = measured + timedelta(days=days(item.valid_for))
        value = usable.get(name)
        found[name] = Result(
            item=name,
            label=item.label,
            value=values.get(name) if value is None and name in expired else value,
            unit=item.unit,
            measured_on=measured,
            days_old=age,
            form=None if measured is None else on_forms.get((name, measured)),
            valid_until=until,
            days_left=None if until is None else (until - on).days,
            expired=name in expired,
            derived=spoken_of.derived_by[name] if worked_out else "",
        )
    return found


def _of(names: Iterable[str], results: Mapping[str, Result]) -> tuple[Result, ...]:
    chosen = _names(opening.folder().protocol_sha256).sources(names)
    return tuple(result for name, result in results.items() if name in chosen)


def _criteria(
    protocol: Protocol, assessed: Assessment, results: Mapping[str, Result]
) -> tuple[CriterionShown, ...]:
    """Failing first, then unknown, then met; in the order of the protocol within each."""
    written = {criterion.id: criterion for criterion in protocol.eligibility.criteria}
    shown = []
    for one in assessed.criteria:
        kind = "screening period"
        names: tuple[str, ...] = ()
        if one.id != SCREENING_PERIOD:
            criterion = written[one.id]
            kind = "inclusion" if criterion.require is not None else "exclusion"
            names = _names(opening.folder().protocol_sha256).by_criterion[one.id]
        shown.append(
            CriterionShown(
                one.id, one.text, kind, truth.word(one.met), one.words,
                _of(names, results),
                tuple(protocol.items[name].label for name in one.missing if name in protocol.items),
            )
        )  # fmt: skip
    order = {"no": 0, "unknown": 1, "yes": 2}
    return tuple(sorted(shown, key=lambda one: order[one.met]))


def _strata(
    protocol: Protocol, values: Mapping[str, Any], results: Mapping[str, Result]
) -> tuple[StratumShown, ...]:
    levels = stratum_levels(protocol, values)
    shown = []
    for name, stratum in protocol.strata.items():
        if stratum.item is not None:
            item = protocol.items[stratum.item]
            possible = ("yes", "no") if item.type == "boolean" else tuple(item.categories or ())
        else:
            possible = tuple(stratum.levels or {})
        names = _names(opening.folder().protocol_sha256).by_stratum[name]
        shown.append(
            StratumShown(
                name, stratum.label, levels[name], possible, _of(names, results),
                name in protocol.randomization.strata,
            )
        )  # fmt: skip
    return tuple(shown)


def _content(
    protocol: Protocol,
    protocol_sha256: str,
    participant: Participant,
    on: date,
    values: Mapping[str, Any],
    ages: Mapping[str, int],
    today: Assessment,
) -> dict[str, Any]:
    """What is read and signed: every value with its day, and what the criteria say of them while they count.

    How old a result is by now is no part of it. A result that is too old is not known, and what is certain
    without a value stays as it is with it, so whoever may sign reads the verdicts that stand here.
    """
    names = _names(protocol_sha256)
    fresh = dict.fromkeys(values, 0)
    read = current(protocol.items, values, fresh).values
    assessed = assess(protocol, values, fresh) if today.expired else today
    verdicts = [one for one in assessed.criteria if one.id != SCREENING_PERIOD]
    levels = stratum_levels(protocol, read)

    def measured_on(name: str) -> date | None:
        parts = names.derived_from.get(name, ())
        worked_out = bool(parts) and all(read.get(part) is not None for part in parts)
        return None if worked_out or name not in ages else on - timedelta(days=ages[name])

    return {
        "participant": participant.number,
        "protocol_sha256": protocol_sha256,
        "screened_on": participant.screened_on,
        "consent_on": participant.consent_on,
        "consent_version": participant.consent_version,
        "eligible": truth.word(reduce(truth.and_, (one.met for one in verdicts), truth.YES)),
        "criteria": {one.id: truth.word(one.met) for one in verdicts},
        "strata": {name: levels[name] for name in protocol.strata},
        "values": {
            name: [read[name], measured_on(name)]
            for name in protocol.items
            if name in names.needed and read.get(name) is not None
        },
    }


def site_closed(site: Site, on: date, protocol_sha256: str) -> str:
    """Why nobody may be screened or randomised at a site on a day; empty when they may."""
    if site.opened_on is None or site.opened_on > on:
        return f"site {site.number} is not open yet"
    if site.closed_on is not None and site.closed_on <= on:
        return f"site {site.number} is closed since {short(site.closed_on)}"
    if site.protocol_sha256 != protocol_sha256:
        return f"site {site.number} is not open for the version of the protocol that is in force"
    return ""


def _in_the_way(found: Screening, trial: Trial, allocated: bool, journal_ahead: bool) -> list[str]:
    """Everything that must be settled before this participant can be randomised, in words."""
    participant = found.participant
    words: list[str] = []
    if allocated:
        words.append("already randomised")
    elif participant.status == Participant.FAILED:
        words.append("recorded as a screen failure")
    if trial.frozen:
        words.append(f"the data are frozen: {trial.frozen}")
    if trial.suspended:
        words.append(f"randomisation is suspended: {trial.suspended}")
    elif journal_ahead:
        words.append(
            "the journal beside the database knows of allocations that the database does not have: it was "
            "replaced by an older copy; reconcile them first"
        )
    if trial.allocated >= trial.places:
        words.append(f"no places are left: all {trial.places} are taken")
    closed = site_closed(participant.site, found.on, trial.protocol_sha256)
    words.extend([closed] if closed else [])
    if participant.consent_on > found.on:
        words.append("consent is dated in the future")
    if found.aged:
        labels = ", ".join(result.label for result in found.aged)
        words.append(f"too old or undated, to be measured again: {labels}")
    for met, said in (("no", "not met"), ("unknown", "not known")):
        ids = [one.id for one in found.criteria if one.met == met]
        if ids:
            words.append(f"eligibility: {said}: {', '.join(ids)}")
    unknown = [stratum.label for stratum in found.strata if stratum.confirmed and stratum.level is None]
    if unknown:
        words.append(f"stratum not known: {', '.join(unknown)}")
    if found.signature is None:
        words.append("no investigator has signed the eligibility")
    elif not found.signed:
        words.append(
            f"the signature of {found.signature.printed_name} lapsed: what was signed has changed since"
        )
    return words
