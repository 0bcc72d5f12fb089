"""What each characteristic of a power run means, what each column of its rows holds, and the papers."""

from __future__ import annotations

import re

CHARACTERISTICS: tuple[tuple[str, str, str], ...] = (
    (
        r"power",
        "Power",
        "Share of the trials that end with the limit of efficacy passed, at any look. Where there is no "
        "effect it is the type I error on the side of efficacy.",
    ),
    (
        r"shown to harm",
        "Shown to harm",
        "Share of the trials that end with the limit on the other side passed (two-sided tests only).",
    ),
    (
        r"null hypothesis rejected",
        "Null hypothesis rejected",
        "Either of the two. Where there is no effect it is the type I error of a two-sided test.",
    ),
    (
        r"look \d+: efficacy",
        "Look k: efficacy",
        "Share of all trials that end at look k because the limit of efficacy is passed.",
    ),
    (
        r"look \d+: futility",
        "Look k: futility",
        "Share of all trials that end at look k because the statistic lies below the limit of futility. "
        "Every such limit is followed, binding or not.",
    ),
    (
        r"look \d+: harm",
        "Look k: harm",
        "Share of all trials that end at look k because the limit on the side of harm is passed.",
    ),
    (
        r"look \d+: no difference shown",
        "Look k: no difference shown",
        "Share of all trials that end at look k without passing a limit: at the final analysis, or at a look "
        "that has all the planned events.",
    ),
    (
        r"look \d+: reached",
        "Look k: reached",
        "Share of all trials in which look k takes place and that were not stopped before it.",
    ),
    (
        r"trials without an estimate, share",
        "Trials without an estimate",
        "Share of the trials whose hazard ratio has no finite estimate; they are left out of bias and "
        "coverage.",
    ),
    (
        r"stopped before the final analysis",
        "Stopped before the final analysis",
        "Share of the trials that pass a limit of efficacy, futility or harm before the last planned look.",
    ),
    (
        r"duration",
        "Duration",
        "Mean time from the first day on which anybody could be randomised to the analysis that ends the "
        "trial.",
    ),
    (
        r"duration, \d+% quantile",
        "Duration, quantiles",
        "The duration that this percentage of the trials does not exceed.",
    ),
    (
        r"participants randomised",
        "Participants randomised",
        "Mean number randomised by the end of the trial, in the arms that are compared.",
    ),
    (
        r"primary events",
        "Primary events",
        "Mean number of primary events in the analysis that ends the trial.",
    ),
    (
        r"look \d+ takes place",
        "Look k takes place",
        "Share of the trials in which look k could take place, had nobody stopped the trial before.",
    ),
    (
        r"look \d+, time",
        "Look k, time",
        "Mean time of look k from the first possible randomisation, had nobody stopped the trial before.",
    ),
    (
        r"look \d+, events",
        "Look k, events",
        "Mean number of primary events at look k. Events of the day of the cut-off all count, so that it "
        "may exceed the number waited for.",
    ),
    (
        r"events had nobody stopped",
        "Events had nobody stopped",
        "Mean number of primary events at the planned end of the trial.",
    ),
    (
        r"hazard ratio, true",
        "Hazard ratio, true",
        "The ratio that is estimated. In a plain trial with proportional hazards it is known; otherwise it "
        "is the geometric mean of the estimates of all trials, none of them stopped.",
    ),
    (r"log hazard ratio, true", "Log hazard ratio, true", "The natural logarithm of the true hazard ratio."),
    (
        r"log hazard ratio, SD between trials",
        "Log hazard ratio, SD between trials",
        "Standard deviation of the estimates at the end of the trials.",
    ),
    (
        r"log hazard ratio, mean standard error",
        "Log hazard ratio, mean standard error",
        "Mean of the standard errors that the trials themselves report. Below the SD between trials, the "
        "trials think themselves more precise than they are.",
    ),
    (
        r"bias of the log hazard ratio, .*",
        "Bias of the log hazard ratio",
        "Mean difference between estimate and truth. Below 0 a benefit is exaggerated. Stopping early for a "
        "benefit does that to the estimate as it stands.",
    ),
    (
        r"median bias of the log hazard ratio, .*",
        "Median bias of the log hazard ratio",
        "Median of the estimates less the truth. The estimate adjusted for stopping is made to have none, "
        "when stopping is by the limits.",
    ),
    (
        r"coverage of the interval, as estimated",
        "Coverage of the interval, as estimated",
        "Share of the trials whose interval (the estimate and so many standard errors on either side, at the "
        "level of the test: 95% for a two-sided alpha of 0.05) holds the truth.",
    ),
    (
        r"coverage of the interval, adjusted for stopping",
        "Coverage of the interval, adjusted for stopping",
        "The same for the interval that allows for the looks, whose level is that of the test.",
    ),
    (
        r"difference of restricted means",
        "Difference of restricted means",
        "Mean difference of the restricted mean survival time, compared arm minus reference arm.",
    ),
    (
        r"difference of the biomarker",
        "Difference of the biomarker",
        "Mean difference, compared arm minus reference arm, of the participants' own means over follow-up.",
    ),
    (
        r"biomarker wins",
        "Biomarker wins",
        "Share of the trials whose biomarker differs in favour of the compared arm, by more standard errors "
        "than the level of the test asks for.",
    ),
    (
        r"biomarker wins, endpoint does not",
        "Biomarker wins, endpoint does not",
        "Share of the trials in which the biomarker wins and efficacy on the primary endpoint is not shown: "
        "how often a surrogate would have misled.",
    ),
    (r"both win", "Both win", "Share of the trials in which biomarker and primary endpoint both win."),
    (
        r"cycles per participant",
        "Cycles per participant",
        "Mean number of cycles until the trial ends, among all randomised to the compared arm.",
    ),
    (
        r"injections per participant",
        "Injections per participant",
        "Mean number of injections until the trial ends, among all randomised to the compared arm.",
    ),
    (
        r"dose per participant",
        "Dose per participant",
        "Mean total dose until the trial ends, among all randomised to the compared arm.",
    ),
    (
        r"dose of the trial",
        "Dose of the trial",
        "Mean total dose of the whole compared arm: what must be supplied.",
    ),
    (
        r"dose of the trial, 95% quantile",
        "Dose of the trial, 95% quantile",
        "The total dose that 95% of the trials do not exceed.",
    ),
    (
        r"starting cycles, share",
        "Starting cycles, share",
        "Mean share of the compared arm that receives at least one cycle.",
    ),
    (
        r"escalated, share",
        "Escalated, share",
        "Mean share of the compared arm whose dose is escalated at least once.",
    ),
    (
        r"reduced, share",
        "Reduced, share",
        "Mean share of the compared arm whose dose is reduced at least once.",
    ),
    (
        r"(grade 4|deaths|opportunistic disease), participants, .*",
        "Grade 4, deaths, opportunistic disease",
        "Mean number of participants of an arm with such an event before the trial ends.",
    ),
    (
        r"(grade 4|deaths|opportunistic disease), difference of shares",
        "…, difference of shares",
        "Mean difference of the shares of the two arms, compared arm minus reference arm.",
    ),
)
"""Pattern of the names, the name in the list, what it is."""

ROW_COLUMNS: tuple[tuple[str, str, str], ...] = (
    (r"trial", "trial", "number of the trial, from 0"),
    (r"participants", "participants", "participants planned"),
    (
        r"look \d+\|day",
        "look k|day",
        "days from the first possible randomisation to the cut-off; empty where the look does not take place",
    ),
    (r"look \d+\|events", "look k|events", "primary events known at the look, both arms"),
    (
        r"look \d+\|events (other|reference)",
        "look k|events other, … reference",
        "the same in the compared arm and in the reference arm",
    ),
    (r"look \d+\|enrolled", "look k|enrolled", "participants randomised by then"),
    (r"look \d+\|z", "look k|z", "test statistic, positive where the compared arm does better"),
    (r"look \d+\|information", "look k|information", "variance of the score"),
    (r"look \d+\|log_(hr|se)", "look k|log_hr, log_se", "log hazard ratio (Cox) and its standard error"),
    (r"look \d+\|p", "look k|p", "one-sided p-value of the look by itself"),
    (
        r"look \d+\|rmst (difference|se)",
        "look k|rmst difference, rmst se",
        "difference of restricted means and its standard error, days",
    ),
    (r"win", "win", "1 where efficacy was shown"),
    (r"stop\|look", "stop|look", "look at which the trial ended, from 1"),
    (r"stop\|reason", "stop|reason", "0 no difference shown, 1 efficacy, 2 futility, 3 harm"),
    (
        r"stop\|(day|events|enrolled|z|log_hr|log_se)",
        "stop|day, events, enrolled, z, log_hr, log_se",
        "as at the look at which the trial ended",
    ),
    (
        r"stop\|adjusted p",
        "stop|adjusted p",
        "stage-wise p-value: one-sided in a one-sided test, two-sided in a two-sided one",
    ),
    (
        r"stop\|adjusted (log_hr|low|high)",
        "stop|adjusted log_hr, low, high",
        "median-unbiased log hazard ratio and its interval",
    ),
    (r"whole\|.*", "whole|…", "the comparison at the planned end, had nobody stopped the trial"),
    (r"end\|day", "end|day", "day of the last look"),
    (
        r"participants (other|reference)",
        "participants other, … reference",
        "randomised to the arm by the end of the trial",
    ),
    (
        r"marker\|(other|reference)",
        "marker|other, marker|reference",
        "mean of the participants' own mean biomarker",
    ),
    (
        r"marker\|(difference|se|win)",
        "marker|difference, se, win",
        "difference of the arms, its standard error, and 1 where it is shown",
    ),
    (
        r"years (other|reference)",
        "years other, … reference",
        "person-years of observation by the end of the trial",
    ),
    (
        r"(opportunistic disease|deaths|grade 4) (other|reference)",
        "opportunistic disease, deaths, grade 4 …",
        "participants of the arm with such an event by the end of the trial",
    ),
    (
        r"(cycles|injections|dose) (other|reference)",
        "cycles, injections, dose …",
        "mean per participant of the arm by the end of the trial",
    ),
    (
        r"(escalated|reduced|starting cycles) (other|reference)",
        "escalated, reduced, starting cycles …",
        "share of the arm",
    ),
)
"""Pattern of the columns, how they are listed, what they hold."""

PAPERS = (
    "Limits at each look, recomputed for the events observed: Lan KKG, DeMets DL. Discrete sequential "
    "boundaries for clinical trials. Biometrika 1983;70:659–63. Their computation: Armitage P, McPherson "
    "CK, Rowe BC. Repeated significance tests on accumulating data. J R Stat Soc A 1969;132:235–44; "
    "Jennison C, Turnbull BW. Group sequential methods. Chapman & Hall 2000, chapter 19.",
    "Estimate, interval and p-value adjusted for stopping, by the stage-wise ordering: Tsiatis AA, Rosner "
    "GL, Mehta CR. Exact confidence intervals following a group sequential test. Biometrics 1984;40:797–803.",
    "Common random numbers, so that scenarios are compared on the same virtual people: Glasserman P, Yao "
    "DD. Some guidelines and guarantees for common random numbers. Management Science 1992;38:884–908.",
    "Standard error of a quantile: Woodruff RS. Confidence intervals for medians and other position "
    "measures. J Am Stat Assoc 1952;47:635–46. Interval of a share: Wilson EB. Probable inference, the law "
    "of succession, and statistical inference. J Am Stat Assoc 1927;22:209–12. A share of none or all of "
    "the trials: Hanley JA, Lippman-Hand A. If nothing goes wrong, is everything all right? JAMA "
    "1983;249:1743–5.",
    "What a report of a simulation should say: Morris TP, White IR, Crowther MJ. Using simulation studies "
    "to evaluate statistical methods. Stat Med 2019;38:2074–102.",
)


def definition(name: str) -> tuple[str, str] | None:
    """How a characteristic is listed and what it is; None where nobody said."""
    return _first(CHARACTERISTICS, name)


def column(name: str) -> tuple[str, str] | None:
    """How a column of the rows is listed and what it holds; None where nobody said."""
    return _first(ROW_COLUMNS, name)


def _first(table: tuple[tuple[str, str, str], ...], name: str) -> tuple[str, str] | None:
    return next(((listed, what) for pattern, listed, what in table if re.fullmatch(pattern, name)), None)
