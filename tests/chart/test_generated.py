"""The generated files in the repository are current."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.chart.generating import build_readme, build_values_schema, describe_values
from tests.chart.manifests import (
    CERTIFICATES_ANNOTATION,
    DEPLOY,
    OLDEST,
    example_values,
    render_manifests,
    without_helm,
)
from tests.chart.rendering import CHART, NAME, NAMESPACE, Objects, find_helm, find_tool, merged, template
from tests.chart.signing import PUBLIC_KEYS, SIGNATURES
from tests.support.serving import ROOT
from webhook import __version__

COMPONENTS = ("pinning", "registry-login", "rescan", "signatures")
VALUES_TEXT = (CHART / "values.yaml").read_text(encoding="utf-8")
SCHEMA = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))


def leaves(value: Any, path: str = "") -> set[str]:
    """Return the paths of all values that are not mappings with keys of their own."""
    if isinstance(value, dict) and value:
        return {leaf for key, inner in value.items() for leaf in leaves(inner, f"{path}.{key}".lstrip("."))}
    return {path}


def test_every_value_has_comment() -> None:
    """A mapping may be documented as a whole."""
    documented = {path for path, _, _ in describe_values(VALUES_TEXT)}
    values = leaves(yaml.safe_load(VALUES_TEXT))
    assert [
        value for value in values if not any(f"{value}.".startswith(f"{path}.") for path in documented)
    ] == []


def test_chart_readme_is_generated_from_values() -> None:
    """``python -m tests.chart.generating`` writes it."""
    assert (CHART / "README.md").read_text(encoding="utf-8") == build_readme(VALUES_TEXT)


def test_chart_policy_schema_equals_program_schema() -> None:
    """Helm accepts exactly the keys that the program reads."""
    assert build_values_schema(SCHEMA) == SCHEMA


def test_schema_mappings_reject_unknown_keys() -> None:
    """Structures that are passed to Kubernetes are exempt."""

    def open_mappings(schema: Any, path: str) -> set[str]:
        found: set[str] = set()
        if not isinstance(schema, dict):
            return found
        if "properties" in schema and schema.get("additionalProperties") is not False:
            found.add(path)
        for key, inner in schema.items():
            found |= open_mappings(inner, f"{path}/{key}")
        return found

    assert open_mappings(SCHEMA, "") == set()
    assert SCHEMA["$schema"] == "http://json-schema.org/draft-07/schema#"


def test_chart_version_equals_program_version() -> None:
    """One release has one version."""
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    assert chart["appVersion"] == chart["version"] == __version__
    assert f":{__version__}\n" in chart["annotations"]["artifacthub.io/images"]


def test_chart_metadata_is_valid_for_artifact_hub() -> None:
    """Its annotations are YAML in strings."""
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    annotations = chart["annotations"]
    assert annotations["artifacthub.io/license"] == "Apache-2.0"
    for key in ("images", "links", "changes"):
        assert isinstance(yaml.safe_load(annotations[f"artifacthub.io/{key}"]), list)
    assert re.fullmatch(r"[a-z][a-z0-9-]{0,63}", chart["name"])
    assert (ROOT / chart["icon"].partition("/main/")[2]).is_file()
    assert all(int(number) <= 99 for number in chart["version"].split("."))


def test_kustomize_base_is_generated_from_chart() -> None:
    """``python -m tests.chart.generating`` writes it; no file of an earlier version is left."""
    written = render_manifests(find_helm())
    for path, content in written.items():
        assert (DEPLOY / path).read_text(encoding="utf-8") == content, path
    kept = {
        f"{folder}/{file.name}"
        for folder in ("base", *(f"components/{name}" for name in COMPONENTS))
        for file in (DEPLOY / folder).iterdir()
    }
    assert kept == {*written, "base/namespace.yaml"}


def kustomize(folder: Path) -> Objects:
    """Return the output of ``kubectl kustomize`` for a folder."""
    kubectl = find_tool("kubectl")
    if kubectl is None:
        pytest.skip("KUBEBUILDER_ASSETS names no folder with kubectl, and none is on the PATH")
    done = subprocess.run(
        [str(kubectl), "kustomize", "--load-restrictor=LoadRestrictionsNone", str(folder)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return Objects(done.stdout)


def named(objects: Objects) -> dict[tuple[str, str], dict[str, Any]]:
    """Return objects by kind and name, the policy as data.

    They have neither the labels that only Helm writes, nor the annotation that only kustomize reads.
    """
    result = {}
    for one in objects:
        annotations = one["metadata"].get("annotations", {})
        if annotations.pop(CERTIFICATES_ANNOTATION, None) is not None and not annotations:
            del one["metadata"]["annotations"]
        if "policy.yaml" in one.get("data", {}):
            one["data"]["policy.yaml"] = yaml.safe_load(one["data"]["policy.yaml"])
        result[one["kind"], one["metadata"]["name"]] = without_helm(one)
    return result


OVERLAYS: dict[str, dict[str, Any]] = {
    "enforce": {},
    "audit": {"presets": {"stage": "audit"}},
    "cert-manager": {"certificates": {"mode": "certManager"}},
}
"""The values of the chart that each overlay stands for."""


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_overlay_renders_same_objects_as_chart(overlay: str) -> None:
    """Without Helm the result is the same, with the namespace in addition."""
    manifests = named(kustomize(DEPLOY / "overlays" / overlay))
    namespace = manifests.pop(("Namespace", "swr-trust"))
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    chart = named(
        Objects(template(merged(example_values(), OVERLAYS[overlay]), "--skip-tests", kubernetes=OLDEST))
    )
    assert manifests == chart


def test_rescan_component_adds_audit_to_overlay(tmp_path: Any) -> None:
    """docs/audit.md shows it: the objects of the chart with ``audit.enabled``."""
    (tmp_path / "deploy").symlink_to(ROOT / "deploy")
    (tmp_path / "kustomization.yaml").write_text(
        "resources: [deploy/overlays/enforce]\ncomponents: [deploy/components/rescan]\n", encoding="utf-8"
    )
    manifests = named(kustomize(tmp_path))
    manifests.pop(("Namespace", "swr-trust"))
    values = merged(example_values(), {"audit": {"enabled": True}})
    assert manifests == named(Objects(template(values, "--skip-tests", kubernetes=OLDEST)))


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_pinning_component_adds_pinning_to_overlay(tmp_path: Path, overlay: str) -> None:
    """The objects of the chart with ``pinning.enabled``; the key of the policy is set by the user."""
    (tmp_path / "deploy").symlink_to(ROOT / "deploy")
    (tmp_path / "kustomization.yaml").write_text(
        f"resources: [deploy/overlays/{overlay}]\ncomponents: [deploy/components/pinning]\n", encoding="utf-8"
    )
    manifests = named(kustomize(tmp_path))
    manifests.pop(("Namespace", "swr-trust"))
    values = merged(example_values(), merged(OVERLAYS[overlay], {"pinning": {"enabled": True}}))
    chart = named(Objects(template(values, "--skip-tests", kubernetes=OLDEST)))
    assert chart["ConfigMap", f"{NAME}-policy"]["data"]["policy.yaml"].pop("pinDigests") is True
    assert manifests == chart
    assert ("MutatingWebhookConfiguration", NAME) in manifests


@pytest.mark.parametrize("overlay", OVERLAYS)
@pytest.mark.parametrize("audits", [False, True], ids=["webhook", "webhook and audit"])
def test_components_for_signatures_add_keys_and_login_to_overlay(
    tmp_path: Path, overlay: str, audits: bool
) -> None:
    """docs/install.md shows it: the objects of the chart with keys and login; the user writes the policy."""
    (tmp_path / "deploy").symlink_to(ROOT / "deploy")
    (tmp_path / "release.pub").write_text(PUBLIC_KEYS[0], encoding="utf-8")
    components = [*(["rescan"] if audits else []), "signatures", "registry-login"]
    kustomization = {
        "resources": [f"deploy/overlays/{overlay}"],
        "components": [f"deploy/components/{name}" for name in components],
        "configMapGenerator": [
            {
                "name": f"{NAME}-keys",
                "namespace": NAMESPACE,
                "files": ["release.pub"],
                "options": {"disableNameSuffixHash": True},
            }
        ],
    }
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(kustomization), encoding="utf-8")
    manifests = named(kustomize(tmp_path))
    manifests.pop(("Namespace", "swr-trust"))
    changes = merged(OVERLAYS[overlay], merged(SIGNATURES, {"audit": {"enabled": audits}}))
    chart = named(Objects(template(merged(example_values(), changes), "--skip-tests", kubernetes=OLDEST)))
    policy = ("ConfigMap", f"{NAME}-policy")
    assert manifests.pop(policy) != chart.pop(policy)
    assert manifests == chart


def test_user_overlay_replaces_policy(tmp_path: Any) -> None:
    """docs/install.md shows it."""
    (tmp_path / "deploy").symlink_to(ROOT / "deploy")
    text = "apiVersion: swr-trust/v1\n"
    (tmp_path / "policy.yaml").write_text(text, encoding="utf-8")
    (tmp_path / "kustomization.yaml").write_text(
        "resources: [deploy/overlays/enforce]\n"
        "configMapGenerator:\n"
        "  - name: swr-trust-webhook-policy\n"
        "    namespace: swr-trust\n"
        "    behavior: merge\n"
        "    files: [policy.yaml]\n"
        "    options: {disableNameSuffixHash: true}\n",
        encoding="utf-8",
    )
    assert kustomize(tmp_path).policy_text == text
