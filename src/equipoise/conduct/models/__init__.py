"""The tables of a trial in conduct. Fixed, whatever the protocol: an amendment is no migration."""

from equipoise.conduct.models.data import (
    Allocation,
    AllocationError,
    Due,
    Form,
    Medication,
    Participant,
    Query,
    QueryMessage,
    Trial,
    Value,
)  # fmt: skip
from equipoise.conduct.models.ledger import Chain, Entry, Outbox, Request, Signature
from equipoise.conduct.models.people import Draft, Duty, Person, Site, Token
from equipoise.conduct.models.treatment import Cycle, Decision, Event, EventVersion, Flag, Hold, Injection

__all__ = [
    "Allocation", "AllocationError", "Chain", "Cycle", "Decision", "Draft", "Due", "Duty", "Entry", "Event",
    "EventVersion", "Flag", "Form", "Hold", "Injection", "Medication", "Outbox", "Participant", "Person",
    "Query", "QueryMessage", "Request", "Signature", "Site", "Token", "Trial", "Value",
]  # fmt: skip
