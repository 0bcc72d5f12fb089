"""Fits: the free rows of a population file estimated from published figures, and how far they can be.

`running.fit` does it all; `targets` reads what is fitted to, `bench` simulates, `optimise` goes down,
`uncertainty` says what the figures know of the rows, `predictive` holds the model against every figure.
"""
