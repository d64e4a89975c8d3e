"""Write the files that are generated from the chart: ``python -m tests.chart.generating``.

They are never edited by hand. The policy's part of ``values.schema.json`` comes from the product's own
schema. The chart's ``README.md`` and ``files/defaults.json`` come from ``values.yaml``,
``files/regions.json`` from the product's table, and the manifests under ``deploy/`` from the rendered chart.
A test compares each.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final

import yaml

from tests.chart.manifests import DEPLOY, render_manifests
from tests.chart.rendering import CHART, find_tool
from webhook.policy.schema import build_json_schema
from webhook.regions import REGIONS

PUBLIC_CREDENTIALS: Final = (
    "kind",
    "domainName",
    "userName",
    "identityProvider",
    "providerUrn",
    "agencyUrn",
    "stsEndpoint",
)
"""The keys that ``policy.credentials`` accepts; the chart mounts the files."""

OPEN: Final = ("resources", "audit.resources", "webhook.annotations", "dashboard.labels")
"""Mappings with defaults of their own whose keys are defined by Kubernetes or the operator, not by the chart.
"""

_SOMETHING: Final = "(?=.)"


def build_values_schema(written: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of the values: the hand-written part with the product's policy inserted."""
    policy = _to_draft_7(build_json_schema())
    definitions = policy.pop("$defs")
    for key in ("$schema", "required"):
        policy.pop(key)
    # Templates reject these, with sentences that say what to set.
    policy["properties"]["registries"].pop("minItems")
    definitions["RegistryModel"].pop("allOf")
    # The chart adds the file that it mounts. Helm 4 repeats a value that does not match a pattern, and a key may be
    # pasted here.
    definitions["SigningKeyModel"]["required"].remove("file")
    definitions["SigningKeyModel"]["properties"]["file"].pop("pattern")
    credentials = definitions["CredentialsModel"]["properties"]
    policy["properties"]["credentials"] = {
        "type": "object",
        "additionalProperties": False,
        "properties": {key: credentials[key] for key in PUBLIC_CREDENTIALS},
    }
    schema = dict(written)
    schema["properties"] = {**written["properties"], "policy": policy}
    schema["definitions"] = definitions
    return schema


def _to_draft_7(value: Any) -> Any:
    """Return a schema for Helm's validators: draft 07, and patterns of Go's regexp package (RE2)."""
    if isinstance(value, list):
        return [_to_draft_7(item) for item in value]
    if not isinstance(value, dict):
        return value
    result = {key: _to_draft_7(inner) for key, inner in value.items()}
    if isinstance(reference := result.get("$ref"), str):
        result["$ref"] = reference.replace("#/$defs/", "#/definitions/")
    if isinstance(pattern := result.get("pattern"), str) and _SOMETHING in pattern:
        result["pattern"] = pattern.replace(_SOMETHING, "")
        result["minLength"] = max(1, result.get("minLength", 0))
    return result


def build_defaults(values: str) -> str:
    """Return the values by which the templates replace a null, as JSON."""
    return json.dumps({"open": OPEN, "values": yaml.safe_load(values)}, indent=2) + "\n"


def build_regions() -> str:
    """Return the names of the regions that need neither hosts nor endpoints, as JSON."""
    return json.dumps(sorted(REGIONS), indent=2) + "\n"


def describe_values(text: str) -> Iterator[tuple[str, str, str]]:
    """Yield each documented value of a values file: its path, its default in JSON, its text."""
    values = yaml.safe_load(text)
    path: list[tuple[int, str]] = []
    comment: list[str] = []
    for line in text.splitlines():
        stripped = line.strip()
        if stripped.startswith("#"):
            note = stripped.removeprefix("#").strip()
            if note.startswith("-- "):
                comment = [note.removeprefix("-- ")]
            continue
        match = re.fullmatch(r"( *)([A-Za-z0-9_.]+):.*", line)
        if match is None:
            comment = []
            continue
        indent, key = len(match[1]), match[2]
        path = [(depth, name) for depth, name in path if depth < indent] + [(indent, key)]
        if comment:
            value = values
            for _, name in path:
                value = value[name]
            yield ".".join(name for _, name in path), json.dumps(value), comment[0]
        comment = []


def build_readme(values: str) -> str:
    """Return the README of the chart."""
    rows = [
        f"| `{path}` | `{default}` | {text.replace('|', chr(92) + '|')} |"
        for path, default, text in describe_values(values)
    ]
    table = "\n".join(["| value | default | description |", "| --- | --- | --- |", *rows])
    return _README.format(table=table)


_README: Final = """\
# swr-trust-webhook

Image trust for Huawei Cloud CCE: a validating admission webhook that admits a Pod only if SWR marks
all its images as trusted, or if your keys have signed them.

Requires Kubernetes 1.28 or newer, and Helm 3.8 or newer (Helm 4 is supported). The files `ak` and `sk`
contain the access key ID (AK) and the secret access key (SK).

```sh
kubectl create namespace swr-trust
kubectl label namespace swr-trust pod-security.kubernetes.io/enforce=restricted
kubectl -n swr-trust create secret generic swr-credentials --from-file=ak --from-file=sk
helm install swr-trust-webhook oci://ghcr.io/swr-trust/charts/swr-trust-webhook -n swr-trust \\
  --set 'policy.registries[0].region=cn-north-4' \\
  --set credentials.existingSecret=swr-credentials \\
  --set presets.stage=audit
```

Start with `presets.stage=audit` and fix the images that would be denied. Continue with `warn`, then `enforce`.
[docs/install.md](https://github.com/swr-trust/swr-trust-webhook/blob/main/docs/install.md) describes these
steps, the required IAM permissions, the emergency switch-off, and uninstallation.

## Signatures

By default, an image is trusted if SWR marks its tag as trusted. No document says what sets this mark. Before you
enforce, run `swr-trust survey` as the notes of the release show. If it finds no trusted image, sign your images, and
require signatures (`evidence: signature`) or both (`evidence: both`). SWR Enterprise has signatures only:

```yaml
policy:
  registries:
    - region: cn-north-4
      evidence: signature
      signatures:
        keys:
          - name: release-2026
    - edition: enterprise
      hosts: [team-1a2b3c.swr-pro.cn-north-4.myhuaweicloud.com]
      evidence: signature
      signatures:
        keys:
          - name: release-2026
signatures:
  keys:
    release-2026: |
      -----BEGIN PUBLIC KEY-----
      …
      -----END PUBLIC KEY-----
registryLogin:
  existingSecret: swr-registry-login
```

[docs/signatures.md](https://github.com/swr-trust/swr-trust-webhook/blob/main/docs/signatures.md) describes how to sign,
to roll out and to rotate keys. A change of the keys restarts no Pod.

## Values

This table is generated from the comments in `values.yaml` by `python -m tests.chart.generating`.

{table}

`policy` accepts all keys of the configuration file. They are described in
[docs/configuration.md](https://github.com/swr-trust/swr-trust-webhook/blob/main/docs/configuration.md),
and validated by the chart's schema. The chart adds `credentials`, `mode`, the exemptions of
`presets.cceAddons`, and the files of `signatures` and `registryLogin`. A change of the policy needs no restart: the webhook reads it when the kubelet has
updated the ConfigMap, within about a minute.
"""


def main() -> None:
    """Write all files."""
    schema = CHART / "values.schema.json"
    written = json.loads(schema.read_text(encoding="utf-8"))
    text = json.dumps(build_values_schema(written), indent=2, ensure_ascii=False) + "\n"
    schema.write_text(text, encoding="utf-8")
    values = (CHART / "values.yaml").read_text(encoding="utf-8")
    (CHART / "README.md").write_text(build_readme(values), encoding="utf-8")
    (CHART / "files" / "defaults.json").write_text(build_defaults(values), encoding="utf-8")
    (CHART / "files" / "regions.json").write_text(build_regions(), encoding="utf-8")
    helm = find_tool("helm")
    if helm is None:
        raise SystemExit("helm is needed: in the folder of KUBEBUILDER_ASSETS, or on the PATH")
    for path, content in render_manifests(helm).items():
        target = DEPLOY / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content, encoding="utf-8")


if __name__ == "__main__":
    main()
