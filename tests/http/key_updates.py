"""A TLS 1.3 client that encrypts its own records, so that it can send what no library sends.

OpenSSL does the handshake and reads the answers; its key log contains the secret of the sending direction.
"""

from __future__ import annotations

import hmac
import socket
import ssl
import time
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tests.http.wire import connect
from tests.support.serving import ServerProcess

CIPHER: Final = "TLS_AES_256_GCM_SHA384"
"""The cipher that OpenSSL prefers: keys of 32 bytes, secrets of 48."""

HASH: Final = "sha384"
SECRET: Final = 48
APPLICATION_DATA: Final = 23
HANDSHAKE: Final = 22


def expand(secret: bytes, label: str, length: int) -> bytes:
    """HKDF-Expand-Label of RFC 8446, 7.1, for at most one block of the hash."""
    name = b"tls13 " + label.encode()
    info = length.to_bytes(2) + bytes([len(name)]) + name + b"\0"
    return hmac.digest(secret, info + b"\1", HASH)[:length]


class Client:
    """A connection whose records are built by hand."""

    def __init__(self, server: ServerProcess, folder: Path) -> None:
        """Do the handshake."""
        log = folder / f"keys-{time.monotonic_ns()}"
        context = server.context()
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.keylog_filename = str(log)
        self.socket: socket.socket = connect(server)
        self._incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, outgoing, server_hostname="127.0.0.1")
        while True:
            try:
                self._tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                self.socket.sendall(outgoing.read())
                self._incoming.write(self.socket.recv(65536))
        self.socket.sendall(outgoing.read())
        assert (self._tls.cipher() or ("",))[0] == CIPHER
        lines = (line.split() for line in log.read_text(encoding="utf-8").splitlines())
        self._use(next(bytes.fromhex(line[2]) for line in lines if line[0] == "CLIENT_TRAFFIC_SECRET_0"))

    def _use(self, secret: bytes) -> None:
        self._secret = secret
        self._key = AESGCM(expand(secret, "key", 32))
        self._iv = int.from_bytes(expand(secret, "iv", 12))
        self._number = 0

    def _encrypt(self, content: bytes, kind: int) -> bytes:
        plain = content + bytes([kind])
        header = b"\x17\x03\x03" + (len(plain) + 16).to_bytes(2)
        nonce = (self._iv ^ self._number).to_bytes(12)
        self._number += 1
        return header + self._key.encrypt(nonce, plain, header)

    def make_data(self, data: bytes) -> bytes:
        """Return a record with data."""
        return self._encrypt(data, APPLICATION_DATA)

    def make_update(self, *, wants_another: bool = False) -> bytes:
        """Return a KeyUpdate record; it may request one of the server, too."""
        record = self._encrypt(b"\x18\0\0\1" + bytes([wants_another]), HANDSHAKE)
        self._use(expand(self._secret, "traffic upd", SECRET))
        return record

    def read_answer(self) -> bytes:
        """Return the next data, decrypted."""
        while True:
            try:
                return self._tls.read(65536)
            except ssl.SSLWantReadError:
                piece = self.socket.recv(65536)
                if not piece:
                    return b""
                self._incoming.write(piece)

    def close(self) -> None:
        """Close the connection."""
        self.socket.close()
