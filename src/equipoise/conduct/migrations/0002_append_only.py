"""Rows of these tables are added and never changed: the database itself refuses, whoever asks."""

from typing import Any

from django.db import migrations

TABLES = (
    "conduct_entry", "conduct_signature", "conduct_allocation", "conduct_allocationerror", "conduct_decision",
    "conduct_eventversion", "conduct_querymessage", "conduct_request",
)  # fmt: skip


def protect(apps: Any, editor: Any) -> None:
    """Make the triggers."""
    vendor = editor.connection.vendor
    if vendor == "postgresql":
        editor.execute(
            "CREATE FUNCTION conduct_append_only() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            "RAISE EXCEPTION 'rows of % are never changed', TG_TABLE_NAME; END $$",
            params=None,
        )
    for table in TABLES:
        if vendor == "postgresql":
            editor.execute(
                f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE ON {table} "
                "FOR EACH ROW EXECUTE FUNCTION conduct_append_only()"
            )
            editor.execute(
                f"CREATE TRIGGER {table}_not_emptied BEFORE TRUNCATE ON {table} "
                "FOR EACH STATEMENT EXECUTE FUNCTION conduct_append_only()"
            )
            continue
        for event in ("UPDATE", "DELETE"):
            editor.execute(
                f"CREATE TRIGGER {table}_no_{event.lower()} BEFORE {event} ON {table} "
                f"BEGIN SELECT RAISE(ABORT, 'rows of {table} are never changed'); END"
            )


def unprotect(apps: Any, editor: Any) -> None:
    """Take the triggers away (only for taking back this step of a new database)."""
    vendor = editor.connection.vendor
    for table in TABLES:
        if vendor == "postgresql":
            editor.execute(f"DROP TRIGGER {table}_append_only ON {table}")
            editor.execute(f"DROP TRIGGER {table}_not_emptied ON {table}")
        else:
            for event in ("update", "delete"):
                editor.execute(f"DROP TRIGGER {table}_no_{event}")
    if vendor == "postgresql":
        editor.execute("DROP FUNCTION conduct_append_only()")


class Migration(migrations.Migration):
    """After the tables."""

    dependencies = (("conduct", "0001_initial"),)
    operations = (migrations.RunPython(protect, unprotect, atomic=True),)
