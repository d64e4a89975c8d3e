"""Passes gunicorn's log lines to the log handler of this process."""

from __future__ import annotations

import logging
from typing import Any

from gunicorn.glogging import Logger


class QuietLogger(Logger):  # type: ignore[misc]  # gunicorn ships no types
    """Passes errors on and drops the access log."""

    def setup(self, cfg: Any) -> None:
        """Remove gunicorn's handlers; called by gunicorn."""
        self.cfg = cfg
        self.error_log.handlers[:] = []
        self.error_log.propagate = True
        self.error_log.setLevel(logging.WARNING)
        self.access_log.handlers[:] = []
        self.access_log.propagate = False

    def warning(self, msg: str, *args: Any, **kwargs: Any) -> None:
        """Pass a warning on, unless it quotes an invalid request: these are counted instead."""
        if not msg.startswith("Invalid request from"):
            super().warning(msg, *args, **kwargs)

    def access(self, *args: Any, **kwargs: Any) -> None:
        """Write nothing, because each decision is logged."""
