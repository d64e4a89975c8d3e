"""``swr-trust review`` and ``check``: their input, output and exit codes."""

from __future__ import annotations

import io
import json
import xml.etree.ElementTree as ET
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jsonschema
import pytest

from tests.emulator.server import Emulator
from tests.unit.cli.conftest import WritePolicy
from webhook.cli.main import main

DATA = Path(__file__).parents[2] / "data" / "manifests"
RENDERED = str(DATA / "rendered.yaml")
HOST = "swr.cn-north-4.myhuaweicloud.com"
Output = pytest.CaptureFixture[str]


def review(policy: Path, *arguments: str) -> int:
    """Run the command."""
    return main(["review", "--config", str(policy), *arguments])


def found(text: str) -> list[tuple[str, int, str, str, str]]:
    """Return file, line, object, image and finding of each row of JSON."""
    return [
        (
            Path(row["file"]).name,
            row["line"],
            f"{row['kind']}/{row['name']}",
            row["image"].removeprefix(f"{HOST}/"),
            row["finding"],
        )
        for row in json.loads(text)
    ]


RENDERED_FINDINGS = [
    ("rendered.yaml", 23, "Deployment/web", "shop/web:2.0", "untrusted"),
    ("rendered.yaml", 25, "Deployment/web", "auto", "invalid"),
    ("rendered.yaml", 20, "Deployment/web", "shop/tools/migrate:2024.11", "trusted"),
    ("rendered.yaml", 38, "CronJob/report", "shop/api", "missing"),
]


def test_images_of_rendered_chart_are_found_with_lines(write_policy: WritePolicy, capsys: Output) -> None:
    """Documents without images are skipped, zero replicas are not."""
    assert review(write_policy(""), "-o", "json", RENDERED) == 1
    assert found(capsys.readouterr().out) == RENDERED_FINDINGS


def test_standard_input_is_reviewed(
    write_policy: WritePolicy, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``helm template ... | swr-trust review -``."""
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(Path(RENDERED).read_bytes())))
    assert review(write_policy(""), "-o", "json", "-") == 1
    assert found(capsys.readouterr().out) == [("<stdin>", *row[1:]) for row in RENDERED_FINDINGS]


def test_folder_with_lists_is_reviewed(write_policy: WritePolicy, capsys: Output) -> None:
    """YAML and JSON files of a folder, items of Lists and of typed lists; other files are ignored."""
    assert review(write_policy(""), "-o", "json", str(DATA / "app")) == 1
    assert found(capsys.readouterr().out) == [
        ("list.yaml", 11, "Pod/job-*", "nginx", "unmanaged"),
        ("list.yaml", 15, "Pod/job-*", "ml/model:v3", "untrusted"),
        ("trusted.json", 3, "Pod/web", "shop/web:1.0", "trusted"),
    ]


def test_kustomization_file_is_skipped(write_policy: WritePolicy, tmp_path: Path, capsys: Output) -> None:
    """A kustomization creates objects but is not one, with or without its kind."""
    (tmp_path / "k").mkdir()
    (tmp_path / "k" / "kustomization.yaml").write_text("resources: [pod.json]\n", encoding="utf-8")
    trusted = (DATA / "app" / "trusted.json").read_text(encoding="utf-8")
    (tmp_path / "k" / "pod.json").write_text(trusted, encoding="utf-8")
    assert review(write_policy(""), "-o", "json", str(tmp_path / "k")) == 0
    assert len(found(capsys.readouterr().out)) == 1


def test_empty_file_name_exits_with_code_2(write_policy: WritePolicy, capsys: Output) -> None:
    """An empty variable must not mean the current folder."""
    assert review(write_policy(""), "") == 2
    assert capsys.readouterr().err == "swr-trust: a FILE is empty: check whether a variable is not set\n"


def test_folder_without_objects_exits_with_code_2(
    write_policy: WritePolicy, tmp_path: Path, capsys: Output
) -> None:
    """A CI job that reads the wrong folder must not succeed."""
    (tmp_path / "empty").mkdir()
    assert review(write_policy(""), str(tmp_path / "empty")) == 2
    assert capsys.readouterr() == (
        "\n0 image(s) in 0 object(s), 0 denied\n",
        "swr-trust: no Kubernetes object was found\n",
    )
    assert review(write_policy(""), str(tmp_path / "empty"), "--allow-empty") == 0


@pytest.mark.parametrize("text", ["", "\n", "# nothing\n", "---\n---\n", "null\n"])
def test_empty_input_exits_with_code_2(
    write_policy: WritePolicy, tmp_path: Path, text: str, capsys: Output
) -> None:
    """Fault E3: a failed ``helm template`` leaves an empty pipe."""
    path = tmp_path / "empty.yaml"
    path.write_text(text, encoding="utf-8")
    assert review(write_policy(""), str(path)) == 2
    assert capsys.readouterr().err == "swr-trust: no Kubernetes object was found\n"


def test_objects_without_images_exit_with_code_0(
    write_policy: WritePolicy, tmp_path: Path, capsys: Output
) -> None:
    """A folder of ConfigMaps is not an empty input."""
    path = tmp_path / "config.yaml"
    path.write_text("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n", encoding="utf-8")
    assert review(write_policy(""), str(path)) == 0
    assert capsys.readouterr().err == "swr-trust: no object with images was found\n"


ROLLOUT = f"""\
apiVersion: argoproj.io/v1alpha1
kind: Rollout
metadata: {{name: web}}
spec:
  template:
    spec:
      containers: [{{name: web, image: "{HOST}/shop/web:2.0"}}]
"""


def test_unsupported_workload_kind_exits_with_code_3(
    write_policy: WritePolicy, tmp_path: Path, capsys: Output
) -> None:
    """Fault E3: an Argo Rollout, an OpenKruise CloneSet; exit code 3 unless an option says otherwise."""
    path = tmp_path / "rollout.yaml"
    path.write_text(ROLLOUT, encoding="utf-8")
    assert review(write_policy(""), str(path)) == 3
    assert capsys.readouterr().err == (
        f"swr-trust: {path}:1: Rollout/web is not evaluated: the webhook does not know its kind. "
        "Its Pods are evaluated when they are created\n"
    )
    assert review(write_policy(""), str(path), "--allow-unjudged") == 0


NULLS = f"""\
apiVersion: v1
kind: Pod
metadata: {{name: null, generateName: , annotations: , ownerReferences: null}}
spec:
  nodeName:
  initContainers:
  ephemeralContainers: null
  containers:
    - {{name: a, image: "{HOST}/shop/web:1.0", imagePullPolicy: }}
  volumes:
    - {{name: m, image: {{reference: "{HOST}/shop/web:2.0", pullPolicy: }}}}
    - {{name: e, image: null}}
"""


def test_null_fields_count_as_absent(write_policy: WritePolicy, tmp_path: Path, capsys: Output) -> None:
    """Fault E1: as for the API server, in every field."""
    path = tmp_path / "pod.yaml"
    path.write_text(NULLS, encoding="utf-8")
    assert review(write_policy(""), "-o", "json", str(path)) == 1
    assert found(capsys.readouterr().out) == [
        ("pod.yaml", 9, "Pod/", "shop/web:1.0", "trusted"),
        ("pod.yaml", 11, "Pod/", "shop/web:2.0", "untrusted"),
    ]


def test_unreadable_object_does_not_hide_other_objects(
    write_policy: WritePolicy, tmp_path: Path, capsys: Output
) -> None:
    """Fault E1: the other objects of the file, of a List and of other files are evaluated and shown."""
    bad = "apiVersion: v1\nkind: Pod\nmetadata: {name: bad}\n"
    good = f'apiVersion: v1\nkind: Pod\nmetadata: {{name: %s}}\nspec: {{containers: [{{name: a, image: "{HOST}/shop/web:2.0"}}]}}\n'
    items = (
        "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Pod, spec: {containers: no}}\n- "
        + (good % "listed").replace("\n", "\n  ")
    )
    (tmp_path / "a.yaml").write_text(
        "---\n".join([bad, good % "first", items.rstrip() + "\n", "a: [\n"]), encoding="utf-8"
    )
    (tmp_path / "b.yaml").write_text(good % "second", encoding="utf-8")
    assert review(write_policy(""), "-o", "json", str(tmp_path / "a.yaml"), str(tmp_path / "b.yaml")) == 2
    captured = capsys.readouterr()
    assert [row[2] for row in found(captured.out)] == ["Pod/first", "Pod/listed", "Pod/second"]
    assert captured.err.splitlines() == [
        f"swr-trust: {tmp_path}/a.yaml:1: this Pod has no Pod spec",
        f"swr-trust: {tmp_path}/a.yaml:13: this Pod cannot be read: "
        "Expected `array | null`, got `str` - at `$.spec.containers`",
        f"swr-trust: {tmp_path}/a.yaml:20: did not find expected node content",
    ]


def test_review_table_has_rows_and_summary(write_policy: WritePolicy, capsys: Output) -> None:
    """Place, image, the finding and the webhook's message; a summary at the end."""
    assert review(write_policy(""), str(DATA / "app" / "list.yaml")) == 1
    file = DATA / "app" / "list.yaml"
    rows = [line.split("  ") for line in capsys.readouterr().out.splitlines()]
    assert [[cell.strip() for cell in row if cell] for row in rows] == [
        ["WHERE", "OBJECT", "IMAGE", "FINDING", "MESSAGE"],
        [
            f"{file}:11",
            "Pod/job-*",
            "nginx",
            "unmanaged",
            'images from registry "docker.io" are not allowed in this cluster. '
            f"Push the image to {HOST} and use it from there.",
        ],
        [
            f"{file}:15",
            "Pod/job-*",
            f"{HOST}/ml/model:v3",
            "untrusted",
            "SWR does not mark this tag as trusted. "
            "Mark this tag as trusted in SWR, or use a tag that already is.",
        ],
        [],
        ["2 image(s) in 1 object(s), 2 denied"],
    ]


@pytest.mark.parametrize(
    ("policy", "fail_on", "code"),
    [
        ("", "refused", 1),
        ("mode: audit\n", "refused", 1),
        ("mode: audit\n", "enforced", 0),
        ("", "enforced", 1),
        ("", "never", 0),
    ],
)
def test_fail_on_option_determines_exit_code(
    write_policy: WritePolicy, policy: str, fail_on: str, code: int
) -> None:
    """``refused`` assumes enforcement, ``enforced`` follows the modes, ``never`` only reports."""
    assert review(write_policy(policy), "--fail-on", fail_on, RENDERED) == code


def test_namespace_option_applies_to_objects_without_namespace(write_policy: WritePolicy) -> None:
    """Exemptions depend on the namespace."""
    policy = write_policy(
        "exemptions: [{name: all of ci, namespaces: [ci], images: ['**'], reason: throw-away}]\n"
    )
    assert review(policy, str(DATA / "app")) == 1
    assert review(policy, "--namespace", "ci", str(DATA / "app")) == 0


def test_swr_outage_exits_with_code_3(
    write_policy: WritePolicy, emulator: Emulator, tmp_path: Path, capsys: Output
) -> None:
    """Exit code 3: no image is denied for itself, and nothing is known; the cause is printed once."""
    emulator.break_with("status", status=500)
    manifest = tmp_path / "pod.yaml"
    manifest.write_text((DATA / "app" / "trusted.json").read_text(encoding="utf-8"), encoding="utf-8")
    assert review(write_policy(""), "-o", "junit", str(manifest)) == 3
    assert capsys.readouterr().err == "swr-trust: SWR could not be queried: SWR answered 500\n"


MERGED = f"""\
apiVersion: v1
kind: Pod
x-base: &base {{image: {HOST}/shop/web:2.0}}
x-more: &more {{<<: *base, imagePullPolicy: Always}}
spec:
  containers:
    - {{<<: *base, name: a}}
    - {{<<: *base, name: b, image: {HOST}/shop/web:1.0}}
    - {{<<: [*more, {{image: nginx}}], name: c}}
  initContainers: &list
    - {{name: d, image: {HOST}/shop/api:1.4}}
  ephemeralContainers: *list
"""


def test_yaml_aliases_and_merge_keys_are_resolved(
    write_policy: WritePolicy, tmp_path: Path, capsys: Output
) -> None:
    """As in kubectl: an image cannot hide behind an anchor. Its line is where it is written."""
    path = tmp_path / "pod.yaml"
    path.write_text(MERGED, encoding="utf-8")
    assert review(write_policy(""), "-o", "json", str(path)) == 1
    assert [row[1:2] + row[3:] for row in found(capsys.readouterr().out)] == [
        (3, "shop/web:2.0", "untrusted"),
        (8, "shop/web:1.0", "trusted"),
        (3, "shop/web:2.0", "untrusted"),
        (11, "shop/api:1.4", "trusted"),
        (11, "shop/api:1.4", "trusted"),
    ]


def test_last_of_duplicate_keys_is_used(write_policy: WritePolicy, tmp_path: Path, capsys: Output) -> None:
    """As in kubectl: the evaluated image is the applied one."""
    path = tmp_path / "pod.yaml"
    pod = f"apiVersion: v1\nkind: Pod\nspec:\n  containers: [{{image: {HOST}/shop/web:1.0}}]\n"
    path.write_text(pod + f"  containers: [{{image: {HOST}/shop/web:2.0}}]\n", encoding="utf-8")
    assert review(write_policy(""), "-o", "json", str(path)) == 1
    assert [row[1:2] + row[3:] for row in found(capsys.readouterr().out)] == [
        (5, "shop/web:2.0", "untrusted")
    ]


PULLED = [
    ("web:1.0", "", "pull-policy"),
    ("web:1.0", "imagePullPolicy: Always", ""),
    ("web:latest", "", ""),
    ("web", "", ""),
    ("web:latest", "imagePullPolicy: IfNotPresent", "pull-policy"),
    ("web@sha256:" + "1" * 64, "", "pull-policy"),
]


@pytest.mark.parametrize(("image", "line", "reason"), PULLED, ids=[" ".join(case[:2]) for case in PULLED])
def test_default_pull_policy_is_that_of_api_server(
    write_policy: WritePolicy,
    emulator: Emulator,
    tmp_path: Path,
    capsys: Output,
    image: str,
    line: str,
    reason: str,
) -> None:
    """The API server sets it before it calls the webhook: Always for latest, otherwise IfNotPresent."""
    emulator.state.set_tag("shop/web:latest", is_trusted=True, digest="sha256:" + "1" * 64)
    path = tmp_path / "pod.yaml"
    container = f"{{image: '{HOST}/shop/{image}', {line}}}"
    path.write_text(f"apiVersion: v1\nkind: Pod\nspec: {{containers: [{container}]}}\n", encoding="utf-8")
    rules = "digestOnly: resolve\nrules: [{name: fresh, images: ['**'], requirePullAlways: true}]\n"
    review(write_policy(rules), "-o", "json", str(path))
    (row,) = json.loads(capsys.readouterr().out)
    assert row["reason"] == reason


def test_control_characters_of_manifest_are_escaped(
    write_policy: WritePolicy, tmp_path: Path, capsys: Output
) -> None:
    """Control characters of names and images are printed escaped."""
    path = tmp_path / "pod.yaml"
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a\x1b[2J"}}
    path.write_text(
        json.dumps({**pod, "spec": {"containers": [{"image": "\x1b]0;x\x07"}]}}), encoding="utf-8"
    )
    review(write_policy(""), str(path))
    assert capsys.readouterr().out.splitlines()[1].split()[1:3] == ["Pod/a\\x1b[2J", "\\x1b]0;x\\x07"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "pod.yaml:2: did not find expected node content"),
        ("- 1\n", "pod.yaml:1: not a Kubernetes object: it is not a mapping"),
        ("kind: Pod\n", "pod.yaml:1: not a Kubernetes object: it needs apiVersion and kind"),
        ("\n\napiVersion: v1\nkind: Pod\n", "pod.yaml:3: this Pod has no Pod spec"),
        (
            "apiVersion: v1\nkind: Pod\nspec: {containers: no}\n",
            "pod.yaml:1: this Pod cannot be read: Expected `array | null`, got `str` - at `$.spec.containers`",
        ),
        (
            "apiVersion: v1\nkind: Pod\nx: &x {image: a}\nspec:\n  containers: [{image: b, <<: *x}]\n",
            "pod.yaml:5: the merge key comes after 'image', which it also contains: write << first",
        ),
        ("apiVersion: v1\nkind: Pod\nspec: &x {<<: *x}\n", "pod.yaml:3: a mapping merges itself"),
        (
            "apiVersion: v1\nkind: Pod\nspec: {<<: [1]}\n",
            "pod.yaml:3: a merge key takes a mapping, or a list of mappings",
        ),
        (
            "apiVersion: v1\nkind: Pod\na: &a [x, x]\n"
            + "".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in pairwise("abcdefgh")),
            "pod.yaml:3: nested too deeply, or too many aliases",
        ),
        (
            "\0",
            'pod.yaml: unacceptable character #x0000: control characters are not allowed   in "<byte string>", position 0',
        ),
        *(
            (
                f"apiVersion: v1\nkind: Pod\nmetadata: {{name: a}}\nspec: {{containers: [{{image: {value}}}]}}\n",
                f"pod.yaml:4: kubectl reads the tag {tag!r} differently: write the value without it",
            )
            for value, tag in [
                ("!!binary bmdpbng=", "!!binary"),
                ("!local nginx", "!local"),
                ("!!python/name:x nginx", "!!python/name:x"),
                ("!!set {a}", "!!set"),
            ]
        ),
        (
            "apiVersion: v1\nkind: !!binary UG9k\nspec: {}\n",
            "pod.yaml:2: kubectl reads the tag '!!binary' differently: write the value without it",
        ),
        (
            "apiVersion: !!binary djE=\nkind: Pod\nspec: {}\n",
            "pod.yaml:1: kubectl reads the tag '!!binary' differently: write the value without it",
        ),
        (
            "apiVersion: v1\nkind: Pod\n!!binary c3BlYw==: {}\n",
            "pod.yaml:3: kubectl reads the tag '!!binary' differently: write the value without it",
        ),
        ("[" * 100_000, "pod.yaml:1: exceeded maximum nesting depth"),
        (None, "pod.yaml: No such file or directory"),
    ],
    ids=[
        "no YAML",
        "a list",
        "no apiVersion",
        "no spec",
        "wrong type",
        "a merge that readers differ on",
        "a mapping in itself",
        "a merge of nothing",
        "aliases for millions",
        "NUL",
        "binary image",
        "an unknown tag",
        "a tag of Python",
        "a set",
        "binary kind",
        "binary version",
        "binary key",
        "too deep",
        "no file",
    ],
)
def test_unreadable_manifest_is_named_with_file_and_line(
    write_policy: WritePolicy, tmp_path: Path, text: str | None, message: str, capsys: Output
) -> None:
    """Fault E2: exit code 2; an object that cannot be evaluated, or that kubectl reads differently, is not
    skipped.
    """
    path = tmp_path / "pod.yaml"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    assert review(write_policy(""), str(path)) == 2
    assert capsys.readouterr().err == f"swr-trust: {tmp_path}/{message}\n"


TEXT = {
    "type": "object",
    "required": ["text"],
    "properties": {"text": {"type": "string", "minLength": 1}},
    "additionalProperties": False,
}
SARIF: dict[str, Any] = {
    # The parts of the SARIF 2.1.0 schema that are used here; nothing else may occur.
    "type": "object",
    "required": ["version", "runs"],
    "additionalProperties": False,
    "properties": {
        "$schema": {"type": "string", "format": "uri"},
        "version": {"const": "2.1.0"},
        "runs": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["tool", "results"],
                "additionalProperties": False,
                "properties": {
                    "columnKind": {"enum": ["utf16CodeUnits", "unicodeCodePoints"]},
                    "tool": {
                        "type": "object",
                        "required": ["driver"],
                        "additionalProperties": False,
                        "properties": {
                            "driver": {
                                "type": "object",
                                "required": ["name"],
                                "additionalProperties": False,
                                "properties": {
                                    "name": {"type": "string"},
                                    "version": {"type": "string"},
                                    "semanticVersion": {"type": "string"},
                                    "informationUri": {"type": "string"},
                                    "rules": {
                                        "type": "array",
                                        "uniqueItems": True,
                                        "items": {
                                            "type": "object",
                                            "required": ["id"],
                                            "additionalProperties": False,
                                            "properties": {
                                                "id": {"type": "string"},
                                                "name": {"type": "string", "pattern": "^[A-Z][A-Za-z]+$"},
                                                "shortDescription": TEXT,
                                                "fullDescription": TEXT,
                                                "helpUri": {"type": "string", "format": "uri"},
                                                "help": {
                                                    "type": "object",
                                                    "required": ["text"],
                                                    "properties": {
                                                        "text": {"type": "string", "minLength": 1},
                                                        "markdown": {"type": "string", "minLength": 1},
                                                    },
                                                    "additionalProperties": False,
                                                },
                                                "defaultConfiguration": {
                                                    "type": "object",
                                                    "properties": {
                                                        "level": {
                                                            "enum": ["none", "note", "warning", "error"]
                                                        }
                                                    },
                                                    "additionalProperties": False,
                                                },
                                            },
                                        },
                                    },
                                },
                            }
                        },
                    },
                    "results": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "required": ["message"],
                            "additionalProperties": False,
                            "properties": {
                                "ruleId": {"type": "string"},
                                "ruleIndex": {"type": "integer", "minimum": -1},
                                "level": {"enum": ["none", "note", "warning", "error"]},
                                "message": TEXT,
                                "partialFingerprints": {
                                    "type": "object",
                                    "additionalProperties": {"type": "string"},
                                },
                                "locations": {
                                    "type": "array",
                                    "items": {
                                        "type": "object",
                                        "additionalProperties": False,
                                        "properties": {
                                            "physicalLocation": {
                                                "type": "object",
                                                "additionalProperties": False,
                                                "required": ["artifactLocation"],
                                                "properties": {
                                                    "artifactLocation": {
                                                        "type": "object",
                                                        "additionalProperties": False,
                                                        "properties": {"uri": {"type": "string"}},
                                                    },
                                                    "region": {
                                                        "type": "object",
                                                        "additionalProperties": False,
                                                        "properties": {
                                                            "startLine": {"type": "integer", "minimum": 1}
                                                        },
                                                    },
                                                },
                                            },
                                            "logicalLocations": {
                                                "type": "array",
                                                "items": {
                                                    "type": "object",
                                                    "additionalProperties": False,
                                                    "properties": {"fullyQualifiedName": {"type": "string"}},
                                                },
                                            },
                                        },
                                    },
                                },
                            },
                        },
                    },
                },
            },
        },
    },
}


def test_sarif_output_is_valid_against_schema(write_policy: WritePolicy, capsys: Output) -> None:
    """Version 2.1.0, every rule that a result names, and one result per denied image at its line."""
    assert review(write_policy(""), "-o", "sarif", RENDERED) == 1
    log = json.loads(capsys.readouterr().out)
    jsonschema.validate(log, SARIF)
    run = log["runs"][0]
    rules = run["tool"]["driver"]["rules"]
    assert all(rules[result["ruleIndex"]]["id"] == result["ruleId"] for result in run["results"])
    assert [
        (
            result["ruleId"],
            result["level"],
            result["locations"][0]["physicalLocation"]["region"]["startLine"],
            result["message"]["text"],
        )
        for result in run["results"]
    ] == [
        (
            "swr-trust/untrusted",
            "error",
            23,
            f'spec.template.spec.containers[0].image "{HOST}/shop/web:2.0": SWR does not mark this tag as '
            "trusted. Mark this tag as trusted in SWR, or use a tag that already is.",
        ),
        (
            "swr-trust/invalid",
            "note",
            25,
            'spec.template.spec.containers[1].image "auto": the image is a placeholder; it is evaluated when the '
            "Pod is created. No action is needed if a controller or webhook replaces it before the Pod is created.",
        ),
        (
            "swr-trust/missing",
            "error",
            38,
            f'spec.jobTemplate.spec.template.spec.containers[0].image "{HOST}/shop/api": the tag defaults to '
            "latest, which does not exist in SWR. Write name:tag with a tag that exists.",
        ),
    ]


@pytest.mark.parametrize(("mode", "level"), [("enforce", "error"), ("warn", "warning"), ("audit", "warning")])
def test_sarif_level_follows_mode(write_policy: WritePolicy, mode: str, level: str, capsys: Output) -> None:
    """A finding that only enforcement would deny is a warning until it is enforced."""
    review(write_policy(f"mode: {mode}\n"), "-o", "sarif", str(DATA / "app"))
    results = json.loads(capsys.readouterr().out)["runs"][0]["results"]
    assert [result["level"] for result in results] == [level, level]


def test_moved_finding_keeps_its_fingerprint(
    write_policy: WritePolicy, tmp_path: Path, capsys: Output
) -> None:
    """A code host does not report it again."""
    text = (DATA / "app" / "list.yaml").read_text(encoding="utf-8")
    path = tmp_path / "pod.yaml"
    prints = []
    for start in ("", "# a\n# few\n# lines\n"):
        path.write_text(start + text, encoding="utf-8")
        review(write_policy(""), "-o", "sarif", str(path))
        results = json.loads(capsys.readouterr().out)["runs"][0]["results"]
        prints.append([result["partialFingerprints"] for result in results])
    assert prints[0] == prints[1]


def test_junit_has_one_case_per_image(write_policy: WritePolicy, emulator: Emulator, capsys: Output) -> None:
    """Denied images are failures, images with a failed lookup are errors."""
    emulator.break_with("status", match="ml/", status=500)
    assert review(write_policy(""), "-o", "junit", str(DATA / "app")) == 1
    root = ET.fromstring(capsys.readouterr().out)
    assert [
        (Path(suite.get("name", "")).name, suite.get("tests"), suite.get("failures"), suite.get("errors"))
        for suite in root
    ] == [("list.yaml", "2", "1", "1"), ("trusted.json", "1", "0", "0")]
    assert [(case.get("line"), [trouble.tag for trouble in case]) for case in root.iter("testcase")] == [
        ("11", ["failure"]),
        ("15", ["error"]),
        ("3", []),
    ]


def test_junit_output_is_valid_xml_for_any_image(
    write_policy: WritePolicy, tmp_path: Path, capsys: Output
) -> None:
    """Control characters, which XML cannot contain, are printed escaped."""
    path = tmp_path / "pod.yaml"
    pod = {"apiVersion": "v1", "kind": "Pod", "spec": {"containers": [{"image": "a\x00b<]]>&\x1b"}]}}
    path.write_text(json.dumps(pod), encoding="utf-8")
    review(write_policy(""), "-o", "junit", str(path))
    case = next(ET.fromstring(capsys.readouterr().out).iter("testcase"))
    assert case.get("name") == "spec.containers[0].image a\\x00b<]]>&\\x1b"


@pytest.mark.parametrize(
    ("images", "code"),
    [
        (["shop/web:1.0"], 0),
        (["shop/web:1.0", "shop/web:2.0"], 1),
        (["shop/web:1.0", "partner/web:1"], 3),
        (["shop/web:2.0", "partner/web:1"], 1),
    ],
    ids=["trusted", "untrusted", "unknown", "both"],
)
def test_check_exit_code_follows_findings(write_policy: WritePolicy, images: list[str], code: int) -> None:
    """0 all trusted, 1 some denied, 3 some unknown; denied has priority."""
    names = [f"{HOST}/{image}" for image in images]
    assert main(["check", "--config", str(write_policy("")), *names]) == code


def test_check_prints_all_fields_as_json(write_policy: WritePolicy, capsys: Output) -> None:
    """As JSON, one object per image, in the order of the arguments."""
    main(["check", "--config", str(write_policy("")), "-o", "json", f"{HOST}/shop/web:2.0"])
    (row,) = json.loads(capsys.readouterr().out)
    assert row.pop("asked").endswith("Z")
    assert {key: row[key] for key in ("image", "finding", "refused", "mode", "digest", "message")} == {
        "image": f"{HOST}/shop/web:2.0",
        "finding": "untrusted",
        "refused": True,
        "mode": "enforce",
        "digest": "sha256:" + "2" * 64,
        "message": "SWR does not mark this tag as trusted",
    }
