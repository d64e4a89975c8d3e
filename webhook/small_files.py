"""Reading of small files, such as keys and secrets, without waiting for a writer."""

from __future__ import annotations

import os


def read_at_once(path: str, limit: int) -> bytes:
    """Return at most ``limit`` bytes of a file.

    A named pipe is not waited for, which would stop the event loop: it counts as empty.

    Raises:
        OSError: the file cannot be read.
        ValueError: ``path`` contains a null character.
    """
    with open(path, "rb", opener=_open_at_once) as stream:
        return stream.read(limit) or b""


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)
