"""The serving certificate: the context is always complete during changes of the files."""

from __future__ import annotations

import datetime as dt
import socket
import ssl
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trustme

from tests.support.fakes import RecorderSpy
from tests.support.serving import Certificate, make_certificate, write_pair
from webhook.errors import CertificateError
from webhook.server.tls import CertificateFiles, has_required_certificate


def load(
    files: Certificate, notes: RecorderSpy | None = None, client_ca: Path | None = None
) -> CertificateFiles:
    """Load a certificate and key."""
    ca = str(client_ca) if client_ca is not None else None
    return CertificateFiles(str(files.certificate), str(files.key), ca, notes or RecorderSpy())


def serial(context: ssl.SSLContext, *, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> bytes:
    """Return the certificate that a client of this context receives."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_mode = ssl.CERT_NONE
    client.minimum_version = client.maximum_version = version
    near, far = socket.socketpair()
    near.settimeout(20)
    far.settimeout(20)

    def serve() -> None:
        try:
            context.wrap_socket(near, server_side=True).close()
        except OSError:
            near.close()

    server = threading.Thread(target=serve)
    server.start()
    try:
        with client.wrap_socket(far) as connection:
            shown = connection.getpeercert(binary_form=True)
            assert shown is not None
            return shown
    finally:
        far.close()
        server.join(20)


def test_certificate_expiry_is_recorded(tmp_path: Path) -> None:
    """In epoch seconds, for readiness and the metric."""
    ca = trustme.CA()
    files = Certificate(tmp_path / "tls.crt", tmp_path / "tls.key", tmp_path / "ca.crt")
    ends = dt.datetime(2100, 1, 2, tzinfo=dt.UTC)
    issued = ca.issue_cert("localhost", not_after=ends)
    files.certificate.write_bytes(issued.cert_chain_pems[0].bytes())
    files.key.write_bytes(issued.private_key_pem.bytes())
    notes = RecorderSpy()
    assert load(files, notes).not_after == ends.timestamp()
    assert notes.lines == [("certificate_loaded", ends.timestamp())]


def test_unchanged_files_are_read_once(tmp_path: Path) -> None:
    """The same context serves every handshake, with its session tickets."""
    certificate = load(make_certificate(tmp_path))
    assert certificate.context() is certificate.context()


def test_replaced_certificate_is_used_for_next_handshake(tmp_path: Path) -> None:
    """Without a restart."""
    files = make_certificate(tmp_path)
    notes = RecorderSpy()
    certificate = load(files, notes)
    before = serial(certificate.context())
    write_pair(trustme.CA(), files)
    after = serial(certificate.context())
    assert after != before
    assert after == ssl.PEM_cert_to_DER_cert(files.certificate.read_text())
    assert len(notes.named("certificate_loaded")) == 2


def test_certificate_symlink_swap_is_detected(tmp_path: Path) -> None:
    """A Secret volume replaces a link to a folder; the names of the files stay the same."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        make_certificate(tmp_path / name)
    link = tmp_path / "..data"
    link.symlink_to("one")
    certificate = load(Certificate(link / "tls.crt", link / "tls.key", link / "ca.crt"))
    before = serial(certificate.context())
    (tmp_path / "next").symlink_to("two")
    (tmp_path / "next").replace(link)
    assert serial(certificate.context()) != before


@pytest.mark.parametrize(
    ("damage", "expected_problem"),
    [
        pytest.param(
            lambda files, other: files.certificate.write_bytes(other.certificate.read_bytes()),
            "the key does not match the certificate",
            id="a new certificate beside the old key",
        ),
        pytest.param(
            lambda files, other: files.key.write_bytes(other.key.read_bytes()),
            "the key does not match the certificate",
            id="a new key beside the old certificate",
        ),
        pytest.param(
            lambda files, _: files.certificate.write_bytes(files.certificate.read_bytes()[:200]),
            "not a certificate chain and key in PEM",
            id="a certificate half written",
        ),
        pytest.param(
            lambda files, _: files.key.write_bytes(b""),
            "not a certificate chain and key in PEM",
            id="an empty key",
        ),
        pytest.param(lambda files, _: files.key.unlink(), "No such file or directory", id="no key"),
        pytest.param(
            lambda files, _: files.certificate.write_bytes(b"\0" * 999),
            "not a certificate chain and key in PEM",
            id="rubbish",
        ),
    ],
)
def test_half_replaced_certificate_keeps_last_valid_pair(
    tmp_path: Path, damage: Callable[[Certificate, Certificate], object], expected_problem: str
) -> None:
    """Handshakes use the old pair until both new files are there."""
    (tmp_path / "other").mkdir()
    other = make_certificate(tmp_path / "other")
    files = make_certificate(tmp_path)
    notes = RecorderSpy()
    certificate = load(files, notes)
    before = serial(certificate.context())
    damage(files, other)
    for _ in range(3):
        assert serial(certificate.context()) == before
    assert certificate.problem == f"{files.certificate} and {files.key}: {expected_problem}"
    assert len(notes.named("certificate_rejected")) == 1
    write_pair(trustme.CA(), files)
    assert serial(certificate.context()) != before
    assert certificate.problem == ""


def test_unusable_certificate_at_start_is_error(tmp_path: Path) -> None:
    """One sentence with the files and the cause."""
    files = make_certificate(tmp_path)
    files.key.unlink()
    with pytest.raises(CertificateError) as error:
        load(files)
    assert str(error.value) == f"{files.certificate} and {files.key}: No such file or directory"


def test_tls_1_1_is_rejected(tmp_path: Path) -> None:
    """1.2 is the minimum, 1.3 is supported."""
    context = load(make_certificate(tmp_path)).context()
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert serial(context, version=ssl.TLSVersion.TLSv1_2) == serial(context)


def test_client_certificate_is_requested_but_not_required(tmp_path: Path) -> None:
    """A kubelet's probe has none; only `/validate` requires it."""
    files = make_certificate(tmp_path)
    certificate = load(files, client_ca=files.ca)
    assert certificate.requires_client
    assert certificate.context().verify_mode is ssl.CERT_OPTIONAL
    assert serial(certificate.context())


def test_replaced_client_ca_is_loaded(tmp_path: Path) -> None:
    """It is rotated like the other files."""
    files = make_certificate(tmp_path)
    certificate = load(files, client_ca=files.ca)
    before = certificate.context()
    trustme.CA().cert_pem.write_to_path(files.ca)
    after = certificate.context()
    assert after is not before
    assert after.get_ca_certs() != before.get_ca_certs()


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (None, False),
        ({}, False),
        ({"subject": ((("commonName", "kube-apiserver"),),)}, True),
    ],
)
def test_client_certificate_is_read_from_connection_only(
    shown: dict[str, Any] | None, expected: bool
) -> None:
    """OpenSSL has already verified it; only its presence is checked."""
    requiring: Any = SimpleNamespace(requires_client=True)
    assert has_required_certificate(requiring, lambda: shown) is expected
    requiring.requires_client = False
    assert has_required_certificate(requiring, lambda: shown)
