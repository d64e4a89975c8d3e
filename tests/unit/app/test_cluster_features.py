"""How the features that need the Kubernetes API are connected to the rest."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.emulator.signing import generate_key, public_pem
from webhook.app import cluster_features
from webhook.app.cluster_features import ClusterFeatures
from webhook.app.trust_service import TrustService
from webhook.policy.loading import parse_policy
from webhook.policy.signing_keys import refresh_keys
from webhook.telemetry.metrics import Metrics
from webhook.trust.replication import TrustEntry

POLICY = """
apiVersion: swr-trust/v1
kind: TrustPolicy
credentials: {kind: token, tokenFile: /t}
registries:
  - region: cn-north-4
    evidence: signature
    signatures: {keys: [{name: release, file: FILE}]}
"""


def test_registry_knows_organizations_of_the_snapshot(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Otherwise an outage at the start would be the fault of each image."""
    file = tmp_path / "release.pub"
    file.write_bytes(public_pem(generate_key()))
    policy = refresh_keys(parse_policy(POLICY.replace("FILE", str(file))), 0.0)
    (registry,) = policy.registries.registries
    trust = TrustService(policy, Metrics("test"), {})
    monkeypatch.setattr(cluster_features, "connect", lambda: None)
    current, unused = cast("Any", SimpleNamespace(current=policy)), cast("Any", None)
    snapshot = ClusterFeatures(Metrics("test")).snapshot("swr-trust/snapshot", current, trust, unused)
    entry = TrustEntry((registry.key, "shop", "web", ":1"), 0, trusted=True)
    snapshot._import([entry], snapshot._scope())
    client = trust._registries.find(registry)
    assert client is not None
    assert str(client._repositories.choose("shop/web")).startswith("shop/swr-trust-probe-")
