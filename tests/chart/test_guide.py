"""Every command of docs/install.md works on a real API server, and has the documented effect."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
import yaml

from tests.chart.guide import Block, Reader, read_blocks
from tests.chart.installation import REFUSED, TEAM, TRUSTED, UNTRUSTED, Release, Replica, leftovers, run
from tests.chart.kubelet import Kubelet
from tests.chart.rendering import NAME, NAMESPACE, VALUES, Objects, find_helms, merged, template
from tests.chart.signing import LOGIN_FILE, PUBLIC_KEYS
from tests.controlplane import ControlPlane
from tests.emulator.server import Emulator
from tests.support.serving import ROOT, free_port
from webhook import __version__
from webhook.policy.findings import Mode
from webhook.policy.loading import load_policy

GUIDE = ROOT / "docs" / "install.md"
BLOCKS = read_blocks(GUIDE)
OTHER_TEAM = "shop"
PINNED = f"{TRUSTED}@sha256:{'1' * 64}"
WARNED = f'Warning: image trust policy: spec.containers[0].image "{UNTRUSTED}"'

SNIPPETS = [
    block
    for block in BLOCKS
    if block.language == "yaml" and not re.search("^(kind|apiVersion|resources):", block.text, re.MULTILINE)
]
"""Values for the chart."""

OF_THE_KIND = {
    "podIdentity": {"existingSecret": ""},
    "oidc": {"existingSecret": ""},
}


def write_files(folder: Path) -> None:
    """Write what a reader has before the first section: secrets, a CA, a public key, and a checkout."""
    files = {
        "ak": "EMULATORACCESSKEY",
        "sk": "emulator-secret-key",
        "ca.pem": "PEM",
        "release-2026.pub": PUBLIC_KEYS[0],
        "config.json": '{"auths": {}}',
    }
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    for name in ("charts", "deploy"):
        shutil.copytree(ROOT / name, folder / name)


class Gate:
    """The release as its users see it: the answer to the author of an untrusted Pod."""

    def __init__(self, cluster: ControlPlane, replica: Replica) -> None:
        """Let ``replica`` load the policy of the cluster before each attempt."""
        self._cluster = cluster
        self._replica = replica

    def answer(self, namespace: str = TEAM, image: str = UNTRUSTED) -> str:
        """Return the output of ``kubectl run``, a dry run."""
        self._replica.mount()
        return run(self._cluster, "guided", image, "--dry-run=server", namespace=namespace)

    def expect(self, words: str, namespace: str = TEAM) -> None:
        """Wait until the answer contains these words."""
        self._cluster.wait_for(f"{words!r} in {namespace}", lambda: words in self.answer(namespace))

    def expect_no_warning(self, namespace: str = TEAM) -> None:
        """Wait until an untrusted Pod is admitted without a warning."""
        created = "pod/guided created (server dry run)"
        self._cluster.wait_for(f"silence in {namespace}", lambda: self.answer(namespace) == created)

    def image(self, namespace: str) -> str:
        """Return the image of a Pod that is created with a trusted tag, a dry run."""
        self._replica.mount()
        shown = ("--dry-run=server", "-o", "jsonpath={.spec.containers[0].image}")
        return run(self._cluster, "guided", TRUSTED, *shown, namespace=namespace)

    def expect_image(self, image: str, namespace: str) -> None:
        """Wait until a trusted tag is admitted as this image."""
        self._cluster.wait_for(f"{image} in {namespace}", lambda: self.image(namespace) == image)

    def roll_out(self) -> None:
        """Replace the replica, as the Deployment does after a change of its Pods."""
        self._replica.stop()
        self._replica.start()

    def failure_policy(self) -> str:
        """Return the failure policy that the API server applies without an answer."""
        found = self._cluster.get("validatingwebhookconfiguration", NAME)["webhooks"]
        return str(next(entry["failurePolicy"] for entry in found if entry["name"].startswith("pods.")))


def reach_enforcement(reader: Reader, cluster: ControlPlane, gate: Gate) -> None:
    """Enable audit, warn, one namespace, and all namespaces."""
    gate.expect_no_warning()
    steps = reader.follow("Roll out enforcement")
    run(cluster, "recorded", UNTRUSTED)
    cluster.wait_for("the Event", lambda: UNTRUSTED in cluster.kubectl("get", "events", "-n", TEAM))
    assert UNTRUSTED in next(steps)
    next(steps)
    gate.expect(WARNED)
    next(steps)
    gate.expect(REFUSED, OTHER_TEAM)
    gate.expect(WARNED)
    assert gate.failure_policy() == "Ignore"
    reader.edit("values.yaml", {"policy": {"rules": []}})
    next(steps)
    gate.expect(REFUSED)
    assert gate.failure_policy() == "Fail"
    assert list(steps) == []


def pin_and_require_digests(reader: Reader, cluster: ControlPlane, gate: Gate) -> None:
    """Pin in one namespace and then in all, require digests in one, and switch pinning off."""
    steps = reader.follow("Switch it on")
    next(steps)
    gate.roll_out()
    gate.expect_image(PINNED, OTHER_TEAM)
    assert gate.image(TEAM) == TRUSTED
    assert next(steps) == PINNED
    run(cluster, "pinned", TRUSTED, namespace=OTHER_TEAM)
    events = ("get", "events", "-n", OTHER_TEAM, "--field-selector", "reason=ImagePinned")
    cluster.wait_for("the Event", lambda: TRUSTED in cluster.kubectl(*events))
    assert TRUSTED in next(steps)
    reader.edit("values.yaml", {"policy": {"rules": []}})
    next(steps)
    gate.expect_image(PINNED, TEAM)
    next(steps)
    gate.expect_image(PINNED, OTHER_TEAM)
    assert list(steps) == []
    steps = reader.follow("Switch it off")
    next(steps)
    cluster.wait_for("a denied tag", lambda: "no webhook pinned it" in gate.image(OTHER_TEAM))
    gate.expect_image(TRUSTED, TEAM)
    reader.edit("values.yaml", {"policy": {"rules": []}})
    next(steps)
    gate.roll_out()
    gate.expect_image(TRUSTED, OTHER_TEAM)
    assert list(steps) == []


def upgrade_and_roll_back(reader: Reader, gate: Gate) -> None:
    """Neither an upgrade nor a rollback to the previous revision ends enforcement."""
    steps = reader.follow("Upgrade and roll back")
    for _ in range(2):
        next(steps)
        gate.expect(REFUSED)
        assert gate.failure_policy() == "Fail"
    output = next(steps)
    assert "stage: enforce\n" in output
    assert output.endswith("Fail")
    assert list(steps) == []


def disable_and_enable_enforcement(reader: Reader, cluster: ControlPlane, gate: Gate) -> None:
    """Switch from enforcement to audit by one command, disable it by another, and enable it again."""
    strict = "presets.stage=enforce,policy.mode=enforce,webhook.failurePolicy=Fail"
    rule = {"name": "enforced namespaces", "namespaces": [OTHER_TEAM], "images": ["**"], "mode": "enforce"}
    rules = shlex.quote(f"policy.rules={json.dumps([rule])}")
    reader.type(
        f'helm upgrade {NAME} "$CHART" -n {NAMESPACE} -f values.yaml --set {strict} --set-json {rules}'
    )
    gate.expect(REFUSED)
    gate.expect(REFUSED, OTHER_TEAM)
    steps = reader.follow("Disable in an emergency")
    next(steps)
    assert gate.failure_policy() == "Ignore"
    gate.expect_no_warning()
    gate.expect_no_warning(OTHER_TEAM)
    next(steps)
    assert "NotFound" in cluster.kubectl("get", "validatingwebhookconfiguration", NAME, check=False)
    next(steps)
    assert gate.failure_policy() == "Fail"
    gate.expect(REFUSED)
    gate.expect(REFUSED, OTHER_TEAM)
    assert list(steps) == []


@pytest.mark.timeout(400)
def test_install_guide_works_from_installation_to_removal(
    cluster: ControlPlane, swr: Emulator, tmp_path: Path
) -> None:
    """Every block of the guide that is not marked is run, and has the documented effect."""
    release = Release(cluster, NAMESPACE, free_port())
    replica = Replica(release, tmp_path)
    gate = Gate(cluster, replica)
    registry = {"region": "cn-north-4", "endpoint": swr.url, "iamEndpoint": swr.url}
    policy = {"registries": [registry], "cache": {"trusted": "1s", "refused": "1s"}}
    home = tmp_path / "home"
    home.mkdir()
    write_files(home)
    reader = Reader(GUIDE, home, cluster, {"policy": policy, "service": {"port": release.port}})
    cluster.make_namespace(OTHER_TEAM)
    with release:
        for section in ("Credentials", "Access key: `aksk`", "Install"):
            list(reader.follow(section))
        with replica, Kubelet(cluster, NAMESPACE, tmp_path / "tests", replica.is_ready) as kubelet:
            list(reader.follow("Verify the installation"))
            assert load_policy(str(home / "policy.yaml")).mode is Mode.AUDIT
            assert "policy.yaml: valid" in kubelet.output
            assert kubelet.output.rstrip().endswith("\nok")
            list(reader.follow("Keys and login for signatures"))
            signed = Objects((home / "signed.yaml").read_text(encoding="utf-8"))
            assert signed.one("ConfigMap", f"{NAME}-keys")["data"] == {"release-2026.pub": PUBLIC_KEYS[0]}
            assert [one.get("registryLogin") for one in signed.policy["registries"]] == [
                None,
                {"dockerConfigFile": LOGIN_FILE},
            ]
            reach_enforcement(reader, cluster, gate)
            pin_and_require_digests(reader, cluster, gate)
            list(reader.follow("Private clouds"))
            private = Objects((home / "rendered.yaml").read_text(encoding="utf-8"))
            assert private.policy["registries"][0]["caFile"] == "/etc/ssl/private/ca.pem"
            upgrade_and_roll_back(reader, gate)
            assert gate.answer(image=TRUSTED).endswith("created (server dry run)")
            disable_and_enable_enforcement(reader, cluster, gate)
        removal = reader.follow("Uninstall")
        next(removal)
        assert leftovers(cluster, NAMESPACE) == []
        list(removal)
    list(reader.follow("Install with Kustomize"))
    assert f"Deployment/{NAME}" in leftovers(cluster, NAMESPACE)
    reader.type("kubectl delete -k .")
    assert leftovers(cluster, "default") == []
    assert reader.skipped() == []


@pytest.mark.parametrize("snippet", SNIPPETS, ids=[f"{one.section}-{one.file}" for one in SNIPPETS])
def test_values_in_guide_render_with_chart(snippet: Block) -> None:
    """Each Helm renders them; the schema knows every key."""
    values = yaml.safe_load(snippet.text)
    kind = values.get("credentials", {}).get("kind", "")
    if "image" in values:
        values["image"]["digest"] = f"sha256:{'0' * 64}"
    of_the_kind = {"credentials": OF_THE_KIND.get(kind, {})}
    for helm in find_helms():
        assert Objects(template(merged(merged(VALUES, of_the_kind), values), helm=helm)).policy["registries"]


def test_iam_policies_grant_only_tag_reading() -> None:
    """Both forms allow the same two actions."""
    policies = [
        json.loads(block.text)
        for block in BLOCKS
        if block.language == "json" and block.section == "IAM permissions"
    ]
    assert [policy["Version"] for policy in policies] == ["5.0", "1.1"]
    for policy in policies:
        (statement,) = policy["Statement"]
        assert statement["Effect"] == "Allow"
        assert statement["Action"] == ["swr:repo:getRepoTag", "swr:repo:listRepoTags"]


def test_gitops_objects_name_current_chart() -> None:
    """The release, the version, and the fields that other owners than the chart write."""
    text = "---\n".join(
        block.text for block in BLOCKS if block.file in ("application.yaml", "helmrelease.yaml")
    )
    objects = {one["kind"]: one for one in yaml.safe_load_all(text)}
    source = objects["Application"]["spec"]["sources"][0]
    assert (source["chart"], source["targetRevision"]) == (NAME, __version__)
    assert source["helm"]["releaseName"] == objects["HelmRelease"]["spec"]["releaseName"] == NAME
    assert objects["OCIRepository"]["spec"]["ref"] == {"tag": __version__}
    assert f"swr-trust-webhook:{__version__} " in GUIDE.read_text(encoding="utf-8")
    rendered = Objects(template(merged(VALUES, {"pinning": {"enabled": True}})))
    for ignored in objects["Application"]["spec"]["ignoreDifferences"]:
        assert rendered.one(ignored["kind"], ignored["name"])
