"""``swr-trust`` whose name resolution does as it is told, and which says how many greenlets it has.

``python -m tests.chaos.serve serve ...`` is the command line. Names below ``chaos.test`` are resolved by
the file that ``CHAOS_NAMES`` names: ``hang``, ``fail``, or the loopback address where it says nothing.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from pathlib import Path
from typing import Any, Final

NAMES: Final = "CHAOS_NAMES"
GREENLETS: Final = "CHAOS_GREENLETS"
"""The file that the number of greenlets is written to, every two seconds."""

DOMAIN: Final = ".chaos.test"
HANG_SECONDS: Final = 60.0
COUNT_SECONDS: Final = 2.0

_resolve = socket.getaddrinfo
_pause = time.sleep


def _resolve_as_told(host: Any, *rest: Any, **options: Any) -> Any:
    """Stand in for ``getaddrinfo``; runs in a native thread, as that does."""
    if isinstance(host, str) and host.endswith(DOMAIN):
        ends = time.monotonic() + HANG_SECONDS
        while _order(host) == "hang" and time.monotonic() < ends:
            _pause(0.1)
        if _order(host) in ("hang", "fail"):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        host = "127.0.0.1"
    return _resolve(host, *rest, **options)


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


def _main() -> int:
    # Before gevent takes note of what is the original.
    socket.getaddrinfo = _resolve_as_told
    from gevent import monkey

    monkey.patch_all()

    import gevent

    from webhook.cli.main import main
    from webhook.server.worker import Worker

    run = Worker.run

    def run_counted(worker: Worker) -> None:
        if os.environ.get(GREENLETS):
            gevent.spawn(_count_greenlets, Path(os.environ[GREENLETS]))
        run(worker)

    Worker.run = run_counted  # type: ignore[method-assign]
    return main()


if __name__ == "__main__":
    sys.exit(_main())
