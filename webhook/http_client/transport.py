"""HTTP over pooled TLS connections, with a deadline for each exchange.

Time limits of sockets count per operation: a server that sends one byte per second never exceeds them.
So every exchange has a deadline of its own (``timeout_at``), which interrupts it wherever it hangs: in
connecting, in the TLS handshake, in headers that trickle, in the body. Its connection is then closed.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
from contextvars import ContextVar
from typing import Any, Final
from urllib.parse import quote, urlencode, urlsplit

import urllib3
import urllib3.connection
import urllib3.exceptions

from webhook.deadlines import Deadline, DeadlineExceeded, timeout_at
from webhook.errors import Fault, LookupTimeout, MalformedAnswer, RegistryUnavailable, WrongContent
from webhook.http_client.ca_files import CaFile
from webhook.http_client.connecting import Connector, Endpoint, is_local_limit
from webhook.http_client.messages import HttpRequest, HttpResponse
from webhook.http_client.proxies import Proxies, Proxy
from webhook.http_client.resolver import Resolver
from webhook.http_client.tls_sessions import ResumingSocket
from webhook.http_client.traffic import BUSY, Traffic
from webhook.recorder import Recorder

POOL_SIZE: Final = 128
"""Idle connections per host; ``lookup.concurrency`` limits the connections in use."""

_CHUNK: Final = 64 * 1024

_REPEATABLE: Final = frozenset({"GET", "HEAD"})

_GRACE: Final = 0.01
"""Seconds around the deadline in which a timeout is due to the deadline. Steps with a limit of their own,
such as a connection attempt, end first, because their errors are more precise; the exchange is interrupted
after."""


class _Call:
    """One exchange in progress, and the address it uses."""

    def __init__(
        self, deadline: Deadline, resolver: Resolver, connector: Connector, traffic: Traffic
    ) -> None:
        self.deadline = deadline
        self._traffic = traffic
        self._began, self._total = connector.now(), traffic.total
        self.resolver = resolver
        self.connector = connector
        self.fault = Fault.REGISTRY
        self.endpoint: Endpoint | None = None
        """The other side of the connection, ``None`` without one."""
        self.opened = False
        """Whether the connection was opened for this exchange."""
        self.requested = False
        """Whether the request was passed to the connection, which may then still have to be opened."""

    @property
    def shared_a_busy_line(self) -> bool:
        """Whether so many bytes have arrived since the start that our line may have been saturated."""
        return self._traffic.total - self._total >= BUSY * (self.connector.now() - self._began)

    def avoid_address(self, *, dead: bool) -> None:
        """Record a failure of the address if the connection is dead, or was new and failed.

        Some addresses accept connections but do not respond: the next connection is made to another one. An
        address that has responded to other calls meanwhile is not avoided. Otherwise the author of a Pod
        could choose the address of all calls, by an image that a registry is slow about.
        """
        if self.endpoint is None or not (dead or self.opened):
            return
        if dead or not self.connector.has_answered(self.endpoint, self._began):
            self.connector.record_failure(self.endpoint, dead=dead)

    def record_answer(self) -> None:
        """Record that the address has responded."""
        if self.endpoint is not None:
            self.connector.record_answer(self.endpoint)


_current: ContextVar[_Call] = ContextVar("_current")


class _Connection(urllib3.connection.HTTPConnection):
    """A connection that our resolver and connector open."""

    _connector: Connector | None = None
    _endpoint: Endpoint | None = None
    _used_at = 0.0

    @property
    def is_connected(self) -> bool:
        """Whether the connection can be used again; otherwise urllib3 opens another one.

        If an address is dead, all connections to it are, and each would take the time of a lookup.
        """
        if self._connector is None or self._endpoint is None:
            return super().is_connected
        return not self._connector.is_dead(self._endpoint, self._used_at) and super().is_connected

    def _new_conn(self) -> socket.socket:
        call = _current.get()
        addresses = call.resolver.addresses(self._dns_host, call.deadline)
        try:
            connection = call.connector.connect(addresses, self.port, call.deadline)
            try:
                connection.settimeout(max(call.deadline.remaining(), 0.001))
                self._endpoint = connection.getpeername()[:2]
            except BaseException:
                connection.close()
                raise
        except OSError as error:
            if is_local_limit(error):
                call.fault = Fault.LOCAL
            raise urllib3.exceptions.NewConnectionError(self, str(error.strerror or error)) from None
        self._connector = call.connector
        call.opened = True
        self._use(call)
        return connection

    def _use(self, call: _Call) -> None:
        self._used_at = call.connector.now()
        call.endpoint = self._endpoint

    def request(self, *args: Any, **kwargs: Any) -> None:
        call = _current.get()
        call.requested = True
        if self._endpoint is not None:
            self._use(call)
        super().request(*args, **kwargs)

    def close(self) -> None:
        self._endpoint = None
        super().close()


class _TlsConnection(_Connection, urllib3.connection.HTTPSConnection):
    """The same over TLS. Its session is kept after the first response."""

    def getresponse(self) -> urllib3.HTTPResponse:  # type: ignore[override]  # as urllib3 itself overrides it
        connection = self.sock
        response = super().getresponse()
        if _current.get().opened and isinstance(connection, ResumingSocket):
            connection.keep_session()
        return response


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


class PooledTransport:
    """Implements ``Transport`` on urllib3, with connection pools.

    Only a GET or HEAD over a pooled connection that turns out to be dead is repeated.
    """

    def __init__(
        self,
        *,
        ca_file: str | None = None,
        proxy: str | None = None,
        resolver: Resolver | None = None,
        recorder: Recorder | None = None,
        traffic: Traffic | None = None,
    ) -> None:
        """Verify TLS by ``ca_file`` alone if given, otherwise by the CAs of the system.

        The file is read again when it changes, and earlier connections are not used any longer. If it cannot
        be used, that is reported to ``recorder``, and the last good content stays.

        Without ``proxy``, ``HTTPS_PROXY`` and ``NO_PROXY`` of the environment are used. ``traffic`` is shared
        by all transports of the process.

        Raises:
            OSError: ``ca_file`` cannot be read.
            ssl.SSLError: ``ca_file`` contains no certificate.
        """
        self._resolver = resolver if resolver is not None else Resolver()
        self._connector = Connector()
        self._traffic = traffic if traffic is not None else Traffic()
        self._proxies = Proxies(proxy)
        self._ca_file = CaFile(ca_file, recorder)
        self._context = self._ca_file.context()
        self._lock = threading.Lock()
        self._managers: dict[Proxy | None, urllib3.PoolManager] = {}

    def send(self, request: HttpRequest, deadline: Deadline) -> HttpResponse:
        """Send one request; see ``Transport``."""
        if not deadline.remaining():
            raise LookupTimeout("no time was left for the call", fault=Fault.LOCAL)
        response = self._send_once(request, deadline, is_last=False)
        if response is None:
            response = self._send_once(request, deadline, is_last=True)
        assert response is not None
        return response

    @property
    def ca_file_problem(self) -> str:
        """Why the content of the CA file is not the one in use; see ``Transport``."""
        return self._ca_file.problem

    def received(self, base_url: str) -> int:
        """Return the bytes of an endpoint's responses; see ``Transport``."""
        return self._traffic.received(base_url)

    def _send_once(self, request: HttpRequest, deadline: Deadline, *, is_last: bool) -> HttpResponse | None:
        """Return the response, or ``None`` if a pooled connection was dead and the call may be repeated."""
        manager = self._manager(request.base_url)
        call = _Call(deadline, self._resolver, self._connector, self._traffic)
        token = _current.set(call)
        try:
            with timeout_at(Deadline(deadline.at + _GRACE)):
                response = self._exchange(manager, request, deadline)
        except (urllib3.exceptions.HTTPError, http.client.HTTPException, OSError, ValueError) as error:
            # The kernel reports ETIMEDOUT of a dead connection before the deadline.
            late = isinstance(error, DeadlineExceeded) or deadline.remaining() < _GRACE
            dead = not late and _is_timeout(error)
            call.avoid_address(dead=dead)
            if late:
                raise _late(request, call) from None
            if dead and not call.opened and not is_last and request.method in _REPEATABLE:
                return None
            detail = f"{_host(request)}: {describe(error)}"
            was_sent = call.endpoint is not None and call.requested  # not if the TLS handshake failed
            raise RegistryUnavailable(detail, fault=call.fault, was_sent=was_sent) from None
        finally:
            _current.reset(token)
        call.record_answer()
        return response

    def _exchange(
        self, manager: urllib3.PoolManager, request: HttpRequest, deadline: Deadline
    ) -> HttpResponse:
        # Encoded as in the signature, so that the signed query is sent.
        query = urlencode(request.query, quote_via=quote, safe="~")
        url = request.base_url + request.path + (f"?{query}" if query else "")
        response = manager.urlopen(
            request.method,
            url,
            body=request.body or None,
            headers={"Accept-Encoding": "identity", **request.headers},
            redirect=False,
            retries=False,
            preload_content=False,
            decode_content=False,
            timeout=max(deadline.remaining(), 0.001),
        )
        complete = False
        try:
            body = self._read(response, request)
            complete = True
        finally:
            if not complete:
                response.close()
            response.release_conn()
        headers = {name.lower(): value for name, value in response.headers.items()}
        return HttpResponse(response.status, headers, body)

    def _read(self, response: urllib3.BaseHTTPResponse, request: HttpRequest) -> bytes:
        if response.headers.get("Content-Encoding", "").lower() not in ("", "identity"):
            raise WrongContent("the answer is compressed although the request does not allow it")
        parts: list[bytes] = []
        size = 0
        # Bytes are counted when they arrive, because a response may never end.
        while chunk := response.read1(_CHUNK, decode_content=False):
            size += len(chunk)
            self._traffic.record(request.base_url, len(chunk))
            if size > request.max_answer:
                raise MalformedAnswer(f"the answer is larger than {request.max_answer} bytes")
            parts.append(chunk)
        return b"".join(parts)

    def _manager(self, base_url: str) -> urllib3.PoolManager:
        proxy = self._proxies.find(base_url)
        context = self._ca_file.context()
        with self._lock:
            if context is not self._context:
                # Connections in use return to the old pools and are closed with them.
                self._context, self._managers = context, {}
            manager = self._managers.get(proxy)
            if manager is None:
                manager = self._managers[proxy] = self._open(proxy)
            return manager

    def _open(self, proxy: Proxy | None) -> urllib3.PoolManager:
        options: dict[str, Any] = {"maxsize": POOL_SIZE, "num_pools": 64, "ssl_context": self._context}
        manager = (
            urllib3.PoolManager(**options)
            if proxy is None
            else urllib3.ProxyManager(
                proxy.url, proxy_headers=proxy.headers, proxy_ssl_context=self._context, **options
            )
        )
        manager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}
        return manager


def describe(error: BaseException) -> str:
    """Describe in a clause why an exchange failed, without the URL of a proxy, which may contain a secret."""
    cause: BaseException = error
    # urllib3 keeps errors of TLS as the argument of its own error.
    for candidate in (
        *error.args[:1],
        getattr(error, "reason", None),
        getattr(error, "original_error", None),
    ):
        if isinstance(candidate, BaseException):
            cause = candidate
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {cause.verify_message}"
    if isinstance(cause, ssl.SSLError):
        return "the TLS handshake failed"
    if isinstance(error, urllib3.exceptions.ProxyError):
        return "the proxy cannot be reached or refuses"
    if isinstance(cause, urllib3.exceptions.NewConnectionError):
        return f"no connection: {str(cause).rpartition(': ')[2]}"
    return "the connection broke"


def _is_timeout(error: BaseException) -> bool:
    # A refused connection is a TimeoutError, too, in urllib3's tree.
    refused = isinstance(error, urllib3.exceptions.NewConnectionError)
    return isinstance(error, (urllib3.exceptions.TimeoutError, TimeoutError)) and not refused


def _late(request: HttpRequest, call: _Call) -> LookupTimeout:
    detail = f"{_host(request)} did not answer in time"
    if call.fault is Fault.REGISTRY and call.shared_a_busy_line:
        return LookupTimeout(f"{detail}, while large answers filled the line", fault=Fault.LOCAL)
    return LookupTimeout(detail, fault=call.fault)


def _host(request: HttpRequest) -> str:
    return urlsplit(request.base_url).netloc
