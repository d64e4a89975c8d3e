"""The manifests for installations without Helm, made from the chart with ``deploy/values.yaml``."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any, Final

import yaml

from tests.chart.rendering import NAME, NAMESPACE, merged, template
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


_COMPONENT: Final = """\
# Audits what runs, again and again: `components: [../../components/rescan]` in an overlay.
apiVersion: kustomize.config.k8s.io/v1alpha1
kind: Component
resources:
  - audit.yaml
"""


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
        files[f"base/{file}"] = _HEADER + yaml.safe_dump_all(objects, sort_keys=False, width=1000)
    files["base/kustomization.yaml"] = _HEADER + _KUSTOMIZATION.format(
        resources="\n".join(f"  - {resource}" for resource in resources),
        name=NAME,
        namespace=NAMESPACE,
        labels="\n".join(f'        {key}: "{value}"' for key, value in labels.items()),
    )
    files |= _render_component(helm)
    return files


def _render_component(helm: Path) -> dict[str, str]:
    """Return the objects that ``audit.enabled`` adds, as a component that any overlay can use."""
    plain = {
        _key(one)
        for one in _objects(template(example_values(), "--skip-tests", helm=helm, kubernetes=OLDEST))
    }
    values = merged(example_values(), {"audit": {"enabled": True}})
    added = [
        without_helm(one)
        for one in _objects(template(values, "--skip-tests", helm=helm, kubernetes=OLDEST))
        if _key(one) not in plain
    ]
    return {
        "components/rescan/audit.yaml": _HEADER + yaml.safe_dump_all(added, sort_keys=False, width=1000),
        "components/rescan/kustomization.yaml": _HEADER + _COMPONENT,
    }


def _objects(rendered: str) -> list[dict[str, Any]]:
    return [one for one in yaml.safe_load_all(rendered) if one]


def _key(one: dict[str, Any]) -> tuple[str, str]:
    return one["kind"], one["metadata"]["name"]
