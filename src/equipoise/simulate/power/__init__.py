"""Operating characteristics: thousands of trials of one design, and of designs that differ a little.

`scenarios` says what is varied, `guided` and `equipoise.simulate.plain` simulate the trials, `deciding` lets
the committee stop them, `running` does it with threads, processes or a cluster into a folder that survives
interruption, `characteristics` sums up.
"""
