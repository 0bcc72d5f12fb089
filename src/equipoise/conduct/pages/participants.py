"""The list of participants."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render


def participants(request: HttpRequest) -> HttpResponse:
    """Everybody at the sites of who looks."""
    return render(request, "participants.html", {})
