"""What every page may show."""

from typing import Any

from django.http import HttpRequest

from equipoise.conduct import opening


def everywhere(request: HttpRequest) -> dict[str, Any]:
    """The trial, and who looks."""
    return {"trial_folder": opening.folder(), "actor": getattr(request, "actor", None)}
