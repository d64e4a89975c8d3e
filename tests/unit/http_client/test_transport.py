"""HTTP to SWR and IAM: proxies, connections, and the failure that each error becomes."""

from __future__ import annotations

import contextlib
import http.client
import inspect
import select
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from email.errors import MessageDefect
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import trustme
import urllib3
import urllib3.exceptions

from tests.emulator.server import Emulator
from tests.emulator.state import Fault
from webhook.deadlines import Deadline
from webhook.errors import Fault as Whose
from webhook.errors import LookupTimeout, RegistryUnavailable, TrustLookupError
from webhook.http_client.messages import HttpRequest, HttpResponse
from webhook.http_client.proxies import is_local
from webhook.http_client.resolver import Resolver
from webhook.http_client.traffic import BUSY, MAX_ENDPOINTS, Traffic
from webhook.http_client.transport import PooledTransport, describe

TAG = "/v2/manage/namespaces/shop/repos/web/tags/1.0"
TOKEN = {"X-Auth-Token": "emulator-token"}


def get(transport: PooledTransport, url: str, seconds: float = 10.0) -> HttpResponse:
    """Look up an existing tag."""
    return transport.send(HttpRequest("GET", url, TAG, headers=TOKEN), Deadline.after(seconds))


# -- the failure of each error


def _errors_of(module: Any) -> list[type[Exception]]:
    found = [kind for _, kind in inspect.getmembers(module, inspect.isclass) if issubclass(kind, Exception)]
    return [kind for kind in found if not issubclass(kind, Warning) and kind is not Exception]


ERRORS = sorted(
    {
        *_errors_of(urllib3.exceptions),
        *_errors_of(http.client),
        *(kind for kind in _errors_of(ssl) if issubclass(kind, OSError)),
        *(kind for kind in _errors_of(socket) if issubclass(kind, OSError)),
        ConnectionResetError,
        BrokenPipeError,
        UnicodeError,
        ValueError,
    }
    # The standard library's mail parser records these on a message and raises none of them.
    - {MessageDefect},
    key=lambda kind: f"{kind.__module__}.{kind.__name__}",
)


class _Breaking(PooledTransport):
    """A transport whose exchanges end with an exception."""

    error: BaseException

    def _exchange(self, manager: urllib3.PoolManager, request: HttpRequest, deadline: Deadline) -> Any:
        raise self.error


@pytest.fixture(scope="module")
def breaking() -> _Breaking:
    """Return one for all tests, because it reads the system's CAs."""
    return _Breaking()


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: f"{kind.__module__}.{kind.__name__}")
def test_any_library_exception_becomes_lookup_error(breaking: _Breaking, kind: type[Exception]) -> None:
    """This includes exceptions of later versions: the test searches for them instead of listing them."""
    breaking.error = kind.__new__(kind)
    if isinstance(breaking.error, ssl.SSLCertVerificationError):
        breaking.error.verify_message = "unable to get local issuer certificate"
    with pytest.raises(TrustLookupError) as caught:
        get(breaking, "https://swr-api.example.com")
    assert type(caught.value) in (LookupTimeout, RegistryUnavailable)
    assert str(caught.value).startswith("swr-api.example.com")


POOL: Any = None
DESCRIBED = [
    (urllib3.exceptions.ProtocolError("Connection aborted", ConnectionResetError()), "the connection broke"),
    (urllib3.exceptions.IncompleteRead(1, 2), "the connection broke"),
    (urllib3.exceptions.SSLError(ssl.SSLError("wrong version")), "the TLS handshake failed"),
    (
        urllib3.exceptions.ProxyError("http://u:hunter2@proxy", OSError("407")),
        "the proxy cannot be reached or refuses",
    ),
    (urllib3.exceptions.NewConnectionError(POOL, "Connection refused"), "no connection: Connection refused"),
]


@pytest.mark.parametrize(("error", "clause"), DESCRIBED, ids=[type(error).__name__ for error, _ in DESCRIBED])
def test_failure_description_is_one_clause(error: Exception, clause: str) -> None:
    """For an operator's log, without the URL of a proxy, which may contain a password."""
    assert describe(error) == clause


def test_refused_connection_is_registry_unavailable(unused: int) -> None:
    """The failure has the cause and the called host."""
    with pytest.raises(RegistryUnavailable) as caught:
        get(PooledTransport(), f"http://127.0.0.1:{unused}")
    assert str(caught.value) == f"127.0.0.1:{unused}: no connection: Connection refused"
    assert not caught.value.was_sent


def test_untrusted_certificate_is_rejected_with_reason(tmp_path: Path) -> None:
    """TLS is verified, and the failure names the problem of the certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    with Emulator(context=context) as emulator, pytest.raises(RegistryUnavailable) as caught:
        get(PooledTransport(), emulator.url)
    assert str(caught.value) == (
        f"127.0.0.1:{emulator.port}: its certificate is not trusted: unable to get local issuer certificate"
    )
    assert not caught.value.was_sent


def test_request_counts_as_sent_if_the_connection_breaks_afterwards(emulator: Emulator) -> None:
    """Then the image in it may be the cause."""
    emulator.break_with("reset")
    with pytest.raises(RegistryUnavailable) as caught:
        get(PooledTransport(), emulator.url)
    assert caught.value.was_sent


def test_expired_deadline_makes_no_call(emulator: Emulator) -> None:
    """A deadline that is over ends the call before it begins."""
    with pytest.raises(LookupTimeout, match="no time was left for the call"):
        get(PooledTransport(), emulator.url, 0.0)
    assert emulator.calls() == 0


def test_connections_are_reused(emulator: Emulator) -> None:
    """A handshake for each lookup would cost more than the lookup."""
    transport = PooledTransport()
    accepted = emulator.connections
    for _ in range(5):
        assert get(transport, emulator.url).status == 200
    assert emulator.connections - accepted == 1


def test_connection_closed_while_idle_is_reopened(emulator: Emulator) -> None:
    """SWR's gateway closes idle connections: the next lookup must not fail because of that."""
    transport = PooledTransport()
    get(transport, emulator.url)
    emulator.drop_connections()
    assert get(transport, emulator.url).status == 200


# -- received bytes


class _Large:
    """A server that sends the first part of a large answer to every client, and never its end."""

    SIZE = 40_000

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._opened: list[socket.socket] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self._opened.append(connection)
                connection.recv(65536)
                head = b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n"
                connection.sendall(head + b"x" * self.SIZE)

    def close(self) -> None:
        for opened in (self._listener, *self._opened):
            opened.close()


@pytest.fixture
def large() -> Iterator[_Large]:
    """Return such a server."""
    made = _Large()
    yield made
    made.close()


def test_received_bytes_are_counted_before_answer_is_complete(large: _Large) -> None:
    """Fault B2: on a slow network none of many large answers may be complete in time."""
    transport = PooledTransport()
    failures: list[TrustLookupError] = []

    def ask() -> None:
        try:
            get(transport, large.url, 3.0)
        except TrustLookupError as error:
            failures.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    while transport.received(large.url) < large.SIZE and asking.is_alive():
        time.sleep(0.01)
    assert failures == []
    assert transport.received("https://swr-api.example.com") == 0
    large.close()
    asking.join()


def test_endpoints_whose_bytes_are_counted_are_bounded() -> None:
    """A registry chooses where it redirects blobs to. The sum still counts."""
    traffic = Traffic()
    for number in range(MAX_ENDPOINTS + 5):
        traffic.record(f"https://s{number}.example.com", 10)
    traffic.record("https://s0.example.com", 10)
    assert traffic.received("https://s0.example.com") == 20
    assert traffic.received(f"https://s{MAX_ENDPOINTS}.example.com") == 0
    assert traffic.total == 10 * (MAX_ENDPOINTS + 6)
    assert len(traffic._bytes) == MAX_ENDPOINTS


@pytest.mark.parametrize(
    ("arrived", "fault", "detail"),
    [(0, Whose.REGISTRY, ""), (100 * BUSY, Whose.LOCAL, ", while large answers filled the line")],
)
def test_timeout_during_heavy_traffic_is_local_fault(
    emulator: Emulator, arrived: int, fault: Whose, detail: str
) -> None:
    """Fault B2: traffic from any server shares our network."""
    emulator.state.faults.append(Fault("hang"))
    traffic = Traffic()
    transport = PooledTransport(traffic=traffic)

    def arrive() -> None:
        while emulator.calls() == 0:
            time.sleep(0.01)
        traffic.record("https://other.example.com", arrived)

    threading.Thread(target=arrive).start()
    with pytest.raises(LookupTimeout) as caught:
        get(transport, emulator.url, 0.5)
    assert caught.value.fault is fault
    assert caught.value.detail == f"127.0.0.1:{emulator.port} did not answer in time{detail}"


# -- proxies


class _Proxy(BaseHTTPRequestHandler):
    """A proxy for both kinds of requests, which records the requests and the logins."""

    server: _ProxyServer

    def do_CONNECT(self) -> None:
        if not self._admit():
            return
        port = int(self.path.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port)) as upstream:
            self.send_response(200)
            self.end_headers()
            self._pump(upstream)
        self.close_connection = True

    def do_GET(self) -> None:
        if self._admit():
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing."""

    def _admit(self) -> bool:
        self.server.asked.append((f"{self.command} {self.path}", self.headers.get("Proxy-Authorization")))
        self.server.tokens.append(self.headers.get("X-Auth-Token"))
        if self.server.closed:
            self.send_error(407)
        return not self.server.closed

    def _pump(self, upstream: socket.socket) -> None:
        other = {self.connection: upstream, upstream: self.connection}
        while True:
            for ready in select.select(list(other), [], [], 10)[0]:
                data = ready.recv(65536)
                if not data:
                    return
                other[ready].sendall(data)


class _ProxyServer(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Proxy)
        self.asked: list[tuple[str, str | None]] = []
        self.tokens: list[str | None] = []
        self.closed = False

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"


@pytest.fixture
def proxy() -> Iterator[_ProxyServer]:
    """Return a proxy on the loopback address."""
    with _ProxyServer() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield server
        server.shutdown()


NAME = "swr-api.example.com"


@dataclass(frozen=True, slots=True)
class Secure:
    """An emulator with TLS and a name that only our resolver and the proxy know."""

    emulator: Emulator
    ca: str

    @property
    def url(self) -> str:
        """The base URL."""
        return f"https://{NAME}:{self.emulator.port}"

    @property
    def tunnel(self) -> str:
        """The expected request to a proxy."""
        return f"CONNECT {NAME}:{self.emulator.port}"

    def transport(self, proxy: str | None = None) -> PooledTransport:
        """Return a transport that trusts the emulator and can resolve its name."""
        resolver = Resolver(lambda host: [(socket.AF_INET, "127.0.0.1")])
        return PooledTransport(ca_file=self.ca, proxy=proxy, resolver=resolver)


@pytest.fixture
def secure(tmp_path: Path) -> Iterator[Secure]:
    """Return an emulator with TLS."""
    ca = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert(NAME).configure_cert(context)
    file = tmp_path / "ca.pem"
    ca.cert_pem.write_to_path(file)
    with Emulator(context=context) as emulator:
        yield Secure(emulator, str(file))


@pytest.fixture
def unused() -> int:
    """Return a port on which no process listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_policy_proxy_receives_tunnel_without_credential(
    secure: Secure, proxy: _ProxyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TLS goes through it to SWR itself; the environment is ignored then."""
    monkeypatch.setenv("NO_PROXY", "*")
    transport = secure.transport(f"http://{proxy.host}")
    assert get(transport, secure.url).status == 200
    assert proxy.asked == [(secure.tunnel, None)]
    assert proxy.tokens == [None]


LOGIN = "Basic dXNAZXI6aDp1bnRlcjI="
WRITTEN = [
    ("http://{host}", None),
    ("{host}", None),
    ("http://{host}/", None),
    ("http://us%40er:h%3Aunter2@{host}", LOGIN),
    ("us%40er:h%3Aunter2@{host}", LOGIN),
]


@pytest.mark.parametrize(("text", "login"), WRITTEN, ids=[case[0] for case in WRITTEN])
def test_environment_proxy_is_used_with_its_login(
    secure: Secure,
    proxy: _ProxyServer,
    monkeypatch: pytest.MonkeyPatch,
    text: str,
    login: str | None,
) -> None:
    """``HTTPS_PROXY``, with or without a scheme, a user and a password."""
    monkeypatch.setenv("HTTPS_PROXY", text.format(host=proxy.host))
    assert get(secure.transport(), secure.url).status == 200
    assert proxy.asked == [(secure.tunnel, login)]


@pytest.mark.parametrize("value", [NAME, "*", ".example.com", "other.test, example.com"])
def test_endpoint_in_no_proxy_bypasses_proxy(
    secure: Secure, proxy: _ProxyServer, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    """``NO_PROXY`` lists the hosts that are called directly."""
    monkeypatch.setenv("HTTPS_PROXY", f"http://{proxy.host}")
    monkeypatch.setenv("NO_PROXY", value)
    assert get(secure.transport(), secure.url).status == 200
    assert proxy.asked == []


BAD_PROXIES = [
    ("http://u:hunter2@proxy:port", "the URL of the proxy cannot be read: check HTTPS_PROXY"),
    ("socks5://u:hunter2@proxy:1", "the proxy is not one of http:// or https://: check HTTPS_PROXY"),
    ("http://", "the proxy is not one of http:// or https://: check HTTPS_PROXY"),
]


@pytest.mark.parametrize(("text", "message"), BAD_PROXIES, ids=[case[0] for case in BAD_PROXIES])
def test_invalid_proxy_url_is_reported_without_password(
    monkeypatch: pytest.MonkeyPatch, text: str, message: str
) -> None:
    """The failure is written to logs."""
    monkeypatch.setenv("HTTPS_PROXY", text)
    with pytest.raises(RegistryUnavailable) as caught:
        get(PooledTransport(), "https://swr-api.example.com")
    assert str(caught.value) == message


def test_refusing_proxy_is_named_in_failure(
    secure: Secure, proxy: _ProxyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proxy is at fault, and the failure says so."""
    proxy.closed = True
    monkeypatch.setenv("HTTPS_PROXY", f"http://u:hunter2@{proxy.host}")
    with pytest.raises(RegistryUnavailable) as caught:
        get(secure.transport(), secure.url)
    assert str(caught.value) == f"{NAME}:{secure.emulator.port}: the proxy cannot be reached or refuses"
    assert secure.emulator.calls() == 0


@pytest.mark.parametrize("kind", ["hang", "trickle-headers", "trickle-body"])
def test_exchange_through_a_proxy_ends_at_the_deadline(
    secure: Secure, proxy: _ProxyServer, kind: str
) -> None:
    """A socket with a byte from time to time never times out: the tunnel is closed from outside."""
    secure.emulator.state.faults.append(Fault(kind, latency=0.1))
    with pytest.raises(LookupTimeout) as caught:
        get(secure.transport(f"http://{proxy.host}"), secure.url, 0.8)
    assert str(caught.value) == f"{NAME}:{secure.emulator.port} did not answer in time"
    assert proxy.asked == [(secure.tunnel, None)]


@pytest.mark.parametrize("own", [True, False], ids=["of the policy", "of the environment"])
def test_local_endpoint_is_not_called_through_proxy(
    emulator: Emulator, proxy: _ProxyServer, monkeypatch: pytest.MonkeyPatch, own: bool
) -> None:
    """The agent of Pod Identity gets a token over plain HTTP, which no other host may see."""
    monkeypatch.setenv("HTTP_PROXY", f"http://{proxy.host}")
    monkeypatch.setenv("http_proxy", f"http://{proxy.host}")
    transport = PooledTransport(proxy=f"http://{proxy.host}" if own else None)
    assert get(transport, emulator.url).status == 200
    assert proxy.asked == []


LOCAL = [
    ("127.0.0.1", True),
    ("127.8.8.8", True),
    ("::1", True),
    ("localhost", True),
    ("169.254.169.254", True),
    ("fe80::1", True),
    ("10.0.0.1", False),
    ("swr-api.example.com", False),
    ("127.0.0.1.example.com", False),
    ("", False),
]


@pytest.mark.parametrize(("host", "local"), LOCAL)
def test_loopback_and_link_local_hosts_are_local(host: str, local: bool) -> None:
    assert is_local(host) is local
