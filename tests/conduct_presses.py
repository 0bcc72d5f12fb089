"""What can be pressed on the pages, for the test in which every role presses all of it: the page, the command
behind the button, and what is sent. It is complete, so that only the duties of a person are in the way."""

from __future__ import annotations

from typing import Any, NamedTuple

from conduct_samples import GIVEN
from conduct_trial import PASSWORD
from equipoise.conduct import duties

ELSEWHERE = frozenset({"audit.take", "randomization.resume", "token.revoke"})
"""Commands that are given with a download, on the command line, or about something of one's own."""


class Press(NamedTuple):
    """A button. `then` is the status for whom the command is for: what is sent cannot be carried out, for a
    reason that is looked at after the duties. None: it would be, and is not sent."""

    route: str
    command: str
    fields: dict[str, str]
    then: int | None

    def told(self, number: str) -> dict[str, Any]:
        """What is sent, about a participant."""
        told = {
            name: str(GIVEN[text[1:-1]](number)) if text.startswith("<") else text
            for name, text in self.fields.items()
        }
        return told | ({"password": PASSWORD} if self.command in duties.SIGNS else {})


PRESSES = (
    Press("screening_start", "screening.start",
          {"consent_on": "3 mar 2026", "screened_on": "2 mar 2026", "consent_version": "1"}, 422),
    Press("screening", "screening.fail", {"do": "fail", "reason": "not eligible"}, 409),
    Press("screening", "eligibility.sign", {"content_sha256": "x"}, 409),
    Press("randomise", "randomize", {"stratum:cd4_stratum": "50-199"}, 409),
    Press("randomise", "allocation.in_error", {"do": "in error", "reason": "was not eligible"}, None),
    Press("form", "form.save", {"do": "save", "done_on": "2 mar 2026", "version": "9"}, 409),
    Press("form", "form.not_done", {"do": "not done", "not_done_reason": "abroad", "version": "9"}, 409),
    Press("form", "form.sign", {"do": "sign", "content_sha256": "x"}, 422),
    Press("form", "item.verify", {"do": "verify:nothing"}, 404),
    Press("decide", "decision.take", {"do": "accept", "content_sha256": "x", "accepted": "no"}, 409),
    Press("decide", "hold.place", {"do": "hold", "since": "t", "hold_reason": "ill"}, None),
    Press("decide", "hold.release",
          {"do": "release", "hold": "<hold>", "until": "1 jan 2026", "release_reason": "recovered"}, 422),
    Press("decide", "flag.settle", {"do": "settle", "flag": "<flag>", "settle_text": "looked at"}, None),
    Press("injections", "cycle.injections", {"version": "9"}, 409),
    Press("event_new", "event.report",
          {"kind": "adverse_event", "term": "fever", "onset": "3 mar 2026", "ended": "2 mar 2026",
           "serious": "no", "grade": "2"}, 422),
    Press("event", "event.follow_up",
          {"term": "fever", "onset": "3 mar 2026", "ended": "2 mar 2026", "serious": "no", "grade": "2",
           "reason": "new information"}, 422),
    Press("event", "event.remove", {"do": "remove", "remove_reason": "entered twice"}, None),
    Press("medication", "medication.save",
          {"drug": "zidovudine", "started": "2003-05", "stopped": "2002"}, 422),
    Press("disposition", "disposition.record", {"status": "died", "on": "2 mar 2026"}, 422),
    Press("disposition", "disposition.undo", {"do": "undo", "undo_reason": "a mistake"}, 409),
    Press("query_new", "query.open", {"text": "is this right?"}, None),
    Press("query", "query.answer", {"text": "as in the source"}, None),
    Press("query", "query.close", {"do": "close", "text": "clear now"}, None),
    Press("query", "query.cancel", {"do": "cancel", "text": "asked twice"}, None),
    Press("queries", "query.close", {"query": "<query>", "text": "clear now"}, None),
    Press("people", "person.add", {"username": "ivo", "full_name": "Ivo Example"}, 409),
    Press("access_report", "access.review", {"note": "all still at work"}, None),
    Press("person", "duty.grant",
          {"do": "duty.grant", "role": duties.INVESTIGATOR, "site": "1", "since": "today",
           "trained_on": "1 mar 2026"}, 409),
    Press("person", "duty.revoke", {"do": "duty.revoke", "duty": "<duty>", "reason": "left"}, None),
    Press("person", "person.deactivate", {"do": "person.deactivate", "reason": "left"}, None),
    Press("person", "person.reset", {"do": "person.reset", "reason": "lost it"}, None),
    Press("trial", "site.add",
          {"do": "site.add", "number": "1", "name": "Northfield", "country": "Denmark", "zone": "UTC",
           "reason": "planned"}, 409),
    Press("trial", "site.open",
          {"do": "site.open", "number": "1", "approved_on": "2026-03-01",
           "protocol_sha256": "<protocol_sha256>"}, 409),
    Press("trial", "site.close",
          {"do": "site.close", "number": "1", "closed_on": "2026-03-02", "reason": "done"}, None),
    Press("trial", "trial.places", {"do": "trial.places", "places": "1800", "reason": "more sites"}, None),
    Press("trial", "trial.freeze", {"do": "trial.freeze", "reason": "the analysis"}, None),
    Press("trial", "trial.unfreeze", {"do": "trial.unfreeze", "reason": "a mistake"}, 409),
    Press("tokens", "token.issue", {"label": "x", "scopes": "nothing"}, 422),
)  # fmt: skip
