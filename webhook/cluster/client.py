"""Client of the Kubernetes API: JSON in and out, one error class, time limits on every call.

The generated models are not used, because a model drops unknown fields, and objects are written back with all
fields of others unchanged.
"""

from __future__ import annotations

import itertools
import json
import ssl
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import urllib3
from kubernetes import config
from kubernetes.client import ApiClient, Configuration
from kubernetes.client.exceptions import ApiException, OpenApiException
from kubernetes.config import ConfigException

from webhook.backoff import Backoff
from webhook.deadlines import Deadline, DeadlineExceeded, timeout_at
from webhook.errors import ClusterError
from webhook.tls_contexts import client_context

CONNECT_SECONDS: Final = 3.0
READ_SECONDS: Final = 10.0
"""Seconds without a byte."""

CALL_SECONDS: Final = 60.0
"""Total seconds of one call of a ``RetryingClient``."""

TRIES: Final = 4
FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 4.0
"""Seconds before a retry; the pause is doubled each time."""

FORBIDDEN: Final = 403
NOT_FOUND: Final = 404
CONFLICT: Final = 409
GONE: Final = 410
TRANSIENT: Final = frozenset({0, 429, 500, 502, 503, 504})
"""Statuses of calls that may succeed a moment later; 0 means that there was no response."""

JSON: Final = "application/json"
JSON_PATCH: Final = "application/json-patch+json"
MERGE_PATCH: Final = "application/merge-patch+json"
SERVER_SIDE_APPLY: Final = "application/apply-patch+yaml"
METADATA_LIST: Final = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
"""Media type of lists with metadata only."""


class ReadApi(Protocol):
    """Reading access to the Kubernetes API: ``KubernetesApi``, or ``RetryingClient`` around it."""

    def get(self, path: str, query: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Return an object or a list."""
        ...  # pragma: no cover


@dataclass(frozen=True, slots=True)
class ListPage:
    """One page of a list; ``remaining`` is the number of objects after it, if known."""

    items: Sequence[Any]
    remaining: int | None


def read_pages(
    get: Callable[[str, Mapping[str, str]], dict[str, Any]],
    path: str,
    query: Mapping[str, str],
    max_pages: int | None = None,
) -> Iterator[ListPage]:
    """Yield the pages of a list, read by ``get``; ``query`` has their ``limit``.

    Raises:
        ClusterError: a page could not be read; 410 if the list has expired meanwhile.
    """
    token = ""
    for _ in range(max_pages) if max_pages is not None else itertools.count():
        page = get(path, {**query, "continue": token} if token else query)
        meta = page.get("metadata") or {}
        token = str(meta.get("continue") or "")
        remaining = meta.get("remainingItemCount")
        yield ListPage(
            items=page.get("items") or (),
            remaining=remaining if isinstance(remaining, int) else (None if token else 0),
        )
        if not token:
            return


class _TlsConnection(urllib3.connection.HTTPSConnection):
    """Verifies the API server as kubectl does; see ``client_context``.

    The CA file is read for each connection, because a ServiceAccount's ``ca.crt`` may be replaced while
    the process runs.
    """

    def connect(self) -> None:
        """Connect with a new context, unless the kubeconfig says ``insecure-skip-tls-verify``."""
        if self.cert_reqs != ssl.CERT_NONE:
            context = client_context(self.ca_certs)
            context.hostname_checks_common_name = False  # kubectl reads subjectAltName alone
            self.ssl_context = context
            if self.proxy_config is not None and self.proxy_config.ssl_context is None:
                # As in kubectl, a TLS proxy is verified by the cluster's CA, too.
                self.proxy_config = self.proxy_config._replace(ssl_context=context)
        super().connect()


class _TlsPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


class KubernetesApi:
    """Calls one API server.

    Every method raises ``ClusterError`` with the HTTP status (0 if there was no response).
    """

    def __init__(self, client: ApiClient) -> None:
        """Use a configured client; see ``connect``."""
        self._client = client

    def get(self, path: str, query: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Return the object or list at a path such as ``/api/v1/namespaces/shop/pods``."""
        return self._call("GET", path, query=query)

    def create(self, path: str, obj: Mapping[str, Any]) -> dict[str, Any]:
        """Create an object in the collection at ``path``."""
        return self._call("POST", path, obj)

    def replace(self, path: str, obj: Mapping[str, Any]) -> dict[str, Any]:
        """Replace the object at ``path``; its ``resourceVersion`` makes it a compare-and-swap."""
        return self._call("PUT", path, obj)

    def patch(self, path: str, change: Any, content_type: str = JSON_PATCH) -> dict[str, Any]:
        """Change parts of the object at ``path``."""
        return self._call("PATCH", path, change, content_type=content_type)

    def list_metadata(self, path: str, query: Mapping[str, str]) -> dict[str, Any]:
        """Return a list of the objects at ``path`` with their metadata only."""
        return self._call("GET", path, query=query, accept=METADATA_LIST)

    def apply(self, path: str, obj: Mapping[str, Any], manager: str) -> dict[str, Any]:
        """Create or update the object at ``path`` by server-side apply."""
        query = {"fieldManager": manager, "force": "true"}
        return self._call("PATCH", path, obj, query=query, content_type=SERVER_SIDE_APPLY)

    def delete(self, path: str) -> dict[str, Any]:
        """Delete the object at ``path``."""
        return self._call("DELETE", path)

    def close(self) -> None:
        """Close the pooled connections."""
        self._client.close()

    def _call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        query: Mapping[str, str] | None = None,
        content_type: str = JSON,
        accept: str = JSON,
    ) -> dict[str, Any]:
        headers = {"Accept": accept}
        if body is not None:
            headers["Content-Type"] = content_type
        try:
            parts = self._prepare(method, path, query, headers, body)
            response = self._client.call_api(*parts, _request_timeout=(CONNECT_SECONDS, READ_SECONDS))  # type: ignore[misc]  # five parts
            data = response.read()
        except (ApiException, OpenApiException, urllib3.exceptions.HTTPError, OSError) as error:
            raise ClusterError(0, f"the API server did not answer {method} {path}: {_cause(error)}") from None
        except (ValueError, TypeError) as error:
            # The error of http.client for an invalid header quotes the header, and so the token.
            raise ClusterError(0, f"{method} {path} cannot be sent: {type(error).__name__}") from None
        if not 200 <= response.status < 300:  # noqa: PLR2004 - success, as HTTP defines it
            raise ClusterError(response.status, f"{method} {path}: {_message(response.status, data)}")
        try:
            value = json.loads(data)
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise ClusterError(response.status, f"{method} {path}: the answer is not a JSON object")
        return value

    def _prepare(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        headers: Mapping[str, str],
        body: Any,
    ) -> tuple[Any, ...]:
        """Return the arguments of the call; the client reads the token again if its file has changed."""
        parts: tuple[Any, ...] = self._client.param_serialize(
            method,
            path,
            query_params=list((query or {}).items()),
            header_params=dict(headers),
            body=body,
            auth_settings=["BearerToken"],
        )
        sent: dict[str, str] = parts[2]
        for name, value in sent.items():
            if name.lower() != "authorization":
                continue
            # Editors end files with a newline; kubectl trims it, too.
            sent[name] = value.strip()
            if not (sent[name].isascii() and sent[name].isprintable()):
                raise ClusterError(0, "the token for the API server contains an invalid character")
        return parts


class RetryingClient:
    """A ``ReadApi`` whose calls have a total time limit and are retried after transient errors.

    ``urllib3.Retry`` does not know of the total limit, nor of responses that break while they are read.
    """

    def __init__(self, api: ReadApi, sleep: Callable[[float], None] | None = None) -> None:
        """Call ``api``."""
        self._api = api
        self._sleep = sleep or time.sleep

    def get(self, path: str, query: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Return an object or a list, with up to three retries."""
        backoff = Backoff(FIRST_PAUSE, LONGEST_PAUSE)
        for _ in range(TRIES - 1):
            try:
                return self._get_once(path, query)
            except ClusterError as error:
                if error.status not in TRANSIENT:
                    raise
            self._sleep(backoff.fail())
        return self._get_once(path, query)

    def _get_once(self, path: str, query: Mapping[str, str] | None) -> dict[str, Any]:
        try:
            with timeout_at(Deadline.after(CALL_SECONDS)):
                return self._api.get(path, query)
        except DeadlineExceeded:
            detail = f"the API server did not answer GET {path} within {CALL_SECONDS:.0f} s"
            raise ClusterError(0, detail) from None


def connect(kubeconfig: str | None = None, context: str | None = None) -> KubernetesApi:
    """Return a client that uses the Pod's ServiceAccount or, without one, a kubeconfig.

    Raises:
        ClusterError: neither can be used.
    """
    settings = Configuration()
    loaders: list[Callable[[], None]] = [
        lambda: config.load_kube_config(kubeconfig, context, client_configuration=settings)
    ]
    if kubeconfig is None and context is None:
        loaders.insert(0, lambda: config.load_incluster_config(client_configuration=settings))
    cause = ""
    for load in loaders:
        try:
            load()
            settings.retries = False
            client = ApiClient(settings)
        except (ConfigException, OSError) as error:
            cause = str(error)
        except Exception as error:  # noqa: BLE001 - the loader does not catch errors of its parsers
            # These errors quote the file, and with it a token or a key.
            path = kubeconfig or config.KUBE_CONFIG_DEFAULT_LOCATION
            cause = f"the kubeconfig {path} cannot be read: {type(error).__name__}"
        else:
            manager = client.rest_client.pool_manager
            manager.pool_classes_by_scheme = {**manager.pool_classes_by_scheme, "https": _TlsPool}
            return KubernetesApi(client)
    raise ClusterError(0, f"no access to a cluster: {cause}")


def _message(status: int, data: bytes) -> str:
    """Return the message of the API server (kind Status), or a text without one."""
    try:
        message = json.loads(data)["message"]
    except (ValueError, KeyError, TypeError):
        message = ""
    return f"{status} {message}" if message else f"the API server answered {status}"


def _cause(error: Exception) -> str:
    reason = getattr(error, "reason", None) or error
    return str(reason)[:200]
