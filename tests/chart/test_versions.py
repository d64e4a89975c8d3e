"""The rendered objects against the schemas of every Kubernetes version that is supported.

The schemas are those of the package kubernetes-validate, which knows built-in kinds only. What a
schema cannot say, such as CEL and ranges, the tests on a real API server see.
"""

from __future__ import annotations

from typing import Any

import kubernetes_validate
import pytest

from tests.chart.rendering import merged, render

VERSIONS = [f"1.{minor}" for minor in range(28, 38)]

OPTIONS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "everything": {
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
    "plain secrets": {"credentials": {"existingSecret": "", "insecureValues": {"ak": "a", "sk": "b"}}},
}

_FOREIGN = "monitoring.coreos.com/"


@pytest.mark.parametrize(
    ("options", "version"),
    [
        *((options, version) for options in ("defaults", "everything") for version in VERSIONS),
        *((options, version) for options in list(OPTIONS)[2:] for version in (VERSIONS[0], VERSIONS[-1])),
    ],
)
def test_objects_are_valid_in_every_version(options: str, version: str) -> None:
    """No unknown field and no wrong type, from the oldest version to the newest."""
    for one in render(merged({}, OPTIONS[options]), kubernetes=f"{version}.0"):
        if not one["apiVersion"].startswith(_FOREIGN):
            kubernetes_validate.validate(one, version, strict=True)


def test_a_mistake_would_be_seen() -> None:
    """The schemas refuse an unknown field, and the new preStop action in a version that lacks it."""
    objects = render(kubernetes="1.30.0")
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(objects.one("Deployment"), "1.28", strict=True)
