"""Passes gunicorn's log lines to the log handler of this process."""

from __future__ import annotations

import logging
from typing import Any

from gunicorn.glogging import Logger


class QuietLogger(Logger):  # type: ignore[misc]  # gunicorn ships no types
    """Passes errors on; gunicorn sees no request, so there is no access log."""

    def setup(self, cfg: Any) -> None:
        """Remove gunicorn's handlers; called by gunicorn."""
        self.cfg = cfg
        self.error_log.handlers[:] = []
        self.error_log.propagate = True
        self.error_log.setLevel(logging.WARNING)
