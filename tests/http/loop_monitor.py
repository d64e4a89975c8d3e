"""Start ``swr-trust`` with a monitor that records which greenlet stalls the loop, and for how long.

``ServerProcess(..., inject="tests.http.loop_monitor")`` starts the installed program with it. At each switch
between greenlets, the monitor reads the processor time of the first one and records it if it is long. It uses
the thread's processor time and not the clock. On a busy machine a thread may wait for the processor for any
time, regardless of the code that it runs. Code that only waits takes no processor time. The program's own
monitor (``webhook.app.loop_watch``) uses the clock, and tests of the loop read both.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any, Final

REPORT: Final = "LOOP_WATCH_REPORT"
"""The variable that names the file to which each long turn is appended."""

LONG: Final = 0.005
"""Seconds from which a turn is recorded."""


def read_turns(report: Path) -> list[tuple[float, str]]:
    """Return the seconds and the code of all long turns, the longest first."""
    if not report.exists():
        return []
    lines = report.read_text(encoding="utf-8").splitlines()
    return sorted(((turn["seconds"], turn["whose"]) for turn in map(json.loads, lines)), reverse=True)


class Watch:
    """The monitor of one loop, in the thread that runs it."""

    def __init__(self, report: Path) -> None:
        self._report = report.open("a", encoding="utf-8", buffering=1)
        self._began = time.thread_time()

    def __call__(self, event: str, switch: tuple[Any, Any]) -> None:
        """Record a switch; see ``greenlet.settrace``."""
        took = time.thread_time() - self._began
        if took >= LONG:
            self._report.write(json.dumps({"seconds": took, "whose": _describe(switch[0])}) + "\n")
        self._began = time.thread_time()


def _describe(origin: Any) -> str:
    frame, names = getattr(origin, "gr_frame", None), []
    while frame is not None:
        names.append(f"{Path(frame.f_code.co_filename).stem}.{frame.f_code.co_name}:{frame.f_lineno}")
        frame = frame.f_back
    return f"{type(origin).__name__}: {' < '.join(names[:8])}"


def _watch(worker: Any) -> None:
    run = worker.Worker.run

    def run_watched(self: Any) -> None:
        import greenlet

        greenlet.settrace(Watch(Path(os.environ[REPORT])))
        run(self)

    worker.Worker.run = run_watched


HOOKS: Final = {"webhook.server.worker": _watch}
