"""A caFile that is replaced while the webhook runs."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.private_cas import HttpsServer, Site
from tests.support.tls_proxy import TlsProxy
from webhook.deadlines import Deadline
from webhook.errors import RegistryUnavailable
from webhook.http_client.messages import HttpRequest
from webhook.http_client.transport import PooledTransport
from webhook.recorder import Recorder

OLD, NEW = Site.of(), Site.of()
NOT_TRUSTED = "its certificate is not trusted: unable to get local issuer certificate"


class RecorderSpy(Recorder):
    """Records the loads and rejections of CA files."""

    def __init__(self) -> None:
        self.noted: list[str] = []

    def ca_file_loaded(self) -> None:
        """Record the load."""
        self.noted.append("loaded")

    def ca_file_rejected(self) -> None:
        """Record the rejection."""
        self.noted.append("rejected")


class Volume:
    """A ConfigMap volume: ``ca.pem`` leads over ``..data`` to the folder of one version."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._versions = 0
        self.path = folder / "ca.pem"
        self.path.symlink_to("..data/ca.pem")

    def put(self, content: bytes | None) -> None:
        """Replace the content as the kubelet does; ``None`` removes the key."""
        self._versions += 1
        version = self._folder / f"..{self._versions}"
        version.mkdir()
        if content is not None:
            (version / "ca.pem").write_bytes(content)
        link = self._folder / "..data_tmp"
        link.symlink_to(version.name)
        link.rename(self._folder / "..data")


@pytest.fixture
def volume(tmp_path: Path) -> Volume:
    """Return a volume with the old CA."""
    folder = tmp_path / "volume"
    folder.mkdir()
    made = Volume(folder)
    made.put(OLD.trusted)
    return made


def get(transport: PooledTransport, url: str) -> int | str:
    """Send a request and return the status or the failure."""
    try:
        return transport.send(HttpRequest("GET", url, "/"), Deadline.after(10)).status
    except RegistryUnavailable as error:
        return str(error).partition(": ")[2]


def _swap(volume: Volume) -> None:
    volume.put(NEW.trusted)


def _overwrite(volume: Volume) -> None:
    volume.path.write_bytes(NEW.trusted + b"\n")


def _replace(volume: Volume) -> None:
    volume.path.unlink()
    volume.path.write_bytes(NEW.trusted)


@pytest.mark.parametrize("change", [_swap, _overwrite, _replace])
def test_changed_file_is_used_for_the_next_connection(
    change: Callable[[Volume], None], volume: Volume, tmp_path: Path
) -> None:
    """Fault D2: the old one was used until a restart."""
    notes = RecorderSpy()
    transport = PooledTransport(ca_file=str(volume.path), recorder=notes)
    with HttpsServer(NEW.server_context(tmp_path)) as server:
        assert get(transport, server.url) == NOT_TRUSTED
        change(volume)
        assert get(transport, server.url) == 200
    assert notes.noted == ["loaded"]


def test_connection_of_a_ca_that_is_no_longer_trusted_is_not_used_again(
    volume: Volume, tmp_path: Path
) -> None:
    """Fault D2: otherwise an idle connection would live as long as SWR keeps it."""
    transport = PooledTransport(ca_file=str(volume.path))
    with HttpsServer(OLD.server_context(tmp_path)) as server:
        assert get(transport, server.url) == 200
        volume.put(NEW.trusted)
        assert get(transport, server.url) == NOT_TRUSTED


def test_proxy_is_verified_by_the_changed_file(volume: Volume, tmp_path: Path) -> None:
    """Fault D2: the same for the certificate of a proxy."""
    context = NEW.server_context(tmp_path)
    with HttpsServer(context) as server, TlsProxy(context, server.port) as proxy:
        transport = PooledTransport(ca_file=str(volume.path), proxy=f"https://127.0.0.1:{proxy.port}")
        url = "https://swr-api.example.com"
        assert get(transport, url) == "the proxy cannot be reached or refuses"
        volume.put(NEW.trusted)
        assert get(transport, url) == 200


UNUSABLE = [
    (b"", "no certificate in PEM"),
    (b"-----BEGIN CERTIFICATE-----\n", "no certificate in PEM"),
    (None, "No such file or directory"),
]


@pytest.mark.parametrize(("content", "problem"), UNUSABLE)
def test_unusable_ca_file_keeps_last_valid_one(
    content: bytes | None, problem: str, volume: Volume, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Fault D2: as for every other file; once in the log, and in the metric until it is corrected."""
    notes = RecorderSpy()
    transport = PooledTransport(ca_file=str(volume.path), recorder=notes)
    with HttpsServer(OLD.server_context(tmp_path)) as server, caplog.at_level(logging.INFO):
        volume.put(content)
        assert [get(transport, server.url) for _ in range(3)] == [200, 200, 200]
        assert transport.ca_file_problem == problem
        volume.put(OLD.trusted)
        assert get(transport, server.url) == 200
    assert transport.ca_file_problem == ""
    assert notes.noted == ["rejected", "loaded"]
    assert [record.message for record in caplog.records] == [
        f"the changed caFile {volume.path} cannot be used; the last good one stays: {problem}",
        f"the caFile {volume.path} has changed and was read again",
    ]


def test_unchanged_file_is_not_read_again(volume: Volume, tmp_path: Path) -> None:
    """Connections are reused."""
    transport = PooledTransport(ca_file=str(volume.path), recorder=RecorderSpy())
    with HttpsServer(OLD.server_context(tmp_path)) as server:
        get(transport, server.url)
        pool = transport._manager(server.url)
        get(transport, server.url)
        assert transport._manager(server.url) is pool
