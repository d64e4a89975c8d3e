"""The load of a measurement: keep-alive TLS connections that send one prepared request repeatedly.

The client is a process of its own, so that its cost is not counted as the server's. If ``go`` is installed, it
is the program in ``client``, which costs much less than any server here. Otherwise it is this module
(``python -m tests.bench.load``), with one thread. A fast server then waits for the client.

Both print one JSON object, the fields of ``Load``.
"""

from __future__ import annotations

import argparse
import json
import selectors
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.go_build import build
from tests.support.serving import ROOT

WARM_UP = 0.3
"""Seconds that are not counted."""

GO_SOURCE = Path(__file__).parent / "client"
PYTHON_CLIENT = (sys.executable, "-m", "tests.bench.load")


@dataclass(frozen=True, slots=True)
class Load:
    """The result of a run. Latencies are in seconds."""

    requests: int
    seconds: float
    median: float
    p99: float
    all_requests: int
    """Including those of the warm-up."""

    @property
    def per_second(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds

    @property
    def spread(self) -> float:
        """The 99th percentile of the latency relative to its median."""
        return self.p99 / self.median


def fastest_client() -> tuple[str, ...]:
    """Return the command of the client: the one in Go if it can be built here, otherwise the one in Python."""
    program = build(GO_SOURCE)
    return PYTHON_CLIENT if program is None else (str(program),)


def describe_client() -> str:
    """Return in which language the client of this run is written."""
    return "Python (there is no go to build the other)" if fastest_client() == PYTHON_CLIENT else "Go"


def run_load(
    port: int,
    ca: Path,
    body: Path,
    *,
    connections: int = 16,
    seconds: float = 1.0,
    client: Sequence[str] | None = None,
) -> Load:
    """Run a client in its own process against ``/validate`` on ``port``, by default the fastest one."""
    command = [*(client or fastest_client()), "--connections", str(connections), "--seconds", str(seconds)]
    command += [str(port), str(ca), str(body)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=seconds + 60)
    if done.returncode:
        raise AssertionError(done.stderr)
    return Load(**json.loads(done.stdout))


def prepare(body: bytes) -> bytes:
    """Return a whole HTTP request for a review."""
    head = (
        "POST /validate?timeout=10s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def connect(port: int, ca: Path) -> ssl.SSLSocket:
    """Return a connection after its handshake."""
    context = ssl.create_default_context(cafile=str(ca))
    raw = socket.create_connection(("127.0.0.1", port), timeout=30)
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return context.wrap_socket(raw, server_hostname="127.0.0.1")


def is_whole(answer: bytes | bytearray) -> bool:
    """Whether a response with a Content-Length is complete; raises if its status is not 200."""
    head, end, rest = bytes(answer).partition(b"\r\n\r\n")
    if not end:
        return False
    if not head.startswith(b"HTTP/1.1 200 "):
        raise AssertionError(head.decode(errors="replace"))
    lowered = head.lower()
    at = lowered.index(b"content-length:") + len(b"content-length:")
    return len(rest) >= int(lowered[at:].partition(b"\r")[0])


@dataclass(slots=True, eq=False)
class _Connection:
    socket: ssl.SSLSocket
    started: float = 0.0
    answer: bytearray = field(default_factory=bytearray)
    admitted: bool = False

    def send(self, request: bytes) -> None:
        self.started = time.perf_counter()
        self.answer.clear()
        self.socket.setblocking(True)
        self.socket.sendall(request)
        self.socket.setblocking(False)

    def receive(self) -> bool:
        """Read the available bytes; return whether the response is complete. The first one must admit."""
        try:
            while data := self.socket.recv(65536):
                self.answer += data
                if is_whole(self.answer):
                    if not self.admitted and b'"allowed":true' not in self.answer:
                        body = self.answer.partition(b"\r\n\r\n")[2].decode()
                        raise AssertionError(f"the answer does not admit: {body}")
                    self.admitted = True
                    return True
        except ssl.SSLWantReadError:
            return False
        raise AssertionError("the server closed the connection")


def _measure(port: int, ca: Path, body: bytes, connections: int, seconds: float) -> Load:
    request = prepare(body)
    selector = selectors.DefaultSelector()
    for _ in range(connections):
        connection = _Connection(connect(port, ca))
        selector.register(connection.socket, selectors.EVENT_READ, connection)
        connection.send(request)
    begins = time.perf_counter() + WARM_UP
    ends = begins + seconds
    latencies: list[float] = []
    warmed = 0
    now = 0.0
    while now < ends:
        for key, _ in selector.select(5):
            connection = key.data
            if connection.receive():
                now = time.perf_counter()
                if now >= begins:
                    latencies.append(now - connection.started)
                else:
                    warmed += 1
                connection.send(request)
    latencies.sort()
    count = len(latencies)
    median, p99 = latencies[count // 2], latencies[min(count - 1, int(count * 0.99))]
    return Load(count, now - begins, median, p99, count + warmed)


def _main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("ca", type=Path)
    parser.add_argument("body", type=Path)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=1.0)
    options = parser.parse_args()
    body = options.body.read_bytes()
    load = _measure(options.port, options.ca, body, options.connections, options.seconds)
    fields = ("requests", "seconds", "median", "p99", "all_requests")
    print(json.dumps({name: getattr(load, name) for name in fields}))


if __name__ == "__main__":
    _main()
