"""TLS: certificate replacement at run time, protocol versions and client certificates."""

from __future__ import annotations

import datetime as dt
import http.client
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme

from tests.emulator.server import Emulator
from tests.http.wire import connect
from tests.support.builders import HOST, pod, review
from tests.support.serving import Certificate, ServerProcess, make_certificate, write_pair

pytestmark = pytest.mark.slow

NAMES = pytest.mark.parametrize("name", ["localhost", None], ids=["with SNI", "without SNI"])


class Site:
    """A webhook and the CA of its certificate."""

    def __init__(self, folder: Path, emulator: Emulator) -> None:
        self.ca = trustme.CA()
        self.files = Certificate(folder / "tls.crt", folder / "tls.key", folder / "ca.crt")
        self.ca.cert_pem.write_to_path(self.files.ca)
        write_pair(self.ca, self.files)
        self.server = ServerProcess(folder, emulator.url, self.files)

    def shown(self, name: str | None) -> bytes:
        """Return the certificate that a new connection receives."""
        context = self.server.context()
        context.check_hostname = False
        with context.wrap_socket(connect(self.server), server_hostname=name) as connection:
            shown = connection.getpeercert(binary_form=True)
        assert shown is not None
        return shown

    def on_disk(self) -> bytes:
        """Return the certificate in the file."""
        return ssl.PEM_cert_to_DER_cert(self.files.certificate.read_text())

    def other_pair(self, folder: Path) -> Certificate:
        """Return another certificate and key of the same CA."""
        other = Certificate(folder / "other.crt", folder / "other.key", self.files.ca)
        write_pair(self.ca, other)
        return other


@pytest.fixture(scope="module")
def running_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Return one webhook for the whole module."""
    with Emulator() as emulator:
        made = Site(tmp_path_factory.mktemp("certificates"), emulator)
        with made.server:
            yield made


@pytest.fixture
def site(running_site: Site) -> Iterator[Site]:
    """Return a running webhook and its files, which are restored after the test."""
    yield running_site
    write_pair(running_site.ca, running_site.files)
    assert running_site.shown(None) == running_site.on_disk()


@NAMES
def test_replaced_certificate_is_served_at_next_handshake(site: Site, name: str | None) -> None:
    """An open connection keeps the certificate of its handshake."""
    before = site.shown(name)
    open_already = site.server.connect()
    open_already.request("GET", "/healthz")
    assert open_already.getresponse().read() == b"ok\n"
    write_pair(site.ca, site.files)
    assert site.shown(name) == site.on_disk() != before
    open_already.request("GET", "/healthz")
    assert open_already.getresponse().read() == b"ok\n"
    open_already.close()


HALVES: list[tuple[str, Callable[[Certificate, Certificate], object]]] = [
    ("a new certificate", lambda old, new: old.certificate.write_bytes(new.certificate.read_bytes())),
    ("a new key", lambda old, new: old.key.write_bytes(new.key.read_bytes())),
    ("half a certificate", lambda old, new: old.certificate.write_bytes(old.certificate.read_bytes()[:300])),
    ("no key", lambda old, new: old.key.unlink()),
]


@NAMES
@pytest.mark.parametrize("damage", [case[1] for case in HALVES], ids=[case[0] for case in HALVES])
def test_incomplete_certificate_pair_keeps_last_valid_pair(
    site: Site, tmp_path: Path, name: str | None, damage: Callable[[Certificate, Certificate], object]
) -> None:
    """The last valid pair is used until both files match again; the metric and the probe report the
    problem.
    """
    before = site.shown(name)
    new = site.other_pair(tmp_path)
    failed = site.server.metric("swr_trust_certificate_reloads_total", result="failed")
    damage(site.files, new)
    assert [site.shown(name) for _ in range(5)] == [before] * 5
    assert site.server.metric("swr_trust_certificate_reloads_total", result="failed") == failed + 1
    status, report = site.server.get("/readyz?verbose")
    assert (status, b"[!] certificate: " in report) == (200, True)
    site.files.certificate.write_bytes(new.certificate.read_bytes())
    site.files.key.write_bytes(new.key.read_bytes())
    assert site.shown(name) == site.on_disk() != before
    assert b"[!] certificate: " not in site.server.get("/readyz?verbose")[1]
    assert "Traceback" not in site.server.logs()


def test_reviews_succeed_during_certificate_replacements(site: Site) -> None:
    """Thirty replacements, file by file, while clients open a connection for each review."""
    body = review(pod(f"{HOST}/shop/web:1.0"))
    stop = threading.Event()
    seen: list[bool] = []
    failures: list[str] = []

    def ask() -> None:
        while not stop.is_set():
            try:
                seen.append(site.server.validate(body)["allowed"])
            except (OSError, http.client.HTTPException, AssertionError) as error:
                failures.append(repr(error))

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(30):
        write_pair(site.ca, site.files)
        time.sleep(0.05)
    stop.set()
    for thread in threads:
        thread.join(30)
    assert failures == []
    assert seen == [True] * len(seen)
    assert len(seen) > 30
    assert site.shown("localhost") == site.on_disk()


@pytest.mark.parametrize(
    ("year", "expected_status"), [(2100, 200), (2020, 503)], ids=["far away", "in the past"]
)
def test_certificate_expiry_is_in_metric_and_readiness(site: Site, year: int, expected_status: int) -> None:
    """In epoch seconds, for the pair in use. A replica with an expired certificate leaves the Service."""
    ends = dt.datetime(year, 1, 2, tzinfo=dt.UTC)
    issued = site.ca.issue_cert("localhost", "127.0.0.1", not_after=ends)
    site.files.certificate.write_bytes(issued.cert_chain_pems[0].bytes())
    site.files.key.write_bytes(issued.private_key_pem.bytes())
    context = ssl._create_unverified_context()
    url = site.server.url
    with urllib.request.urlopen(f"{url}/metrics", context=context) as answer:
        lines = answer.read().decode().splitlines()
    name = 'swr_trust_certificate_not_after_timestamp_seconds{certificate="serving"} '
    assert [float(line.removeprefix(name)) for line in lines if line.startswith(name)] == [ends.timestamp()]
    try:
        with urllib.request.urlopen(f"{url}/readyz", context=context) as answer:
            status = answer.status
    except urllib.error.HTTPError as error:
        with error:
            status = error.code
    assert status == expected_status


VERSIONS = [
    ("TLS 1.0", ssl.TLSVersion.TLSv1, None),
    ("TLS 1.1", ssl.TLSVersion.TLSv1_1, None),
    ("TLS 1.2", ssl.TLSVersion.TLSv1_2, "TLSv1.2"),
    ("TLS 1.3", ssl.TLSVersion.TLSv1_3, "TLSv1.3"),
]


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
@pytest.mark.parametrize(
    ("version", "expected"), [case[1:] for case in VERSIONS], ids=[c[0] for c in VERSIONS]
)
def test_tls_versions_before_1_2_are_rejected(
    site: Site, version: ssl.TLSVersion, expected: str | None
) -> None:
    """The client offers only that version, with every cipher that there is."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = version
    spoken = None
    try:
        with context.wrap_socket(connect(site.server)) as connection:
            spoken = connection.version()
    except (ssl.SSLError, ConnectionResetError):
        pass
    assert spoken == expected


def test_http_1_1_is_negotiated_by_alpn(site: Site) -> None:
    """kube-apiserver requests HTTP/1.1 only. A client that also offers HTTP/2 gets 1.1."""
    context = site.server.context()
    context.set_alpn_protocols(["h2", "http/1.1"])
    with context.wrap_socket(connect(site.server), server_hostname="127.0.0.1") as connection:
        assert connection.selected_alpn_protocol() == "http/1.1"


CALLERS = [
    ("nobody", None, 403),
    ("kube-apiserver", "known", 200),
    ("a stranger", "unknown", None),
]


@pytest.mark.parametrize(
    ("who", "expected"), [case[1:] for case in CALLERS], ids=[case[0] for case in CALLERS]
)
def test_client_ca_requires_client_certificate_for_reviews(
    emulator: Emulator, tmp_path: Path, who: str | None, expected: int | None
) -> None:
    """With ``--client-ca``, reviews need a client certificate and probes do not; a false certificate is
    rejected.
    """
    ours = trustme.CA()
    client_ca = tmp_path / "client-ca.crt"
    ours.cert_pem.write_to_path(client_ca)
    arguments = ("--client-ca", str(client_ca))
    with ServerProcess(tmp_path, emulator.url, make_certificate(tmp_path), arguments=arguments) as server:
        context = server.context()
        if who is not None:
            (ours if who == "known" else trustme.CA()).issue_cert("kube-apiserver").configure_cert(context)
        body = review(pod(f"{HOST}/shop/web:1.0"))
        head = (
            "POST /validate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        status = None
        try:
            with context.wrap_socket(connect(server), server_hostname="127.0.0.1") as connection:
                connection.sendall(head.encode() + body)
                answer = connection.recv(65536)
                status = int(answer.split()[1]) if answer else None
        except OSError:
            pass
        assert status == expected
        assert server.get("/readyz") == (200, b"ok\n")
        assert "Traceback" not in server.logs()
