"""Resumed TLS sessions: a new connection to a host that was connected before costs less of both sides.

A resumed handshake does not verify the certificate again. Neither the chain, nor the name, nor the dates are
checked: the server only proves that it holds the secret of an earlier session. So a session is used only:

1. In the TLS context in which its certificate was verified. A changed CA file makes another context.
2. For the host name that was verified, and for the address that responded.
3. For ``SESSION_SECONDS`` after the verification. The tickets of a resumed connection are not kept.
   Otherwise a certificate that has expired could be accepted for as long as the process runs.
"""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from cachetools import FIFOCache

SESSION_SECONDS: Final = 3600.0
"""Seconds after the verification of a certificate in which its session is resumed."""

MAX_SESSIONS: Final = 64
"""Sessions of one context; an endpoint has a few addresses."""

Server = tuple[str | None, str, int]
"""The verified host name, and the address and port of the connection, which may be a proxy's."""


@dataclass(frozen=True, slots=True)
class _Verified:
    session: ssl.SSLSession
    at: float
    """When the certificate was verified."""


class TlsSessions:
    """The newest verified session of each server, for one context."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Have no session yet; ``clock`` is in seconds."""
        self._clock = clock
        self._lock = threading.Lock()
        self._sessions: FIFOCache[Server, _Verified] = FIFOCache(MAX_SESSIONS)

    def find(self, server: Server) -> ssl.SSLSession | None:
        """Return the session to resume, if there is one."""
        with self._lock:
            known = self._sessions.get(server)
            if known is None:
                return None
            if self._clock() - known.at >= SESSION_SECONDS:
                del self._sessions[server]
                return None
            return known.session

    def drop(self, server: Server) -> None:
        """Forget the session of a server, if there is one."""
        with self._lock:
            self._sessions.pop(server, None)

    def keep(self, server: Server, session: ssl.SSLSession) -> None:
        """Keep a session whose certificate has just been verified for the next connections."""
        with self._lock:
            self._sessions[server] = _Verified(session, self._clock())


class ResumingSocket(ssl.SSLSocket):
    """A client's TLS connection that resumes a session if it can; see ``resume_sessions``."""

    sessions: ClassVar[TlsSessions]
    _server: Server

    def do_handshake(self, *args: Any, **kwargs: Any) -> None:
        """Resume the session of an earlier connection to the server, or verify the server's certificate.

        Raises:
            OSError: the handshake failed. A session is then not tried again, as it may be the reason.
        """
        address, port = self.getpeername()[:2]
        self._server = (self.server_hostname, address, port)
        session = self.sessions.find(self._server)
        if session is not None:
            self.session = session
        try:
            super().do_handshake(*args, **kwargs)
        except BaseException:
            self.sessions.drop(self._server)
            raise

    def keep_session(self) -> None:
        """Keep the session; called after a response, because TLS 1.3 sends tickets after the handshake."""
        if self.session_reused:
            return  # its handshake verified nothing
        session = self.session
        if session is not None and session.id:
            self.sessions.keep(self._server, session)


def resume_sessions(context: ssl.SSLContext, clock: Callable[[], float] = time.monotonic) -> ssl.SSLContext:
    """Let the connections of a client's context resume sessions, and return the context."""
    # A context makes its sockets from a class, so each context needs a class for its sessions.
    context.sslsocket_class = type("ResumingSocket", (ResumingSocket,), {"sessions": TlsSessions(clock)})
    return context
