"""What registries share when their clients and lookups are opened."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.builders import registry
from tests.support.fakes import FakeTransport
from webhook.errors import ConfigError
from webhook.evidence.clients import RegistryClientPool
from webhook.evidence.inspection import for_signatures
from webhook.recorder import Recorder
from webhook.registries import CredentialSettings, Evidence, Registry, SignatureSettings
from webhook.trust.replication import TrustEntry

ENDPOINT = "https://swr.cn-north-4.myhuaweicloud.com"


@pytest.fixture
def opened() -> RegistryClientPool:
    return RegistryClientPool(lambda _registry: FakeTransport([]), {}, Recorder())


def signed(folder: Path, **changes: object) -> Registry:
    """Return a registry with a login for its signatures."""
    return registry(
        evidence=Evidence.SIGNATURE,
        signatures=SignatureSettings(()),
        registry_endpoint=ENDPOINT,
        docker_config_file=str(folder / "dockerconfig.json"),
        **changes,
    )


def test_equal_registries_have_one_client_and_one_lookup(opened: RegistryClientPool, tmp_path: Path) -> None:
    first, second = signed(tmp_path), signed(tmp_path)
    assert opened.client(first) is opened.client(second)
    assert opened.lookup(first) is opened.lookup(second)
    assert opened.find(first) is opened.client(first)


def test_registry_that_was_not_opened_is_not_found(opened: RegistryClientPool, tmp_path: Path) -> None:
    assert opened.find(signed(tmp_path)) is None


@pytest.mark.parametrize(
    ("changes", "shared"),
    [
        ({"organizations": frozenset({"shop"})}, True),
        ({"evidence": Evidence.BOTH}, True),
        ({"docker_config_file": "/other/dockerconfig.json"}, False),
        ({"registry_endpoint": "https://other.example.com"}, False),
    ],
)
def test_login_is_shared_by_registries_that_use_the_same(
    opened: RegistryClientPool, tmp_path: Path, changes: dict[str, object], shared: bool
) -> None:
    """After a failed login it is paused, for all of them: more than five failures lock the account."""
    first = signed(tmp_path)
    second = replace(first, **changes)  # type: ignore[arg-type]
    clients = opened.client(first), opened.client(second)
    assert (clients[0]._login is clients[1]._login) is shared
    assert clients[0]._login is not None


def test_variant_of_the_survey_shares_the_login(opened: RegistryClientPool, tmp_path: Path) -> None:
    first = signed(tmp_path)
    assert opened.client(for_signatures(first))._login is opened.client(first)._login


def test_registries_that_are_no_longer_configured_are_forgotten(
    opened: RegistryClientPool, tmp_path: Path
) -> None:
    """With their logins."""
    first, second = signed(tmp_path), signed(tmp_path, organizations=frozenset({"shop"}))
    other = replace(first, docker_config_file="/other/dockerconfig.json")
    for one in (first, second, other):
        opened.lookup(one)
    opened.retain([second])
    assert [opened.find(one) is not None for one in (first, second, other)] == [False, True, False]
    assert len(opened._logins) == 1


@pytest.mark.parametrize(
    ("changes", "kept"),
    [
        ({"signatures": SignatureSettings((), threshold=2)}, True),
        ({"evidence": Evidence.BOTH}, True),
        ({"docker_config_file": "/other/dockerconfig.json"}, False),
        ({"registry_endpoint": "https://other.example.com"}, False),
        ({"organizations": frozenset({"shop"})}, False),
        ({"ca_file": "/ca.pem"}, False),
        ({"proxy": "http://proxy.example.com"}, False),
    ],
    ids=str,
)
def test_client_is_kept_while_only_the_evidence_changes(
    opened: RegistryClientPool, tmp_path: Path, changes: dict[str, object], kept: bool
) -> None:
    """A rotation of keys would otherwise begin without tokens, and without an organization for control
    requests: an outage at this time would count as a failure of each image.
    """
    first = signed(tmp_path)
    second = replace(first, **changes)  # type: ignore[arg-type]
    client, lookup = opened.client(first), opened.lookup(first)
    opened.lookup(second)
    opened.retain([second])
    assert (opened.client(second) is client) is kept
    assert opened.lookup(second) is not lookup
    assert opened.find(first) is None
    assert len(opened._clients) == 1


def test_organization_of_the_snapshot_is_recorded(opened: RegistryClientPool, tmp_path: Path) -> None:
    """Only for registries that are open; a snapshot may contain others."""
    first = signed(tmp_path)
    trusted = TrustEntry((first.key, "shop", "web", ":1"), 0, trusted=True)
    opened.record_imported([trusted])
    client = opened.client(first)
    opened.record_imported([TrustEntry((first.key, "evil", "web", ":1"), 0, trusted=False)])
    assert client._repositories.choose("shop/web") is None
    opened.record_imported([trusted])
    assert str(client._repositories.choose("shop/web")).startswith("shop/")


def test_missing_access_key_is_a_problem_of_the_configuration(opened: RegistryClientPool) -> None:
    found = registry(
        evidence=Evidence.SIGNATURE,
        signatures=SignatureSettings(()),
        registry_endpoint=ENDPOINT,
        credentials=CredentialSettings("aksk"),
    )
    with pytest.raises(ConfigError):
        opened.client(found)


@pytest.mark.slow
def test_process_without_signatures_imports_nothing_for_them() -> None:
    """``cryptography`` alone takes 8 MB, and most installations evaluate the tag detail."""
    code = """
import sys
import webhook.app.webhook_process
from webhook.app.trust_service import TrustService
from webhook.policy.loading import parse_policy
from webhook.policy.signing_keys import refresh_keys
from webhook.telemetry.metrics import Metrics

registry = "{region: cn-north-4}"
text = "{apiVersion: swr-trust/v1, kind: TrustPolicy, registries: [%s], credentials: {kind: token, tokenFile: /t}}"
TrustService(refresh_keys(parse_policy(text % registry), 0.0), Metrics("test"), {})
print(*{"cryptography", "webhook.oci", "webhook.signatures.keys"} & set(sys.modules))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, timeout=60, capture_output=True, text=True
    )
    assert done.stdout.split() == []
