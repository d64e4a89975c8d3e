"""gunicorn's log lines through our handler: no format, file or stream of its own."""

from __future__ import annotations

import logging
from typing import Any

from gunicorn.glogging import Logger


class QuietLogger(Logger):  # type: ignore[misc]  # gunicorn ships no types
    """Passes errors on and drops the access log."""

    def setup(self, cfg: Any) -> None:
        """Leave the handlers alone; called by gunicorn."""
        self.cfg = cfg
        self.error_log.handlers[:] = []
        self.error_log.propagate = True
        self.error_log.setLevel(logging.WARNING)
        self.access_log.handlers[:] = []
        self.access_log.propagate = False

    def warning(self, msg: str, *args: Any, **kwargs: Any) -> None:
        """Pass on, but for what strangers send: that is counted, and its text is theirs."""
        if not msg.startswith("Invalid request from"):
            super().warning(msg, *args, **kwargs)

    def access(self, *args: Any, **kwargs: Any) -> None:
        """Write nothing: the decision log says it all."""
