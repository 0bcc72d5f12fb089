"""Addresses of people and of one's own account."""

from django.urls import path

from equipoise.conduct import drafts
from equipoise.conduct.pages import people

urlpatterns = [
    path("people/", people.people, name="people"),
    path("people/rights/", people.access_report, name="access_report"),
    path("people/site/<int:site>/", people.delegation_log, name="delegation_log"),
    path("people/account/<str:username>/", people.person, name="person"),
    path("own/", people.account, name="account"),
    path("own/role/", people.role, name="role"),
    path("own/tokens/", people.tokens, name="tokens"),
    path("drafts/", drafts.draft, name="draft"),
]
