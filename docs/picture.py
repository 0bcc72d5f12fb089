"""Draws the picture of the README from a run:  python docs/picture.py silcaat-1

Reads the results that `equipoise run silcaat` wrote and sets two figures of its report side by side.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import matplotlib
import typst

from equipoise import analyse, record
from equipoise.protocol import Protocol
from equipoise.report import sections, tables
from equipoise.report import words as w
from equipoise.report.document import Figure, Subsection
from equipoise.report.material import Material

PICTURE = Path(__file__).parent / "img" / "silcaat.png"
TEMPLATE = """
#let d = json("d.json")
#set page(width: 1180pt, height: auto, margin: 18pt, fill: white)
#set text(font: "Libertinus Serif", size: 17pt, fill: rgb("#1f2a37"))
#grid(columns: (1fr, 1fr), column-gutter: 26pt, ..d.map(f => [
  #text(20pt, weight: "bold", f.title) \\
  #v(-8pt)
  #text(f.simulated) \\
  #text(fill: rgb("#b0125b"), f.published)
  #image(f.file, width: 100%)
]))
"""


def figures(folder: Path) -> list[dict[str, str]]:
    """The two figures, each with the simulated and the published result in words."""
    made = record.read(folder / "record")
    plan: Protocol = made.protocol
    arms = tables.Arms.of(plan)
    rows = tables.Rows(analyse.read(folder).table)
    material = Material(rows, plan, arms, made, None, {}, (), True)
    pair = arms.pair(arms.compared[0])
    found = []
    for analysis, parameter, what, places in (
        ("cd4", "mean difference over follow-up", "average difference", 0),
        ("primary", "hazard ratio", "hazard ratio", 2),
    ):
        published = tables.published_for(plan, analysis, pair, parameter, "estimate")
        found.append(
            {
                "simulated": "One simulated trial: "
                f"{what} {w.with_interval(*rows.triple(analysis, pair, parameter), places)}",
                "published": f"Published: {what} {tables.published_text(published, places)}",
            }
        )
    cd4 = sections.measures(material)
    outcomes = sections.outcomes(material)
    assert cd4 is not None
    assert isinstance(cd4.blocks[0], Subsection)
    drawn = [
        next(b for b in cd4.blocks[0].blocks if isinstance(b, Figure)),
        next(b for b in outcomes.blocks if isinstance(b, Figure)),
    ]
    titles = ("CD4 count", "Opportunistic disease or death")
    return [
        {"title": title, "svg": figure.wide, **text}
        for title, figure, text in zip(titles, drawn, found, strict=True)
    ]


def main(folder: Path) -> None:
    """Write the picture."""
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        content = figures(folder)
        for i, figure in enumerate(content):
            figure["file"] = f"{i}.svg"
            (place / figure["file"]).write_text(figure.pop("svg"), encoding="utf-8")
        (place / "d.json").write_text(json.dumps(content), encoding="utf-8")
        (place / "picture.typ").write_text(TEMPLATE, encoding="utf-8")
        fonts = str(Path(matplotlib.get_data_path()) / "fonts" / "ttf")
        png = typst.compile(
            str(place / "picture.typ"), root=str(place), font_paths=[fonts], ignore_system_fonts=True,
            format="png", ppi=96.0,
        )  # fmt: skip
    PICTURE.parent.mkdir(exist_ok=True)
    assert isinstance(png, bytes)
    PICTURE.write_bytes(png)
    print(f"{PICTURE} ({len(png) // 1000} kB)")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
