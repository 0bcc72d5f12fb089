"""One operation for each command of the gateway, at its name with slashes: POST /api/commands/form/save."""

from __future__ import annotations

import inspect
from dataclasses import replace
from typing import Annotated, Any

from ninja import Body, Header, NinjaAPI
from pydantic import Field

from equipoise.conduct import duties
from equipoise.conduct.duties import PASSWORD_HEADER
from equipoise.conduct.gateway import COMMANDS, Command, perform
from equipoise.conduct.proving import proved

Key = Annotated[str | None, Field(max_length=80, pattern=r"^[!-~]+$")]


def add_commands(api: NinjaAPI) -> None:
    """Add every command to the API."""
    for name in sorted(COMMANDS):
        found = COMMANDS[name]
        api.post(
            f"/commands/{name.replace('.', '/')}",
            url_name=f"do {name}",
            operation_id=name.replace(".", "_"),
            summary=found.summary,
            description=_description(found),
            tags=["commands"],
            response=dict[str, Any],
        )(_operation(found))


def _description(found: Command) -> str:
    roles = ", ".join(role for role in duties.ROLES if role in duties.MAY[found.name])
    parts = [(found.inputs.__doc__ or "").strip(), f"May be done by: {roles}."]
    if found.name in duties.SIGNS:
        parts.append(f"Signed: the password comes in the header {PASSWORD_HEADER}.")
    if found.name in duties.SECOND_FACTOR:
        parts.append("Needs a second factor.")
    return "\n\n".join(part for part in parts if part)


def _operation(found: Command) -> Any:
    def operation(request: Any, given: Any, key: str | None, password: str | None) -> dict[str, Any]:
        actor = request.actor
        if password is not None and found.name in duties.SIGNS:
            actor = replace(actor, proved=proved(request, _text(password), actor.person))
        return perform(found.name, actor, given, key)

    kinds = inspect.Parameter
    told = [
        kinds("request", kinds.POSITIONAL_OR_KEYWORD),
        kinds("given", kinds.POSITIONAL_OR_KEYWORD, annotation=found.inputs, default=Body(...)),
        kinds(
            "key", kinds.POSITIONAL_OR_KEYWORD, annotation=Key, default=Header(None, alias="Idempotency-Key")
        ),
    ]  # fmt: skip
    secret = Header(None, alias=PASSWORD_HEADER)
    told.append(kinds("password", kinds.POSITIONAL_OR_KEYWORD, annotation=str | None, default=secret))
    described: Any = operation  # ninja reads what to expect from the signature
    described.__signature__ = inspect.Signature(told)
    described.__name__ = found.name.replace(".", "_")
    return described


def _text(header: str) -> str:
    """A header as it was sent: UTF-8, which WSGI hands on byte by byte."""
    try:
        return header.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return header
