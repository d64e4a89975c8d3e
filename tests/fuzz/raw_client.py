"""A client that divides, damages and ends its connection in random ways."""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
from collections.abc import Iterable
from random import Random
from typing import Final

from tests.fuzz.http_inputs import divide

PAUSES: Final = (0.0, 0.0, 0.0, 0.001, 0.01)
"""Seconds between two segments, at most 30 times in a connection."""

TIMEOUT: Final = 20.0
"""Seconds without any data, after which a connection is stuck. The server's own limits are 2 seconds."""


class RawClient:
    """A connection whose TLS records and TCP segments are chosen one by one."""

    def __init__(self, port: int, context: ssl.SSLContext, random: Random) -> None:
        """Connect to ``port`` of the loopback address."""
        self._random = random
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname="127.0.0.1")

    def handshake(self) -> None:
        """Complete the TLS handshake.

        Raises:
            OSError: the server ended the connection.
        """
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self._socket.sendall(self._outgoing.read())
                self._incoming.write(self._receive())
            else:
                self._socket.sendall(self._outgoing.read())
                return

    def encrypt(self, pieces: Iterable[bytes]) -> bytes:
        """Return one TLS record for each piece."""
        for piece in pieces:
            self._tls.write(piece)
        return self._outgoing.read()

    def send(self, data: bytes) -> None:
        """Send bytes over TCP in random segments; the server may end the connection meanwhile."""
        pauses = 30
        with contextlib.suppress(OSError):
            for segment in divide(self._random, data):
                self._socket.sendall(segment)
                pause = self._random.choice(PAUSES) if pauses else 0.0
                if pause:
                    pauses -= 1
                    time.sleep(pause)

    def end_data(self) -> None:
        """End the client's side of TCP."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def end_tls(self) -> None:
        """Announce the end in TLS, and leave TCP open."""
        with contextlib.suppress(ssl.SSLWantReadError):
            self._tls.unwrap()
        with contextlib.suppress(OSError):
            self._socket.sendall(self._outgoing.read())

    def read_to_end(self) -> bytes:
        """Return everything that the server sends until it ends the connection.

        Raises:
            TimeoutError: the server neither answers nor ends the connection.
        """
        data = bytearray()
        with contextlib.suppress(ConnectionResetError, BrokenPipeError, ssl.SSLError):
            while True:
                try:
                    piece = self._tls.read(65536)
                except ssl.SSLWantReadError:
                    self._incoming.write(self._receive())
                    continue
                if not piece:
                    break
                data += piece
        return bytes(data)

    def read_raw(self) -> None:
        """Read what the server sends without TLS, until it ends the connection."""
        with contextlib.suppress(ConnectionResetError):
            while self._socket.recv(65536):
                pass

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def _receive(self) -> bytes:
        data = self._socket.recv(65536)
        if not data:
            raise ConnectionResetError
        return data
