"""Accepted certificates of servers: those that curl and kubectl accept."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

import pytest

from tests.support.private_cas import ACCEPTED, REFUSED, HttpsServer, Site
from webhook.tls_contexts import client_context


def handshake(site: Site, folder: Path, context: ssl.SSLContext) -> str | None:
    """Connect to a server of this site and return the version of TLS."""
    with HttpsServer(site.server_context(folder)) as server:
        raw = socket.create_connection(("127.0.0.1", server.port), 10)
        with raw, context.wrap_socket(raw, server_hostname="127.0.0.1") as connection:
            return connection.version()


@pytest.mark.parametrize("kind", ACCEPTED)
def test_private_ca_that_curl_accepts_is_accepted(kind: str, tmp_path: Path) -> None:
    """Fault A5: on Python 3.13 the default context rejects most of them."""
    site = ACCEPTED[kind]()
    assert handshake(site, tmp_path, client_context(site.write_trusted(tmp_path))) == "TLSv1.3"


@pytest.mark.parametrize("kind", REFUSED)
def test_certificate_that_curl_refuses_is_refused(kind: str, tmp_path: Path) -> None:
    """Fault A5: signer, name, date and purpose are still verified."""
    make, reason = REFUSED[kind]
    site = make()
    context = client_context(site.write_trusted(tmp_path))
    with pytest.raises(ssl.SSLCertVerificationError) as caught:
        handshake(site, tmp_path, context)
    assert caught.value.verify_message == reason


def test_given_text_is_trusted_like_a_file(tmp_path: Path) -> None:
    """Fault A5: the caBundle of a webhook configuration is text."""
    site = ACCEPTED["CA without keyUsage"]()
    context = client_context(ca_data=site.trusted.decode("ascii"))
    assert handshake(site, tmp_path, context) == "TLSv1.3"


def test_given_file_replaces_the_cas_of_the_system(tmp_path: Path) -> None:
    """Only the configured CA is trusted."""
    site = Site.of()
    assert len(client_context(site.write_trusted(tmp_path)).get_ca_certs()) == 1


def test_system_cas_are_trusted_without_ca_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenSSL reads them from SSL_CERT_FILE."""
    site = Site.of()
    monkeypatch.setenv("SSL_CERT_FILE", site.write_trusted(tmp_path))
    assert handshake(site, tmp_path, client_context()) == "TLSv1.3"


def test_tls_before_1_2_is_rejected() -> None:
    """Regardless of the system's OpenSSL settings."""
    assert client_context().minimum_version is ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize(("content", "error"), [(None, FileNotFoundError), (b"not PEM\n", ssl.SSLError)])
def test_unusable_file_is_an_error(content: bytes | None, error: type[OSError], tmp_path: Path) -> None:
    """The CAs of the system are not used instead."""
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(error):
        client_context(str(path))
