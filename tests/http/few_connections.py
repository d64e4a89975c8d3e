"""Start ``swr-trust`` with a low connection limit, so that a test can reach it.

``ServerProcess(..., inject="tests.http.few_connections")`` starts the installed program so.
"""

from __future__ import annotations

from typing import Any, Final

PLACES: Final = 40


def _shrink(process: Any) -> None:
    process._SETTINGS["worker_connections"] = PLACES


HOOKS: Final = {"webhook.server.gunicorn_server": _shrink}
