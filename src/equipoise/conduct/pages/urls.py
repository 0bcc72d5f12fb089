"""Addresses of the pages."""

from django.urls import path

from equipoise.conduct.pages import home, participants

urlpatterns = [
    path("", home.today, name="today"),
    path("participants/", participants.participants, name="participants"),
]
