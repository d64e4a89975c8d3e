"""A CA file that may be replaced while the process runs; the last good content stays in use.

A ConfigMap volume replaces its files by a symbolic link on the way to them. So the file is known by what
the path leads to, and it is read again when that changes.
"""

from __future__ import annotations

import logging
import os
import ssl
import threading
from typing import Protocol

from webhook.tls_contexts import client_context

logger = logging.getLogger(__name__)

Fingerprint = tuple[int, int, int] | None
"""Inode, size and modification time in nanoseconds of a file, ``None`` if there is none."""


class CaFileRecorder(Protocol):
    """Metrics of CA files that have changed."""

    def ca_file_loaded(self) -> None:
        """Count new content that is in use."""
        ...  # pragma: no cover

    def ca_file_rejected(self) -> None:
        """Count new content that cannot be used."""
        ...  # pragma: no cover


class CaFile:
    """The TLS context of a CA file, or of the system's CAs, which are read once; thread-safe."""

    def __init__(self, path: str | None, recorder: CaFileRecorder | None = None) -> None:
        """Read the file; without ``path``, the CAs of the system are trusted.

        Raises:
            OSError: the file cannot be read.
            ssl.SSLError: the file does not contain a certificate.
        """
        self.problem = ""
        """Why the content of the file is not the one in use, empty if it is."""
        self._path = path
        self._recorder = recorder
        self._lock = threading.Lock()
        self._seen = self._look()
        self._context = client_context(path)

    def context(self) -> ssl.SSLContext:
        """Return the context for a connection that is used now; another object after a change."""
        if self._path is None or self._look() == self._seen:
            return self._context
        with self._lock:
            # Before reading: a change that comes meanwhile is seen the next time.
            seen = self._look()
            if seen != self._seen:
                self._seen = seen
                self._read(self._path)
            return self._context

    def _read(self, path: str) -> None:
        try:
            self._context = client_context(path)
        except OSError as error:  # TLS's own errors are among them
            self.problem = describe(error)
            logger.warning(
                "the changed caFile %s cannot be used; the last good one stays: %s", path, self.problem
            )
            if self._recorder is not None:
                self._recorder.ca_file_rejected()
        else:
            self.problem = ""
            logger.info("the caFile %s has changed and was read again", path)
            if self._recorder is not None:
                self._recorder.ca_file_loaded()

    def _look(self) -> Fingerprint:
        if self._path is None:
            return None
        try:
            status = os.stat(self._path)  # noqa: PTH116 - Path.stat is slower and this runs at every call
        except OSError:
            return None
        return status.st_ino, status.st_size, status.st_mtime_ns


def describe(error: OSError) -> str:
    """Return in a clause why a CA file cannot be used."""
    return "no certificate in PEM" if isinstance(error, ssl.SSLError) else str(error.strerror or error)
