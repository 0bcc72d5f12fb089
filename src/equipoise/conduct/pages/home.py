"""Today: what there is to do, one line for each task."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render


def today(request: HttpRequest) -> HttpResponse:
    """The work list of who looks."""
    return render(request, "today.html", {})
