"""HTTP over pooled TLS connections, each exchange with one deadline that ends the work itself.

Time limits of sockets count per operation: a server that sends a byte a second is never late. So
every exchange is watched from outside, and when its deadline comes the connection is shut down,
wherever it hangs: connecting, in the TLS handshake, in headers that trickle, in the body.
"""

from __future__ import annotations

import contextlib
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

from webhook.deadlines import Deadline, abort_at
from webhook.errors import Fault, LookupTimeout, MalformedAnswer, RegistryUnavailable
from webhook.swr.ca_files import CaFile, CaFileRecorder
from webhook.swr.connecting import Connector, Endpoint, is_local_limit
from webhook.swr.http import HttpRequest, HttpResponse
from webhook.swr.proxies import Proxies, Proxy
from webhook.swr.resolver import Resolver
from webhook.swr.traffic import BUSY, Traffic

POOL_SIZE: Final = 128
"""Idle connections kept per host; ``lookup.concurrency`` bounds how many there are at once."""

_CHUNK: Final = 64 * 1024

_ROUNDING: Final = 0.01
"""Seconds before the deadline in which a timeout is that of the deadline: timers are rounded."""


class _Call:
    """One exchange under way: the connections it uses can be shut down from outside."""

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
        """The other side of the connection that is used, ``None`` while there is none."""
        self.opened = False
        """Whether the connection was opened for this exchange."""
        self.aborted = False
        self._lock = threading.Lock()
        self._switches: list[socket.socket] = []

    def attach(self, switch: socket.socket) -> None:
        with self._lock:
            self._switches.append(switch)
            late = self.aborted
        if late:
            _shut_down(switch)

    def abort(self) -> None:
        with self._lock:
            self.aborted = True
            switches = list(self._switches)
        for switch in switches:
            _shut_down(switch)

    @property
    def shared_a_busy_line(self) -> bool:
        """Whether so much has arrived since it began that it may have waited for room on our line."""
        return self._traffic.total - self._total >= BUSY * (self.connector.now() - self._began)

    def avoid_address(self, *, dead: bool) -> None:
        """Remember the address of a connection that is dead, or was new and failed.

        Some addresses accept connections and then do not answer: the next connection is made elsewhere. An
        address that has answered others meanwhile is not one of them: the author of a Pod may name an image
        that SWR is slow about, and must not choose by that which address everybody is sent to.
        """
        if self.endpoint is None or not (dead or self.opened):
            return
        if dead or not self.connector.has_answered(self.endpoint, self._began):
            self.connector.record_failure(self.endpoint, dead=dead)

    def record_answer(self) -> None:
        """Remember that the address has answered."""
        if self.endpoint is not None:
            self.connector.record_answer(self.endpoint)


def _shut_down(switch: socket.socket) -> None:
    with contextlib.suppress(OSError):  # it has ended by itself
        switch.shutdown(socket.SHUT_RDWR)


_current: ContextVar[_Call] = ContextVar("_current")


class _CutConnection(urllib3.connection.HTTPConnection):
    """A connection that resolves with our resolver and can be shut down from outside.

    ``_switch`` is a duplicate of the descriptor: TLS takes the socket object over, but shutting a
    duplicate down shuts the connection down, whatever object holds it.
    """

    _switch: socket.socket | None = None
    _connector: Connector | None = None
    _endpoint: Endpoint | None = None
    _used_at = 0.0

    @property
    def is_connected(self) -> bool:
        """Whether the connection can be used again; urllib3 opens another one if not.

        Other connections to an address that is dead are as dead, and would each take the time of a lookup.
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
                self._switch = connection.dup()
                self._endpoint = connection.getpeername()[:2]
            except BaseException:
                connection.close()
                self._drop_switch()
                raise
        except OSError as error:
            if is_local_limit(error):
                call.fault = Fault.LOCAL
            raise urllib3.exceptions.NewConnectionError(self, str(error.strerror or error)) from None
        self._connector = call.connector
        call.opened = True
        self._use(call, self._switch)
        return connection

    def _use(self, call: _Call, switch: socket.socket) -> None:
        self._used_at = call.connector.now()
        call.endpoint = self._endpoint
        call.attach(switch)

    def request(self, *args: Any, **kwargs: Any) -> None:
        if self._switch is not None:
            self._use(_current.get(), self._switch)
        super().request(*args, **kwargs)

    def close(self) -> None:
        self._drop_switch()
        super().close()

    def _drop_switch(self) -> None:
        if self._switch is not None:
            self._switch.close()
            self._switch = None


class _CutTlsConnection(_CutConnection, urllib3.connection.HTTPSConnection):
    """The same over TLS."""


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = _CutConnection


class _TlsPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _CutTlsConnection


class PooledTransport:
    """Implements ``Transport`` on urllib3: connections are kept and reused.

    Nothing is repeated but a GET over a kept connection whose other side acknowledges nothing any more.
    """

    def __init__(
        self,
        *,
        ca_file: str | None = None,
        proxy: str | None = None,
        resolver: Resolver | None = None,
        recorder: CaFileRecorder | None = None,
        traffic: Traffic | None = None,
    ) -> None:
        """Verify TLS by ``ca_file`` alone if given, else by the system's authorities.

        The file is read again when it changes, and connections from before are not used any more; one
        that cannot be used is told to ``recorder``, and the last good one stays.

        Without ``proxy``, ``HTTPS_PROXY`` and ``NO_PROXY`` of the environment count. ``traffic`` counts for
        all transports that share the line.

        Raises:
            OSError: ``ca_file`` cannot be read.
            ssl.SSLError: ``ca_file`` holds no certificate.
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
            raise LookupTimeout("no time was left to ask", fault=Fault.LOCAL)
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
        """Return the bytes of an endpoint's answers; see ``Transport``."""
        return self._traffic.received(base_url)

    def _send_once(self, request: HttpRequest, deadline: Deadline, *, is_last: bool) -> HttpResponse | None:
        """Return the answer, or ``None`` where a kept connection was dead and the request may be repeated."""
        manager = self._manager(request.base_url)
        call = _Call(deadline, self._resolver, self._connector, self._traffic)
        token = _current.set(call)
        try:
            with abort_at(deadline, call.abort):
                response = self._exchange(manager, request, deadline)
        except (urllib3.exceptions.HTTPError, http.client.HTTPException, OSError, ValueError) as error:
            # The kernel reports ETIMEDOUT of a dead connection before the deadline.
            late = call.aborted or deadline.remaining() < _ROUNDING
            dead = not late and _is_timeout(error)
            call.avoid_address(dead=dead)
            if late:
                raise _late(request, call) from None
            if dead and not call.opened and not is_last and request.method == "GET":
                return None
            detail = f"{_host(request)}: {describe(error)}"
            was_sent = call.endpoint is not None
            raise RegistryUnavailable(detail, fault=call.fault, was_sent=was_sent) from None
        finally:
            _current.reset(token)
        if call.aborted:
            # Cut in its headers, an answer looks like one with few headers and no body.
            call.avoid_address(dead=False)
            raise _late(request, call)
        call.record_answer()
        return response

    def _exchange(
        self, manager: urllib3.PoolManager, request: HttpRequest, deadline: Deadline
    ) -> HttpResponse:
        # Encoded as the signature encodes it, so that what is sent is what was signed.
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
            raise MalformedAnswer("the answer is compressed although that was not asked for")
        parts: list[bytes] = []
        size = 0
        # What has arrived, and not when there is so much: an answer that never ends counts as well.
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
                # A connection in use goes back to a pool that nobody has any more, and is closed with it.
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
    """Return in a clause why an exchange failed; never the URL of a proxy, which may hold a secret."""
    cause: BaseException = error
    # urllib3 keeps what went wrong in TLS as the argument of its own error.
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
