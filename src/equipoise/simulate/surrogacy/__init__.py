"""Surrogates in simulated trials, where the truth is known: the true mediated share, and how often each
method misleads."""
