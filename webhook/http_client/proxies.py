"""Proxies: which one is used for an endpoint, and its credentials."""

from __future__ import annotations

import base64
import ipaddress
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote, urlsplit

import urllib3.exceptions
from urllib3.util import parse_url

from webhook.errors import RegistryUnavailable
from webhook.http_client.no_proxy import NoProxy

SCHEMES: Final = ("http", "https")
HTTP_PORT: Final = 80
HTTPS_PORT: Final = 443


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy: ``url`` is scheme, host and port; ``authorization`` is a secret header value."""

    url: str
    authorization: str | None = field(default=None, repr=False)

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers for the proxy only."""
        return {"Proxy-Authorization": self.authorization} if self.authorization is not None else {}


class Proxies:
    """The proxies of one transport.

    Without a configured proxy, ``HTTPS_PROXY``, ``HTTP_PROXY`` and ``NO_PROXY`` are used, in either case;
    lower case comes first, as in curl. They are read once. They may contain user and password, because a
    Secret can fill the environment. ``HTTP_PROXY`` is ignored if ``REQUEST_METHOD`` is set, because in a CGI
    program the client sets it (CVE-2016-5386).
    """

    def __init__(self, own: str | None = None) -> None:
        """Use ``own`` instead of the environment, if it is given."""
        self._own = own
        self._environment = {} if own is not None else urllib.request.getproxies_environment()
        self._no_proxy = NoProxy.parse(self._environment.get("no", ""))
        self._read: dict[str, Proxy] = {}

    def find(self, base_url: str) -> Proxy | None:
        """Return the proxy for an endpoint, or ``None`` if it is called directly.

        Raises:
            RegistryUnavailable: the proxy's URL is invalid; the text omits it, as it may contain a password.
        """
        if is_local(urlsplit(base_url).hostname or ""):
            return None
        text = self._own if self._own is not None else self._named_by_environment(base_url)
        if text is None:
            return None
        proxy = self._read.get(text)
        if proxy is None:
            proxy = self._read[text] = read_proxy(text)
        return proxy

    def _named_by_environment(self, base_url: str) -> str | None:
        parts = urlsplit(base_url)
        text = self._environment.get(parts.scheme)
        port = parts.port or (HTTP_PORT if parts.scheme == "http" else HTTPS_PORT)
        if not text or self._no_proxy.matches(parts.hostname or "", port):
            return None
        return text


def is_local(host: str) -> bool:
    """Return whether a host is this machine, or an agent on it (CCE Pod Identity).

    A proxy cannot reach it, and must not see what is sent to it over plain HTTP, such as a token.
    """
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost"
    return address.is_loopback or address.is_link_local


def read_proxy(text: str) -> Proxy:
    """Parse the URL of a proxy; without a scheme it is ``http``.

    Raises:
        RegistryUnavailable: it is invalid, or has another scheme.
    """
    try:
        parts = parse_url(text if "://" in text else f"http://{text}")
    except urllib3.exceptions.HTTPError:
        raise RegistryUnavailable("the URL of the proxy cannot be read: check HTTPS_PROXY") from None
    if parts.scheme not in SCHEMES or not parts.host:
        raise RegistryUnavailable("the proxy is not one of http:// or https://: check HTTPS_PROXY")
    url = f"{parts.scheme}://{parts.netloc}"
    if not parts.auth:
        return Proxy(url)
    user, _, password = parts.auth.partition(":")
    login = base64.b64encode(f"{unquote(user)}:{unquote(password)}".encode()).decode()
    return Proxy(url, f"Basic {login}")
