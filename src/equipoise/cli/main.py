"""The command `equipoise`: its commands, and how it ends when something goes wrong.

A mistake that the user can mend is one message and status 2. Ctrl-C ends with status 130 and leaves nothing
half written. Anything else is a defect of Equipoise, and the message says so.
"""

from __future__ import annotations

import io
import sys
from typing import Annotated, Any, TextIO

import typer
from typer.core import TyperGroup

import equipoise
from equipoise.cli import (
    boundaries,
    conduct,
    design,
    ending,
    explain,
    fit,
    power,
    protocols,
    records,
    rehearse,
    surrogate,
    trials,
)
from equipoise.errors import UserError

INTERRUPTED = 130
MISTAKE = 2
DEFECT = 1


class _Commands(TyperGroup):
    """Ends a command that fails with one message."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except UserError as error:
            if ctx.params.get("debug"):
                raise
            typer.echo(f"equipoise: {error}", err=True)
            raise typer.Exit(MISTAKE) from None
        except KeyboardInterrupt:
            typer.echo("\nequipoise: interrupted; nothing half-written was left behind", err=True)
            raise typer.Exit(INTERRUPTED) from None
        except ending.Ended:
            typer.echo("equipoise: told to end; nothing half-written was left behind", err=True)
            raise
        except MemoryError:
            typer.echo("equipoise: not enough memory; fewer --participants or --threads need less", err=True)
            raise typer.Exit(MISTAKE) from None
        except BrokenPipeError:
            raise
        except OSError as error:
            if ctx.params.get("debug"):
                raise
            from equipoise._atomic import reason

            where = f"{error.filename}: " if error.filename else ""
            typer.echo(f"equipoise: {where}{reason(error)}", err=True)
            raise typer.Exit(MISTAKE) from None
        except Exception as error:
            if ctx.params.get("debug") or hasattr(error, "exit_code") or isinstance(error, typer.Abort):
                raise  # the last two are the command line's own way to end
            words = f"{type(error).__name__}: {error}".splitlines()[0]
            typer.echo(
                f"equipoise: unexpected {words}\n"
                f"This is a defect of Equipoise {equipoise.__version__}, not of your files. Please report\n"
                "it, with what you see when you repeat the command as  equipoise --debug ...",
                err=True,
            )
            raise typer.Exit(DEFECT) from None


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    rich_markup_mode=None,
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"equipoise {equipoise.__version__}")
        raise typer.Exit


@app.callback()
def _equipoise(
    debug: Annotated[
        bool, typer.Option("--debug", help="Show where in the program an error came from.")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and end.")
    ] = False,
) -> None:
    """Executes clinical trials: one protocol file, from design to result.

    Start with:  equipoise run silcaat
    """


trials.add_to(app)
power.add_to(app)
fit.add_to(app)
surrogate.add_to(app)
explain.add_to(app)
protocols.add_to(app)
records.add_to(app)
conduct.add_to(app)
rehearse.add_to(app)
boundaries.add_to(app)
design.add_to(app)


def _whole(stream: TextIO) -> TextIO:
    """Standard output as a stream that writes everything or fails: Python's own, unbuffered
    (PYTHONUNBUFFERED), drops what a full disk does not take, and says nothing."""
    raw = getattr(stream, "buffer", None)
    if not isinstance(raw, io.RawIOBase):
        return stream
    return io.TextIOWrapper(
        io.BufferedWriter(raw), encoding=stream.encoding, errors=stream.errors, line_buffering=True
    )


def main() -> None:
    """Run the command line; ends the process."""
    ending.listen()
    sys.stdout = _whole(sys.stdout)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    try:
        app(prog_name="equipoise")
    except KeyboardInterrupt:
        typer.echo("\nequipoise: interrupted", err=True)
        sys.exit(INTERRUPTED)
