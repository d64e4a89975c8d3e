"""The patch that lets the server's one loop wait: gevent's, before anything of the product is imported.

A module that was imported earlier may keep what the patch replaces, ``time.sleep`` as the default value of an
argument for one. Such a call stops the loop, and with it everybody who waits for an answer. So the order is
checked where the patch is made and where the server starts, and not left to the way the program is started.
"""

from __future__ import annotations

import sys
from typing import Final

_OWN: Final = frozenset({"webhook", "webhook.patching", "webhook.__main__"})
"""What may be imported before: none of it keeps anything of the standard library."""

_state: Final[set[str]] = set()


def patch() -> None:
    """Replace what blocks in the standard library by what waits in the loop.

    Raises:
        RuntimeError: modules of the product have been imported already.
    """
    early = sorted(name for name in sys.modules if name.startswith("webhook.") and name not in _OWN)
    if early:
        raise RuntimeError(f"the standard library must be patched before {early[0]} is imported")
    from gevent import monkey  # noqa: PLC0415 - the server alone needs it

    monkey.patch_all()
    _state.add("patched")


def is_patched() -> bool:
    """Whether this process was patched before anything of the product was imported."""
    return bool(_state)
