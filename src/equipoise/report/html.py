"""A report as one web page: no network, no script, light or dark, wide or narrow, screen or paper."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

import jinja2
from markupsafe import Markup, escape

from equipoise import __version__
from equipoise.report import document as d
from equipoise.report import figures


def _words(words: d.Words) -> Markup:
    out = Markup("")
    for run in words:
        text = escape(run.text)
        if run.kind == "strong":
            text = Markup("<strong>{}</strong>").format(run.text)
        elif run.kind == "code":
            text = Markup("<code>{}</code>").format(run.text)
        elif run.kind == "link":
            text = Markup('<a href="{}">{}</a>').format(run.address, run.text)
        out += text
    return out


def _cell(cell: d.Cell) -> Markup:
    drawing = cell.drawing
    picture = Markup(figures.web(drawing.svg, drawing.alt, "strip")) if drawing else Markup("")
    return picture + _words(cell.words)


def _row(row: d.Row, columns: tuple[d.Column, ...], stack: bool) -> Markup:
    if row.kind == "heading":
        return Markup('<tr class="heading"><th colspan="{}" scope="rowgroup">{}</th></tr>\n').format(
            len(columns), _cell(row.cells[0])
        )
    cells = [Markup('<th scope="row">{}</th>').format(_cell(row.cells[0]))]
    for cell, column in zip(row.cells[1:], columns[1:], strict=True):
        inner = Markup("<div>{}</div>").format(_cell(cell)) if stack else _cell(cell)
        cells.append(
            Markup('<td class="{}" data-label="{}">{}</td>').format(column.align, column.title, inner)
        )
    return Markup('<tr class="{}">{}</tr>\n').format(row.kind, Markup("").join(cells))


def _table(table: d.Table, caption: bool = True) -> Markup:
    heads = Markup("").join(
        Markup('<th scope="col" class="{}">{}</th>').format(c.align, c.title)
        if c.title
        else Markup("<td></td>")
        for c in table.columns
    )
    body = Markup("").join(_row(row, table.columns, table.stack) for row in table.rows)
    notes = Markup("").join(Markup('<p class="note">{}</p>\n').format(note) for note in table.notes)
    return Markup(
        '<div class="scroll{}" tabindex="0" role="region" aria-label="{}" id="{}">\n<table>{}\n'
        "{}<thead><tr>{}</tr></thead>\n<tbody>\n{}</tbody></table></div>\n{}"
    ).format(
        _shape(table),
        table.caption,
        table.id,
        Markup("<caption>{}</caption>").format(table.caption),
        _widths(table),
        heads,
        body,
        notes,
    )


def _shape(table: d.Table) -> str:
    """How the page sets a table: as cards on a phone, closer where it has many columns, wider where few."""
    if table.stack:
        return " stack many" if len(table.columns) > 7 else " stack"
    return " few" if len(table.columns) <= 3 else ""


def _widths(table: d.Table) -> Markup:
    """Shares of the width, for tables of text."""
    if not table.stack:
        return Markup("")
    total = sum(column.width for column in table.columns)
    columns = Markup("").join(
        Markup('<col style="width:{}%">').format(round(100 * c.width / total)) for c in table.columns
    )
    return Markup("<colgroup>{}</colgroup>\n").format(columns)


def _figure(figure: d.Figure) -> Markup:
    pictures = Markup(
        figures.web(figure.wide, figure.alt, "wide") + figures.web(figure.narrow, figure.alt, "narrow")
    )
    notes = Markup("").join(Markup('<p class="note">{}</p>\n').format(note) for note in figure.notes)
    numbers = (
        Markup("<details><summary>The numbers in this figure</summary>\n{}</details>\n").format(
            _table(figure.table)
        )
        if figure.table
        else Markup("")
    )
    return Markup('<figure id="{}">\n<figcaption>{}</figcaption>\n{}\n{}</figure>\n{}').format(
        figure.id, figure.caption, pictures, notes, numbers
    )


def _render(block: d.Block | d.Subsection) -> Markup:
    match block:
        case d.Paragraph():
            return Markup("<p>{}</p>\n").format(_words(block.words))
        case d.Listing():
            tag = Markup("ol" if block.ordered else "ul")
            points = Markup("").join(Markup("<li>{}</li>\n").format(_words(point)) for point in block.points)
            return Markup("<{0}>\n{1}</{0}>\n").format(tag, points)
        case d.Callout():
            inner = Markup("").join(Markup("<p>{}</p>\n").format(_words(p)) for p in block.paragraphs)
            return Markup('<div class="callout" role="note"><p><strong>{}</strong></p>\n{}</div>\n').format(
                block.title, inner
            )
        case d.Facts():
            inner = Markup("").join(
                Markup('<div class="fact"><b>{}</b><span>{}</span><small>{}</small></div>\n').format(
                    fact.value, fact.label, fact.note
                )
                for fact in block.facts
            )
            return Markup('<div class="facts">\n{}</div>\n').format(inner)
        case d.Code():
            return Markup("<pre><code>{}</code></pre>\n").format(block.text)
        case d.Table(folded=True):
            return Markup("<details><summary>{}</summary>\n{}</details>\n").format(
                block.caption, _table(block)
            )
        case d.Table():
            return _table(block)
        case d.Figure():
            return _figure(block)
        case d.Subsection():
            return Markup("<h3>{}</h3>\n{}").format(
                block.title, Markup("").join(_render(b) for b in block.blocks)
            )


@cache
def _template() -> tuple[jinja2.Template, str]:
    folder = files("equipoise.report") / "templates"
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    environment.filters["render"] = _render
    page = environment.from_string((folder / "report.html.j2").read_text(encoding="utf-8"))
    return page, (folder / "report.css").read_text(encoding="utf-8")


def page(document: d.Document) -> str:
    """The whole page. Every text of the document is escaped; drawings and the style sheet are ours."""
    template, css = _template()
    return template.render(document=document, css=Markup(css), version=__version__)
