"""HTTP without TLS for the probes and metrics of the audit, which has no reviews and no secrets.

Each connection brings one request, has a time limit, and takes one of few places.
"""

from __future__ import annotations

import contextlib
import logging
import socket
from typing import Any, Final

import gevent
from flask import Flask
from gevent.pool import Pool
from gevent.pywsgi import WSGIHandler, WSGIServer

logger = logging.getLogger(__name__)

CONNECTION_SECONDS: Final = 10.0
"""For one connection from its start to its end."""

MAX_CONNECTIONS: Final = 32
"""Connections that are served at a time; further ones wait to be accepted."""

BAD_REQUEST: Final = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


class PlainServer(WSGIServer):  # type: ignore[misc]  # gevent ships no types
    """Serves an application until it is stopped."""

    def __init__(self, host: str, port: int, app: Flask) -> None:
        """Listen; an empty ``host`` is every address.

        Raises:
            OSError: the server cannot listen on the address.
        """
        dual = not host and socket.has_dualstack_ipv6()
        family = socket.AF_INET6 if dual or ":" in host else socket.AF_INET
        try:
            listener = socket.create_server((host, port), family=family, dualstack_ipv6=dual)
        except OSError as error:  # it repeats the address
            raise OSError(error.errno, str(error.strerror).partition(" (while ")[0]) from None
        pool = Pool(MAX_CONNECTIONS)
        super().__init__(listener, app, spawn=pool, log=None, error_log=None, handler_class=_Handler)


class _Handler(WSGIHandler):  # type: ignore[misc]  # gevent ships no types
    """Handles one connection. Logs nothing that a client can cause: probes come every few seconds."""

    def handle(self) -> None:
        # Not timeout_at: the handler would log the exception as an error of the application.
        timer = gevent.spawn_later(CONNECTION_SECONDS, _abort, self.socket)
        try:
            super().handle()
        finally:
            timer.kill(block=False)

    def start_response(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        return super().start_response(status, [*headers, ("Connection", "close")], exc_info)

    def _handle_client_error(self, ex: Exception) -> tuple[str, bytes]:
        del ex
        return "400", BAD_REQUEST

    def _log_error(self, t: Any, v: Any, tb: Any) -> None:
        logger.error("failed to serve a page", exc_info=(t, v, tb))


def _abort(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
