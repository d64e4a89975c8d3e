"""``swr-trust`` with a tenth of its patience with clients, so that a test can see it end.

``python -m tests.http.hurried serve ...`` is the command line with shorter deadlines.
"""

from __future__ import annotations

import sys
from typing import Final

HANDSHAKE: Final = 1.0
FIRST_BYTE: Final = 1.5
REQUEST: Final = 2.0


def _main() -> int:
    from gevent import monkey

    monkey.patch_all()

    from webhook.cli.main import main
    from webhook.server import connections

    connections.HANDSHAKE_SECONDS = HANDSHAKE  # type: ignore[misc]
    connections.REQUEST_SECONDS = REQUEST  # type: ignore[misc]
    connections.Connection._idle_seconds = FIRST_BYTE
    return main()


if __name__ == "__main__":
    sys.exit(_main())
