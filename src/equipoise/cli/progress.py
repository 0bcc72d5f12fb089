"""What a long command shows while it works: a bar on a terminal, a line for each stage elsewhere."""

from __future__ import annotations

import sys
from types import TracebackType

import typer

from equipoise.cli import ending


class Stages:
    """Shows stages of work on standard error; call it with the stage in words and the share done (or None).

    Results go to standard output, so that a command can be piped while progress stays visible.
    """

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._stage = ""
        self._bar: object | None = None

    def __enter__(self) -> Stages:
        if self._terminal:
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

            bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.percentage:>3.0f}%"),
                TimeElapsedColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            bar.start()
            self._bar = bar
            self._task = bar.add_task("Starting", total=None)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        from rich.progress import Progress

        if isinstance(self._bar, Progress):
            self._bar.stop()

    def __call__(self, stage: str, share: float | None = None) -> None:
        from rich.progress import Progress

        ending.check()
        heading = stage.partition(":")[0]
        if heading != self._stage and not self._terminal:
            typer.echo(f"{heading} ...", err=True)
        self._stage = heading
        if isinstance(self._bar, Progress):
            if share is None:
                self._bar.update(self._task, description=stage, total=None)
            else:
                self._bar.update(self._task, description=stage, total=1.0, completed=share)
