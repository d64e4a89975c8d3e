"""The manifests for installations without Helm, made from the chart with ``deploy/values.yaml``."""

from __future__ import annotations

import copy
import re
import textwrap
from pathlib import Path
from typing import Any, Final

import yaml

from tests.chart.rendering import NAME, NAMESPACE, merged, template
from tests.chart.signing import SIGNATURES
from tests.support.kubernetes_versions import SUPPORTED
from tests.support.serving import ROOT

DEPLOY: Final = ROOT / "deploy"

OLDEST: Final = f"{SUPPORTED[0]}.0"
"""The oldest supported version, because manifests cannot read the version of the cluster."""

_SOURCE: Final = re.compile(r"^# Source: [^/]+/templates/(.+)$", re.MULTILINE)
_HELMS: Final = ("app.kubernetes.io/managed-by", "helm.sh/chart")
_HEADER: Final = (
    "# Written by `python -m tests.chart.generating` from the chart. Change it by a patch in an overlay.\n"
)

_KUSTOMIZATION: Final = """\
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources:
{resources}
configMapGenerator:
  - name: {name}-policy
    namespace: {namespace}
    files:
      - policy.yaml
    options:
      disableNameSuffixHash: true
      labels:
{labels}
"""


_RESCAN: Final = """\
# Audits what runs, again and again: `components: [../../components/rescan]` in an overlay.
apiVersion: kustomize.config.k8s.io/v1alpha1
kind: Component
resources:
  - audit.yaml
"""

_PINNING: Final = """\
# Pins trusted images to their digest: `components: [../../components/pinning]` in an overlay, and
# `pinDigests: true` in its policy.yaml. Without this key, the webhook is called and changes nothing.
# It may be used with every overlay: the webhook maintains caBundle, or cert-manager.
apiVersion: kustomize.config.k8s.io/v1alpha1
kind: Component
resources:
  - mutatingwebhookconfiguration.yaml
replacements:
  # The annotation of cert-manager, if the overlay has it.
  - source:
      kind: ValidatingWebhookConfiguration
      name: {name}
      fieldPath: metadata.annotations
    targets:
      - select:
          kind: MutatingWebhookConfiguration
          name: {name}
        fieldPaths:
          - metadata.annotations
patches:
  # With cert-manager, the webhook needs neither the argument nor the right.
  - target:
      kind: Deployment
      name: {name}
      annotationSelector: {marker}
    patch: |-
      - op: add
        path: /spec/template/spec/containers/0/args/{argument}
        value: --mutating-webhook-configuration={name}
  - target:
      kind: ClusterRole
      name: {name}
      annotationSelector: {marker}
    patch: |-
      - op: add
        path: /rules/{rule}
        value:
          apiGroups: [admissionregistration.k8s.io]
          resources: [mutatingwebhookconfigurations]
          resourceNames: [{name}]
          verbs: [get, patch]
"""

_SIGNATURES: Final = """\
# Mounts the public keys of signatures: `components: [../../components/signatures]` in an overlay, after the component
# rescan if it is used. Create the ConfigMap {name}-keys with the files NAME.pub by a configMapGenerator with
# `disableNameSuffixHash: true`, so that a change of the keys restarts no Pod. In policy.yaml, the paths of the keys are
# {folder}/NAME.pub.
apiVersion: kustomize.config.k8s.io/v1alpha1
kind: Component
patches:
  - target:
      kind: ConfigMap
      name: {name}-keys
    patch: |-
      apiVersion: v1
      kind: ConfigMap
      metadata:
        name: {name}-keys
        labels:
{labels}
{patches}"""

_REGISTRY_LOGIN: Final = """\
# Mounts the login for the registry API, from which signatures are read: `components: [../../components/registry-login]`
# in an overlay, after the components rescan and signatures. Create the Secret {secret} of type
# kubernetes.io/dockerconfigjson. In policy.yaml, the path is {file}.
apiVersion: kustomize.config.k8s.io/v1alpha1
kind: Component
patches:
{patches}"""

_MOUNT: Final = """\
  # The webhook and the audit.
  - target:
      kind: Deployment
      labelSelector: app.kubernetes.io/instance={name}
    patch: |-
{operations}
"""

CERTIFICATES_ANNOTATION: Final = "swr-trust/certificates"
"""Annotation of the objects that an overlay changes if cert-manager issues the certificate."""


def without_helm(one: dict[str, Any]) -> dict[str, Any]:
    """Return an object without the labels that mark it as managed by Helm."""
    result = copy.deepcopy(one)
    for label in _HELMS:
        result["metadata"].get("labels", {}).pop(label, None)
    return result


def example_values() -> dict[str, Any]:
    """Return the values from which the base is made."""
    values: dict[str, Any] = yaml.safe_load((DEPLOY / "values.yaml").read_text(encoding="utf-8"))
    return values


def render_manifests(helm: Path) -> dict[str, str]:
    """Return the files of the base by their paths under ``deploy/``."""
    files: dict[str, str] = {}
    resources = ["namespace.yaml"]
    labels: dict[str, str] = {}
    rendered = template(example_values(), "--skip-tests", helm=helm, kubernetes=OLDEST)
    by_source: dict[str, list[dict[str, Any]]] = {}
    for document in re.split(r"^---\n", rendered, flags=re.MULTILINE):
        source, one = _SOURCE.search(document), yaml.safe_load(document)
        if source is not None and one:
            by_source.setdefault(source[1], []).append(without_helm(one))
    for file, objects in sorted(by_source.items()):
        if file == "configmap.yaml":
            files["base/policy.yaml"] = objects[0]["data"]["policy.yaml"]
            labels = objects[0]["metadata"]["labels"]
            continue
        resources.append(file)
        files[f"base/{file}"] = _dump(objects)
    files["base/kustomization.yaml"] = _HEADER + _KUSTOMIZATION.format(
        resources="\n".join(f"  - {resource}" for resource in resources),
        name=NAME,
        namespace=NAMESPACE,
        labels=_format_labels(labels),
    )
    files |= _render_rescan(helm)
    files |= _render_pinning(helm)
    files |= _render_signatures(helm)
    return files


def _render_rescan(helm: Path) -> dict[str, str]:
    """Return the objects that ``audit.enabled`` adds, as a component that any overlay can use."""
    return {
        "components/rescan/audit.yaml": _dump(_added_by({"audit": {"enabled": True}}, helm)),
        "components/rescan/kustomization.yaml": _HEADER + _RESCAN,
    }


def _render_pinning(helm: Path) -> dict[str, str]:
    """Return the object that ``pinning.enabled`` adds, and patches of the other changes, as a component."""
    changes = {"pinning": {"enabled": True}}
    objects = _render_example(changes, helm)
    (container,) = _one(objects, "Deployment")["spec"]["template"]["spec"]["containers"]
    rules = _one(objects, "ClusterRole")["rules"]
    kustomization = _PINNING.format(
        name=NAME,
        marker=f"{CERTIFICATES_ANNOTATION}!=cert-manager",
        argument=container["args"].index(f"--mutating-webhook-configuration={NAME}"),
        rule=[rule["resources"] for rule in rules].index(["mutatingwebhookconfigurations"]),
    )
    return {
        "components/pinning/mutatingwebhookconfiguration.yaml": _dump(_added_by(changes, helm)),
        "components/pinning/kustomization.yaml": _HEADER + kustomization,
    }


def _render_signatures(helm: Path) -> dict[str, str]:
    """Return the components that mount the keys of signatures and the login for the registry API."""
    objects = _render_example(SIGNATURES, helm)
    (labels,) = [one["metadata"]["labels"] for one in objects if one["metadata"]["name"] == f"{NAME}-keys"]
    pod = _one(objects, "Deployment")["spec"]["template"]["spec"]
    (login,) = [volume["secret"] for volume in pod["volumes"] if volume["name"] == "registry-login"]
    mounts = {one["name"]: one for one in pod["containers"][0]["volumeMounts"]}
    keys, mount = mounts["signing-keys"], mounts["registry-login"]
    texts = {
        "signatures": _SIGNATURES.format(
            name=NAME,
            folder=keys["mountPath"],
            labels=textwrap.indent(
                _format_labels({key: value for key, value in labels.items() if key not in _HELMS}), "  "
            ),
            patches=_format_mount(pod, "signing-keys"),
        ),
        "registry-login": _REGISTRY_LOGIN.format(
            secret=login["secretName"],
            file=f"{mount['mountPath']}/{login['items'][0]['path']}",
            patches=_format_mount(pod, "registry-login"),
        ),
    }
    return {f"components/{name}/kustomization.yaml": _HEADER + text for name, text in texts.items()}


def _format_mount(pod: dict[str, Any], name: str) -> str:
    """Return a patch that adds a volume of the chart and its mount."""
    (volume,) = [one for one in pod["volumes"] if one["name"] == name]
    (mount,) = [one for one in pod["containers"][0]["volumeMounts"] if one["name"] == name]
    operations = [
        {"op": "add", "path": "/spec/template/spec/volumes/-", "value": volume},
        {"op": "add", "path": "/spec/template/spec/containers/0/volumeMounts/-", "value": mount},
    ]
    text = yaml.safe_dump(operations, sort_keys=False, width=1000).rstrip()
    return _MOUNT.format(name=NAME, operations=textwrap.indent(text, " " * 6))


def _format_labels(labels: dict[str, str]) -> str:
    return "\n".join(f'        {key}: "{value}"' for key, value in labels.items())


def _added_by(changes: dict[str, Any], helm: Path) -> list[dict[str, Any]]:
    """Return the objects that the chart renders only with these values."""
    plain = {_key(one) for one in _render_example({}, helm)}
    return [without_helm(one) for one in _render_example(changes, helm) if _key(one) not in plain]


def _render_example(changes: dict[str, Any], helm: Path) -> list[dict[str, Any]]:
    values = merged(example_values(), changes)
    return _objects(template(values, "--skip-tests", helm=helm, kubernetes=OLDEST))


def _dump(objects: list[dict[str, Any]]) -> str:
    return _HEADER + yaml.safe_dump_all(objects, sort_keys=False, width=1000)


def _one(objects: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    (found,) = [one for one in objects if one["kind"] == kind]
    return found


def _objects(rendered: str) -> list[dict[str, Any]]:
    return [one for one in yaml.safe_load_all(rendered) if one]


def _key(one: dict[str, Any]) -> tuple[str, str]:
    return one["kind"], one["metadata"]["name"]
