"""Resumed TLS sessions, as a real server sees them; each connection serves one request."""

from __future__ import annotations

import contextlib
import socket
import ssl
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, cast

import pytest

from tests.support.fakes import FakeClock
from tests.support.private_cas import Site
from tests.support.tls_serving import TlsServer
from webhook.deadlines import Deadline
from webhook.errors import RegistryUnavailable
from webhook.http_client.messages import HttpRequest
from webhook.http_client.resolver import Resolver
from webhook.http_client.tls_sessions import (
    MAX_SESSIONS,
    SESSION_SECONDS,
    ResumingSocket,
    TlsSessions,
    resume_sessions,
)
from webhook.http_client.transport import PooledTransport
from webhook.tls_contexts import client_context

SITE, OTHER = Site.of(), Site.of()
NAME = "swr-api.example.com"


class CountingServer(TlsServer):
    """Records for each connection whether its session was resumed, and closes it after one response."""

    def __init__(self, context: ssl.SSLContext) -> None:
        """Listen on a free port."""
        self.resumed: list[bool] = []
        self.refuses = False
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                outer.resumed.append(bool(self.connection.session_reused))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.send_header("Connection", "close")
                self.end_headers()

            def finish(self) -> None:
                super().finish()
                with contextlib.suppress(OSError):
                    self.connection.unwrap()  # OpenSSL forgets the session of a connection that just ends

            def log_message(self, format: str, *args: Any) -> None:
                """Log nothing."""

        context.sni_callback = lambda *_: ssl.ALERT_DESCRIPTION_HANDSHAKE_FAILURE if self.refuses else None
        super().__init__(Handler, context)

    def url(self, host: str = NAME) -> str:
        """Return the base URL under a name."""
        return f"https://{host}:{self.port}"


def open_transport(folder: Path, site: Site = SITE) -> PooledTransport:
    """Return a transport for which every name is this machine."""
    resolver = Resolver(lambda _host: [(socket.AF_INET, "127.0.0.1")])
    return PooledTransport(ca_file=site.write_trusted(folder), resolver=resolver)


def get(transport: PooledTransport, url: str) -> int:
    """Send a request and return the status."""
    return transport.send(HttpRequest("GET", url, "/"), Deadline.after(10)).status


def newest(context: ssl.SSLContext) -> None:
    """Let the server send its tickets after the handshake."""
    assert context.maximum_version == ssl.TLSVersion.MAXIMUM_SUPPORTED


def no_tickets(context: ssl.SSLContext) -> None:
    """Let the server keep the sessions of TLS 1.2 itself, under an ID."""
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_TICKET


def only_tls_1_2(context: ssl.SSLContext) -> None:
    """Let the server send its ticket in the handshake."""
    context.maximum_version = ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize("change", [newest, only_tls_1_2, no_tickets])
def test_new_connection_resumes_session(change: Any, tmp_path: Path) -> None:
    """TLS 1.3 sends tickets after the handshake, TLS 1.2 in it, or the server keeps an ID."""
    context = SITE.server_context(tmp_path)
    change(context)
    transport = open_transport(tmp_path)
    with CountingServer(context) as server:
        assert [get(transport, server.url()) for _ in range(3)] == [200, 200, 200]
    assert server.resumed == [False, True, True]


def test_other_host_name_is_verified(tmp_path: Path) -> None:
    """A resumed handshake does not compare the name with the certificate."""
    transport = open_transport(tmp_path)
    with CountingServer(SITE.server_context(tmp_path)) as server:
        assert get(transport, server.url()) == 200
        assert get(transport, server.url("localhost")) == 200
        with pytest.raises(RegistryUnavailable, match="certificate is not trusted: Hostname mismatch"):
            get(transport, server.url("swr.example.org"))
    assert server.resumed == [False, False]


def test_changed_ca_file_verifies_certificate_again(tmp_path: Path) -> None:
    """Otherwise a CA that is no longer trusted would be accepted for as long as sessions last."""
    transport = open_transport(tmp_path)
    with CountingServer(SITE.server_context(tmp_path)) as server:
        assert get(transport, server.url()) == 200
        OTHER.write_trusted(tmp_path)
        with pytest.raises(RegistryUnavailable, match="its certificate is not trusted"):
            get(transport, server.url())
        SITE.write_trusted(tmp_path)
        assert get(transport, server.url()) == 200
    assert server.resumed == [False, False]


def test_session_is_not_shared_by_transports(tmp_path: Path) -> None:
    """Each may verify by other CAs."""
    with CountingServer(SITE.server_context(tmp_path)) as server:
        assert get(open_transport(tmp_path), server.url()) == 200
        assert get(open_transport(tmp_path), server.url()) == 200
    assert server.resumed == [False, False]


def test_failed_handshake_drops_session(tmp_path: Path) -> None:
    """The session may be the reason, and the next attempt must not fail on it, too."""
    transport = open_transport(tmp_path)
    with CountingServer(SITE.server_context(tmp_path)) as server:
        assert get(transport, server.url()) == 200
        server.refuses = True
        with pytest.raises(RegistryUnavailable, match="the TLS handshake failed"):
            get(transport, server.url())
        server.refuses = False
        assert get(transport, server.url()) == 200
    assert server.resumed == [False, False]


def test_resumed_session_does_not_prolong_verification(tmp_path: Path) -> None:
    """A certificate that has expired would be accepted by a connection that resumes the one before."""
    clock = FakeClock(0.0)
    context = resume_sessions(client_context(SITE.write_trusted(tmp_path)), clock)

    def connect(port: int) -> bool:
        raw = socket.create_connection(("127.0.0.1", port), timeout=10)
        with context.wrap_socket(raw, server_hostname=NAME) as connection:
            assert isinstance(connection, ResumingSocket)
            connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
            while connection.recv(4096):
                pass
            connection.keep_session()
            return bool(connection.session_reused)

    with CountingServer(SITE.server_context(tmp_path)) as server:
        assert connect(server.port) is False
        for _ in range(3):
            clock.tick(SESSION_SECONDS / 4)
            assert connect(server.port) is True
        clock.tick(SESSION_SECONDS / 4)
        assert connect(server.port) is False


def test_sessions_are_bounded() -> None:
    """The oldest is dropped; a proxy may resolve to any number of addresses."""
    sessions = TlsSessions()
    session = cast("ssl.SSLSession", object())
    servers = [(NAME, "192.0.2.1", port) for port in range(MAX_SESSIONS + 1)]
    for server in servers:
        sessions.keep(server, session)
    assert [sessions.find(server) for server in (servers[0], servers[1])] == [None, session]
