"""Rehearsing a trial: virtual participants live it through the real system, and everything is compared."""
