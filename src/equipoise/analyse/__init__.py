"""Statistics on a record, by the analysis plan of the protocol; and the estimators themselves.

    results = analyse.run(record)           # the whole plan: one tidy table, notes, provenance
    analyse.write(results, "folder")        # results.parquet, results.csv, results.json
    print(analyse.summary(results))         # in words, for a terminal

The estimators (`cox`, `logrank`, `maxcombo`, `kaplan_meier`, `aalen_johansen`, `restricted_mean`,
`rmst_difference`, `rate_interval`, `rate_ratio`, `mixed_model`) take plain columns and can be used on their
own; `two_arm_days` and `two_arm_times` are for compiled loops over many trials. Rows of the table:
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
    MaxCombo,
    RestrictedMean,
    RestrictedMeans,
    cox,
    kaplan_meier,
    logrank,
    maxcombo,
    proportional_hazards,
    restricted_mean,
    rmst_difference,
    two_arm_days,
    two_arm_scratch,
    two_arm_times,
)

__all__ = [
    "Cox", "CumulativeIncidence", "Curve", "LogRank", "MaxCombo", "MixedModel", "Rate", "RateRatio",
    "RestrictedMean", "RestrictedMeans", "Results", "aalen_johansen", "cox", "kaplan_meier", "logrank",
    "maxcombo", "mixed_model", "proportional_hazards", "rate_interval", "rate_ratio", "read",
    "restricted_mean", "rmst_difference", "run", "summary", "two_arm_days", "two_arm_scratch",
    "two_arm_times", "write",
]  # fmt: skip
