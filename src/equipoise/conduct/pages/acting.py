"""How a page carries out a command: with the key of the request, and the password where it is signed.

A view that changes something looks like this:

```python
def place(request, number):
    refused = None
    if request.method == "POST":
        try:
            act(request, "hold.place", {"participant": number, **fields(request, "since", "reason")})
        except Refused as error:
            refused = error
        else:
            return done(request, "The hold is placed.", "chart", number=number)
    return page(request, "hold.html", {...}, refused)
```
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render

from equipoise.conduct import duties
from equipoise.conduct.gateway import Inputs, Refused, perform


def act(request: HttpRequest, command: str, inputs: Mapping[str, Any] | Inputs) -> dict[str, Any]:
    """Carry out a command for the person of this request. Raises `Refused` with the words for them."""
    from equipoise.conduct.proving import proved

    actor = request.actor
    if command in duties.SIGNS:
        if not request.POST.get("password"):
            raise Refused("this is signed: give your password", "password")
        if not proved(request, request.POST["password"]):
            raise Refused("the password is not right: nothing was signed", "password")
        actor = replace(actor, proved=True)
    return perform(command, actor, inputs, request.POST.get("request_key") or None)


def fields(request: HttpRequest, *names: str) -> dict[str, str]:
    """The named fields that the form sent and that are not blank; the command says what is missing."""
    found = {name: request.POST.get(name, "").strip() for name in names}
    return {name: text for name, text in found.items() if text}


def page(
    request: HttpRequest, template: str, context: Mapping[str, Any], refused: Refused | None = None
) -> HttpResponse:
    """A page; with a refusal, which it shows, and the status that says so."""
    status = 200 if refused is None else refused.status
    return render(request, template, {**context, "refused": refused, "typed": request.POST}, status=status)


def done(request: HttpRequest, words: str, to: str, **kwargs: Any) -> HttpResponse:
    """Go to a page and say there what was done, so that loading it again repeats nothing."""
    messages.success(request, words, extra_tags="good")
    return redirect(to, **kwargs)
