"""CA file that may be replaced while the process runs; the last good content stays in use."""

from __future__ import annotations

import logging
import ssl

from webhook.file_stamps import FileWatcher
from webhook.http_client.tls_sessions import resume_sessions
from webhook.recorder import Recorder
from webhook.tls_contexts import client_context

logger = logging.getLogger(__name__)


class CaFile:
    """The TLS context of a CA file, or of the system's CAs, which are read once."""

    def __init__(self, path: str | None, recorder: Recorder | None = None) -> None:
        """Read the file; without ``path``, the CAs of the system are trusted.

        Raises:
            OSError: the file cannot be read.
            ssl.SSLError: the file does not contain a certificate.
        """
        self.problem = ""
        """Why the content of the file is not the one in use, empty if it is."""
        self._path = path
        self._recorder = recorder or Recorder()
        self._file = FileWatcher([path] if path is not None else [])
        self._context = resume_sessions(client_context(path))

    def context(self) -> ssl.SSLContext:
        """Return the current context; it is another object after a change."""
        if self._path is not None and self._file.has_changed():
            self._read(self._path)
        return self._context

    def _read(self, path: str) -> None:
        try:
            self._context = resume_sessions(client_context(path))
        except OSError as error:  # ssl.SSLError is one
            self.problem = describe(error)
            logger.warning(
                "the changed caFile %s cannot be used; the last good one stays: %s", path, self.problem
            )
            self._recorder.ca_file_rejected()
        else:
            self.problem = ""
            logger.info("the caFile %s has changed and was read again", path)
            self._recorder.ca_file_loaded()


def describe(error: OSError) -> str:
    """Return in a clause why a CA file cannot be used."""
    return "no certificate in PEM" if isinstance(error, ssl.SSLError) else str(error.strerror or error)
