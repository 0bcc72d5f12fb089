"""Addresses of the pages."""

from django.http import HttpRequest, HttpResponse
from django.urls import path


def _today(request: HttpRequest) -> HttpResponse:
    return HttpResponse("today")


urlpatterns = [path("", _today, name="today")]
