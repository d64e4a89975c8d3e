"""``review`` reads manifests exactly as kubectl does: both are compared on the same text."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.controlplane import ControlPlane
from webhook.cli.manifests import Manifest, Unreadable, read_manifests

POD = """\
apiVersion: {version}
kind: {kind}
metadata: {{name: x, namespace: default}}
{key}:
  containers:
    - name: a
      image: {image}
"""

BASE64_POD, BASE64_V1, BASE64_SPEC, BASE64_IMAGE = "UG9k", "djE=", "c3BlYw==", "ZXZpbDox"

CASES = {
    "plain": {},
    "binary kind": {"kind": f"!!binary {BASE64_POD}"},
    "binary version": {"version": f"!!binary {BASE64_V1}"},
    "binary key": {"key": f"!!binary {BASE64_SPEC}"},
    "binary image": {"image": f"!!binary {BASE64_IMAGE}"},
    "text": {"image": "!!str good:1"},
    "text of null": {"image": "!!str null"},
    "text of nothing": {"image": "!!str"},
    "quoted null": {"image": '"null"'},
    "null of text": {"image": "!!null evil:1"},
    "null kind": {"kind": "!!null Pod"},
    "null key": {"key": "!!null spec"},
    "whole number": {"image": '!!int "1"'},
    "whole number of text": {"image": "!!int evil:1"},
    "hexadecimal": {"image": "0x10"},
    "octal": {"image": "010"},
    "sexagesimal": {"image": "1:30"},
    "underscores": {"image": "1_000"},
    "fraction": {"image": "!!float 1"},
    "truth": {"image": "!!bool evil"},
    "yes": {"image": "yes"},
    "moment": {"image": "!!timestamp 2026-11-01"},
    "moment without a tag": {"image": "2026-11-01"},
    "set": {"image": "!!set {evil}"},
    "ordered": {"image": "!!omap [a: b]"},
    "python": {"image": '!!python/object/apply:os.system ["true"]'},
    "own tag": {"image": "!mine evil:1"},
    "no specific tag": {"image": "! good:1"},
    "whole tag": {"image": "!<tag:yaml.org,2002:str> good:1"},
    "whole binary tag": {"kind": f"!<tag:yaml.org,2002:binary> {BASE64_POD}"},
    "text key": {"key": "!!str spec"},
    "number key": {"key": "!!int spec"},
    "key in quotes": {"key": '"sp\\u0065c"'},
    "complex key": {"key": "? [spec]\n"},
    "key of a list": {"key": "[spec]"},
    "key of a mapping": {"key": "{spec: x}"},
    "anchor": {"kind": "&k Pod", "image": "*k"},
    "folded": {"image": ">-\n        good:1"},
    "empty": {"image": ""},
    "tilde": {"image": "~"},
}

HEAD = "apiVersion: v1\nkind: Pod\nmetadata: {name: x}\n"
SHARED = "apiVersion: v1\nkind: Pod\nmetadata: {name: x, annotations: &a {image: evil:1}}\n"
CONFIG_MAP = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n"
JSON_POD = '"apiVersion":"v1","kind":"Pod","metadata":{"name":"x"},"spec":{"containers":[{"name":"a",'
EVIL = HEAD + "spec: {containers: [{name: a, image: evil:1}]}"

TEXTS = {
    "other case": HEAD + "spec: {containers: [{name: a, Image: evil:1}]}",
    "twice": HEAD + "spec: {containers: [{name: a, image: good:1, image: evil:1}]}",
    "twice, tagged": HEAD + "spec: {containers: [{name: a, image: good:1, !!str image: evil:1}]}",
    "merged": SHARED + "spec: {containers: [{name: a, <<: *a}]}",
    "merged first": SHARED + "spec: {containers: [{<<: *a, name: a, image: good:1}]}",
    "merged last": SHARED + "spec: {containers: [{name: a, image: good:1, <<: *a}]}",
    "merged by a tag": SHARED + "spec: {containers: [{!!merge x: *a, name: a}]}",
    "merge key in quotes": SHARED + 'spec: {containers: [{"<<": *a, name: a, image: good:1}]}',
    "merged twice": SHARED.replace("evil:1}", "evil:1}, labels: &b {image: good:1}")
    + "spec: {containers: [{<<: [*b, *a], name: a}]}",
    "tagged mapping": HEAD + "spec: !!map {containers: !!seq [{name: a, image: a}]}",
    "mapping called text": HEAD + "spec: !!str {containers: [{name: a, image: a}]}",
    "mapping called null": HEAD + "spec: !!null {containers: [{name: a, image: a}]}",
    "list called null": HEAD + "spec: {containers: !!null [{name: a, image: a}]}",
    "list called mapping": HEAD + "spec: {containers: !!map [{name: a, image: a}]}",
    "JSON": "{" + JSON_POD + '"image":"a"}]}}',
    "JSON, twice": "{" + JSON_POD + '"image":"good:1","image":"evil:1"}]}}',
    "JSON, two kinds": '{"kind":"ConfigMap",' + JSON_POD + '"image":"evil:1"}]}}',
    "two documents of JSON": '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c"}}\n{'
    + JSON_POD
    + '"image":"evil:1"}]}}',
    "behind the end of a document": f"{CONFIG_MAP}...\n---\n{EVIL}",
    "behind the end of a document alone": f"{CONFIG_MAP}...\n{EVIL}",
    "behind three dashes with a comment": f"{CONFIG_MAP}--- # more\n{EVIL}",
    "behind three dashes with text": f"{CONFIG_MAP}--- !!map\n{EVIL}",
    "behind a block of text": f"{CONFIG_MAP}data:\n  a: |\n    x\n---\n{EVIL}",
    "behind a carriage return": f"{CONFIG_MAP}# \r---\n{EVIL}",
    "behind a line separator": f"{CONFIG_MAP}# \u2028---\n{EVIL}",
    "behind a byte order mark": f"\ufeff{EVIL}",
}
TEXTS |= {
    name: POD.format(**{"version": "v1", "kind": "Pod", "key": "spec", "image": "good:1", **changes})
    for name, changes in CASES.items()
}


NULLS = """\
apiVersion: v1
kind: Pod
metadata: {name: x, namespace: default, generateName: , annotations: , labels: {a: null}, ownerReferences: null}
spec:
  nodeName:
  initContainers: null
  ephemeralContainers:
  containers:
    - {name: a, image: "good:1", imagePullPolicy: , command: null, env: null, resources: }
  volumes:
    - {name: i, image: {reference: "good:2", pullPolicy: }}
    - {name: e, image: , emptyDir: {}}
"""


def applied_images(output: str) -> list[str]:
    """Return the images of the Pods that kubectl printed.

    An image that is not a string is left out: the API server rejects it.
    """
    decoder, images = json.JSONDecoder(), []
    while output.lstrip().startswith("{"):
        value, end = decoder.raw_decode(output.lstrip())
        output = output.lstrip()[end:]
        for item in value["items"] if value.get("kind") == "List" else [value]:
            if item.get("kind") == "Pod":
                containers = (item.get("spec") or {}).get("containers") or []
                images += [container.get("image") or "" for container in containers]
    return [image for image in images if isinstance(image, str)]


def reviewed_images(path: Path) -> list[str] | None:
    """Return the images that ``review`` reads, ``None`` if it rejects the file."""
    read = list(read_manifests([str(path)]))
    if any(isinstance(item, Unreadable) for item in read):
        return None
    return [use.image for item in read if isinstance(item, Manifest) for use in item.uses]


@pytest.mark.parametrize("name", TEXTS)
def test_manifest_is_read_like_kubectl_or_rejected(
    control_plane: ControlPlane, tmp_path: Path, name: str
) -> None:
    """Fault E2: each image that kubectl sends is reviewed, or the manifest is rejected."""
    path = tmp_path / "pod.yaml"
    path.write_text(TEXTS[name], encoding="utf-8")
    arguments = ("create", "--dry-run=client", "--validate=false", "-o", "json", "-f", str(path))
    applied = applied_images(control_plane.kubectl(*arguments, check=False))
    reviewed = reviewed_images(path)
    assert reviewed is None or not applied or reviewed == applied


def test_null_is_treated_as_absent_by_api_server_and_review(
    control_plane: ControlPlane, tmp_path: Path
) -> None:
    """Fault E1: the API server accepts the Pod, and both see the same images."""
    path = tmp_path / "pod.yaml"
    path.write_text(NULLS, encoding="utf-8")
    output = control_plane.kubectl("create", "--dry-run=server", "-o", "json", "-f", str(path), check=False)
    assert applied_images(output) == ["good:1"], output
    assert reviewed_images(path) == ["good:1", "good:2"]
