"""Connecting to hosts with several addresses, some of which are dead."""

from __future__ import annotations

import errno
import resource
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.emulator.server import Emulator
from tests.support.dead_addresses import DeadAddress
from tests.support.fakes import FakeClock
from tests.support.serving import ROOT
from tests.support.tls_proxy import TlsProxy
from webhook.deadlines import Deadline
from webhook.errors import Fault, LookupTimeout, RegistryUnavailable
from webhook.http_client.connecting import AVOIDED_SECONDS, MAX_AVOIDED, Connector, is_local_limit
from webhook.http_client.messages import HttpRequest
from webhook.http_client.resolver import Address, Resolver
from webhook.http_client.transport import PooledTransport

V4, V6 = socket.AF_INET, socket.AF_INET6
GOOD: Address = (V4, "127.0.0.1")
DEAD: Address = (V4, "127.0.0.2")
DEAD_V6: Address = (V6, "::1")
CLOSED: Address = (V4, "127.0.0.3")
NO_SOURCE: Address = (V6, "2001:db8::1")
SLOW = "/slow"


class Listener:
    """A listening socket on 127.0.0.1, with dead addresses on the same port."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._socket = self._stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        self.port: int = self._socket.getsockname()[1]

    def kill(self, *addresses: Address) -> None:
        """Make more addresses drop connection attempts."""
        for _, address in addresses:
            self._stack.enter_context(DeadAddress(address, self.port))

    def close(self) -> None:
        """Close all sockets."""
        self._stack.close()


@pytest.fixture
def listener() -> Iterator[Listener]:
    """Return a listening socket."""
    opened = Listener()
    yield opened
    opened.close()


def connect(connector: Connector, port: int, *addresses: Address, seconds: float = 20.0) -> str:
    """Connect and return the address that answered."""
    with connector.connect(addresses, port, Deadline.after(seconds)) as connection:
        name: str = connection.getpeername()[0]
        return name


SETS = [
    ("one address", [], [GOOD]),
    ("first address drops packets", [DEAD], [DEAD, GOOD]),
    ("IPv6 drops packets", [DEAD_V6], [DEAD_V6, GOOD]),
    ("all but the last drop packets", [DEAD, DEAD_V6], [DEAD_V6, DEAD, GOOD]),
    ("first address refuses", [], [CLOSED, GOOD]),
    ("first two addresses refuse or drop", [DEAD], [CLOSED, DEAD, GOOD]),
    ("no IPv6 on this machine", [], [(V6, "ff00::1"), GOOD]),
]


@pytest.mark.slow
@pytest.mark.parametrize(("dead", "addresses"), [case[1:] for case in SETS], ids=[case[0] for case in SETS])
def test_address_that_answers_is_used(
    listener: Listener, dead: list[Address], addresses: list[Address]
) -> None:
    """Fault D1: the first address took the time of all the others."""
    listener.kill(*dead)
    assert connect(Connector(), listener.port, *addresses) == "127.0.0.1"


ORDERS = [
    ("families alternate", [(V6, "a"), (V6, "b"), (V4, "c"), (V4, "d")], [], ["a", "c", "b", "d"]),
    ("the first family begins", [(V4, "c"), (V4, "d"), (V6, "a")], [], ["c", "a", "d"]),
    ("an address is tried once", [(V4, "c"), (V4, "c"), (V4, "d")], [], ["c", "d"]),
    ("failed ones come last", [(V4, "c"), (V4, "d"), (V4, "e")], ["c"], ["d", "e", "c"]),
    ("oldest failure first", [(V4, "c"), (V4, "d"), (V4, "e")], ["d", "c"], ["e", "d", "c"]),
    ("all failed", [(V4, "c"), (V4, "d")], ["c", "d"], ["c", "d"]),
    ("a failure replaces an older one", [(V4, "c"), (V4, "d")], ["c", "d", "c"], ["d", "c"]),
]


@pytest.mark.parametrize(
    ("addresses", "failed", "expected"), [case[1:] for case in ORDERS], ids=[case[0] for case in ORDERS]
)
def test_address_order_follows_rfc_8305_with_failed_ones_last(
    addresses: list[Address], failed: list[str], expected: list[str]
) -> None:
    """Fault D1: RFC 8305 section 4, and addresses that failed last."""
    clock = FakeClock()
    connector = Connector(clock)
    for address in failed:
        connector.record_failure((address, 443))
        clock.tick(1)
    assert [address for _, address in connector.order(addresses, 443)] == expected


def test_address_failure_expires() -> None:
    """A firewall may be corrected, and a machine may come back."""
    clock = FakeClock()
    connector = Connector(clock)
    connector.record_failure(("c", 443))
    clock.tick(AVOIDED_SECONDS)
    assert connector.order([(V4, "c"), (V4, "d")], 443) == [(V4, "c"), (V4, "d")]


def test_address_failure_applies_to_its_port_only() -> None:
    """SWR and a proxy may share a machine."""
    connector = Connector()
    connector.record_failure(("c", 443))
    assert connector.order([(V4, "c"), (V4, "d")], 3128) == [(V4, "c"), (V4, "d")]


def test_success_clears_address_failure() -> None:
    """Its order is then that of the others."""
    connector = Connector()
    connector.record_failure(("c", 443))
    connector.record_success(("c", 443))
    assert connector.order([(V4, "c"), (V4, "d")], 443) == [(V4, "c"), (V4, "d")]


def test_remembered_failures_are_bounded() -> None:
    """The oldest are dropped first."""
    connector = Connector()
    for number in range(MAX_AVOIDED + 1):
        connector.record_failure((str(number), 443))
    first, last = (V4, "0"), (V4, str(MAX_AVOIDED))
    assert connector.order([last, first], 443) == [first, last]


def test_unresponsive_address_is_tried_last(listener: Listener) -> None:
    """Fault D1: otherwise every new connection takes 250 ms longer."""
    listener.kill(DEAD)
    connector = Connector()
    connect(connector, listener.port, DEAD, GOOD)
    assert connector.order([DEAD, GOOD], listener.port) == [GOOD, DEAD]


@pytest.mark.slow
def test_dead_addresses_time_out_at_deadline(listener: Listener) -> None:
    """Fault D1: they are remembered in turn, so that the next attempt starts with another one."""
    listener.kill(DEAD, DEAD_V6)
    with pytest.raises(TimeoutError) as caught:
        connect(Connector(), listener.port, DEAD, DEAD_V6, seconds=0.6)
    assert caught.value.strerror == "Connection timed out"


FAILURES = [
    ([CLOSED], errno.ECONNREFUSED),
    ([CLOSED, (V6, "ff00::1")], errno.ECONNREFUSED),
    ([], None),
]


@pytest.mark.parametrize(("addresses", "code"), FAILURES)
def test_failure_of_all_addresses_has_error_of_endpoint(
    listener: Listener, addresses: list[Address], code: int | None
) -> None:
    """The failure is the endpoint's, not that of a machine without IPv6."""
    with pytest.raises(OSError) as caught:  # noqa: PT011 - the number is compared below
        connect(Connector(), listener.port, *addresses)
    assert caught.value.errno == code
    assert not is_local_limit(caught.value)


@pytest.mark.slow
def test_losing_connection_attempts_are_closed(listener: Listener) -> None:
    """They are closed when one attempt succeeds."""
    listener.kill(DEAD, DEAD_V6)
    before = _open_sockets()
    connect(Connector(), listener.port, DEAD, DEAD_V6, GOOD)
    assert _open_sockets() == before


def _open_sockets() -> int:
    found = 0
    for descriptor in range(3, 256):
        try:
            socket.socket(fileno=descriptor).detach()
        except OSError:
            continue
        found += 1
    return found


# -- through the transport


def transport_to(*addresses: Address, proxy: str | None = None) -> PooledTransport:
    """Return a transport for which every name has these addresses."""
    return PooledTransport(proxy=proxy, resolver=Resolver(lambda _host: list(addresses)))


def get(transport: PooledTransport, url: str, seconds: float = 20.0) -> int:
    """Send a request and return the status."""
    return transport.send(HttpRequest("GET", url, "/"), Deadline.after(seconds)).status


def test_lookup_survives_a_dead_address(emulator: Emulator) -> None:
    """Fault D1: every review was denied after three seconds."""
    with DeadAddress("127.0.0.2", emulator.port):
        assert get(transport_to(DEAD, GOOD), f"http://swr.example.com:{emulator.port}") == 401


def test_lookup_survives_a_dead_address_of_the_proxy(emulator: Emulator) -> None:
    """Fault D1: the same for a proxy."""
    with TlsProxy(None, emulator.port) as proxy, DeadAddress("127.0.0.2", proxy.port):
        transport = transport_to(DEAD, GOOD, proxy=f"http://proxy.example.com:{proxy.port}")
        with pytest.raises(RegistryUnavailable):  # there is no TLS behind it: a connection is enough
            get(transport, "https://swr.example.com")
        assert proxy.tunnels == ["swr.example.com:443"]


def test_lookup_of_dead_addresses_ends_at_the_deadline() -> None:
    """Fault D1: a timeout that is SWR's fault."""
    with DeadAddress("127.0.0.2") as dead, pytest.raises(LookupTimeout) as caught:
        get(transport_to(DEAD), f"http://swr.example.com:{dead.port}", 0.6)
    assert str(caught.value) == f"swr.example.com:{dead.port} did not answer in time"
    assert caught.value.fault is Fault.REGISTRY


def test_address_that_connects_but_does_not_answer_is_tried_last(emulator: Emulator) -> None:
    """Fault D1: a balancer accepts connections for a machine that is down."""
    with socket.create_server(("127.0.0.2", emulator.port)):
        transport = transport_to(DEAD, GOOD)
        url = f"http://swr.example.com:{emulator.port}"
        with pytest.raises(LookupTimeout):
            get(transport, url, 0.6)
        assert get(transport, url) == 401


def test_slow_image_does_not_change_address_of_other_lookups() -> None:
    """Faults B4 and D1: a name for which one address is slow sent all others to an address that never
    answers.
    """
    with answering() as server, socket.create_server(("127.0.0.2", server.server_port)):
        transport, url = transport_to(GOOD, DEAD), f"http://swr.example.com:{server.server_port}"
        with ThreadPoolExecutor(2) as two:
            slow = two.submit(transport.send, HttpRequest("GET", url, SLOW), Deadline.after(0.6))
            assert server.has_slow.wait(20)
            assert get(transport, url) == 200
            with pytest.raises(LookupTimeout):
                slow.result()
            server.together = threading.Barrier(2)  # so that a second connection is needed
            assert list(two.map(lambda _: get(transport, url, 2), range(2))) == [200, 200]


class _Answering(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    server: _Server

    def do_GET(self) -> None:
        if self.path == SLOW:
            self.server.has_slow.set()
            self.server.is_ending.wait(20)
            return
        self.server.together.wait(20)
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    do_POST = do_GET  # noqa: N815 - the name of http.server

    def log_message(self, format: str, *args: Any) -> None:
        """Do not log."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    together = threading.Barrier(1)
    """The server answers so many requests at a time."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.has_slow, self.is_ending = threading.Event(), threading.Event()


@contextmanager
def answering() -> Iterator[_Server]:
    """Return a server that answers all names except ``SLOW``."""
    with _Server(("127.0.0.1", 0), _Answering) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.is_ending.set()
            server.shutdown()
            thread.join()


class DyingAddress:
    """Answers the first request of each of two connections, and then reads nothing more from them."""

    def __init__(self, address: str, port: int) -> None:
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)  # full after some kilobytes
        self._listener.bind((address, port))
        self._listener.listen(8)
        self._open: list[socket.socket] = []
        self.good: _Server | None = None
        self._both = threading.Barrier(2)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        for _ in range(2):
            connection = self._listener.accept()[0]
            self._open.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        connection.recv(1024)
        self._both.wait(20)  # so that there are two connections
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    def die(self) -> None:
        """Accept no more connections."""
        self._listener.close()

    def close(self) -> None:
        """Close all sockets."""
        for connection in (self._listener, *self._open):
            connection.close()


@pytest.fixture
def dying() -> Iterator[tuple[PooledTransport, str, DyingAddress]]:
    """Return a transport with two connections to an address that has died, and a working address."""
    with answering() as server:
        first = DyingAddress("127.0.0.2", server.server_port)
        transport, url = transport_to(DEAD, GOOD), f"http://swr.example.com:{server.server_port}"
        first.good = server
        with ThreadPoolExecutor(2) as both:
            assert list(both.map(lambda _: get(transport, url), range(2))) == [200, 200]
        first.die()
        yield transport, url, first
        first.close()


def send_large(transport: PooledTransport, url: str, method: str = "GET") -> int:
    """Send a request that exceeds the buffers of a peer that does not read; return the status."""
    headers = {f"x-{number}": "x" * 8000 for number in range(60)}
    return transport.send(HttpRequest(method, url, "/", headers=headers), Deadline.after(30)).status


@pytest.mark.slow
def test_lookup_over_broken_connection_is_retried_at_another_address(
    dying: tuple[PooledTransport, str, DyingAddress],
) -> None:
    """Fault D1: the address worked before, and each kept connection to it took the time of a lookup."""
    transport, url, _ = dying
    assert send_large(transport, url) == 200


@pytest.mark.slow
def test_login_over_broken_connection_is_not_retried(
    dying: tuple[PooledTransport, str, DyingAddress],
) -> None:
    """The first attempt may have counted."""
    transport, url, _ = dying
    with pytest.raises(RegistryUnavailable) as caught:
        send_large(transport, url, "POST")
    assert str(caught.value) == f"{url.removeprefix('http://')}: the connection broke"
    assert caught.value.fault is Fault.REGISTRY


@pytest.mark.slow
def test_other_connections_to_dead_address_are_not_reused(
    dying: tuple[PooledTransport, str, DyingAddress],
) -> None:
    """Fault D1: each of them would take the time of another lookup."""
    transport, url, address = dying
    assert send_large(transport, url) == 200
    assert address.good is not None
    address.good.together = threading.Barrier(3)  # so that the pool uses all of its connections
    with ThreadPoolExecutor(3) as three:
        assert list(three.map(lambda _: send_large(transport, url, "POST"), range(3))) == [200] * 3


def test_exhausted_file_descriptors_are_local_fault(emulator: Emulator) -> None:
    """Fault D1: a flood of the webhook can cause it, so onLookupFailure and stale trust do not apply."""
    transport = transport_to(GOOD)
    url = f"http://swr.example.com:{emulator.port}"
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = [socket.socket() for _ in range(8)]
    lowest = socket.socket()
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest.fileno(), hard))
    try:
        with pytest.raises(RegistryUnavailable) as caught:
            get(transport, url)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for held in (*taken, lowest):
            held.close()
    assert str(caught.value) == f"swr.example.com:{emulator.port}: no connection: Too many open files"
    assert caught.value.fault is Fault.LOCAL


PATCHED = """
from webhook.patching import patch
patch()
import socket, sys, gevent
from webhook.deadlines import Deadline
from webhook.http_client.connecting import Connector
ticks = 0
def tick():
    global ticks
    while True:
        gevent.sleep(0.01)
        ticks += 1
gevent.spawn(tick)
addresses = [(socket.AF_INET, "127.0.0.2"), (socket.AF_INET6, "::1"), (socket.AF_INET, "127.0.0.1")]
with Connector().connect(addresses, int(sys.argv[1]), Deadline.after(20)) as connection:
    connection.settimeout(10)
    assert connection.recv(1) == b"x"
    print(connection.getpeername()[0], "the loop ran" if ticks else "the loop was blocked")
"""


def _send_byte(server: socket.socket) -> None:
    with server.accept()[0] as connection:
        connection.sendall(b"x")


@pytest.mark.slow
def test_connection_attempts_yield_to_loop() -> None:
    """Fault D1: with gevent, other reviews continue while addresses are tried."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        thread = threading.Thread(target=_send_byte, args=(server,), daemon=True)
        thread.start()
        with DeadAddress("127.0.0.2", port), DeadAddress("::1", port):
            done = subprocess.run(
                [sys.executable, "-c", PATCHED, str(port)],
                cwd=ROOT,
                capture_output=True,
                text=True,
                timeout=60,
            )
        thread.join(10)
    assert (done.stdout, done.stderr) == ("127.0.0.1 the loop ran\n", "")
