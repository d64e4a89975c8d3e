"""gevent's patch of the standard library, made before other modules of the product are imported.

A module that was imported before the patch may keep an original, for example ``time.sleep`` as the default
value of an argument. Such a call blocks the loop, and with it every request in progress. Therefore the
order is checked when the patch is made and when a command starts, however the program is called.
"""

from __future__ import annotations

import sys
from typing import Final

_EARLY: Final = frozenset({"webhook", "webhook.patching", "webhook.__main__"})
"""Modules that may be imported before the patch: they keep nothing of the standard library."""

_state: Final[set[str]] = set()


def patch() -> None:
    """Replace the blocking calls of the standard library by cooperative ones. Patching again does nothing.

    Raises:
        RuntimeError: modules of the product have been imported already.
    """
    if _state:
        return
    early = sorted(name for name in sys.modules if name.startswith("webhook.") and name not in _EARLY)
    if early:
        raise RuntimeError(f"the standard library must be patched before {early[0]} is imported")
    from gevent import monkey  # noqa: PLC0415 - importing this module must not import gevent
    from gevent.hub import Hub  # noqa: PLC0415 - the same

    monkey.patch_all()
    # An interrupt is raised in the main greenlet. The hub must not print it as an error of its own.
    Hub.NOT_ERROR = (*Hub.NOT_ERROR, KeyboardInterrupt)
    _state.add("patched")


def is_patched() -> bool:
    """Return whether the standard library was patched before the rest of the product was imported."""
    return bool(_state)
