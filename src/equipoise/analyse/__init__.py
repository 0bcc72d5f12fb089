"""Statistics on a record, by the analysis plan of the protocol; and the estimators themselves.

    results = analyse.run(record)           # the whole plan: one tidy table, notes, provenance
    analyse.write(results, "folder")        # results.parquet, results.csv, results.json
    print(analyse.summary(results))         # in words, for a terminal

The estimators (`cox`, `logrank`, `kaplan_meier`, `aalen_johansen`, `restricted_mean`, `rate_interval`,
`rate_ratio`, `mixed_model`) take plain columns and can be used on their own. Rows of the table:
docs/results.md; formulae: docs/methods.md.
"""

from equipoise.analyse.competing import CumulativeIncidence, aalen_johansen
from equipoise.analyse.longitudinal import MixedModel, mixed_model
from equipoise.analyse.plan import run
from equipoise.analyse.rates import Rate, RateRatio, rate_interval, rate_ratio
from equipoise.analyse.results import Results, read, write
from equipoise.analyse.summary import summary
from equipoise.analyse.survival import (
    Cox,
    Curve,
    LogRank,
    RestrictedMean,
    cox,
    kaplan_meier,
    logrank,
    proportional_hazards,
    restricted_mean,
)

__all__ = [
    "Cox", "CumulativeIncidence", "Curve", "LogRank", "MixedModel", "Rate", "RateRatio", "RestrictedMean",
    "Results", "aalen_johansen", "cox", "kaplan_meier", "logrank", "mixed_model", "proportional_hazards",
    "rate_interval", "rate_ratio", "read", "restricted_mean", "run", "summary", "write",
]  # fmt: skip
