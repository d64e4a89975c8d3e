"""Clients that do not read responses, with the smallest receive buffer that the kernel allows."""

from __future__ import annotations

import contextlib
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.support.serving import ServerProcess

ESTABLISHED: Final = 1
FIN_WAIT_1: Final = 4
"""The state of a socket that we have closed before the client has received everything."""


def connect_slow_reader(server: ServerProcess, context: ssl.SSLContext) -> ssl.SSLSocket:
    """Return a connection after its handshake whose client receives 2 KB and does not read them."""
    plain = socket.socket()
    plain.settimeout(30)
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2304)
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)
    plain.connect(("127.0.0.1", server.port))
    return context.wrap_socket(plain, server_hostname="127.0.0.1")


def send_until_blocked(connection: ssl.SSLSocket, data: bytes, times: int) -> None:
    """Send the same data repeatedly until the connection accepts no more."""
    connection.settimeout(0.5)
    with contextlib.suppress(OSError):
        for _ in range(times):
            connection.sendall(data)


@dataclass(frozen=True, slots=True)
class Queues:
    """A socket of the server; see ``proc_net_tcp.txt`` of the kernel's documentation."""

    state: int
    unsent: int
    """Bytes that the client has not received."""
    unread: int
    """Bytes that the server has not read."""


def read_socket_queues(server: ServerProcess) -> list[Queues]:
    """Return the sockets of the server's port, including those that no process owns."""
    found = []
    for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]:
        _, local, _, state, queues, *_ = line.split()
        if local.endswith(f":{server.port:04X}"):
            unsent, unread = (int(number, 16) for number in queues.split(":"))
            found.append(Queues(int(state, 16), unsent, unread))
    return found
