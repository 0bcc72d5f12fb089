"""Why an estimate does not exist, in words: an undefined statistic carries one of these, never a number."""

from __future__ import annotations

NO_EVENTS = "there were no events"
NO_COMPARISON = "no event happened while both groups were under observation"
ONE_GROUP = "there is only one group"
ONE_SIDED = (
    "every event that can be compared happened in one group, so the hazard ratio has no finite estimate"
)
MONOTONE = (
    "the likelihood rises without limit (in some group or direction nobody had an event), "
    "so there is no finite estimate"
)
DEPENDENT = (
    "the covariates cannot be told apart (one is constant or follows from the others among those at risk)"
)
NOT_CONVERGED = "the likelihood could not be maximised to the required precision"
NOT_FOLLOWED = "in some group nobody was observed as long as the horizon"
