"""Addresses of the pages."""

from django.urls import path

from equipoise.conduct.pages import audit, charts, home, labs, overview, participants, trial

urlpatterns = [
    path("", home.today, name="today"),
    path("audit/", audit.audit, name="audit"),
    path("audit/table.csv", audit.audit_csv, name="audit_csv"),
    path("labs/", labs.labs, name="labs"),
    path("overview/", overview.overview, name="overview"),
    path("participants/", participants.participants, name="participants"),
    path("participant/<str:number>/", charts.chart, name="chart"),
    path("participant/<str:number>/history/<str:form>/<str:item>/", audit.history, name="history"),
    path("trial/", trial.trial, name="trial"),
]
