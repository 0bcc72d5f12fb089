"""Sentences about a biomarker as a surrogate, shared by the report and by the page of `equipoise
surrogate`."""

from __future__ import annotations

ASSUMED = (
    "The outcome is not itself defined by the biomarker: of an outcome that counts a fall of the biomarker "
    "as an event, none of this can be read.",
    "Risk follows the latest measured value of the biomarker, and nothing else of its history, in the same "
    "way at all times; between measurements a value stands until the next.",
    "For what is expected: a difference that treatment makes in the biomarker counts as much as one that "
    "people have by nature.",
    "For what is adjusted: whatever moves both biomarker and outcome is in the model. Frailty, which may "
    "worsen both, is not.",
)


def cannot_tell(marker: str) -> tuple[str, ...]:
    """What no analysis of one trial settles."""
    return (
        f"Whether the difference in {marker} that treatment made changed anybody's risk. The arms were "
        "assigned by "
        f"chance, the {marker} of a person was not: people who differ in it differ in more than that, and "
        "the "
        "analysis takes all of the difference for its effect.",
        "Whether treatment harms beside it. An effect that the biomarker does not explain may be harm, or a "
        "biomarker that promised too much; the numbers are the same.",
        "Whether another treatment that moves the biomarker as far would do as much.",
    )


def not_harm(marker: str) -> str:
    """Why an adjusted hazard ratio above 1 is no proof of harm."""
    return (
        f"Where risk follows {marker} more steeply among people than it follows what treatment does to it, "
        "such a "
        "number shows a harm or a good that is not there: equipoise surrogate --demonstrate shows it for the "
        "CD4 "
        "count of virtual people, where it lies above 1 although the treatment does nothing but good."
    )


def promised(
    marker: str,
    reference: str,
    slope: str,
    related: bool,
    expected: str,
    low: float | None,
    high: float | None,
) -> str:
    """What the biomarker promised, and whether it came. `slope`: how risk follows it in the reference arm,
    such as "hazard ratio per doubling 0.5"; `related`: whether chance alone could not make it. `low`, `high`:
    interval of observed over expected."""
    told = f"risk follows {marker}" if related else f"it cannot be told whether risk follows {marker}"
    text = (
        f"Among people with {reference}, {told} ({slope}). If the difference that treatment made in it "
        f"counted as much as one between people, the hazard ratio would have been {expected}. "
    )
    if low is None or high is None:
        return text.strip()
    if low > 1:
        return text + "What came was worse than that, by more than chance explains."
    if high < 1:
        return text + "What came was better than that, by more than chance explains."
    return text + "What came agrees with that promise; it also agrees with much else, as the intervals say."
