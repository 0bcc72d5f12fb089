"""Addresses of the pages."""

from django.urls import path

from equipoise.conduct.pages import home, overview, participants

urlpatterns = [
    path("", home.today, name="today"),
    path("overview/", overview.overview, name="overview"),
    path("participants/", participants.participants, name="participants"),
]
