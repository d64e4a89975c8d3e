"""Processor time and memory of a server's process, as Linux counts them."""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.bench.load import Load, is_whole, prepare


def worker_of(arbiter: int) -> int:
    """Return the id of the only worker below a gunicorn arbiter."""
    listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(arbiter)], capture_output=True, text=True)
    return int(listed.stdout.split()[0])


def resident(process: int) -> float:
    """Return the resident memory of a process in MB."""
    listed = subprocess.run(["ps", "-o", "rss=", "-p", str(process)], capture_output=True, text=True)
    return int(listed.stdout) / 1024


def busy(process: int) -> float:
    """Return the processor seconds of all threads of a process."""
    stats = Path(f"/proc/{process}/task").glob("*/schedstat")
    return sum(int(path.read_text().split()[0]) for path in stats) / 1e9


def cost_of(process: int, client: ssl.SSLSocket, bodies: list[bytes], count: int) -> float:
    """Return the processor seconds per review for ``count`` reviews; ``bodies`` alternate.

    Unlike the latency of a review, it hardly depends on other work on the machine.
    """
    before = busy(process)
    for index in range(count):
        client.sendall(prepare(bodies[index % len(bodies)]))
        if b'"allowed":true' not in receive(client):
            raise AssertionError("not admitted")
    return (busy(process) - before) / count


def measure_load(process: int, run: Callable[[], Load]) -> tuple[Load, float]:
    """Run a load; return it, and the processor seconds of a process per request, including handshakes."""
    before = busy(process)
    load = run()
    return load, (busy(process) - before) / load.all_requests


def receive(client: ssl.SSLSocket) -> bytes:
    """Return one whole response; raises ``AssertionError`` if the server closes the connection instead."""
    answer = bytearray()
    while not is_whole(answer):
        data = client.recv(65536)
        if not data:
            raise AssertionError("the server closed the connection")
        answer += data
    return bytes(answer)
