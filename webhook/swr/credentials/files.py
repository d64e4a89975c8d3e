"""Secrets in files, read again when they change; several files are read consistently.

A Secret volume replaces all of its files at once, but files can also be replaced one by one. They are read
until their stamps are the same before and after, so that an old access key is not paired with a new secret
key.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Final

from webhook.deadlines import Deadline
from webhook.errors import Fault, Unauthorized
from webhook.file_stamps import Stamp, read_settled, read_stamp
from webhook.small_files import read_at_once

MAX_BYTES: Final = 64 * 1024
"""Bytes of a file; a token has some kilobytes."""


class SecretFiles:
    """The contents of one or more files, with a generation that counts their changes."""

    def __init__(self, paths: Sequence[str]) -> None:
        """Use ``paths``; nothing is read before the first use."""
        self._paths = tuple(paths)
        self._lock = threading.Lock()
        self._fingerprint: tuple[Stamp, ...] | None = None
        self._values: tuple[str, ...] = ()
        self._generation = 0

    def current(self, deadline: Deadline) -> tuple[tuple[str, ...], int]:
        """Return the stripped contents in the order of the paths, and their generation.

        If a file becomes unreadable, the last good contents stay.

        Raises:
            Unauthorized: a file cannot be read or is empty, and never could be read.
        """
        del deadline  # local files: nothing to wait for
        try:
            fingerprint = self.fingerprint()
            if fingerprint != self._fingerprint:
                self._read()
        except OSError as error:
            if self._fingerprint is None:
                raise Unauthorized(f"{error.filename} cannot be read: {error.strerror}") from None
        except ValueError as error:
            if self._fingerprint is None:
                raise Unauthorized(str(error)) from None
        with self._lock:
            return self._values, self._generation

    def fingerprint(self) -> tuple[Stamp, ...]:
        """Return the stamps of the files; raises ``OSError``."""
        return tuple(read_stamp(path) for path in self._paths)

    def renew(self, generation: int, fault: Fault = Fault.REGISTRY) -> bool:
        """Return whether the files contain another secret than that of ``generation``."""
        del fault
        _, now = self.current(Deadline.after(0))
        return now != generation

    def confirm(self) -> None:
        """Do nothing: a file does not depend on it."""

    def _read(self) -> None:
        settled = read_settled(self._paths, lambda: tuple(map(_read_file, self._paths)))
        if settled is None:
            raise ValueError(f"{self._paths[0]} is being replaced")
        values, fingerprint = settled
        with self._lock:
            if values != self._values:
                self._values = values
                self._generation += 1
            self._fingerprint = fingerprint


def _read_file(path: str) -> str:
    data = read_at_once(path, MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise ValueError(f"{path} is larger than {MAX_BYTES} bytes")
    try:
        text = data.decode("ascii").strip()
    except UnicodeDecodeError:
        raise ValueError(f"{path} contains characters that no credential has") from None
    if not text:
        raise ValueError(f"{path} is empty")
    if not text.isprintable():
        raise ValueError(f"{path} contains more than one line")
    return text
