"""Connections whose every wait has an end."""

from __future__ import annotations

import contextlib
import io
import socket
import ssl
import time
from collections.abc import Callable
from typing import Any, Final

import gevent

HANDSHAKE_SECONDS: Final = 10.0
"""For a TLS handshake, as kube-apiserver allows itself."""

FIRST_BYTE_SECONDS: Final = 10.0
"""For the first byte of a new connection. Later requests may wait for the keep-alive time."""

REQUEST_SECONDS: Final = 20.0
"""For headers and body together, from the first byte; a review is sent in one piece."""

WRITE_SECONDS: Final = 10.0
"""For an answer, which is smaller than the buffers of a connection whose client reads."""

CLOSED_SECONDS: Final = 4
"""For a client to take what it has not taken when we close. The kernel would offer it for two minutes."""

MAX_BUSY_SECONDS: Final = 0.005
"""For reading what a client sends so quickly that it never has to be waited for."""

PIECE: Final = 4096
"""Bytes that are read, or encrypted, at a time. A ``MemoryBIO`` keeps the size of the largest piece that went
through it for as long as the connection is open."""

RECORD_HEADER: Final = 5
MAX_RECORD: Final = 16 * 1024 + 2048
"""Bytes of the longest record that TLS allows."""

MAX_SILENT_RECORDS: Final = 32
"""TLS records without data for one request: updates of keys, warnings, empty records. A client that has its
reasons sends one now and then; each costs what a review does not, and OpenSSL reads them without end."""

HANDSHAKE: Final = 22
CLIENT_HELLO: Final = 1
MESSAGE_HEADER: Final = 4
"""Type and length of a message of the handshake. OpenSSL takes memory for whatever length is declared."""

MAX_HELLO: Final = 8 * 1024
"""Bytes of a ClientHello. It has 200 to 2,000, less than 4,000 with keys for the time of quantum computers.
OpenSSL compares each key in it with each kind of key in it: 64 KB take 0.1 s, 8 KB a millisecond."""

MAX_HANDSHAKE: Final = 16 * 1024
"""Bytes of a handshake. A client's chain of certificates has some kilobytes, and each takes its time."""

CHANGE_CIPHER_SPEC: Final = 6
"""Bytes of the record that says nothing, which most clients send before what follows their hello."""


def yield_to_loop() -> None:
    """Let all others have their turn; a sleep of no time at all would leave the sockets of others unseen."""
    gevent.sleep(0.0001)


class ClientTimeout(ConnectionResetError):
    """A client used up its time; gunicorn takes the error for a reset connection and is silent."""


class Connection:
    """A TLS connection whose reads share one budget per request, however slowly bytes drip.

    What is sent is kept until ``flush``, so that head and body of an answer leave in one TLS record
    and one system call.

    OpenSSL never sees the socket. Given one, it reads records that bring no data for as long as there are
    any, within one call that no budget of ours ends: an update of keys has 27 bytes, and a few megabytes of
    them would stop everybody for seconds. Here it gets one record at a time.

    For gunicorn this is a socket, of which it has what it uses; nothing can be written past the encryption.
    """

    idle = False
    """Whether nothing of a request has arrived yet."""
    is_reused = False
    """Whether it has brought a request before."""
    aborted = False
    """Whether we have cut it, and counted that."""
    request_began = 0.0
    """When the first byte of the request arrived, in monotonic seconds."""
    sends = False
    """Whether an answer is being sent."""
    _idle_seconds = FIRST_BYTE_SECONDS
    _turn_began = _ends = float("inf")

    def __init__(self, client: Any, context: ssl.SSLContext) -> None:
        """Take over an accepted socket."""
        self._socket = client
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._ahead = b""
        """What was read from the socket and not given to OpenSSL yet."""
        self._missing = 0
        """Bytes of the record that OpenSSL is in the middle of, 0 between two records."""
        self._look_at = RECORD_HEADER + MESSAGE_HEADER
        """Bytes of a record that are looked at before OpenSSL gets any of it."""
        self._has_answered = False
        """Whether we have said anything in the handshake."""
        self._silent = 0
        """Records without data since the last request."""
        self._unsent: list[bytes] = []

    def handshake(self, take_turn: Callable[[], None], is_half: Callable[[], None]) -> None:
        """Do the TLS handshake; raises ``OSError`` for whatever is none, or too slow a one.

        ``take_turn`` is called before OpenSSL gets to work on a record: it signs, or looks at the client's
        certificate, which takes from a tenth of a millisecond to several, by the kind and size of the key.
        ``is_half`` is called where OpenSSL may take 100 KB for what the client only declares: it has answered
        the hello, and what comes then is encrypted, or may be another hello, and cannot be looked at before.
        """
        self._ends = time.monotonic() + HANDSHAKE_SECONDS
        size = after = 0
        while not self._try_handshake():
            piece = self._feed()
            size += piece
            after += piece if self._has_answered else 0
            if size > MAX_HANDSHAKE:
                raise ConnectionResetError
            if size > PIECE:  # a flood; who takes turns earlier gets up together with all others that do
                yield_to_loop()
            if not self._missing:
                take_turn()
                self._left()
            if self.aborted:
                raise ConnectionResetError
            if after > CHANGE_CIPHER_SPEC:
                is_half()
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._expect_request()

    def _try_handshake(self) -> bool:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            is_done = False
        except ssl.SSLError:
            self._say_why()
            raise
        else:
            is_done = True
        if self._outgoing.pending:
            self._has_answered = True
            self._socket.settimeout(self._left())
            self._socket.sendall(self._outgoing.read())
        return is_done

    def _say_why(self) -> None:
        """Send the alert that OpenSSL left, unless the client does not even take that."""
        with contextlib.suppress(OSError):
            self._socket.settimeout(0)
            self._socket.send(self._outgoing.read())

    def getpeercert(self) -> dict[str, Any] | None:
        """Return the certificate that the client showed and that was verified, if any."""
        certificate: dict[str, Any] | None = self._tls.getpeercert()
        return certificate

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        """Read within the budget; raises ``ClientTimeout`` once it is used up."""
        del flags
        data = None
        if self._tls.pending():  # the record was longer than what was asked for
            self._left()
            data = self._try_read(buflen)
        while data is None:
            try:
                self._feed()
            except TimeoutError:
                raise ClientTimeout from None
            data = self._try_read(buflen)
            if data is None and not self._missing:
                self._silent += 1
                if self._silent > MAX_SILENT_RECORDS:
                    raise ClientTimeout
        self.start_request_timer()
        return data

    def _try_read(self, size: int) -> bytes | None:
        """Return data, ``b""`` at their end, ``None`` where another record is needed."""
        try:
            return self._tls.read(size)
        except ssl.SSLWantReadError:
            return None
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            return b""
        except ssl.SSLError:
            self._say_why()
            raise

    def _feed(self) -> int:
        """Give OpenSSL a piece of the record that it is in the middle of, or of the next; return its size."""
        while len(self._ahead) < (1 if self._missing else self._look_at):
            self._socket.settimeout(self._left())
            piece = self._socket.recv(PIECE)
            if not piece:
                self._incoming.write(self._ahead)
                self._incoming.write_eof()
                self._ahead = b""
                return 0
            self._ahead += piece
        if not self._missing:
            length = int.from_bytes(self._ahead[3:5])
            if self._look_at > RECORD_HEADER and self._ahead[0] == HANDSHAKE:
                self._look_at_hello(length)
            self._missing = RECORD_HEADER + min(length, MAX_RECORD)
        size = self._incoming.write(memoryview(self._ahead)[: self._missing])
        self._ahead = self._ahead[size:]
        self._missing -= size
        return size

    def _look_at_hello(self, length: int) -> None:
        """Look at the first record of a handshake, whose content has ``length`` bytes.

        Nine bytes that declare a long ClientHello would make OpenSSL take 150 KB. Clients send it in one
        record. Whatever is no ClientHello is refused by OpenSSL, with an alert.
        """
        if self._ahead[RECORD_HEADER] != CLIENT_HELLO:
            return
        declared = int.from_bytes(self._ahead[RECORD_HEADER + 1 : RECORD_HEADER + MESSAGE_HEADER])
        if not MESSAGE_HEADER + declared == length <= MAX_HELLO:
            raise ConnectionResetError
        self._look_at = RECORD_HEADER

    def start_request_timer(self) -> None:
        """Start the budget of a request, unless it runs already."""
        if self.idle:
            self.idle = False
            self.request_began = self._turn_began = time.monotonic()
            self._ends = self._turn_began + REQUEST_SECONDS

    def has_arrived(self) -> bool:
        """Whether something has arrived that no request was read from yet; the data stay where they are."""
        if self._ahead or self._missing:
            return True
        waits = self._socket.gettimeout()
        self._socket.settimeout(0)
        try:
            return bool(self._socket.recv(1, socket.MSG_PEEK))
        except OSError:
            return False
        finally:
            self._socket.settimeout(waits)

    def _left(self) -> float:
        """Return the seconds that are left of the budget, also where there is always something to read."""
        now = time.monotonic()
        if now - self._turn_began > MAX_BUSY_SECONDS:
            yield_to_loop()
            self._turn_began = now
        if now >= self._ends:
            raise ClientTimeout
        return self._ends - now

    def sendall(self, data: bytes, flags: int = 0) -> None:
        """Keep data for ``flush``."""
        del flags
        self._unsent.append(data)

    def gettimeout(self) -> float:
        """Tell gunicorn that sending does not wait, as it does not before ``flush``."""
        return 0.0

    def flush(self) -> None:
        """Send what was kept; raises ``ClientTimeout`` where the client does not take it."""
        if not self._unsent:
            return
        records = self._encrypt_unsent()
        self._socket.settimeout(WRITE_SECONDS)
        self.sends = True
        try:
            self._socket.sendall(records)
        except TimeoutError:
            raise ClientTimeout from None
        finally:
            self.sends = False

    def _encrypt_unsent(self) -> bytes:
        data = memoryview(b"".join(self._unsent))
        self._unsent.clear()
        records = []
        for start in range(0, len(data), PIECE):
            self._tls.write(data[start : start + PIECE])
            records.append(self._outgoing.read())
        return b"".join(records)

    def start_idle_timer(self, idle_seconds: float) -> None:
        """Wait for another request, for at most ``idle_seconds``."""
        self._idle_seconds = idle_seconds
        self.is_reused = True
        self._expect_request()

    def _expect_request(self) -> None:
        self.idle = True
        self._silent = 0
        self._turn_began = float("inf")  # what may come before a request is too little for a turn
        self._ends = time.monotonic() + self._idle_seconds

    def abort(self) -> None:
        """End the connection at once; whoever waits for it gets an ``OSError`` or the end of the data."""
        self.aborted = True
        # The raw connection: an orderly end of TLS would wait for the client.
        with contextlib.suppress(OSError):
            self.shutdown(socket.SHUT_RDWR)

    def shutdown(self, how: int) -> None:
        """End the TCP connection; TLS is not told."""
        self._socket.shutdown(how)

    def close(self) -> None:
        """Give back the socket; what the client does not take is thrown away soon."""
        with contextlib.suppress(OSError):
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, CLOSED_SECONDS * 1000)
        self._socket.close()


class Body(io.BytesIO):
    """The body of a request, dropped once it has been read as a whole.

    gunicorn's parser and the WSGI environment refer to it until the next request has come: without this, a
    review that waits for SWR and an idle connection would keep up to 7 MiB each.
    """

    def __init__(self, data: bytes, *, began: float, is_cut: bool = False, may_wait: bool = True) -> None:
        """Hold ``data`` of a request that began to arrive at ``began``, in monotonic seconds.

        ``is_cut`` says that it is the beginning of a body that there was no room for. Without ``may_wait``
        too many requests wait already, and this one is to be answered at once.
        """
        super().__init__(data)
        self.began = began
        self.is_cut = is_cut
        self.may_wait = may_wait

    def read(self, size: int | None = -1) -> bytes:
        """Return up to ``size`` bytes, or all that are left, which are kept no longer."""
        data = super().read(size)
        if size is None or size < 0:
            self.drop()
        return data

    def drop(self) -> None:
        """Keep nothing; later reads return ``b""``."""
        self.seek(0)
        self.truncate()
