"""Start ``swr-trust`` with controlled name resolution and a count of its greenlets.

``ServerProcess(..., inject="tests.chaos.serve")`` starts the installed program so. Names below ``chaos.test``
are resolved by the file that ``CHAOS_NAMES`` names: ``hang``, ``fail``, or the loopback address without an
entry.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any, Final

NAMES: Final = "CHAOS_NAMES"
GREENLETS: Final = "CHAOS_GREENLETS"
"""The file to which the number of greenlets is written, every two seconds."""

DOMAIN: Final = ".chaos.test"
HANG_SECONDS: Final = 60.0
COUNT_SECONDS: Final = 2.0


def _configure_resolver(socket: Any) -> None:
    """Resolve names below ``chaos.test`` before the system does; ``socket`` is not patched yet, so it is the
    original.
    """
    resolve, pause = socket.getaddrinfo, time.sleep

    def resolve_as_told(host: Any, *rest: Any, **options: Any) -> Any:
        """Replace ``getaddrinfo``; runs in a native thread, as that does."""
        if isinstance(host, str) and host.endswith(DOMAIN):
            ends = time.monotonic() + HANG_SECONDS
            while _order(host) == "hang" and time.monotonic() < ends:
                pause(0.1)
            if _order(host) in ("hang", "fail"):
                raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
            host = "127.0.0.1"
        return resolve(host, *rest, **options)

    socket.getaddrinfo = resolve_as_told


def _order(host: str) -> str:
    orders: dict[str, str] = json.loads(Path(os.environ[NAMES]).read_text(encoding="utf-8"))
    return orders.get(host.removesuffix(DOMAIN), "")


def _count_greenlets(path: Path) -> None:
    import gc

    import gevent
    import greenlet

    while True:
        count = sum(isinstance(item, greenlet.greenlet) and not item.dead for item in gc.get_objects())
        path.write_text(str(count), encoding="ascii")
        gevent.sleep(COUNT_SECONDS)


def _count(worker: Any) -> None:
    run = worker.Worker.run

    def run_counted(self: Any) -> None:
        import gevent

        if os.environ.get(GREENLETS):
            gevent.spawn(_count_greenlets, Path(os.environ[GREENLETS]))
        run(self)

    worker.Worker.run = run_counted


HOOKS: Final = {"socket": _configure_resolver, "webhook.server.worker": _count}
