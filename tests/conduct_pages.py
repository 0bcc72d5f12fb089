"""Pages as a browser without scripts uses them, for tests: read a form, fill in fields, press a button."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any


@dataclass
class PageForm:
    """A form of a page: what its fields hold, and its buttons as (name, value, words, can be pressed)."""

    method: str
    fields: dict[str, list[str]] = field(default_factory=dict)
    offered: dict[str, list[str]] = field(default_factory=dict)
    """Values that may be picked, of tick boxes, radio buttons and lists."""
    buttons: list[tuple[str, str, bool]] = field(default_factory=list)
    first_submit_disabled: bool | None = None


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.forms: list[PageForm] = []
        self.form: PageForm | None = None
        self.select: str | None = None
        self.option: tuple[str | None, bool] | None = None
        self.area: str | None = None
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = dict(attrs)
        if tag == "form":
            self.form = PageForm((told.get("method") or "get").lower())
            self.forms.append(self.form)
        form = self.form
        if form is None:
            return
        name = told.get("name") or ""
        off = "disabled" in told
        if tag == "button" and told.get("type", "submit") == "submit":
            if form.first_submit_disabled is None:
                form.first_submit_disabled = off
            form.buttons.append((name, told.get("value") or "", not off))
        elif tag == "input" and name and not off:
            kind = told.get("type") or "text"
            if kind in ("checkbox", "radio"):
                form.offered.setdefault(name, []).append(told.get("value") or "on")
                if "checked" in told:
                    form.fields.setdefault(name, []).append(told.get("value") or "on")
            else:
                form.fields.setdefault(name, []).append(told.get("value") or "")
        elif tag == "select" and not off:
            self.select = name
        elif tag == "option" and self.select is not None:
            self.option, self.text = (told.get("value"), "selected" in told), ""
        elif tag == "textarea" and not off:
            self.area, self.text = name, ""

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_endtag(self, tag: str) -> None:
        form = self.form
        if form is None:
            return
        if tag == "option" and self.select is not None and self.option is not None:
            value = self.text.strip() if self.option[0] is None else self.option[0]
            form.offered.setdefault(self.select, []).append(value)
            if self.option[1] or self.select not in form.fields:
                form.fields[self.select] = [value]
            self.option = None
        elif tag == "select":
            self.select = None
        elif tag == "textarea" and self.area is not None:
            form.fields.setdefault(self.area, []).append(self.text.removeprefix("\n"))
            self.area = None
        elif tag == "form":
            self.form = None


def forms_of(response: Any) -> list[PageForm]:
    """The forms of a page, in order."""
    reader = _Reader()
    reader.feed(response.content.decode())
    return reader.forms


def form_with(response: Any, button: str = "", having: str = "") -> PageForm:
    """The form of a page that has the button of that value (and the field of that name)."""
    for one in forms_of(response):
        pressed = not button or any(value == button and works for _, value, works in one.buttons)
        if one.method == "post" and pressed and (not having or having in {**one.fields, **one.offered}):
            return one
    raise AssertionError(f"the page has no form with the button {button!r} and the field {having!r}")


def submit(client: Any, address: str, button: str = "", *, having: str = "", **typed: Any) -> Any:
    """Open a page, fill in fields (named with `__` for `:`) of the form with that button, press it."""
    return press(client, address, client.get(address), button, having=having, **typed)


def press(client: Any, address: str, page: Any, button: str = "", *, having: str = "", **typed: Any) -> Any:
    """The same on a page that is open already, as it was when it was opened."""
    form = form_with(page, button, having or next((name.replace("__", ":") for name in typed), ""))
    sent = {**form.fields, **{name.replace("__", ":"): value for name, value in typed.items()}}
    if button:
        sent["do"] = [button]
    return client.post(address, sent)
