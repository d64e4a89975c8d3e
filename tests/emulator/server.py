"""The HTTP server of the emulator, and its faults in the transport."""

from __future__ import annotations

import functools
import gzip
import json
import socket
import ssl
import struct
import threading
import time
from dataclasses import asdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.emulator.api import Api
from tests.emulator.registry import RegistryApi
from tests.emulator.state import Fault, State

SEED = Path(__file__).parent / "seed.yaml"
HANG_SECONDS = 30.0


@functools.cache
def make_bomb() -> bytes:
    """Return 64 MiB in 64 KiB."""
    return gzip.compress(b" " * 2**26)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server
    wbufsize = -1
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self._serve()

    def do_HEAD(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def do_DELETE(self) -> None:
        self._serve()

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing."""

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        state = self.server.state
        if self.path.startswith("/_"):
            self._control(body)
            return
        with state.lock:
            state.calls[self.path.partition("?")[0]] += 1
        fault = state.find_fault(f"//{self.headers.get('Host', '')}{self.path}", self.command)
        if fault is not None and self._inject_fault(fault):
            return
        time.sleep(self.server.latency)
        headers = {name.lower(): value for name, value in self.headers.items()}
        if self.command in ("GET", "HEAD") and RegistryApi.serves(self.path.partition("?")[0]):
            self._reply(*self.server.registry.answer(self.path, headers))
        else:
            self._reply(*self.server.api.answer(self.command, self.path, headers, body))

    def _control(self, body: bytes) -> None:
        state = self.server.state
        value = json.loads(body or b"null")
        with state.lock:
            if self.path == "/_faults" and self.command == "POST":
                state.faults.append(Fault(**value))
            elif self.path == "/_faults" and self.command == "DELETE":
                state.faults.clear()
            elif self.path == "/_tags" and self.command == "POST":
                state.set_tag(value.pop("image"), **value)
            elif self.path == "/_latency" and self.command == "POST":
                self.server.latency = float(value)
            status = {
                "faults": [asdict(fault) for fault in state.faults],
                "calls": dict(state.calls),
                "total": sum(state.calls.values()),
            }
        self._reply(200, {"Content-Type": "application/json"}, json.dumps(status).encode())

    def _reply(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        self.wfile.flush()

    def _inject_fault(self, fault: Fault) -> bool:
        """Apply the fault; return ``False`` if the call is then answered normally."""
        if fault.kind in ("trickle-headers", "trickle-body"):
            self._trickle(fault)
            return True
        time.sleep(fault.latency)
        self.close_connection = True
        body = fault.body.encode()
        match fault.kind:
            case "none":
                self.close_connection = False
                return False
            case "status":
                self.close_connection = False
                self._reply(fault.status, {"Content-Type": "application/json", **fault.headers}, body)
            case "redirect":
                self._reply(302, {"Location": fault.body}, b"")
            case "reset":
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            case "hang":
                self.server.wait(HANG_SECONDS)
            case "cut":
                self._raw(
                    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 400\r\n\r\n{"
                )
            case "huge":
                self._raw(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")
                for _ in range(100):
                    self._raw(b" " * 2**20)
            case "gzip":
                self._reply(
                    200, {"Content-Type": "application/json", "Content-Encoding": "gzip"}, make_bomb()
                )
            case "garbage":
                self._raw(b"\x00\x01\x02 no HTTP \xff\r\n\r\n")
            case _:
                raise ValueError(fault.kind)
        return True

    def _trickle(self, fault: Fault) -> None:
        self.close_connection = True
        start = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 400\r\n\r\n"
        if fault.kind == "trickle-body":
            self._raw(start)
            start = b" " * 400
        for byte in start * 4:
            self._raw(bytes([byte]))
            if self.server.wait(fault.latency):
                return

    def _raw(self, data: bytes) -> None:
        self.wfile.write(data)
        self.wfile.flush()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 2048
    block_on_close = False

    def __init__(self, address: tuple[str, int], state: State, context: ssl.SSLContext | None) -> None:
        self.state = state
        self.api = Api(state)
        self.registry = RegistryApi(state.registry, "http" if context is None else "https")
        self.latency = 0.0
        self._context = context
        self._closing = threading.Event()
        self.connections = 0
        self.open: set[socket.socket] = set()
        super().__init__(address, _Handler)

    def finish_request(self, request: Any, client_address: Any) -> None:
        with self.state.lock:
            self.connections += 1
            self.open.add(request)
        plain = request
        try:
            if self._context is not None:
                request = self._context.wrap_socket(request, server_side=True)
            super().finish_request(request, client_address)
        except OSError:
            pass  # the client has gone, as clients with deadlines do
        finally:
            with self.state.lock:
                self.open.discard(plain)
            request.close()

    def wait(self, seconds: float) -> bool:
        """Wait; return ``True`` if the server is closing."""
        return self._closing.wait(seconds)

    def close(self) -> None:
        """Stop serving."""
        self._closing.set()
        self.shutdown()
        self.server_close()


class Emulator:
    """A running emulator, in threads of this process."""

    def __init__(
        self,
        state: State | None = None,
        port: int = 0,
        context: ssl.SSLContext | None = None,
        latency: float = 0.0,
        host: str = "127.0.0.1",
    ) -> None:
        """Start on ``port`` of an address, 0 for any; over TLS with ``context``."""
        self.state = state if state is not None else State.load(SEED)
        self._server = _Server((host, port), self.state, context)
        self._server.latency = latency
        self.port: int = self._server.server_address[1]
        self.url = f"{'http' if context is None else 'https'}://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def break_with(self, kind: str, **values: Any) -> None:
        """Apply a fault from now on; see ``Fault``."""
        if kind == "gzip":
            make_bomb()  # creating it takes a while, which must not count as part of the fault
        with self.state.lock:
            self.state.faults.append(Fault(kind, **values))

    def set_latency(self, seconds: float) -> None:
        """Delay every answer from now on by this time."""
        self._server.latency = seconds

    def mend(self, match: str = "") -> None:
        """End all faults, or only those for paths that contain ``match``."""
        with self.state.lock:
            self.state.faults[:] = [fault for fault in self.state.faults if match not in fault.match]

    def calls(self, part: str = "") -> int:
        """Return the number of calls to paths that contain ``part``."""
        with self.state.lock:
            return sum(count for path, count in self.state.calls.items() if part in path)

    @property
    def connections(self) -> int:
        """Return the number of accepted connections."""
        with self.state.lock:
            return self._server.connections

    def drop_connections(self) -> None:
        """Close every connection, as a gateway closes idle ones."""
        with self.state.lock:
            idle = list(self._server.open)
        for connection in idle:
            connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Stop."""
        self._server.close()
        self._thread.join(5)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
