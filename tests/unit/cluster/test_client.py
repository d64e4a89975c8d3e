"""Access to the Kubernetes API over TLS: the accepted certificates."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from urllib3.exceptions import InsecureRequestWarning

from tests.support.private_cas import ACCEPTED, LEAF, REFUSED, HttpsServer, Site
from webhook.cluster.client import KubernetesApi, connect
from webhook.errors import ClusterError

VERSION = {"gitVersion": "v1.37.2"}


@contextmanager
def api_server(site: Site, folder: Path, **cluster: Any) -> Iterator[KubernetesApi]:
    """Connect to a TLS server by a kubeconfig whose cluster has these keys."""
    with HttpsServer(
        site.server_context(folder), lambda _path, _body: json.dumps(VERSION).encode()
    ) as server:
        entry = {"server": server.url, "certificate-authority": site.write_trusted(folder), **cluster}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "c", "cluster": entry}],
            "users": [{"name": "u", "user": {"token": "t"}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "c",
        }
        path = folder / "kubeconfig"
        path.write_text(json.dumps(config), encoding="utf-8")
        api = connect(str(path))
        try:
            yield api
        finally:
            api.close()


@pytest.mark.parametrize("kind", ACCEPTED)
def test_private_ca_that_kubectl_accepts_is_accepted(kind: str, tmp_path: Path) -> None:
    """Fault A5: on Python 3.13 the client rejected most of them."""
    with api_server(ACCEPTED[kind](), tmp_path) as api:
        assert api.get("/version") == VERSION


@pytest.mark.parametrize("kind", REFUSED)
def test_certificate_that_kubectl_refuses_is_refused(kind: str, tmp_path: Path) -> None:
    """Fault A5: signer, name, date and purpose are still verified."""
    make, reason = REFUSED[kind]
    with api_server(make(), tmp_path) as api, pytest.raises(ClusterError, match=reason) as caught:
        api.get("/version")
    assert caught.value.status == 0


def test_common_name_does_not_count_as_host_name(tmp_path: Path) -> None:
    """As in kubectl, only subjectAltName counts."""
    site = Site.of(leaf=replace(LEAF, names=(), common_name="127.0.0.1"))
    with (
        api_server(site, tmp_path) as api,
        pytest.raises(ClusterError, match=r"not valid for '127\.0\.0\.1'"),
    ):
        api.get("/version")


def test_ca_file_is_read_for_each_connection(tmp_path: Path) -> None:
    """A ServiceAccount's ca.crt is replaced while the process runs."""
    site, other = ACCEPTED["CA without keyUsage"](), Site.of()
    with api_server(replace(site, trusted=other.trusted), tmp_path) as api:
        with pytest.raises(ClusterError):
            api.get("/version")
        site.write_trusted(tmp_path)
        assert api.get("/version") == VERSION
        api.close()
        other.write_trusted(tmp_path)
        with pytest.raises(ClusterError):
            api.get("/version")


def test_kubeconfig_without_verification_is_obeyed(tmp_path: Path) -> None:
    """``insecure-skip-tls-verify`` is set by the user; urllib3 warns about it."""
    site = replace(Site.of(), trusted=Site.of().trusted)
    with (
        api_server(site, tmp_path, **{"insecure-skip-tls-verify": True}) as api,
        pytest.warns(InsecureRequestWarning, match="Unverified HTTPS request"),
    ):
        assert api.get("/version") == VERSION


def test_tls_proxy_with_private_ca_is_accepted(tmp_path: Path) -> None:
    """Fault A5: as in kubectl, the cluster's CA is also valid for a TLS proxy.

    The proxy has no tunnels: its answer to CONNECT shows that its certificate was accepted.
    """
    site = ACCEPTED["CA without keyUsage"]()
    with (
        HttpsServer(site.server_context(tmp_path)) as proxy,
        api_server(site, tmp_path, **{"proxy-url": proxy.url}) as api,
        pytest.raises(ClusterError, match="Tunnel connection failed: 501"),
    ):
        api.get("/version")
