"""Every address of the application."""

from django.urls import include, path

urlpatterns = [
    path("account/", include("allauth.account.urls")),
    path("account/second-factor/", include("allauth.mfa.urls")),
    path("api/", include("equipoise.conduct.api.urls")),
    path("", include("equipoise.conduct.pages.people_urls")),
    path("", include("equipoise.conduct.pages.entry_urls")),
    path("", include("equipoise.conduct.pages.urls")),
]
