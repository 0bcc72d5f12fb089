"""Entering data: forms as the protocol makes them, saved with version and reason, never overwritten."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from conduct_data import form_of, later, person, randomized_to, save, send, version_of, viewer
from conduct_ready import ANSWERS, protocol_file, screened
from conduct_trial import START, actor, copied
from equipoise.conduct import clock, opening
from equipoise.conduct.folder import TrialFolder
from equipoise.protocol import canonical, load

DAY = date(2026, 3, 3)


@pytest.fixture
def trial(tmp_path: Path) -> Iterator[TrialFolder]:
    with clock.at(START + timedelta(days=1)):
        yield copied(tmp_path / "trial", protocol_file())


def begun(**answers: Any) -> str:
    """Somebody in screening, on whose form only this is entered; their number."""
    number = send("screening.start", "ada", site=1, screened_on=DAY, consent_on=DAY, consent_version="1.0")[
        "participant"
    ]
    if answers:
        save(number, "screening", "screening", DAY, answers)
    return str(number)


def refused(*args: Any, **more: Any) -> Any:
    """How saving is refused."""
    from equipoise.conduct.gateway import Refused

    with pytest.raises(Refused) as found:
        save(*args, **more)
    return found.value


# --- what a form asks -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["silcaat", "esprit", "vanguard", "stalwart", "erythropoietin"])
def test_every_bundled_protocol_makes_forms_whose_items_it_declares(trial: TrialFolder, name: str) -> None:
    from equipoise.conduct.models import Participant
    from equipoise.conduct.reading import forms

    protocol = load(name)
    asked: set[str] = set()
    for visit in protocol.visits:
        if visit.period == "screening":
            asked |= set(forms.asked(protocol, Participant(), "screening", visit.id))
    given_otherwise = {"site"} | {name for name, item in protocol.items.items() if item.derive}
    wanted = {name for name, item in protocol.items.items() if "screening" in item.collect}
    assert wanted - given_otherwise <= asked
    assert not asked & given_otherwise


def test_derived_values_are_worked_out_at_entry_and_asked_afterwards(trial: TrialFolder) -> None:
    from equipoise.conduct.models import Participant
    from equipoise.conduct.reading import forms

    protocol, somebody = load("silcaat"), Participant(randomized_on=DAY)
    assert "cd4" not in forms.asked(protocol, somebody, "screening", "prestudy2")
    assert "cd4_visit1" in forms.asked(protocol, somebody, "screening", "prestudy1")
    assert forms.asked(protocol, somebody, "visit", "year1:56") == ("cd4", "hiv_rna", "on_art")
    assert forms.plan(protocol, somebody, "visit", "later:458").title.endswith("month 15")


def test_there_are_no_forms_but_those_that_the_arm_plans(trial: TrialFolder) -> None:
    from equipoise.conduct.gateway import NotFound
    from equipoise.conduct.reading import forms

    epo, usual = person(randomized_to("epo")), person(randomized_to("usual"))
    asked = forms.asked(trial.protocol, epo, "visit", "four_weekly:28")
    assert asked == ("haemoglobin", "systolic", "weight")
    assert forms.asked(trial.protocol, usual, "visit", "quarterly:84") == (
        "haemoglobin",
        "ferritin",
        "systolic",
    )
    check = forms.asked(trial.protocol, epo, "check", "erythropoietin:2026-03-03")
    assert check == ("haemoglobin", "systolic", "toxicity_reviewed")
    update = forms.plan(trial.protocol, epo, "update", "2026-03-03:1")
    assert "thrombosis_active" in update.asked
    assert "haemoglobin" in update.asked
    assert update.required == ()
    for who, kind, key in (
        (epo, "visit", "quarterly:84"), (epo, "visit", "four_weekly:29"), (epo, "visit", "screening:-14"),
        (usual, "check", "erythropoietin:2026-03-03"), (epo, "check", "usual_care:2026-03-03"),
        (epo, "check", "erythropoietin:2026-3-3"), (epo, "update", "2026-03-03:0"), (epo, "visit", "x:1"),
        (epo, "update", "2026-03-03"), (epo, "screening", "entry"), (person(begun()), "visit", "entry:0"),
    ):  # fmt: skip
        with pytest.raises(NotFound):
            forms.asked(trial.protocol, who, kind, key)


# --- saving -----------------------------------------------------------------------------------------------


@pytest.mark.requirement("A1", "A2")
def test_each_change_leaves_an_entry_with_all_its_parts(trial: TrialFolder) -> None:
    from equipoise.conduct.models import Entry

    number = begun(weight="70")
    save(number, "screening", "screening", DAY, {"weight": ""})
    save(
        number, "screening", "screening", DAY, {"weight": {"text": "154", "unit": "kg"}}, reason="new scales"
    )
    form = form_of(number, "screening", "screening")
    entries = Entry.objects.filter(subject=str(form.id), field="weight").order_by("n")
    told = [(entry.old, entry.new) for entry in entries]
    first, last = '{"text":"70","unit":"kg"}', '{"text":"154","unit":"kg"}'
    assert told == [(None, first), (first, None), (None, last)]
    entry = entries.last()
    parts = (
        entry.person, entry.role, entry.site, entry.participant, entry.place, entry.field, entry.new,
        entry.at, entry.reason, entry.origin, entry.protocol_sha256, entry.software,
    )  # fmt: skip
    assert all(parts)
    assert (entry.person, entry.role, entry.site, entry.row) == ("ada", "coordinator", 1, 0)
    assert (entry.participant, entry.place, entry.reason) == (number, "Screening", "new scales")


@pytest.mark.requirement("A3")
def test_a_form_can_be_told_as_it_was_at_any_time(trial: TrialFolder) -> None:
    from equipoise.conduct.models import Entry
    from equipoise.conduct.reading.forms import answer_parts

    draw = random.Random(7)
    number = begun()
    snapshots: list[tuple[int, dict[str, Any]]] = []
    for _ in range(12):
        items = draw.sample(sorted(ANSWERS), 3)
        answers = {item: draw.choice([ANSWERS[item], "", {"missing": "unknown"}]) for item in items}
        save(number, "screening", "screening", DAY, answers)
        form = form_of(number, "screening", "screening")
        now = {value.item: answer_parts(value) for value in form.values.all()}
        snapshots.append((Entry.objects.latest("n").n, now))
    assert len({json.dumps(now, sort_keys=True) for _, now in snapshots}) > 5
    for n, now in snapshots:
        rebuilt: dict[str, Any] = {}
        for entry in Entry.objects.filter(subject=str(form.id), kind="value", n__lte=n).order_by("n"):
            rebuilt.pop(entry.field, None)
            if entry.new is not None:
                rebuilt[entry.field] = json.loads(entry.new)
        assert rebuilt == now


@pytest.mark.requirement("I3")
def test_values_come_back_from_the_database_exactly_as_they_were_reported(trial: TrialFolder) -> None:
    from equipoise.conduct import entering
    from equipoise.conduct.models import Form, Value

    begun(weight="70")
    draw, form = random.Random(3), Form.objects.get()
    item = trial.protocol.items["haemoglobin"]
    rows = []
    for row in range(1, 10_001):
        text = f"{draw.choice(['', '<', '>'])}{draw.randint(0, 10**9) / 10 ** draw.randint(0, 8):.8g}"
        entered = entering.read(item, text, draw.choice(["g/dL", "g/L"]))
        rows.append(
            Value(
                form=form,
                item="haemoglobin",
                row=row,
                text=entered.text,
                unit=entered.unit,
                qualifier=entered.qualifier,
                number=entered.number,
            )
        )
    Value.objects.bulk_create(rows, batch_size=500)
    kept = {value.row: value for value in Value.objects.filter(item="haemoglobin")}
    assert len(kept) == 10_000
    for sent in rows:
        back = kept[sent.row]
        assert (back.text, back.unit, back.qualifier, back.number) == (
            sent.text, sent.unit, sent.qualifier, sent.number,
        )  # fmt: skip


@pytest.mark.requirement("A8")
def test_after_completion_a_change_needs_its_reason_and_nothing_is_stored_without(trial: TrialFolder) -> None:
    from equipoise.conduct.models import Entry

    number = screened()
    before = (Entry.objects.count(), version_of(number, "screening", "screening"))
    error = refused(number, "screening", "screening", DAY, {"weight": "71"})
    assert (error.field, error.status) == ("reason", 422)
    assert "transcription error" in error.words
    assert form_of(number, "screening", "screening").values.get(item="weight").text == "70"
    assert (Entry.objects.count(), version_of(number, "screening", "screening")) == before
    save(number, "screening", "screening", DAY, {"weight": "71"}, reason="transcription error")
    assert form_of(number, "screening", "screening").values.get(item="weight").text == "71"
    assert Entry.objects.filter(field="weight").latest("n").reason == "transcription error"
    save(number, "screening", "screening", DAY, {"weight": "71"})  # nothing is changed, nothing to say


@pytest.mark.requirement("I4")
def test_a_form_is_complete_only_when_everything_is_answered_or_explained(trial: TrialFolder) -> None:
    number = begun()
    answers: dict[str, Any] = {**ANSWERS, "ferritin": "", "egfr": ""}
    error = refused(number, "screening", "screening", DAY, answers, complete=True)
    assert "Ferritin, Estimated glomerular filtration rate" in error.words
    assert error.field == "ferritin"
    assert form_of(number, "screening", "screening") is None
    answer = save(number, "screening", "screening", DAY, answers)
    assert (answer["status"], answer["blank"]) == ("incomplete", ["ferritin", "egfr"])
    explained = {"ferritin": {"missing": "awaited"}, "egfr": "not done"}
    answer = save(number, "screening", "screening", DAY, explained, complete=True)
    assert (answer["status"], answer["blank"]) == ("complete", [])


@pytest.mark.requirement("D12")
def test_what_the_form_does_not_ask_is_refused_and_changes_nothing(trial: TrialFolder) -> None:
    from equipoise.conduct.gateway import Refused
    from equipoise.conduct.models import Form, Participant

    number = begun()
    fields = [field.name for model in (Form, Participant) for field in model._meta.get_fields()]
    for name in {*fields, "arm", "signed_by", "hiv_rna", "toxicity_reviewed"}:
        error = refused(number, "screening", "screening", DAY, {"age": "61", name: "x"})
        assert error.field == name
    with pytest.raises(Refused, match="status"):
        save(number, "screening", "screening", DAY, {"age": "61"}, status="complete")
    assert (
        "one answer"
        in refused(number, "screening", "screening", DAY, {"age": {"text": "61", "row": 1}}).words
    )
    assert Form.objects.count() == 0


@pytest.mark.requirement("D31")
def test_who_saves_over_somebody_elses_change_is_told_what_it_was(trial: TrialFolder) -> None:
    number = begun(weight="70", systolic="140")
    seen = version_of(number, "screening", "screening")
    save(number, "screening", "screening", DAY, {"weight": "72"}, who="ivo")
    error = refused(number, "screening", "screening", DAY, {"systolic": "150"}, version=seen)
    assert error.status == 409
    assert "Body weight from 70 kg to 72 kg by ivo" in error.words
    assert [(one["item"], one["new"]) for one in error.changes] == [("weight", "72 kg")]
    assert form_of(number, "screening", "screening").values.get(item="systolic").text == "140"
    save(number, "screening", "screening", DAY, {"systolic": "150"})
    texts = {value.item: value.text for value in form_of(number, "screening", "screening").values.all()}
    assert texts == {"weight": "72", "systolic": "150"}


@pytest.mark.parametrize(
    ("on", "answers", "words"),
    [
        (date(2026, 3, 4), {"age": "61"}, "Wednesday 4 March 2026 lies in the future"),
        (date(2026, 3, 2), {"age": "61"}, "before consent was given"),
        (DAY, {"age": "sixty"}, "Age: expected a number"),
        (DAY, {"weight": {"text": "70", "unit": "g/L"}}, "cannot be turned into kg"),
        (DAY, {"weight": {"text": "70", "measured_on": "2026-03-09"}}, "lies in the future"),
        (DAY, {"sex": "other"}, "is not one of: male, female"),
    ],
)
def test_the_impossible_is_refused_in_words(
    trial: TrialFolder, on: date, answers: dict[str, Any], words: str
) -> None:
    number = begun()
    assert words in refused(number, "screening", "screening", on, answers).words
    assert form_of(number, "screening", "screening") is None


@pytest.mark.requirement("T1", "T3")
def test_the_day_of_a_visit_and_the_time_of_entry_are_kept_apart(trial: TrialFolder) -> None:
    from equipoise.conduct.models import Entry

    with later(20):
        number = begun(weight={"text": "70", "measured_on": "2026-03-01"})
    form, entry = form_of(number, "screening", "screening"), Entry.objects.latest("n")
    assert form.done_on == DAY
    assert form.values.get().measured_on == date(2026, 3, 1)
    assert (entry.at.date() - form.done_on).days == 20


@pytest.mark.requirement("T1")
def test_today_is_the_day_of_the_site(trial: TrialFolder) -> None:
    with clock.at(START.replace(day=3, hour=3)):  # still 2 March in New York
        number = send(
            "screening.start", "cas", site=2, screened_on=date(2026, 3, 2), consent_on=date(2026, 3, 2),
            consent_version="1.0",
        )["participant"]  # fmt: skip
        error = refused(number, "screening", "screening", DAY, {"age": "61"}, who="cas")
        assert "future" in error.words
        save(number, "screening", "screening", date(2026, 3, 2), {"age": "61"}, who="cas")


def test_another_site_does_not_exist_and_a_monitor_does_not_enter_data(trial: TrialFolder) -> None:
    from equipoise.conduct.gateway import NotAllowed, NotFound

    number = begun()
    with pytest.raises(NotFound):
        save(number, "screening", "screening", DAY, {"age": "61"}, who="cas")
    for who in ("mona", "theo", "stan", "pia"):
        with pytest.raises(NotAllowed):
            save(number, "screening", "screening", DAY, {"age": "61"}, who=who)


# --- visits -----------------------------------------------------------------------------------------------


def test_a_visit_out_of_its_window_is_kept_and_said(trial: TrialFolder) -> None:
    number = randomized_to("epo")
    answers = {"haemoglobin": "9.1", "systolic": "140", "weight": "70"}
    with later(40):
        on = clock.today("Europe/Copenhagen")
        answer = save(number, "visit", "four_weekly:28", on, answers, complete=True)
        assert [one["rule"] for one in answer["warnings"]] == ["window:"]
        assert "7 days after its window" in answer["warnings"][0]["words"]
        too_early = refused(number, "visit", "four_weekly:56", DAY - timedelta(days=1), answers)
        assert "before consent" in too_early.words or "before randomisation" in too_early.words
        assert (
            "for another day"
            in refused(
                number, "check", f"erythropoietin:{on}", on - timedelta(days=1), {"systolic": "140"}
            ).words
        )


def test_what_happened_between_visits_is_complete_once_anything_is_entered(trial: TrialFolder) -> None:
    number = randomized_to("epo")
    assert "nothing is entered" in refused(number, "update", f"{DAY}:1", DAY, {}, complete=True).words
    answer = save(number, "update", f"{DAY}:1", DAY, {"thrombosis_active": "yes"}, complete=True)
    assert answer["status"] == "complete"


def test_a_form_not_done_says_why_and_strikes_what_stood_on_it(trial: TrialFolder) -> None:
    from equipoise.conduct.models import Entry
    from equipoise.conduct.reading.forms import values_known

    number = randomized_to("epo")
    key = {"participant": number, "kind": "visit", "key": "entry:0"}
    save(number, "visit", "entry:0", DAY, {"weight": "88"})
    assert values_known(person(number), DAY)[0]["weight"] == 88
    send("form.not_done", "ada", **key, version=1, reason="entered for somebody else")
    form = form_of(number, "visit", "entry:0")
    assert (form.status, form.done_on, form.values.count()) == ("not done", None, 0)
    assert values_known(person(number), DAY)[0]["weight"] == 70
    entry = Entry.objects.filter(subject=str(form.id), field="weight").latest("n")
    assert (entry.new, entry.reason) == (None, "entered for somebody else")
    error = refused(number, "visit", "entry:0", DAY, {"weight": "71"})
    assert error.field == "reason"
    answer = save(number, "visit", "entry:0", DAY, {"weight": "71"}, reason="it was done after all")
    assert answer["status"] == "incomplete"


# --- what is known ----------------------------------------------------------------------------------------


def test_what_is_known_on_a_day_is_the_latest_of_before_with_its_age(trial: TrialFolder) -> None:
    from equipoise.conduct.reading.forms import values_known

    number = randomized_to("epo")
    with later(30):
        day = clock.today("Europe/Copenhagen")
        save(number, "visit", "four_weekly:28", day, {
            "haemoglobin": {"text": "92", "unit": "g/L", "measured_on": str(day - timedelta(days=2))},
            "systolic": {"missing": "not done"}, "weight": {"missing": "awaited"},
        })  # fmt: skip
        save(number, "update", f"{day}:1", day, {"ferritin": "<5"})
        save(number, "update", f"{day}:2", day, {"thrombosis_active": {"missing": "unknown"}})
        values, ages = values_known(person(number), day)
    assert (values["haemoglobin"], ages["haemoglobin"]) == (9.2, 2)
    assert (values["systolic"], ages["systolic"]) == (140, 30), "not done leaves the one before standing"
    assert (values["ferritin"], ages["ferritin"]) == (5, 0), "below the limit of detection is the limit"
    assert (values["thrombosis_active"], ages["thrombosis_active"]) == (None, 0), "unknown from then on"
    assert (values["sex"], values["consent"]) == ("female", True)
    before, _ = values_known(person(number), DAY)
    assert (before["haemoglobin"], before["thrombosis_active"]) == (8.5, False)
    assert values_known(person(number), DAY - timedelta(days=1)) == ({}, {})


def test_the_site_is_known_without_being_asked(trial: TrialFolder) -> None:
    from equipoise.conduct.reading.forms import values_known

    number = begun()
    trial.protocol_file.write_bytes(canonical(load("esprit")))
    opening.use(trial.path)
    assert values_known(person(number), DAY) == ({"site": "1"}, {"site": 0})


# --- what a page shows, and the history -------------------------------------------------------------------


def test_a_page_is_told_everything_it_shows(trial: TrialFolder) -> None:
    from equipoise.conduct.reading.forms import form_view

    number = randomized_to("epo")
    with later(28):
        day = clock.today("Europe/Copenhagen")
        save(number, "visit", "four_weekly:28", day, {"haemoglobin": {"text": "270", "unit": "g/L"}})
        view = form_view(person(number), "visit", "four_weekly:28", viewer("ada"))
    field = view.fields[0]
    assert (field.item, field.label, field.text, field.reported) == (
        "haemoglobin",
        "Haemoglobin",
        "270",
        "g/L",
    )
    assert (field.converted, field.preset, field.range) == ("27 g/dL", "g/L", (2, 22))
    assert field.accepted_units[:2] == ("g/dL", "g/L")
    assert field.previous is not None
    assert (field.previous.words, field.previous.on) == ("8.5 g/dL", DAY)
    assert [one.rule for one in field.warnings] == ["range"]
    assert view.blank == ("systolic", "weight")
    assert (view.version, view.status, view.done_on) == (1, "incomplete", day)
    assert view.title == "Every 4 weeks: week 5"
    assert view.window == "due 31 Mar 2026, between 26 Mar 2026 and 5 Apr 2026"
    empty = form_view(person(number), "visit", "four_weekly:56", viewer("ada"))
    assert (empty.form, empty.version, empty.fields[0].text) == (None, 0, "")


@pytest.mark.requirement("A11")
def test_who_does_not_see_the_arm_sees_no_form_after_randomisation(trial: TrialFolder) -> None:
    from equipoise.conduct.gateway import NotAllowed
    from equipoise.conduct.models import Entry
    from equipoise.conduct.reading.forms import changed_since, form_view

    number = randomized_to("epo")
    start = clock.now() - timedelta(minutes=1)
    save(number, "visit", "entry:0", DAY, {"haemoglobin": "8.6"})
    with pytest.raises(NotAllowed):
        form_view(person(number), "visit", "entry:0", viewer("theo"))
    form_view(person(number), "screening", "screening", viewer("theo"))
    seen = {(one.place, one.item) for one in changed_since(viewer("mona"), start)}
    assert ("Randomisation", "haemoglobin") in seen
    assert not any(one.place == "Randomisation" for one in changed_since(viewer("theo"), start))
    assert Entry.objects.filter(field="haemoglobin").latest("n").reveals_arm


@pytest.mark.requirement("A9")
def test_the_history_of_an_item_is_told_in_words(trial: TrialFolder) -> None:
    from equipoise.conduct.reading.forms import changed_since, history

    number = screened()
    moment = clock.now()
    with later(0, hours=1):
        save(number, "screening", "screening", DAY, {"weight": "71"}, reason="transcription error")
        form = form_of(number, "screening", "screening")
        send("item.verify", "mona", form=form.id, item="weight")
        told = [(one.person, one.old, one.new, one.reason) for one in history(form, "weight")]
        changed = [(one.participant, one.label, one.new) for one in changed_since(viewer("mona"), moment)]
    assert told == [
        ("ada", "blank", "70 kg", ""),
        ("ada", "70 kg", "71 kg", "transcription error"),
        ("mona", "not compared with the source", "compared with the source by mona", ""),
    ]
    assert changed == [(number, "Body weight", "71 kg")]
    assert changed_since(viewer("cas"), moment) == ()


# --- signatures and comparison with the source ------------------------------------------------------------


def signed(number: str) -> Any:
    """The screening form, signed by the investigator."""
    from equipoise.conduct.reading.forms import content_sha256

    form = form_of(number, "screening", "screening")
    send("form.sign", "ivo", form=form.id, content_sha256=content_sha256(form, number))
    return form_of(number, "screening", "screening")


@pytest.mark.requirement("S2", "S5")
def test_a_signature_holds_for_the_content_shown_and_lapses_when_it_changes(trial: TrialFolder) -> None:
    from equipoise.conduct.gateway import Conflict
    from equipoise.conduct.models import Entry, Signature
    from equipoise.conduct.reading.forms import form_view

    number, sibling = screened(), screened()
    assert signed(number).signed
    assert signed(sibling).signed
    assert Signature.objects.filter(kind="form").count() == 2
    save(number, "screening", "screening", DAY, {"weight": "71"}, reason="source corrected")
    form = form_of(number, "screening", "screening")
    assert not form.signed
    assert form_of(sibling, "screening", "screening").signed
    lapsed = Entry.objects.get(kind="signature", field="state")
    assert lapsed.new == "lapsed: what Ivo Example signed has changed"
    assert [
        one.valid for one in form_view(person(number), "screening", "screening", viewer("ivo")).signatures
    ] == [False]
    stale = Signature.objects.filter(subject=str(form.id)).get().content_sha256
    with pytest.raises(Conflict, match="changed since it was shown"):
        send("form.sign", "ivo", form=form.id, content_sha256=stale)
    assert signed(number).signed
    with pytest.raises(Conflict, match="signed already"):
        signed(number)


@pytest.mark.requirement("S1", "S3")
def test_a_form_is_signed_by_the_investigator_with_the_password_once_complete(trial: TrialFolder) -> None:
    from equipoise.conduct.gateway import NotAllowed, Refused, perform
    from equipoise.conduct.models import Signature
    from equipoise.conduct.reading.forms import content_sha256

    number = begun(age="61")
    form = form_of(number, "screening", "screening")
    inputs = {"form": form.id, "content_sha256": content_sha256(form, number)}
    with pytest.raises(Refused, match="once everything"):
        send("form.sign", "ivo", **inputs)
    save(number, "screening", "screening", DAY, ANSWERS, complete=True)
    for who, proof in (("ada", {}), ("ivo", {"proved": False})):
        with pytest.raises(NotAllowed):
            perform("form.sign", actor(who, **proof), inputs)
    signed(number)
    signature = Signature.objects.get(kind="form")
    assert (signature.printed_name, signature.role, signature.zone) == (
        "Ivo Example", "investigator", "Europe/Copenhagen",
    )  # fmt: skip
    assert "Screening" in signature.meaning


def test_a_comparison_with_the_source_is_lost_when_the_value_changes(trial: TrialFolder) -> None:
    from equipoise.conduct.gateway import Conflict, NotAllowed

    number = screened()
    form = form_of(number, "screening", "screening")
    with pytest.raises(NotAllowed):
        send("item.verify", "ada", form=form.id, item="weight")
    send("item.verify", "mona", form=form.id, item="weight")
    send("item.verify", "mona", form=form.id, item="age")
    with pytest.raises(Conflict):
        send("item.verify", "mona", form=form.id, item="age")
    save(number, "screening", "screening", DAY, {"weight": "71", "age": "61"}, reason="source corrected")
    by = {value.item: value.verified_by for value in form.values.all()}
    assert (by["weight"], by["age"]) == ("", "mona")


# --- drugs ------------------------------------------------------------------------------------------------


@pytest.mark.requirement("I5")
def test_a_drug_keeps_dates_as_precise_as_they_are_known(trial: TrialFolder) -> None:
    from equipoise.conduct.gateway import Refused
    from equipoise.conduct.models import Entry, Medication

    number = begun()
    drug = send("medication.save", "ada", participant=number, drug="examplevir", started="2019-05")[
        "medication"
    ]
    assert Medication.objects.get(id=drug).started == "2019-05"
    for more, words in (
        ({"stopped": "2018"}, "before it began"), ({"stopped": "2027"}, "future"),
        ({"started": "2019-02-30"}, "no such day"), ({"stopped": "2020-01-01"}, "say why"),
    ):  # fmt: skip
        given = {
            "participant": number,
            "medication": drug,
            "drug": "examplevir",
            "started": "2019-05",
            **more,
        }
        with pytest.raises(Refused, match=words):
            send("medication.save", "ada", **given)
    given = {"participant": number, "medication": drug, "drug": "examplevir", "started": "2019-05"}
    send("medication.save", "ada", **given, stopped="2020", why_stopped="rash", reason="new information")
    assert Entry.objects.filter(subject=drug, field="stopped").get().new == "2020"
    send("medication.save", "ada", **given, reason="was somebody else's", remove=True)
    found = Medication.objects.get(id=drug)
    assert (found.removed, found.stopped) == ("was somebody else's", "2020")
