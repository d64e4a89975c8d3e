"""Where logins and tokens go, and how often a login may fail, over real connections."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme

from tests.emulator.registry import TOKEN_PATH
from tests.emulator.server import Emulator
from tests.support.fakes import RecorderSpy, free
from tests.support.registries import open_client, registry_at, write_docker_config
from tests.support.registry_environment import IMAGE, RegistryEnvironment
from webhook.deadlines import Deadline
from webhook.errors import TrustLookupError
from webhook.http_client.transport import PooledTransport
from webhook.oci.client import OciClient
from webhook.oci.login import build_login

MANIFEST = "/manifests/"

# -- where the login and the tokens go


def hosts_with_authorization(environment: RegistryEnvironment) -> set[str]:
    """Return the hosts that received a header of authorization."""
    return {host for host, _, _ in environment.emulator.state.registry.authorizations}


def test_redirected_blob_gets_no_authorization(environment: RegistryEnvironment) -> None:
    """The storage refuses any, as OBS does for a signed URL, and records it."""
    environment.redirect()
    assert environment.read("blob") == b"payload"
    assert environment.emulator.calls("/storage/") == 1
    assert hosts_with_authorization(environment) == {environment.emulator.url.partition("//")[2]}


REALMS = [
    (
        'Bearer realm="http://localhost:{port}/token",service="x"',
        "its realm for tokens is on another host, localhost",
    ),
    (
        'Bearer realm="https://127.0.0.1:{port}/token",service="x"',
        "its realm for tokens is on another host, 127.0.0.1",
    ),
    (
        'Bearer realm="http://127.0.0.1:{port}/token",service="x"',
        "its realm for tokens is on another host, 127.0.0.1",
    ),
    ('Bearer realm="http://evil.example.com/token",service="x"', "its realm for tokens is plain http"),
    ('Basic realm="x"', "it does not ask for a bearer token"),
]


@pytest.mark.parametrize(("challenge", "problem"), REALMS, ids=[case[0] for case in REALMS])
@pytest.mark.parametrize("place", ["ping", "image"])
def test_realm_elsewhere_gets_no_login(
    environment: RegistryEnvironment, challenge: str, problem: str, place: str
) -> None:
    """Another port is another host. About an image, it is the image's fault, which its author chose."""
    if place == "image":
        environment.emulator.state.registry.asks_for_tokens = False
        assert environment.read("login") == "open"
    header = {"WWW-Authenticate": challenge.format(port=environment.storage.port)}
    environment.emulator.break_with("status", status=401, match="/v2/", headers=header)
    fault = "registry" if place == "ping" else "image"
    assert environment.read("manifest") == f"unauthorized, {fault}: the registry answered 401, and {problem}"
    assert environment.emulator.state.registry.authorizations == []
    assert environment.emulator.calls("token") == 0


def test_loop_of_401_ends(environment: RegistryEnvironment) -> None:
    """The token service goes on to give tokens that the registry does not accept."""
    realm = f'Bearer realm="{environment.emulator.url}{TOKEN_PATH}",service="dockyard"'
    environment.emulator.break_with("status", status=401, match=MANIFEST, headers={"WWW-Authenticate": realm})
    assert environment.read("manifest") == (
        f"forbidden, image: the registry answered 401 to a new token for {IMAGE}"
    )
    assert environment.emulator.calls(TOKEN_PATH) == 1
    assert environment.emulator.calls(MANIFEST) == 1


def test_revoked_tokens_are_replaced(environment: RegistryEnvironment) -> None:
    """The registry may forget them, as after a restart."""
    environment.read("manifest")
    environment.emulator.state.registry.tokens.clear()
    assert environment.read("tag") == environment.digest
    assert environment.emulator.calls(TOKEN_PATH) == 2


def test_author_who_pushes_text_of_a_block_stops_nothing(environment: RegistryEnvironment) -> None:
    """Fault: SWR says so to a blocked account, and then no call is made for half an hour."""
    text = b"Not allow to login, upload or download image"
    digest = environment.emulator.state.put_blob(IMAGE, text)
    found = environment.client.get_blob(IMAGE, digest, len(text), Deadline.after(5), free)
    assert found == text


# -- logins


def test_refused_login_fails_only_twice(environment: RegistryEnvironment) -> None:
    """However many repositories are looked up, and by however many lookups at a time."""
    environment.set_password("wrong")
    threads = [
        threading.Thread(target=environment.read, args=("manifest", 5.0, f"shop/x{number}"), daemon=True)
        for number in range(10)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert environment.emulator.state.registry.failed_logins == 2
    assert str(environment.read("manifest")).startswith(
        "unauthorized, registry: the registryLogin credential is paused for"
    )
    assert environment.client.login_paused_for > 0


def test_corrected_login_file_is_used_at_once(environment: RegistryEnvironment) -> None:
    """A pause is for the login that was refused."""
    environment.set_password("wrong")
    assert str(environment.read("manifest")).startswith(
        "unauthorized, registry: the token service answered 401"
    )
    environment.set_password("emulator-password")
    assert environment.read("tag") == environment.digest
    assert environment.client.login_paused_for == 0


def test_broken_login_file_keeps_the_last_login(environment: RegistryEnvironment) -> None:
    """Tokens are still fetched."""
    assert environment.read("tag") == environment.digest
    environment.login_file.write_text("<html>", encoding="utf-8")
    environment.emulator.state.registry.tokens.clear()
    assert environment.read("tag") == environment.digest


def test_login_file_that_is_broken_from_the_start_is_named(environment: RegistryEnvironment) -> None:
    """The registry is not called with half a login, nor anonymously."""
    environment.login_file.write_text("{}", encoding="utf-8")
    assert environment.read("manifest") == (
        f"unauthorized, registry: {environment.login_file} has no object auths"
    )
    assert environment.emulator.calls(TOKEN_PATH) == 0


def test_unknown_organization_does_not_pause_login(environment: RegistryEnvironment) -> None:
    """SWR's token service answers 401 for one, and the author of a Pod can invent any number."""
    environment.emulator.state.registry.missing_organizations.add("nobody")
    for number in range(10):
        said = environment.read("manifest", repository=f"nobody/x{number}")
        assert said == (
            "forbidden, image: the token service answered 401 UNAUTHORIZED "
            f"about nobody/x{number}, and accepts the login"
        )
    assert environment.read("tag") == environment.digest


def test_repository_of_another_account_is_forbidden(environment: RegistryEnvironment) -> None:
    """The token service gives a token that does not allow it."""
    environment.emulator.state.registry.private.add(IMAGE)
    assert environment.read("manifest") == (
        f"forbidden, image: the registry answered 401 DENIED to a new token for {IMAGE}"
    )


def test_public_repository_is_read_anonymously(environment: RegistryEnvironment) -> None:
    """Without a login, and a private one is not."""
    environment.client, _ = open_client(environment.emulator.url)
    environment.emulator.state.registry.public.add(IMAGE)
    assert environment.read("tag") == environment.digest
    assert environment.read("manifest", repository="shop/private") == (
        "forbidden, image: the token service answered 401 UNAUTHORIZED about shop/private without a "
        "login: is registryLogin missing?"
    )


# -- TLS


@dataclass
class Secure:
    """A registry over TLS, and object storage without."""

    emulator: Emulator
    client: OciClient


@pytest.fixture
def secure(tmp_path: Path) -> Iterator[Secure]:
    """Return a registry over TLS, whose certificate is trusted."""
    ca = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("127.0.0.1").configure_cert(context)
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    with Emulator(context=context) as emulator:
        file = write_docker_config(tmp_path / "c.json", {emulator.url: ("robot", "emulator-password")})
        at = registry_at(emulator.url, docker_config_file=file)
        transport = PooledTransport(ca_file=str(tmp_path / "ca.pem"))
        yield Secure(emulator, OciClient(at, transport, build_login(at, {}), RecorderSpy()))


def test_registry_over_tls_never_leads_to_plain_http(secure: Secure) -> None:
    """Neither the login nor a blob, even on this machine."""
    state = secure.emulator.state
    blob = state.put_blob(IMAGE, b"payload")
    assert secure.client.get_blob(IMAGE, blob, 7, Deadline.after(5), free) == b"payload"
    with Emulator(state) as storage:
        state.registry.redirects_blobs_to = storage.url
        with pytest.raises(TrustLookupError) as caught:
            secure.client.get_blob(IMAGE, blob, 7, Deadline.after(5), free)
        assert str(caught.value) == "the registry redirected a blob to plain http on 127.0.0.1"
        assert storage.connections == 0


def test_object_storage_over_tls_is_verified(secure: Secure) -> None:
    """Its certificate must be trusted; the request was not sent, so that the image cannot be the cause."""
    state = secure.emulator.state
    blob = state.put_blob(IMAGE, b"payload")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    with Emulator(state, context=context) as storage:
        state.registry.redirects_blobs_to = storage.url
        with pytest.raises(TrustLookupError) as caught:
            secure.client.get_blob(IMAGE, blob, 7, Deadline.after(5), free)
    assert f"{caught.value.fault}: {caught.value.detail}" == (
        f"registry: the registry redirected a blob to 127.0.0.1:{storage.port}: "
        "its certificate is not trusted: unable to get local issuer certificate"
    )
