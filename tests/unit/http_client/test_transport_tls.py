"""Accepted certificates of SWR, IAM and proxies: those that curl and kubectl accept."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

import pytest

from tests.support.private_cas import ACCEPTED, REFUSED, HttpsServer
from tests.support.tls_proxy import TlsProxy
from webhook.deadlines import Deadline
from webhook.errors import RegistryUnavailable
from webhook.http_client.messages import HttpRequest
from webhook.http_client.resolver import Resolver
from webhook.http_client.transport import PooledTransport

NAME = "swr-api.example.com"


def get(transport: PooledTransport, url: str) -> int:
    """Send a request and return the status."""
    return transport.send(HttpRequest("GET", url, "/"), Deadline.after(10)).status


@pytest.mark.parametrize("kind", ACCEPTED)
def test_private_ca_that_curl_accepts_is_accepted(kind: str, tmp_path: Path) -> None:
    """Fault A5: on Python 3.13 the default context refuses most of them."""
    site = ACCEPTED[kind]()
    with HttpsServer(site.server_context(tmp_path)) as server:
        assert get(PooledTransport(ca_file=site.write_trusted(tmp_path)), server.url) == 200


@pytest.mark.parametrize("kind", REFUSED)
def test_certificate_that_curl_refuses_is_refused(kind: str, tmp_path: Path) -> None:
    """Fault A5: signer, name, date and purpose are still verified."""
    make, reason = REFUSED[kind]
    site = make()
    with HttpsServer(site.server_context(tmp_path)) as server, pytest.raises(RegistryUnavailable) as caught:
        get(PooledTransport(ca_file=site.write_trusted(tmp_path)), server.url)
    assert str(caught.value) == f"127.0.0.1:{server.port}: its certificate is not trusted: {reason}"


@pytest.mark.parametrize("kind", ACCEPTED)
def test_proxy_with_private_ca_that_curl_accepts_is_accepted(kind: str, tmp_path: Path) -> None:
    """Fault A5: the same holds for the certificate of an ``https://`` proxy and of the server behind it."""
    site = ACCEPTED[kind]()
    context = site.server_context(tmp_path)
    with HttpsServer(context) as server, TlsProxy(context, server.port) as proxy:
        resolver = Resolver(lambda _host: [(socket.AF_INET, "127.0.0.1")])
        ca_file = site.write_trusted(tmp_path)
        transport = PooledTransport(
            ca_file=ca_file, proxy=f"https://127.0.0.1:{proxy.port}", resolver=resolver
        )
        assert get(transport, f"https://{NAME}:{server.port}") == 200
        assert proxy.tunnels == [f"{NAME}:{server.port}"]


def test_proxy_with_certificate_of_another_ca_is_refused(tmp_path: Path) -> None:
    """Fault A5: the proxy sees the requested host, so it must be the right one."""
    make, _ = REFUSED["another CA"]
    site = make()
    context: ssl.SSLContext = site.server_context(tmp_path)
    with TlsProxy(context, 1) as proxy, pytest.raises(RegistryUnavailable) as caught:
        get(
            PooledTransport(ca_file=site.write_trusted(tmp_path), proxy=f"https://127.0.0.1:{proxy.port}"),
            "https://swr.example.com",
        )
    assert str(caught.value) == "swr.example.com: the proxy cannot be reached or refuses"
    assert proxy.tunnels == []
