"""Log-in as allauth does it, in the ways of this trial: nobody signs up."""

from allauth.account.adapter import DefaultAccountAdapter
from django.http import HttpRequest


class Adapter(DefaultAccountAdapter):  # type: ignore[misc]
    """Accounts are made by the administrator only."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        """Never."""
        return False
