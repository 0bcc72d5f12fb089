"""Addresses of the pages where people act."""

from django.urls import path

from equipoise.conduct.pages import dosing, forms, queries, randomising, safety, screening

_OF = "participant/<str:number>/"

urlpatterns = [
    path("site/<int:site>/screening/", screening.screening_start, name="screening_start"),
    path(_OF + "screening/", screening.screening, name="screening"),
    path(_OF + "randomise/", randomising.randomise, name="randomise"),
    path(_OF + "form/<str:kind>/<str:key>/", forms.form, name="form"),
    path(_OF + "form/<str:kind>/<str:key>/print/", forms.form_print, name="form_print"),
    path(_OF + "update/", forms.update_new, name="update_new"),
    path(_OF + "decide/<str:regimen>/", dosing.decide, name="decide"),
    path(_OF + "cycles/<str:regimen>/<int:cycle>/", dosing.injections, name="injections"),
    path(_OF + "cycles/<str:regimen>/<int:cycle>/print/", dosing.cycle_print, name="cycle_print"),
    path(_OF + "events/new/", safety.event_new, name="event_new"),
    path(_OF + "events/<str:event>/", safety.event, name="event"),
    path(_OF + "medication/", safety.medication, name="medication"),
    path(_OF + "end/", safety.disposition, name="disposition"),
    path(_OF + "queries/new/", queries.query_new, name="query_new"),
    path(_OF + "queries/<str:query>/", queries.query, name="query"),
    path("queries/", queries.queries, name="queries"),
    path("safety/", safety.safety, name="safety"),
]
