"""The application, as Django knows it."""

from django.apps import AppConfig


class Conduct(AppConfig):
    """The tables and commands of a trial."""

    name = "equipoise.conduct"
    label = "conduct"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Make all commands known, and hear of log-ins."""
        from equipoise.conduct import accounts, commands

        commands.load()
        accounts.connect()
