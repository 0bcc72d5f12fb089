"""What all tests share."""

from hypothesis import settings

# A test says whether the code is right, never how fast it was on the machine of the day.
settings.register_profile("equipoise", deadline=None)
settings.load_profile("equipoise")
