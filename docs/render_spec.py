"""Writes the rules chapters of the manual from the specification tables in tests/spec.

    python docs/render_spec.py            # write docs/rules/*.md
    python docs/render_spec.py --check    # say which pages are not up to date, status 1 if any

Every table line is a test; here each dosing case also gets the sentence that a user would read. A test keeps
the
pages up to date.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SPEC = ROOT / "tests" / "spec"
PAGES = ROOT / "docs" / "rules"

sys.path.insert(0, str(SPEC))

from dosing_cases import of_case, situation  # noqa: E402
from tables import CHAPTERS, Case, cases  # noqa: E402

from equipoise.rules import ACTIONS, decide  # noqa: E402
from equipoise.rules.explaining import sentence  # noqa: E402
from equipoise.rules.reasons import REASONS  # noqa: E402
from equipoise.rules.terms import UNKNOWNS  # noqa: E402

MADE = "<!-- Written by docs/render_spec.py from {source}: edit that, then run the script. -->\n\n"
WIDE = "---\nhide: [navigation]\n---\n\n"
ORDER = ["dosing", "trials", "schedule", "eligibility", "randomization", "endpoints", "truth", "criteria"]

INDEX = """# What the protocol decides

The rules of `equipoise.rules` say who may enter a trial, which arm comes next, what is due, which dose may be
given and what counts as an endpoint. They are plain functions: the same source decides for a virtual
participant in a compiled simulation and for a real one. The chapters below are tables of worked cases. Each
line of each table is also a test, so what stands here is what the software does.

{chapters}

## What may be decided about a cycle

{actions}

A decision also says at which dose, from which day a cycle could start, why, and what is not known. Nothing
unknown ever starts a cycle. What may be not known: {unknowns}.

## Every reason, in words

The first that applies, in the order of the chapter on dosing decisions, is the reason. The record holds its
name, a person reads its sentence with the numbers filled in.

| reason | sentence |
|---|---|
{reasons}

## From Python

```python
from equipoise.protocol import load
from equipoise.rules import Situation, decide, dose_rules
from equipoise.rules.explaining import explain, words
from equipoise.rules.truth import word

silcaat = load("silcaat")
rules = dose_rules(silcaat, "aldesleukin")
today = Situation(
    day=168, randomized=1, assigned=1, in_follow_up=1, stopped=0, hold=0, hold_until=0, cover=1,
    cycles=3, first_cycle_day=0, last_cycle_day=112, dose=4.5, cycles_at_dose=3, reduced=0, toxicity=0,
    baseline=180.0, measure=205.0, measured_day=168, goal=305.0,
)  # fmt: skip
told = explain(rules, today, words(silcaat, "aldesleukin"))
print(told.sentence)
for rule in told.conditions:
    print(word(rule.holds), "|", rule.rule, "|", rule.value)
```

prints

```text
{printed}
```
"""

ACTION_WORDS = {
    "start": "a cycle may start, at the dose so far",
    "wait": "not today",
    "hold": "a reason to withhold the drug is present",
    "reduce": "a cycle may start, at a lower dose",
    "escalate": "a cycle may start, at a higher dose",
    "stop": "no further cycle; follow-up continues",
}


def escaped(text: str) -> str:
    """Text for a cell of a Markdown table."""
    return text.replace("|", "\\|")


def in_words(case: Case) -> str:
    """The sentence of a dosing case; for a correction, what the corrected record would have said."""
    rules, names = of_case(case)
    now = situation(case, corrected="corrected decision" in case.cells)
    return sentence(decide(rules, now), rules, now, names)


def rendered(chapter: Path) -> str:
    """A chapter of the manual: the specification as it is, dosing cases with their sentence added."""
    by_line = {case.line: case for case in cases(chapter)}
    lines = chapter.read_text("utf-8").splitlines()
    page = []
    for number, line in enumerate(lines, start=1):
        case = by_line.get(number)
        if line.startswith("| case |") and "| decision |" in line:
            page.append(f"{line} in words |")
        elif line.startswith("|---") and "| decision |" in lines[number - 2]:
            page.append(f"{line}---|")
        elif case is not None and "decision" in case.cells:
            page.append(f"{line} {escaped(in_words(case))} |")
        else:
            page.append(line.replace("```yaml given", "```yaml"))
    wide = WIDE if any("decision" in case.cells for case in by_line.values()) else ""
    return wide + MADE.format(source=f"tests/spec/{chapter.name}") + "\n".join(page) + "\n"


def printed() -> str:
    """What the Python example of the index prints, computed by running it."""
    import contextlib
    import io

    code = INDEX.split("```python\n")[1].split("```")[0]
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        exec(compile(code, "docs/rules/index.md", "exec"), {})
    return output.getvalue().rstrip()


def index() -> str:
    """The first page: chapters, actions, unknowns, reasons."""
    titles = {path.stem: path.read_text("utf-8").splitlines()[0].lstrip("# ") for path in CHAPTERS}
    count = {path.stem: len(cases(path)) for path in CHAPTERS}
    return MADE.format(source="tests/spec and equipoise.rules") + INDEX.format(
        chapters="\n".join(f"- [{titles[name]}]({name}.md): {count[name]} cases" for name in ORDER),
        actions="\n".join(f"- **{word}**: {ACTION_WORDS[word]}" for word in ACTIONS.values()),
        unknowns=", ".join(UNKNOWNS.values()),
        reasons="\n".join(f"| {name} | {escaped(text)} |" for name, text in REASONS.values()),
        printed=printed(),
    )


def pages() -> dict[Path, str]:
    """Every page of the rules chapters, by its path."""
    assert {path.stem for path in CHAPTERS} == set(ORDER)
    return {PAGES / "index.md": index()} | {PAGES / path.name: rendered(path) for path in CHAPTERS}


def outdated() -> list[str]:
    """The pages that differ from what the tables say now, and pages that no table stands behind."""
    wanted = pages()
    found = {path: path.read_text("utf-8") for path in PAGES.glob("*.md")}
    return sorted(path.name for path in wanted.keys() | found.keys() if wanted.get(path) != found.get(path))


def main() -> int:
    """Write the pages, or with --check only say which are not up to date."""
    late = outdated()
    if "--check" in sys.argv[1:]:
        print(
            "\n".join(
                f"docs/rules/{name} is not up to date: run  python docs/render_spec.py" for name in late
            )
        )
        return 1 if late else 0
    PAGES.mkdir(exist_ok=True)
    for path, text in pages().items():
        path.write_text(text, "utf-8")
    print(f"wrote {len(pages())} pages to docs/rules")
    return 0


if __name__ == "__main__":
    sys.exit(main())
