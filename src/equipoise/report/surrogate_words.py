"""Sentences about a biomarker as a surrogate, shared by the report and by the page of `equipoise
surrogate`."""

from __future__ import annotations

from collections.abc import Sequence

from equipoise.report.document import Paragraph, Run, Words, words

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


def answered(told: Sequence[tuple[str, str | Words]]) -> list[Paragraph]:
    """Questions with their answers, a paragraph each; those without an answer are left out."""
    return [
        Paragraph((Run(title, "strong"), *(words(answer) if isinstance(answer, str) else answer)))
        for title, answer in told
        if answer
    ]


def cannot_tell(marker: str) -> tuple[str, ...]:
    """What no analysis of one trial settles."""
    return (
        f"Whether the difference in {marker} that treatment made changed anybody's risk. The arms were "
        f"assigned by chance, the {marker} of a person was not: people who differ in it differ in more than "
        "that, and the analysis takes all of the difference for its effect.",
        "Whether treatment harms beside it. An effect that the biomarker does not explain may be harm, or "
        "a biomarker that promised too much; the numbers are the same.",
        "Whether another treatment that moves the biomarker as far would do as much.",
    )


def not_harm(marker: str, adjusted: str) -> Words:
    """The hazard ratio of the arms adjusted for the marker, and why one above 1 is no proof of harm.

    `adjusted`: the ratio with its interval."""
    return words(
        f"In a model with the latest {marker}, the hazard ratio of the arms is {adjusted}. It must not be "
        f"read as the harm, or the good, that treatment does apart from the {marker}. Where risk follows "
        f"{marker} more steeply among people than it follows what treatment does to it, such a number shows "
        "a harm or a good that is not there: ",
        Run("equipoise surrogate --demonstrate", "code"),
        " shows it for the CD4 count of virtual people, where it lies above 1 although the treatment does "
        "nothing but good.",
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
