"""Making the folder and the database of a new trial."""

from __future__ import annotations

import contextlib
import io
import math
import os
import shutil
from pathlib import Path

import equipoise
from equipoise._atomic import explain
from equipoise.conduct import clock, ledger, opening, require, starting
from equipoise.conduct import folder as folders
from equipoise.conduct.folder import Kind, TrialFolder
from equipoise.errors import UserError
from equipoise.protocol import canonical, load, loads, sha256

SPARE_PLACES = 0.2
"""Places beyond the planned number of participants, as a share of it, when nothing else is asked for
(assumed)."""


def initialise(
    path: str | os.PathLike[str],
    protocol: str | Path,
    *,
    database: str = "sqlite",
    zone: str = "UTC",
    kind: Kind = "real",
    places: int | None = None,
    administrator: tuple[str, str] = ("admin", "Administrator"),
    port: int = 8000,
) -> tuple[TrialFolder, str]:
    """Make the folder of a trial with its keys and database; (folder, first password of the administrator).

    Nothing is left behind when it fails. Raises UserError when the folder exists, the protocol is not
    sound, or the database cannot be reached or is not empty.
    """
    require()
    final = Path(os.path.abspath(path))
    if final.exists() and any(final.iterdir() if final.is_dir() else [final]):
        raise UserError(f"{final} exists already and is not empty: choose another folder for the trial")
    loaded = load(protocol)
    folders.check_zone(zone, "--time-zone")
    folders.check_database(database, "--database")
    made = _missing(final)
    trial = TrialFolder(final, loaded.protocol, database, zone, kind, port)
    try:
        final.mkdir(parents=True, exist_ok=True)
        folders.write(trial)
        (final / folders.PROTOCOL_FILE).write_bytes(canonical(loaded))
        source = Path(protocol)
        if source.is_file():
            shutil.copyfile(source, final / folders.SOURCE_FILE)
        password = _database(trial, places, administrator)
    except BaseException as error:
        _remove(final, made)
        if isinstance(error, OSError):
            raise explain(error, final, "make the folder of the trial") from None
        raise
    return trial, password


def _missing(final: Path) -> list[Path]:
    """The folders on the way to `final` that are still to be made, `final` first."""
    return [folder for folder in (final, *final.parents) if not folder.exists()]


def _remove(final: Path, made: list[Path]) -> None:
    """Take away what a failed set-up has left, with the folders that it made; one that was there before
    stays, empty."""
    for one in final.iterdir() if final.is_dir() else ():
        shutil.rmtree(one, ignore_errors=True) if one.is_dir() else one.unlink(missing_ok=True)
    for folder in made:
        with contextlib.suppress(OSError):
            folder.rmdir()


def _database(trial: TrialFolder, places: int | None, administrator: tuple[str, str]) -> str:
    opening.use(trial)
    from django.core.management import call_command
    from django.db import transaction

    starting.check_empty()
    quiet = io.StringIO()
    with contextlib.redirect_stdout(quiet):
        call_command("migrate", verbosity=0, interactive=False)
        call_command("createcachetable", verbosity=0)
    protocol = loads(trial.protocol_file.read_text(encoding="utf-8"), str(trial.protocol_file))
    planned = protocol.size.planned if protocol.size is not None else None
    from equipoise.conduct.commands.people import first_administrator
    from equipoise.conduct.gateway import Act, as_text, columns, with_system
    from equipoise.conduct.models import Chain, Trial

    with transaction.atomic():
        Chain.objects.create(id=1, n=0, hash=ledger.FIRST)
        Trial.objects.create(
            id=1,
            name=trial.name,
            kind=trial.kind,
            zone=trial.zone,
            protocol_sha256=sha256(protocol),
            protocol=canonical(protocol).decode(),
            software=equipoise.__version__,
            activated_at=clock.now(),
            places=places or math.ceil((planned or 1000) * (1 + SPARE_PLACES)),
        )
    found: list[str] = []

    def begin(act: Act) -> None:
        # The protocol is in the folder as well, and has its hash.
        act.record("trial", 1, new=as_text(columns(act.trial, apart=("protocol",))))
        found.append(first_administrator(act, *administrator))

    with_system("trial.init", begin)
    return found[0]
