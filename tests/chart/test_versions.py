"""The rendered objects are valid in every supported Kubernetes version.

The schemas are those of the package kubernetes-validate, which knows built-in kinds only. The tests on a real
API server cover CEL and ranges, which a schema cannot express.
"""

from __future__ import annotations

from typing import Any

import kubernetes_validate
import pytest

from tests.chart.manifests import DEPLOY
from tests.chart.rendering import merged, render
from tests.chart.signing import SIGNATURES
from tests.chart.test_generated import kustomize
from tests.support.kubernetes_versions import SUPPORTED
from tests.support.serving import ROOT

OPTIONS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "everything": {
        "audit": {"enabled": True},
        "autoscaling": {"enabled": True},
        "networkPolicy": {"enabled": True, "ingressFrom": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]},
        "scrapeAnnotations": {"prometheus": True, "aom": True},
        "dashboard": {"enabled": True},
        "commonLabels": {"team": "platform"},
        "commonAnnotations": {"contact": "platform"},
        "extraEnv": [{"name": "HTTPS_PROXY", "value": "http://proxy.example.com:3128"}],
        "extraEnvFrom": [{"secretRef": {"name": "proxy"}}],
        "extraVolumes": [{"name": "ca", "configMap": {"name": "private-ca"}}],
        "extraVolumeMounts": [{"name": "ca", "mountPath": "/etc/ssl/private"}],
        "hostAliases": [{"ip": "10.0.0.1", "hostnames": ["swr.example.com"]}],
        "imagePullSecrets": [{"name": "default-secret"}],
        "nodeSelector": {"kubernetes.io/arch": "arm64"},
        "tolerations": [{"operator": "Exists"}],
        "pinning": {"enabled": True},
        "webhook": {
            "namespaceSelector": {
                "matchLabels": {"gate": "on"},
                "matchExpressions": [{"key": "team", "operator": "Exists"}],
            },
            "objectSelector": {"matchLabels": {"gate": "on"}},
            "matchConditions": [{"name": "no-dry-run", "expression": "!request.dryRun"}],
        },
    },
    "existing certificate": {
        "certificates": {
            "mode": "existingSecret",
            "existingSecret": "tls",
            "caBundle": "-----BEGIN CERTIFICATE-----\n",
        }
    },
    "oidc": {
        "credentials": {"kind": "oidc", "existingSecret": "", "oidc": {"audience": "swr"}},
        "policy": {"credentials": {"providerUrn": "urn:provider", "agencyUrn": "urn:agency"}},
    },
    "signatures": SIGNATURES,
    "plain secrets": {"credentials": {"existingSecret": "", "insecureValues": {"ak": "a", "sk": "b"}}},
}

_FOREIGN = ("cert-manager.io/", "monitoring.coreos.com/")


@pytest.mark.parametrize("version", SUPPORTED)
@pytest.mark.parametrize("options", OPTIONS)
def test_objects_are_valid_in_every_version(options: str, version: str) -> None:
    """No unknown field and no wrong type, from the oldest version to the newest."""
    for one in render(merged({}, OPTIONS[options]), kubernetes=f"{version}.0"):
        if not one["apiVersion"].startswith(_FOREIGN):
            kubernetes_validate.validate(one, version, strict=True)


@pytest.mark.parametrize("version", SUPPORTED)
@pytest.mark.parametrize("overlay", ["audit", "cert-manager", "enforce"])
def test_overlay_objects_are_valid_in_every_version(overlay: str, version: str) -> None:
    """They are the same in every version, and so must not use features that the oldest one lacks."""
    for one in kustomize(DEPLOY / "overlays" / overlay):
        if not one["apiVersion"].startswith(_FOREIGN):
            kubernetes_validate.validate(one, version, strict=True)


def test_documented_versions_match_supported_versions() -> None:
    """A newer kubernetes-validate brings newer schemas."""
    assert f"schemas of {SUPPORTED[0]} to {SUPPORTED[-1]} " in (ROOT / "docs/install.md").read_text("utf-8")
    assert f"按 {SUPPORTED[0]} 至 {SUPPORTED[-1]} 的 Schema" in (ROOT / "docs/install.zh-CN.md").read_text(
        "utf-8"
    )


def test_invalid_objects_are_rejected_by_schemas() -> None:
    """The schemas reject an unknown field, and the new preStop action in a version that lacks it."""
    objects = render(kubernetes="1.30.0")
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(objects.one("Deployment"), "1.28", strict=True)
