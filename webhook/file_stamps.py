"""Detects changes of files by inode, size and modification time.

A ConfigMap or Secret volume replaces its files by a symbolic link on the way to them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

T = TypeVar("T")

_TRIES: Final = 3

Stamp = tuple[int, int, int]
"""Inode, size and modification time in nanoseconds of a file."""


def read_stamp(path: str) -> Stamp:
    """Return the stamp of the file that ``path`` leads to; raises ``OSError``."""
    status = os.stat(path)  # noqa: PTH116 - Path.stat is slower and this runs at every call and handshake
    return status.st_ino, status.st_size, status.st_mtime_ns


def read_settled(paths: Sequence[str], read: Callable[[], T]) -> tuple[T, tuple[Stamp, ...]] | None:
    """Return what ``read`` reads of the files, and their stamps; ``None`` if they are being replaced.

    Files that belong together, such as a key and its secret, are then of the same moment.

    Raises:
        OSError: a file cannot be read.
    """
    for _ in range(_TRIES):
        before = tuple(map(read_stamp, paths))
        value = read()
        if tuple(map(read_stamp, paths)) == before:
            return value, before
    return None


class FileWatcher:
    """Compares the stamps of some files; one that does not exist has none."""

    def __init__(self, paths: Sequence[str]) -> None:
        """Begin with the files as they are now."""
        self._paths = tuple(paths)
        self._seen = self._read()

    def has_changed(self) -> bool:
        """Whether a file has changed since the last call.

        Call it before reading the files: the next call then detects changes that happen while they are read.
        """
        before, self._seen = self._seen, self._read()
        return self._seen != before

    def _read(self) -> list[Stamp | None]:
        stamps: list[Stamp | None] = []
        for path in self._paths:
            try:
                stamps.append(read_stamp(path))
            except OSError:
                stamps.append(None)
        return stamps
