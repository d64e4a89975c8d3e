"""TLS connections with a time limit on every wait."""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
from collections.abc import Callable
from typing import Any, Final

import gevent

from webhook.server.sockets import WatchedSocket, do_nothing

HANDSHAKE_SECONDS: Final = 10.0
"""For a TLS handshake; kube-apiserver has the same limit."""

FIRST_BYTE_SECONDS: Final = 10.0
"""For the first byte of a new connection. Later requests may wait for the keep-alive time."""

REQUEST_SECONDS: Final = 20.0
"""For headers and body together, from the first byte; a review is sent in one piece."""

WRITE_SECONDS: Final = 10.0
"""For an answer; if the client reads, it fits into the buffers of the connection."""

CLOSED_SECONDS: Final = 4
"""For a client to read the rest of an answer after the close. The kernel would retry for two minutes."""

MAX_BUSY_SECONDS: Final = 0.005
"""For reading from a client that sends so fast that reading never blocks."""

PIECE: Final = 4096
"""Bytes that are read, or encrypted, at a time. A ``MemoryBIO`` keeps a buffer of the size of the largest
piece until the connection is closed."""

RECORD_HEADER: Final = 5
MAX_RECORD: Final = 16 * 1024 + 2048
"""Bytes of the longest record that TLS allows."""

MAX_EMPTY_RECORDS: Final = 32
"""TLS records without data during one request: key updates, warnings, empty records. A legitimate client
sends few of them. Each costs processor time, and OpenSSL reads any number of them."""

HANDSHAKE: Final = 22
CLIENT_HELLO: Final = 1
MESSAGE_HEADER: Final = 4
"""Type and length of a handshake message. OpenSSL allocates memory for any declared length."""

MAX_HELLO: Final = 8 * 1024
"""Bytes of a ClientHello. It has 200 to 2,000, and less than 4,000 with post-quantum keys. OpenSSL compares
each key share with each group: 64 KB take 0.1 s, 8 KB a millisecond."""

MAX_HANDSHAKE: Final = 16 * 1024
"""Bytes of a handshake. The certificate chain of a client has some kilobytes; each takes processor time."""

CHANGE_CIPHER_SPEC: Final = 6
"""Bytes of the ChangeCipherSpec record, which most clients send after their hello without any meaning."""


class ClientTimeout(ConnectionResetError):
    """The client missed a read or write deadline."""


class Connection:
    """A TLS connection whose reads share one time limit per request.

    OpenSSL does not read from the socket. It would read any number of records without data in one call, which
    no time limit ends. A key update has 27 bytes, and a few megabytes of them would block the loop for
    seconds. Here OpenSSL gets one record at a time.
    """

    idle = False
    """Whether no part of a request has arrived yet."""
    is_reused = False
    """Whether it has sent a complete request before."""
    aborted = False
    """Whether it was aborted, and that was counted."""
    request_began = 0.0
    """When the first byte of the request arrived, in monotonic seconds."""
    sends = False
    """Whether an answer is being sent."""
    _idle_seconds = FIRST_BYTE_SECONDS
    _busy_since = _ends = float("inf")

    def __init__(self, client: Any, context: ssl.SSLContext) -> None:
        """Take over an accepted socket."""
        self._socket = WatchedSocket(client)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._ahead = b""
        """Data that was read from the socket and not passed to OpenSSL yet."""
        self._missing = 0
        """Bytes that OpenSSL still needs of the current record, 0 between two records."""
        self._checked_size = RECORD_HEADER + MESSAGE_HEADER
        """Bytes of a record that are checked before any of it is passed to OpenSSL."""
        self._has_answered = False
        """Whether the server has sent anything in the handshake."""
        self._empty_records = 0
        """Records without data since the last request."""

    def handshake(self, checkpoint: Callable[[], None], on_pending: Callable[[], None]) -> None:
        """Do the TLS handshake; raises ``OSError`` if it fails or is too slow.

        ``checkpoint`` is called before OpenSSL processes a record. OpenSSL then signs, or verifies the
        client's certificate, which takes from a tenth of a millisecond to several, depending on the key.

        ``on_pending`` is called when OpenSSL may allocate 100 KB for a message that the client only declares.
        This is after the answer to the hello: the following records are encrypted, or a second hello, and
        cannot be checked first.
        """
        self._ends = time.monotonic() + HANDSHAKE_SECONDS
        size = after = 0
        while not self._try_handshake():
            piece = self._feed()
            size += piece
            after += piece if self._has_answered else 0
            if size > MAX_HANDSHAKE:
                raise ConnectionResetError
            if size > PIECE:  # a longer wait in the scheduler would wake all such connections together
                self._yield_to_loop()
            if not self._missing:
                checkpoint()
                self._check_time()
            if self.aborted:
                raise ConnectionResetError
            if after > CHANGE_CIPHER_SPEC:
                on_pending()
        self._socket.set_option(socket.TCP_NODELAY, 1)
        self._expect_request()

    def _try_handshake(self) -> bool:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            is_done = False
        except ssl.SSLError:
            self._send_alert()
            raise
        else:
            is_done = True
        if self._outgoing.pending:
            self._has_answered = True
            self._check_time()
            self._socket.sendall(self._outgoing.read(), self._ends)
        return is_done

    def _send_alert(self) -> None:
        """Send the TLS alert, unless the client does not read it."""
        with contextlib.suppress(OSError):
            self._socket.send(self._outgoing.read())

    def getpeercert(self) -> dict[str, Any] | None:
        """Return the verified certificate of the client, if any."""
        certificate: dict[str, Any] | None = self._tls.getpeercert()
        return certificate

    def recv(self, size: int) -> bytes:
        """Return 1 to ``size`` bytes, ``b""`` at the end; raises ``ClientTimeout`` after the time limit."""
        data = None
        if self._tls.pending():  # the last record was longer than ``size``
            self._check_time()
            data = self._try_read(size)
        while data is None:
            try:
                self._feed()
            except TimeoutError:
                raise ClientTimeout from None
            data = self._try_read(size)
            if data is None and not self._missing:
                self._empty_records += 1
                if self._empty_records > MAX_EMPTY_RECORDS:
                    raise ClientTimeout
        self.start_request_timer()
        return data

    def _try_read(self, size: int) -> bytes | None:
        """Return data, ``b""`` at the end, ``None`` if another record is needed."""
        try:
            return self._tls.read(size)
        except ssl.SSLWantReadError:
            return None
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            return b""
        except ssl.SSLError:
            self._send_alert()
            raise

    def _feed(self) -> int:
        """Pass a piece of the current or next record to OpenSSL; return its size."""
        while len(self._ahead) < (1 if self._missing else self._checked_size):
            self._check_time()
            piece = self._socket.recv(PIECE, self._ends)
            if not piece:
                self._incoming.write(self._ahead)
                self._incoming.write_eof()
                self._ahead = b""
                return 0
            self._ahead += piece
        if not self._missing:
            length = int.from_bytes(self._ahead[3:5])
            if self._checked_size > RECORD_HEADER and self._ahead[0] == HANDSHAKE:
                self._check_hello(length)
            self._missing = RECORD_HEADER + min(length, MAX_RECORD)
        ahead = self._ahead
        if len(ahead) > self._missing:
            self._ahead = ahead[self._missing :]
            ahead = ahead[: self._missing]
        else:
            self._ahead = b""
        size = self._incoming.write(ahead)
        self._missing -= size
        return size

    def _check_hello(self, length: int) -> None:
        """Check the first record of a handshake, whose content has ``length`` bytes.

        Nine bytes that declare a long ClientHello would make OpenSSL allocate 150 KB. Clients send it in one
        record. OpenSSL rejects other messages with an alert.
        """
        if self._ahead[RECORD_HEADER] != CLIENT_HELLO:
            return
        declared = int.from_bytes(self._ahead[RECORD_HEADER + 1 : RECORD_HEADER + MESSAGE_HEADER])
        if not MESSAGE_HEADER + declared == length <= MAX_HELLO:
            raise ConnectionResetError
        self._checked_size = RECORD_HEADER

    def start_request_timer(self) -> None:
        """Start the time limit of a request, unless it is running."""
        if self.idle:
            self.idle = False
            self.request_began = self._busy_since = time.monotonic()
            self._ends = self._busy_since + REQUEST_SECONDS

    def has_arrived(self) -> bool:
        """Return whether data has arrived that is not read yet; the data is left there."""
        return bool(self._ahead or self._missing) or self._socket.has_arrived()

    def _check_time(self) -> None:
        """Check the time limit, and yield to the loop if reading never blocks."""
        now = time.monotonic()
        if now - self._busy_since > MAX_BUSY_SECONDS:
            self._yield_to_loop()
            self._busy_since = now
        if now >= self._ends:
            raise ClientTimeout

    @staticmethod
    def _yield_to_loop() -> None:
        """Let other greenlets run. A sleep of zero seconds would not poll the sockets."""
        gevent.sleep(0.0001)

    def sendall(self, data: bytes, on_wait: Callable[[], None] = do_nothing) -> None:
        """Send all of ``data``; call ``on_wait`` before waiting for the client to read.

        Raises:
            ClientTimeout: the client does not read it.
        """
        records = self._encrypt(data)
        self.sends = True
        try:
            self._socket.sendall(records, time.monotonic() + WRITE_SECONDS, on_wait)
        except TimeoutError:
            raise ClientTimeout from None
        finally:
            self.sends = False

    def _encrypt(self, data: bytes) -> bytes:
        if len(data) <= PIECE:
            self._tls.write(data)
            return self._outgoing.read()
        view, records = memoryview(data), []
        for start in range(0, len(data), PIECE):
            self._tls.write(view[start : start + PIECE])
            records.append(self._outgoing.read())
        return b"".join(records)

    def start_idle_timer(self, idle_seconds: float) -> None:
        """Wait for another request, for at most ``idle_seconds``."""
        self._idle_seconds = idle_seconds
        self.is_reused = True
        self._expect_request()

    def _expect_request(self) -> None:
        self.idle = True
        self._empty_records = 0
        self._busy_since = float("inf")  # what may arrive before a request is too little to block the loop
        self._ends = time.monotonic() + self._idle_seconds

    def abort(self) -> None:
        """Abort the connection; a greenlet that waits for it gets an ``OSError`` or the end of the data."""
        self.aborted = True
        # Only TCP is shut down: an orderly end of TLS would wait for the client.
        self._socket.shutdown()

    def close(self) -> None:
        """Close the socket; data that the client does not read is discarded soon."""
        with contextlib.suppress(OSError):
            self._socket.set_option(socket.TCP_USER_TIMEOUT, CLOSED_SECONDS * 1000)
        self._socket.close()
