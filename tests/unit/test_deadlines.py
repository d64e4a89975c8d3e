"""Deadlines that interrupt the work itself."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from webhook.deadlines import Deadline, DeadlineExceeded, timeout_at
from webhook.errors import LookupTimeout
from webhook.http_client.messages import HttpRequest
from webhook.http_client.transport import PooledTransport


def test_block_that_waits_too_long_is_interrupted() -> None:
    """The work itself ends, not only the wait for it."""
    began = time.monotonic()
    with pytest.raises(DeadlineExceeded), timeout_at(Deadline.after(0.05)):
        time.sleep(10)
    assert time.monotonic() - began < 5


def test_block_in_time_is_not_interrupted_later() -> None:
    """The timer ends with the block."""
    with timeout_at(Deadline.after(0.02)):
        pass
    time.sleep(0.05)


def test_block_that_fails_in_time_keeps_its_error() -> None:
    """Only a timeout is translated."""
    with pytest.raises(KeyError), timeout_at(Deadline.after(10)):
        raise KeyError
    time.sleep(0.01)


def test_block_that_never_waits_is_not_interrupted() -> None:
    """Its result is complete."""
    with timeout_at(Deadline.after(0)):
        result = sum(range(1000))
    assert result == 499500


@pytest.mark.parametrize("error", [OSError, None], ids=["another-error", "nothing"])
def test_timeout_that_the_block_swallows_is_raised(error: type[Exception] | None) -> None:
    """An interrupted result may look complete, such as a response with incomplete headers."""

    def swallow() -> None:
        try:
            time.sleep(10)
        except OSError:
            if error is not None:
                raise error from None

    with pytest.raises(DeadlineExceeded), timeout_at(Deadline.after(0.01)):
        swallow()


def test_nested_deadlines_end_their_own_blocks() -> None:
    """The exception names its own block."""

    def wait(seconds: float) -> None:
        with timeout_at(Deadline.after(seconds)):
            time.sleep(10)

    with timeout_at(Deadline.after(10)):
        with pytest.raises(DeadlineExceeded):
            wait(0.01)
        time.sleep(0.01)
    began = time.monotonic()
    with pytest.raises(DeadlineExceeded), timeout_at(Deadline.after(0.01)):
        wait(10)
    assert time.monotonic() - began < 5


def test_result_at_the_moment_of_the_deadline_is_whole() -> None:
    """Either the block has ended, or its exception is raised."""
    for _ in range(200):
        done = False
        try:
            with timeout_at(Deadline.after(0.001)):
                time.sleep(0.001)
                done = True
        except DeadlineExceeded:
            assert not done
        else:
            assert done


# -- descriptors


def _accept(listener: socket.socket, answer: bytes) -> None:
    """Accept connections and send ``answer`` a byte at a time, never to its end."""
    with contextlib.suppress(OSError):
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=_trickle, args=(connection, answer), daemon=True).start()


def _trickle(connection: socket.socket, answer: bytes) -> None:
    with connection, contextlib.suppress(OSError):
        for number in range(len(answer)):
            connection.sendall(answer[number : number + 1])
            time.sleep(0.01)
        while connection.recv(65536):
            pass


@pytest.fixture
def listening() -> Iterator[Callable[[bytes], str]]:
    """Return servers on the loopback address, by the beginning of their answers."""
    listeners: list[socket.socket] = []

    def listen(answer: bytes) -> str:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)
        threading.Thread(target=_accept, args=(listener, answer), daemon=True).start()
        return f"127.0.0.1:{listener.getsockname()[1]}"

    yield listen
    for listener in listeners:
        listener.close()


BODY = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"
HANGING = {
    "silent": ("http://{}", None, b""),
    "headers": ("http://{}", None, b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 100_000),
    "body": ("http://{}", None, BODY + b"x" * 50_000),
    "handshake": ("https://{}", None, b""),
    "connect": ("https://swr-api.example.com", "http://{}", b""),
    "connect-headers": (
        "https://swr-api.example.com",
        "http://{}",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 10_000,
    ),
    "proxy-handshake": ("https://swr-api.example.com", "https://{}", b""),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", HANGING)
def test_interrupted_exchange_leaves_no_connection(listening: Callable[[bytes], str], case: str) -> None:
    """It ends by its deadline at any stage, and no descriptor is left while its error is kept."""
    url, proxy, answer = HANGING[case]
    host = listening(answer)
    transport = PooledTransport(proxy=proxy.format(host) if proxy is not None else None)
    failures: list[LookupTimeout] = []

    def call() -> None:
        with pytest.raises(LookupTimeout) as caught:
            transport.send(HttpRequest("GET", url.format(host), "/v2/x"), Deadline.after(0.2))
        failures.append(caught.value)

    call()
    time.sleep(0.1)
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - only their number counts
    began = time.monotonic()
    for _ in range(5):
        call()
    assert time.monotonic() - began < 4
    time.sleep(0.1)  # for the server to close its ends
    assert len(os.listdir("/proc/self/fd")) <= before  # noqa: PTH208 - the same


def test_interrupted_connection_is_not_used_again(listening: Callable[[bytes], str]) -> None:
    """The rest of its response would be read as the response to the next request."""
    host = listening(BODY + b"x" * 50_000)
    transport = PooledTransport()
    for _ in range(2):
        with pytest.raises(LookupTimeout):
            transport.send(HttpRequest("GET", f"http://{host}", "/v2/x"), Deadline.after(0.2))
    (manager,) = transport._managers.values()
    pool = manager.connection_from_url(f"http://{host}")
    assert pool.num_connections == 2
