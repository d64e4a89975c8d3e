"""Rendering of the chart, by the Helm beside the API server or the one of the PATH."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.support.serving import ROOT

CHART: Final = ROOT / "charts" / "swr-trust-webhook"
NAMESPACE: Final = "swr-trust"
NAME: Final = "swr-trust-webhook"
KUBERNETES: Final = "1.34.0"

VALUES: Final[dict[str, Any]] = {
    "policy": {"registries": [{"region": "cn-north-4", "aliases": ["10.125.0.198:20202"]}]},
    "credentials": {"existingSecret": "swr-credentials"},
}
"""The minimum of values that must be set."""

_ASSETS: Final = "KUBEBUILDER_ASSETS"
_FURTHER: Final = "HELM3"


class HelmError(Exception):
    """Helm failed; the text is its output."""


def find_tool(name: str) -> Path | None:
    """Return the path of ``helm`` or ``kubectl``, or ``None`` if there is none."""
    assets = os.environ.get(_ASSETS)
    if assets and (path := Path(assets) / name).exists():
        return path
    found = shutil.which(name)
    return Path(found) if found is not None else None


def find_helm() -> Path:
    """Return the path of Helm; without one, skip the test with a message."""
    path = find_tool("helm")
    if path is None:
        pytest.skip(f"{_ASSETS} names no folder with helm, and none is on the PATH")
    return path


def find_helms() -> list[Path]:
    """Return every Helm to test: the usual one, and the one in the environment variable HELM3."""
    further = os.environ.get(_FURTHER)
    return [find_helm(), *([Path(further)] if further else [])]


def merged(values: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Return values with changes merged in, mapping by mapping, as Helm does it."""
    result = dict(values)
    for key, value in changes.items():
        old = result.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            result[key] = merged(old, value)
        else:
            result[key] = value
    return result


def template(
    values: dict[str, Any],
    *arguments: str,
    helm: Path | None = None,
    namespace: str = NAMESPACE,
    kubernetes: str = KUBERNETES,
) -> str:
    """Return the output of ``helm template``; raises ``HelmError`` with its errors."""
    command = [str(helm or find_helm()), "template", NAME, str(CHART), f"--namespace={namespace}"]
    command += [f"--kube-version={kubernetes}", "--values=-", *arguments]
    done = subprocess.run(
        command, input=json.dumps(values), capture_output=True, text=True, timeout=60, check=False
    )
    if done.returncode:
        raise HelmError(done.stderr)
    return done.stdout


class Objects:
    """Rendered objects, by kind and name."""

    def __init__(self, manifests: str) -> None:
        """Read a stream of YAML documents."""
        self.all: list[dict[str, Any]] = [one for one in yaml.load_all(manifests, yaml.CSafeLoader) if one]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.all)

    def of(self, kind: str) -> list[dict[str, Any]]:
        """Return all objects of a kind."""
        return [one for one in self.all if one["kind"] == kind]

    def one(self, kind: str, name: str = "") -> dict[str, Any]:
        """Return the only object of a kind, or the one with a name."""
        found = [one for one in self.of(kind) if name in ("", one["metadata"]["name"])]
        assert len(found) == 1, f"{len(found)} objects of kind {kind} {name}"
        return found[0]

    @property
    def pod(self) -> dict[str, Any]:
        """The Pod spec of the Deployment."""
        spec: dict[str, Any] = self.one("Deployment")["spec"]["template"]["spec"]
        return spec

    @property
    def container(self) -> dict[str, Any]:
        """The container of the Deployment."""
        container: dict[str, Any] = self.pod["containers"][0]
        return container

    @property
    def policy(self) -> dict[str, Any]:
        """The configuration file."""
        policy: dict[str, Any] = yaml.safe_load(self.policy_text)
        return policy

    @property
    def policy_text(self) -> str:
        """The text of the configuration file."""
        text: str = self.one("ConfigMap", f"{NAME}-policy")["data"]["policy.yaml"]
        return text

    @property
    def webhooks(self) -> dict[str, dict[str, Any]]:
        """The entries of the webhook configurations by the first part of their names."""
        configurations = [
            self.one("ValidatingWebhookConfiguration"),
            *self.of("MutatingWebhookConfiguration"),
        ]
        entries = [entry for one in configurations for entry in one["webhooks"]]
        return {entry["name"].partition(".")[0]: entry for entry in entries}


@functools.cache
def _cached(values: str, arguments: tuple[str, ...], helm: Path, namespace: str, kubernetes: str) -> str:
    return template(json.loads(values), *arguments, helm=helm, namespace=namespace, kubernetes=kubernetes)


def render(
    changes: dict[str, Any] | None = None,
    *arguments: str,
    namespace: str = NAMESPACE,
    kubernetes: str = KUBERNETES,
) -> Objects:
    """Return the objects for the minimum of values with changes; equal values are rendered once."""
    values = json.dumps(merged(VALUES, changes or {}))
    return Objects(_cached(values, arguments, find_helm(), namespace, kubernetes))
