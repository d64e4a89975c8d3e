"""The progress bar of commands that read all Pods."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from webhook.audit.scanning import AuditProgress, NullProgress


@contextmanager
def show_progress() -> Iterator[AuditProgress]:
    """Show a progress bar on standard error if it is a terminal."""
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        yield NullProgress()
        return
    from rich.console import Console  # noqa: PLC0415 - only terminals need it
    from rich.progress import (  # noqa: PLC0415 - the same
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("Pods"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        yield BarProgress(bar)


class BarProgress:
    """Implements ``AuditProgress`` as a progress bar."""

    def __init__(self, bar: Any) -> None:
        """Draw into ``bar``, a ``rich.progress.Progress``."""
        self._bar = bar
        self._task = bar.add_task("Pods", total=None, rate="", note="")

    def pods_evaluated(self, pods: int, remaining: int | None) -> None:
        """Move the bar. Its length is known if the API server reports the number of remaining Pods."""
        total = None if remaining is None else pods + remaining
        self._bar.update(self._task, completed=pods, total=total, rate=self._rate())

    def images_looked_up(self, images: int, pause: float) -> None:
        """Show how many images were looked up, and a pause that SWR requests."""
        note = f"{images} images looked up"
        if pause:
            note += f", waiting {pause:.0f} s as SWR requests"
        self._bar.update(self._task, note=note, rate=self._rate())

    def _rate(self) -> str:
        speed = self._bar.tasks[0].speed
        return f"{speed:.0f} Pods/s" if speed else ""
