"""A raw client of the webhook's port, which can break every rule of the protocol."""

from __future__ import annotations

import socket
import ssl
import struct
from dataclasses import dataclass

from tests.support.serving import ServerProcess

HELLO = bytes.fromhex("16030100c8010000c40303")
"""The beginning of every ClientHello: a handshake record of 200 bytes, without the rest."""


def connect(server: ServerProcess, timeout: float = 30.0) -> socket.socket:
    """Return a TCP connection over which nothing was sent."""
    return socket.create_connection(("127.0.0.1", server.port), timeout=timeout)


def handshake(server: ServerProcess, context: ssl.SSLContext | None = None) -> ssl.SSLSocket:
    """Return a connection after its TLS handshake."""
    chosen = context if context is not None else server.context()
    return chosen.wrap_socket(connect(server), server_hostname="127.0.0.1")


def reset(connection: socket.socket) -> None:
    """Reset the connection, as a killed process or a firewall does."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def read_to_end(connection: socket.socket) -> bytes:
    """Return everything until the other side closes or resets."""
    data = bytearray()
    try:
        while piece := connection.recv(65536):
            data += piece
    except (ConnectionResetError, ssl.SSLError):
        pass
    return bytes(data)


def chunked(*chunks: bytes) -> bytes:
    """Return a body in chunks."""
    return b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in (*chunks, b""))


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP response; header names are lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


def read_answers(connection: socket.socket) -> list[Answer]:
    """Return all responses until the other side closes."""
    return split_answers(read_to_end(connection))


def split_answers(data: bytes) -> list[Answer]:
    """Split ``data`` into responses; interim ones have no body."""
    answers = []
    while data:
        head, _, data = data.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        fields = (line.partition(":") for line in lines)
        headers = {name.lower(): value.strip() for name, _, value in fields}
        length = int(headers.get("content-length", "0"))
        answers.append(Answer(int(first.split()[1]), headers, data[:length]))
        data = data[length:]
    return answers
