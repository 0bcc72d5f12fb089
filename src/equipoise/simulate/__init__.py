"""Simulated trials: many virtual participants through the rules of one protocol.

`trial` simulates one trial and gives its record; `replicates` simulates many and gives the figures of each,
under the names of the results table; `potential_outcomes` gives every participant's fate in each arm."""

from equipoise.simulate.plans import DialChoice, Setup, prepare
from equipoise.simulate.progress import Progress
from equipoise.simulate.replicates import replicates
from equipoise.simulate.runs import potential_outcomes, trial

__all__ = ["DialChoice", "Progress", "Setup", "potential_outcomes", "prepare", "replicates", "trial"]
