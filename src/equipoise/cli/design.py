"""The command design: what a trial needs and when it will know, computed without simulating it."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from equipoise.cli import trials
from equipoise.cli.protocols import Force
from equipoise.errors import UserError

if TYPE_CHECKING:
    from equipoise.design.from_protocol import Changes, Plan
    from equipoise.protocol.model import BoundaryName
    from equipoise.protocol.quantities import Quantity

TERMINAL = "-"


def design(
    file: Annotated[
        str,
        typer.Argument(
            metavar="PROTOCOL", help="Name of a bundled protocol, or path of a protocol or plain trial."
        ),
    ],
    hr: Annotated[
        float | None, typer.Option("--hr", help="Planned hazard ratio, experimental to reference arm.")
    ] = None,
    control_hazard: Annotated[
        str | None,
        typer.Option(
            "--control-hazard", metavar="RATE", help='Event rate of the reference arm: "0.024 / year".'
        ),
    ] = None,
    dropout: Annotated[
        str | None,
        typer.Option("--dropout", metavar="RATE", help='Rate of leaving, both arms: "0.015 / year".'),
    ] = None,
    events: Annotated[int | None, typer.Option("--events", min=2, help="Planned events.")] = None,
    participants: Annotated[
        int | None, typer.Option("--participants", min=4, help="Participants to randomise.")
    ] = None,
    power: Annotated[float | None, typer.Option("--power", help="Planned power, such as 0.9.")] = None,
    alpha: Annotated[
        float | None, typer.Option("--alpha", help="Level of the test, over both sides where it has two.")
    ] = None,
    looks: Annotated[
        str | None,
        typer.Option("--looks", metavar="SHARES", help="Looks, as shares of the planned events: 0.5,0.75,1."),
    ] = None,
    spending: Annotated[
        str | None, typer.Option("--spending", metavar="NAME", help="Boundary: obrien-fleming, pocock, ...")
    ] = None,
    parameter: Annotated[
        float | None, typer.Option("--parameter", help="Parameter of the boundary, where it has one.")
    ] = None,
    interval: Annotated[
        float, typer.Option("--interval", help="Level of the intervals of dates and numbers.")
    ] = 0.95,
    json_file: Annotated[
        str | None, typer.Option("--json", metavar="FILE", help="Write the numbers as JSON; - prints them.")
    ] = None,
    figure: Annotated[
        Path | None,
        typer.Option("--figure", metavar="FILE", help="Draw accrual, events and looks (.png or .svg)."),
    ] = None,
    force: Force = False,
) -> None:
    """Say what a trial needs and when it will know: events, power, looks, limits, expected dates.

    Computed from the planned rates, not simulated. Options change the plan of the file.

    Example:  equipoise design silcaat

    Example:  equipoise design silcaat --hr 0.8 --participants 2400 --figure silcaat.png

    Example:  equipoise design my-plain-trial.yaml --looks 0.5,1 --spending pocock --json -
    """
    _check_figure(figure)
    changes = _changes(
        hazard_ratio=_within("--hr", hr, 0.0, 100.0),
        control_hazard=_rate("--control-hazard", control_hazard),
        dropout=_rate("--dropout", dropout),
        events=events,
        participants=participants,
        power=_within("--power", power, 0.0, 1.0),
        alpha=_within("--alpha", alpha, 0.0, 1.0),
        looks=_shares(looks),
        spending=_boundary(spending),
        parameter=parameter,
    )
    _within("--interval", interval, 0.0, 1.0)
    plan = _plan(file, changes)
    from equipoise._atomic import new_file
    from equipoise.design import summary as numbers
    from equipoise.design import telling

    found = numbers.summarise(plan, interval)
    data = json.dumps(found.as_dict(), indent=2, ensure_ascii=False)
    written = []
    if figure is not None:
        from equipoise.report import design_figure

        with new_file(figure, force=force) as temporary:
            curves = numbers.curves(plan, interval)
            design_figure.draw(found, curves, temporary, figure.suffix.lower())
        written.append(f"figure  {figure}")
    if json_file not in (None, TERMINAL):
        assert json_file is not None
        with new_file(json_file, force=force) as temporary:
            temporary.write_text(data + "\n", encoding="utf-8")
        written.append(f"design  {json_file}")
    if json_file == TERMINAL:
        typer.echo(data)
        return
    typer.echo(telling.text(found), nl=False)
    if written:
        typer.echo("\n" + "\n".join(written))


# --- reading what was asked -------------------------------------------------------------------------------


def _plan(file: str, changes: Changes) -> Plan:
    from equipoise.design.from_protocol import of_plain, of_protocol
    from equipoise.protocol.plain import build_plain, is_plain
    from equipoise.protocol.reading import load_source

    source = load_source(file)
    if is_plain(source):
        return of_plain(build_plain(source), changes)
    return of_protocol(trials.sound(file), changes)


def _changes(**given: Any) -> Changes:
    from equipoise.design.from_protocol import Changes

    return Changes(**given)


def _within(option: str, value: float | None, low: float, high: float) -> float | None:
    if value is None:
        return None
    if not low < value < high:
        raise UserError(f"{option}: expected a number above {low:g} and below {high:g}, not {value:g}")
    return value


def _rate(option: str, text: str | None) -> Quantity | None:
    from equipoise.protocol.quantities import parse_rate

    if text is None:
        return None
    try:
        return parse_rate(text)
    except ValueError as error:
        raise UserError(f"{option}: {error}") from None


def _shares(text: str | None) -> tuple[float, ...] | None:
    if text is None:
        return None
    try:
        shares = tuple(float(part) for part in text.split(","))
    except ValueError:
        shares = ()
    if not shares or not all(map(math.isfinite, shares)):
        raise UserError(f'--looks: expected shares of the planned events such as 0.5,0.75,1, not "{text}"')
    return shares


def _boundary(name: str | None) -> BoundaryName | None:
    from equipoise.protocol.model import BoundaryName
    from equipoise.protocol.nearest import near_or_all

    known: tuple[BoundaryName, ...] = get_args(BoundaryName)
    if name is None or name in known:
        return name
    raise UserError(f'--spending: there is no boundary "{name}"{near_or_all(name, known)}')


def _check_figure(figure: Path | None) -> None:
    suffixes = (".png", ".svg")
    if figure is not None and figure.suffix.lower() not in suffixes:
        raise UserError(f"--figure: {figure} must end in {' or '.join(suffixes)}")


def add_to(app: typer.Typer) -> None:
    """Add this command."""
    app.command()(design)
