"""Entering data: saving a form, a form that was not done, its signature, the comparison with the source, and
the antiretroviral drugs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from equipoise.conduct import checks, due, entering, opening
from equipoise.conduct.commands import queries
from equipoise.conduct.gateway import Act, Conflict, NotFound, Refused, as_text, command
from equipoise.conduct.inputs import Answer, FormNotDone, SaveForm, SaveMedication, SignForm, VerifyItem
from equipoise.conduct.models import Entry, Form, Medication, Participant, Signature, Value
from equipoise.conduct.reading import ending
from equipoise.conduct.reading import forms as reading
from equipoise.conduct.reading.forms import FormPlan

REASONS = ("transcription error", "new information", "source corrected", "query answer")
"""Offered first where a change needs its reason; any other is written out."""


class FormChanged(Conflict):
    """Somebody else saved the form since it was opened; `changes` says what."""

    def __init__(self, words: str, changes: tuple[Mapping[str, str], ...]) -> None:
        super().__init__(words, "version")
        self.changes = changes


@dataclass
class _Saving:
    """One form being saved."""

    act: Act
    participant: Participant
    form: Form
    plan: FormPlan
    reason: str

    def where(self) -> dict[str, Any]:
        """What every entry of the ledger says of the place."""
        return {
            "participant": self.participant.number,
            "place": self.plan.title[:120],
            "reason": self.reason,
        }

    @property
    def values_reveal_arm(self) -> bool:
        """What is measured after randomisation tells the arm to those who do not see it."""
        return self.plan.kind != reading.SCREENING


# --- saving -----------------------------------------------------------------------------------------------


@command("form.save", SaveForm)
def save_form(act: Act, given: SaveForm) -> dict[str, Any]:
    """Save what was entered on a form, whole or in part."""
    participant = act.allow_at(given.participant)
    saving = _open(act, participant, given.kind, given.key, given.version, given.reason)
    form, plan = saving.form, saving.plan
    _check_day(saving, given.done_on)
    entered = _read(saving, given.answers)
    signatures = valid_signatures(form, participant)
    changed_state = _save_head(saving, given.done_on)
    changed = _store(saving, entered)
    if form.completed_at is not None and (changed or changed_state) and not given.reason.strip():
        raise Refused(
            f"this form was completed before: say why it is changed ({', '.join(REASONS)}, or in your words)",
            "reason",
        )
    blank = _blank(form, plan)
    if given.complete and blank and not plan.required:
        raise Refused("nothing is entered on this form")
    if given.complete and blank:
        protocol = opening.folder().protocol
        labels = ", ".join(reading.item_of(protocol, name).label for name in blank)
        raise Refused(f"not complete: answer, or say why there is no answer: {labels}", blank[0])
    _set_status(saving, Form.INCOMPLETE if blank or not _finished(form, given.complete) else Form.COMPLETE)
    act.change(form, "form", {"version": form.version + 1}, **saving.where())
    lapse(saving.act, saving.form, saving.participant, signatures, **saving.where())
    warnings = queries.follow(
        act,
        participant,
        form,
        plan,
        given.confirmed,
        given.confirmation,
        raise_new=form.completed_at is not None,
    )
    settle(act, participant)
    return {
        "form": str(form.id),
        "version": form.version,
        "status": form.status,
        "blank": list(blank),
        "warnings": [
            {"rule": one.key, "item": one.item, "level": one.level, "words": one.words} for one in warnings
        ],
    }


def settle(act: Act, participant: Participant) -> None:
    """What follows every change of a participant's record: strata and decisions that rested on what was
    changed are looked at again, and what is due is worked out anew."""
    past = None
    if participant.randomized_on is not None:
        from equipoise.conduct.commands import randomization, treatment

        past = treatment.after_change(act, participant)
        randomization.after_change(act, participant)
    due.refresh(participant, act.today(), past)


def _open(act: Act, participant: Participant, kind: str, key: str, version: int, reason: str) -> _Saving:
    """The form, as it stands or new, if it is still as the person saw it."""
    plan = reading.plan(opening.folder().protocol, participant, kind, key)
    form = Form.objects.filter(participant=participant, kind=kind, key=key).first()
    if form is None:
        if version:
            raise Conflict("there is no such form any more: load the page again", "version")
        return _Saving(act, participant, Form(participant=participant, kind=kind, key=key), plan, reason)
    if form.version != version:
        raise _changed_since(form, version)
    return _Saving(act, participant, form, plan, reason)


def _changed_since(form: Form, version: int) -> FormChanged:
    """What was saved since the version that the person saw."""
    seen = (
        Entry.objects.filter(subject=str(form.id), kind="form", field="version", new=str(version))
        .order_by("-n")
        .first()
    )
    since = Entry.objects.filter(subject=str(form.id), kind="value", n__gt=seen.n if seen else 0).order_by(
        "n"
    )
    protocol = opening.folder().protocol
    changes = tuple(
        {
            "item": entry.field,
            "label": reading.item_of(protocol, entry.field).label,
            "old": reading.in_words(entry.old),
            "new": reading.in_words(entry.new),
            "person": entry.person,
            "at": as_text(entry.at) or "",
        }
        for entry in since
    )
    told = "; ".join(
        f"{one['label']} from {one['old']} to {one['new']} by {one['person']}" for one in changes
    )
    words = f"this form was saved by somebody else after you opened it: {told or 'no value was changed'}"
    return FormChanged(words, changes)


def _check_day(saving: _Saving, done_on: date) -> None:
    """Refuse a day on which this cannot have been done."""
    found = checks.blocked(reading.form_day(saving.participant, saving.plan, done_on, saving.act.today()))
    if found is not None:
        raise Refused(found.words, "done_on")


def _read(saving: _Saving, answers: Iterable[Answer]) -> dict[str, tuple[entering.Entered, date | None]]:
    """The answers as they are stored; refused is what the form does not ask or what cannot be read."""
    protocol, participant = opening.folder().protocol, saving.participant
    read: dict[str, tuple[entering.Entered, date | None]] = {}
    for answer in answers:
        if answer.item not in saving.plan.asked:
            raise Refused(f'this form does not ask "{answer.item}"', answer.item)
        if answer.row or answer.item in read:
            raise Refused("there is one answer to each item of this form", answer.item)
        item = reading.item_of(protocol, answer.item)
        try:
            entered = entering.read(item, answer.text, answer.unit, answer.missing)
        except entering.EntryError as error:
            raise Refused(f"{item.label}: {error}", answer.item) from None
        if answer.measured_on is not None and answer.measured_on > saving.act.today():
            raise Refused(
                f"{item.label}: {entering.said(answer.measured_on)} lies in the future", answer.item
            )
        if answer.measured_on is not None and (late := ending.too_late(participant, answer.measured_on)):
            raise Refused(f"{item.label}: {late}", answer.item)
        read[answer.item] = (entered, None if entered.is_blank else answer.measured_on)
    return read


def _save_head(saving: _Saving, done_on: date) -> bool:
    """Make the form, or set its day; True when a form that stood was changed."""
    form = saving.form
    if form.version == 0 and form._state.adding:
        form.done_on = done_on
        saving.act.create(
            form,
            "form",
            reveals_arm=saving.plan.reveals_arm,
            **saving.where(),
        )
        return False
    undone = form.status == Form.NOT_DONE
    changes: dict[str, Any] = {"done_on": done_on}
    if undone:
        changes |= {"status": Form.INCOMPLETE, "not_done_reason": ""}
    return saving.act.change(form, "form", changes, reveals_arm=saving.plan.reveals_arm, **saving.where())


def _store(saving: _Saving, entered: Mapping[str, tuple[entering.Entered, date | None]]) -> bool:
    """Store the answers; False when all of them are what stood there."""
    form = saving.form
    standing = {value.item: value for value in Value.objects.filter(form=form, item__in=entered, row=0)}
    added: list[Value] = []
    changed = False
    for name, (answer, on) in entered.items():
        value = standing.get(name)
        old = None if value is None else reading.answer_parts(value)
        if answer.is_blank:
            if value is None:
                continue
            value.delete()
            new = None
        else:
            stored = value or Value(form=form, item=name)
            stored.text, stored.unit, stored.qualifier = answer.text, answer.unit, answer.qualifier
            stored.number, stored.missing, stored.measured_on = answer.number, answer.missing, on
            new = reading.answer_parts(stored)
            if new == old:
                continue
            stored.verified_by = ""
            if value is None:
                added.append(stored)
            else:
                stored.save()
        _note(saving, name, old, new)
        changed = True
    Value.objects.bulk_create(added)
    return changed


def _note(saving: _Saving, name: str, old: Mapping[str, str] | None, new: Mapping[str, str] | None) -> None:
    saving.act.record(
        "value",
        saving.form.id,
        field=name,
        old=as_text(old),
        new=as_text(new),
        reveals_arm=saving.values_reveal_arm,
        **saving.where(),
    )


def _blank(form: Form, plan: FormPlan) -> tuple[str, ...]:
    """What must be answered and is not; of a form on which nothing must be, everything while it is empty."""
    answered = set(form.values.values_list("item", flat=True))
    if not plan.required:
        return () if answered else plan.asked
    return tuple(name for name in plan.required if name not in answered)


def _finished(form: Form, complete: bool) -> bool:
    """Whether the form is complete: it is said so now, or was before."""
    return complete or form.status == Form.COMPLETE


def _set_status(saving: _Saving, status: str) -> None:
    changes: dict[str, Any] = {"status": status}
    if status == Form.COMPLETE and saving.form.completed_at is None:
        changes["completed_at"] = saving.act.at
    saving.act.change(saving.form, "form", changes, reveals_arm=saving.plan.reveals_arm, **saving.where())


# --- not done ---------------------------------------------------------------------------------------------


@command("form.not_done", FormNotDone)
def form_not_done(act: Act, given: FormNotDone) -> dict[str, Any]:
    """Say that a whole form was not done, and why; answers that stood on it are struck."""
    participant = act.allow_at(given.participant)
    saving = _open(act, participant, given.kind, given.key, given.version, given.reason)
    form = saving.form
    signatures = valid_signatures(form, participant)
    if form._state.adding:
        act.create(
            form,
            "form",
            reveals_arm=saving.plan.reveals_arm,
            **saving.where(),
        )
    for value in list(form.values.all()):
        old = reading.answer_parts(value)
        value.delete()
        _note(saving, value.item, old, None)
    act.change(
        form,
        "form",
        {
            "status": Form.NOT_DONE,
            "not_done_reason": given.reason,
            "done_on": None,
            "version": form.version + 1,
            "completed_at": form.completed_at or act.at,
        },
        reveals_arm=saving.plan.reveals_arm,
        **saving.where(),
    )
    lapse(saving.act, saving.form, saving.participant, signatures, **saving.where())
    queries.follow(act, participant, form, saving.plan, (), "", raise_new=False)
    settle(act, participant)
    return {"form": str(form.id), "version": form.version, "status": form.status}


# --- signing ----------------------------------------------------------------------------------------------


def _found(act: Act, form_id: Any) -> tuple[Form, Participant]:
    form = Form.objects.select_related("participant__site").filter(id=form_id).first()
    if form is None:
        raise NotFound("there is nothing of that name for you")
    act.allow(form.participant.site)
    return form, form.participant


@command("form.sign", SignForm)
def sign_form(act: Act, given: SignForm) -> dict[str, Any]:
    """Sign a form as it was shown."""
    form, participant = _found(act, given.form)
    plan = reading.plan(opening.folder().protocol, participant, form.kind, form.key)
    if form.status not in (Form.COMPLETE, Form.NOT_DONE):
        raise Refused("a form is signed once everything that it asks is answered")
    said = reading.content(form, participant.number)
    if reading.content_sha256(form, participant.number) != given.content_sha256:
        raise Conflict("the form has changed since it was shown to you: look at it again", "content_sha256")
    if form.signed:
        raise Conflict("this form is signed already, as it stands")
    meaning = f"I have reviewed this form and what it says is right: {plan.title}"[:200]
    key = act.sign("form", form.id, said, meaning, participant.number)
    act.change(form, "form", {"signed": True}, participant=participant.number, place=plan.title[:120])
    return {"signature": str(key), "form": str(form.id)}


def valid_signatures(form: Form, participant: Participant) -> list[Signature]:
    """The signatures that hold for the form as it stands, before it is changed."""
    if form._state.adding or not form.signed:
        return []
    digest = reading.content_sha256(form, participant.number)
    return list(
        Signature.objects.filter(kind="form", subject=str(form.id), content_sha256=digest).order_by("at")
    )


def lapse(
    act: Act, form: Form, participant: Participant, signatures: Iterable[Signature], /, **where: Any
) -> None:
    """Note that signatures no longer hold, if the content is no longer what was signed. `where`: of the
    entries."""
    digest = reading.content_sha256(form, participant.number)
    lapsed = [one for one in signatures if one.content_sha256 != digest]
    for one in lapsed:
        act.record(
            "signature", one.id, field="state", old="valid",
            new=f"lapsed: what {one.printed_name} signed has changed", **where,
        )  # fmt: skip
    if lapsed:
        act.change(form, "form", {"signed": False}, **where)


# --- comparison with the source ---------------------------------------------------------------------------


@command("item.verify", VerifyItem)
def verify_item(act: Act, given: VerifyItem) -> dict[str, Any]:
    """Mark an item as compared with its source, or take that back."""
    form, participant = _found(act, given.form)
    value = Value.objects.filter(form=form, item=given.item, row=given.row).first()
    if value is None:
        raise NotFound("there is no answer to compare")
    plan = reading.plan(opening.folder().protocol, participant, form.kind, form.key)
    who = act.actor.person.username if given.verified else ""
    if value.verified_by == who or (given.verified and value.verified_by):
        raise Conflict("that is how it is marked already")
    act.record(
        "verification", form.id, participant=participant.number, place=plan.title[:120], field=given.item,
        row=given.row, old=value.verified_by or None, new=who or None, reveals_arm=plan.reveals_arm,
    )  # fmt: skip
    value.verified_by = who
    value.save(update_fields=["verified_by"])
    return {"form": str(form.id), "item": given.item, "verified": given.verified}


# --- antiretroviral drugs ---------------------------------------------------------------------------------


@command("medication.save", SaveMedication)
def save_medication(act: Act, given: SaveMedication) -> dict[str, Any]:
    """Record an antiretroviral drug, change it or strike it."""
    participant = act.allow_at(given.participant)
    _check_drug_dates(act, participant, given)
    told = {
        "drug": given.drug,
        "started": given.started,
        "stopped": given.stopped,
        "why_stopped": given.why_stopped,
    }
    where = {"participant": participant.number, "place": "antiretroviral drugs"}
    if given.medication is None:
        if given.remove:
            raise Refused("name the drug to strike", "medication")
        drug = Medication(participant=participant, **told)
        act.create(drug, "medication", **where)
        return {"medication": str(drug.id)}
    found = Medication.objects.filter(id=given.medication, participant=participant).first()
    if found is None:
        raise NotFound("there is nothing of that name for you")
    if not given.reason.strip():
        raise Refused("say why it is changed", "reason")
    changes = {"removed": given.reason} if given.remove else {**told, "removed": ""}
    if not act.change(found, "medication", changes, reason=given.reason, **where):
        raise Conflict("nothing would be changed")
    return {"medication": str(found.id)}


def _check_drug_dates(act: Act, participant: Participant, given: SaveMedication) -> None:
    try:
        began = entering.earliest(given.started)
        ended = entering.latest(given.stopped) if given.stopped else None
        entering.latest(given.started)
    except entering.EntryError as error:
        raise Refused(str(error), "started") from None
    today = act.today()
    if began > today or (given.stopped and entering.earliest(given.stopped) > today):
        raise Refused("this date lies in the future", "started" if began > today else "stopped")
    if ended is not None and ended < began:
        raise Refused("it cannot have ended before it began", "stopped")
    if given.remove:
        return
    for field, said in (("started", given.started), ("stopped", given.stopped)):
        if said and (late := ending.too_late(participant, entering.earliest(said))):
            raise Refused(late, field)
