"""Proxies: which one an endpoint is asked through, and how it is logged in to."""

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
from webhook.swr.no_proxy import NoProxy

SCHEMES: Final = ("http", "https")
HTTP_PORT: Final = 80
HTTPS_PORT: Final = 443


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy: ``url`` is scheme, host and port; ``authorization`` logs in to it, and is secret."""

    url: str
    authorization: str | None = field(default=None, repr=False)

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers that only the proxy sees."""
        return {"Proxy-Authorization": self.authorization} if self.authorization is not None else {}


class Proxies:
    """The proxies of one transport.

    Without a proxy of its own, ``HTTPS_PROXY``, ``HTTP_PROXY`` and ``NO_PROXY`` count, in either case;
    lower case comes first, as in curl. They are read once. User and password may be part of them, because a
    Secret can fill the environment. ``HTTP_PROXY`` does not count where ``REQUEST_METHOD`` is set: in a CGI
    program the client sets it (CVE-2016-5386).
    """

    def __init__(self, own: str | None = None) -> None:
        """Ask through ``own`` whatever the environment says, if it is given."""
        self._own = own
        self._environment = {} if own is not None else urllib.request.getproxies_environment()
        self._no_proxy = NoProxy.parse(self._environment.get("no", ""))
        self._read: dict[str, Proxy] = {}

    def find(self, base_url: str) -> Proxy | None:
        """Return the proxy for an endpoint, ``None`` where it is asked directly.

        Raises:
            RegistryUnavailable: the proxy's URL is none; it is not repeated, for it may hold a password.
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
    """Whether a host is this machine, or an agent on it (CCE Pod Identity), whom no proxy can reach.

    What is said to it over plain HTTP, a ServiceAccount's token for one, is not for a proxy to see.
    """
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost"
    return address.is_loopback or address.is_link_local


def read_proxy(text: str) -> Proxy:
    """Read the URL of a proxy; without a scheme it is ``http``.

    Raises:
        RegistryUnavailable: it is none, or of another scheme.
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
