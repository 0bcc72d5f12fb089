"""Writes the tables of docs/virtual-participants.md from the population file.

    python docs/render_population.py            # write them
    python docs/render_population.py --check    # status 1 if the page is not up to date

A test keeps the page up to date.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from equipoise.virtual import load_population
from equipoise.virtual.describing import dials_table, presets_table, rows_table, sources_list

PAGE = Path(__file__).resolve().parent / "virtual-participants.md"


def rendered(text: str) -> str:
    """The page with every block between `<!-- table: X -->` and `<!-- end -->` written anew."""
    population = load_population("hiv_il2")
    file = population.file
    blocks = {
        "parameters": rows_table(file.parameters),
        "habits": rows_table(file.habits),
        "dials": dials_table(population),
        "presets": presets_table(population) + "\n\n" + file.default.reason,
        "not identified": "\n".join(f"- {sentence}" for sentence in file.not_identified),
        "sources": sources_list(population),
    }

    def block(match: re.Match[str]) -> str:
        return f"<!-- table: {match[1]} -->\n\n{blocks[match[1]]}\n\n<!-- end -->"

    return re.sub(r"<!-- table: ([a-z ]+) -->.*?<!-- end -->", block, text, flags=re.DOTALL)


def main(arguments: list[str]) -> int:
    """See the top of this file."""
    text = PAGE.read_text(encoding="utf-8")
    new = rendered(text)
    if "--check" in arguments:
        if new != text:
            print(f"{PAGE.name} is not up to date: run python docs/render_population.py")
        return int(new != text)
    PAGE.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
