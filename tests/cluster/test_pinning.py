"""A real API server stores Pods with the digest of their trusted tags."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.foreign import ForeignWebhook
from tests.cluster.pinning import (
    API,
    DENIED,
    HOST,
    PINNED_API,
    PINNED_WEB,
    POLICY,
    UNTRUSTED,
    WEB,
    PinningCluster,
    digest,
    pinning_cluster,
    pod,
    untrusted,
)
from tests.controlplane import PINNING, WEBHOOK, ControlPlane
from tests.support.serving import free_port

NAMESPACE = "pinning"
STRICT = "pinning-strict"
"""A namespace whose images need a digest."""

BARE = "pinning-strict-bare"
"""The same, without the mutating webhook."""

UNREACHED = "pinning-unreached"
"""A namespace whose mutating webhook cannot be reached."""

MUTATIONS = "swr_trust_mutation_requests_total"
USER = "gate"
RULES = f"""\
unmanagedRegistries: warn
breakGlass: {{groups: [platform-oncall]}}
exemptions:
  - {{name: exempt, images: ["{HOST}/shop/exempt"], reason: of the test}}
rules:
  - {{name: strict, namespaces: [{STRICT}*], images: ["**"], requireDigest: true}}
"""
DEBUG = f"{HOST}/ops/debug:1"
PROXY = f"{HOST}/mesh/proxy:1.22"
MIGRATE = f"{HOST}/shop/tools/migrate:2024.11"
MODEL = f"{HOST}/ml/serve:2"


@pytest.fixture(scope="module")
def stage(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PinningCluster]:
    """Return a cluster whose webhook writes Events."""
    folder = tmp_path_factory.mktemp("pinning")
    environment = {"KUBECONFIG": str(control_plane.kubeconfig(USER)), "POD_NAME": "replica-1"}
    with pinning_cluster(
        control_plane, folder, NAMESPACE, POLICY + RULES, ("--events",), environment
    ) as stage:
        rights = [
            {"apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create", "patch"]},
            {"apiGroups": [""], "resources": ["pods"], "verbs": ["create"]},
        ]
        control_plane.grant(USER, NAMESPACE, rights)
        yield stage


# Images that are pinned.


@pytest.mark.parametrize(
    ("name", "image", "stored", "pull_policy"),
    [
        ("tagged", WEB, PINNED_WEB, "IfNotPresent"),
        ("latest", f"{HOST}/ops/agent:latest", f"{HOST}/ops/agent:latest@{digest('8')}", "Always"),
        ("implied", f"{HOST}/ops/agent", f"{HOST}/ops/agent:latest@{digest('8')}", "Always"),
        (
            "alias",
            "10.125.0.198:20202/shop/web:1.0",
            f"10.125.0.198:20202/shop/web:1.0@{digest('1')}",
            "IfNotPresent",
        ),
        ("pinned-before", PINNED_WEB, PINNED_WEB, "IfNotPresent"),
    ],
)
def test_trusted_image_is_stored_with_its_digest(
    stage: PinningCluster, name: str, image: str, stored: str, pull_policy: str
) -> None:
    """The pull policy is the API server's default for the image that the author wrote."""
    assert stage.run(name, image) == f"pod/{name} created"
    (container,) = stage.get("pod", name)["spec"]["containers"]
    assert (container["image"], container["imagePullPolicy"]) == (stored, pull_policy)


def test_pull_policy_of_the_author_stays(stage: PinningCluster) -> None:
    assert stage.run("never", WEB, "--image-pull-policy=Never") == "pod/never created"
    (container,) = stage.get("pod", "never")["spec"]["containers"]
    assert (container["image"], container["imagePullPolicy"]) == (PINNED_WEB, "Never")


def test_manifest_list_is_pinned_by_the_digest_of_the_list(stage: PinningCluster) -> None:
    """Each node then selects its architecture from the list."""
    stage.emulator.state.set_tag("shop/multi:1", is_trusted=True, digest=digest("c"), answer={"tag_type": 1})
    assert stage.run("multi", f"{HOST}/shop/multi:1") == "pod/multi created"
    assert stage.image("multi") == f"{HOST}/shop/multi:1@{digest('c')}"


def test_images_of_all_fields_are_pinned(stage: PinningCluster) -> None:
    """Init containers, native sidecars and image volumes."""
    created = stage.create(
        "whole",
        initContainers=[
            {"name": "migrate", "image": MIGRATE},
            {"name": "proxy", "image": PROXY, "restartPolicy": "Always"},
        ],
        containers=[{"name": "main", "image": WEB}, {"name": "api", "image": API}],
        volumes=[{"name": "empty", "emptyDir": {}}, {"name": "model", "image": {"reference": MODEL}}],
    )
    assert created == "pod/whole created"
    spec = stage.get("pod", "whole")["spec"]
    assert [c["image"] for c in spec["initContainers"]] == [
        f"{MIGRATE}@{digest('5')}",
        f"{PROXY}@{digest('7')}",
    ]
    assert [c["image"] for c in spec["containers"]] == [PINNED_WEB, PINNED_API]
    assert spec["volumes"][1]["image"] == {
        "reference": f"{MODEL}@{digest('a')}",
        "pullPolicy": "IfNotPresent",
    }


def test_debug_container_is_pinned(stage: PinningCluster) -> None:
    """``kubectl debug`` patches the subresource ``ephemeralcontainers``."""
    stage.run("debugged", WEB)
    stage.kubectl("debug", "debugged", f"--image={DEBUG}", "--container=debugger")
    spec = stage.get("pod", "debugged")["spec"]
    assert [c["image"] for c in spec["ephemeralContainers"]] == [f"{DEBUG}@{digest('9')}"]
    assert [c["image"] for c in spec["containers"]] == [PINNED_WEB]


def test_pod_of_many_images_is_pinned_whole(stage: PinningCluster) -> None:
    images = [f"{HOST}/many/part-{number}:v{number}" for number in range(40)]
    expected = []
    for number, image in enumerate(images):
        value = f"sha256:{number:064x}"
        stage.emulator.state.set_tag(image.removeprefix(f"{HOST}/"), is_trusted=True, digest=value)
        expected.append(f"{image}@{value}")
    containers = [{"name": f"part-{number}", "image": image} for number, image in enumerate(images)]
    assert stage.create("many", containers=containers) == "pod/many created"
    assert [c["image"] for c in stage.get("pod", "many")["spec"]["containers"]] == expected


# A tag that moves. The cache has its default settings.


def test_pod_created_after_push_has_new_digest(stage: PinningCluster) -> None:
    """The old digest is younger than ``cache.trusted``, and older than ``cache.pinned``."""
    image = f"{HOST}/shop/pushed:1"
    old = stage.push(image, "a")
    stage.run("before-push", image)
    new = stage.push(image, "b")
    time.sleep(2.1)
    stage.run("after-push", image)
    assert (stage.image("before-push"), stage.image("after-push")) == (old, new)


def test_digest_that_was_judged_is_stored_although_tag_moves(stage: PinningCluster, tmp_path: Path) -> None:
    """The tag moves between the calls of /mutate and /validate. The node pulls the digest of before."""
    image = f"{HOST}/shop/moving:1"
    old = stage.push(image, "a")

    def move(request: dict[str, Any]) -> dict[str, Any]:
        if request["name"] == "moving":
            stage.push(image, "b")
        return {"allowed": True}

    with ForeignWebhook(stage.cluster, tmp_path, "z-moving", "Mutating", NAMESPACE, move):
        assert stage.run("moving", image) == "pod/moving created"
    assert stage.image("moving") == old
    assert stage.emulator.calls("repos/moving/") == 1


# Images that stay as they are.


def test_untrusted_image_is_denied_as_it_was_written(stage: PinningCluster) -> None:
    assert stage.run("untrusted", UNTRUSTED) == untrusted(UNTRUSTED)


def test_missing_image_is_denied_as_it_was_written(stage: PinningCluster) -> None:
    image = f"{HOST}/shop/web:9.9"
    assert stage.run("missing", image) == (
        f'{DENIED}spec.containers[0].image "{image}": tag does not exist in SWR. '
        "Push the image to SWR, or correct its name and tag."
    )


def test_exempt_image_is_admitted_as_it_was_written(stage: PinningCluster) -> None:
    """SWR is not queried for it, although the tag is trusted there."""
    image = f"{HOST}/shop/exempt:1"
    stage.push(image, "e")
    assert stage.run("exempt", image) == "pod/exempt created"
    assert stage.image("exempt") == image
    assert stage.emulator.calls("repos/exempt/") == 0


def test_unmanaged_image_is_admitted_as_it_was_written(stage: PinningCluster) -> None:
    output = stage.run("unmanaged", "busybox:1")
    assert output.splitlines()[0] == "pod/unmanaged created"
    assert 'Warning: image trust policy: spec.containers[0].image "busybox:1": images from registry' in output
    assert stage.image("unmanaged") == "busybox:1"


def test_trusted_image_beside_untrusted_one_of_break_glass_is_pinned(stage: PinningCluster) -> None:
    manifest = pod("glass", containers=[{"name": "main", "image": WEB}, {"name": "bad", "image": UNTRUSTED}])
    manifest["metadata"]["annotations"] = {"swr-trust/break-glass": "incident 7"}
    refused = stage.kubectl("create", "-f", "-", stdin=manifest, user="dev")
    assert f'denied by image trust policy: spec.containers[1].image "{UNTRUSTED}": SWR does not' in refused
    assert "pod/glass created" in stage.kubectl("create", "-f", "-", stdin=manifest, user="oncall")
    images = [c["image"] for c in stage.get("pod", "glass")["spec"]["containers"]]
    assert images == [PINNED_WEB, UNTRUSTED]


# Records.


def test_audit_log_of_the_cluster_says_what_was_pinned(stage: PinningCluster) -> None:
    assert stage.run("audited", WEB, user=USER) == "pod/audited created"

    def annotations() -> dict[str, str]:
        for event in stage.cluster.requests(USER):
            about = event.get("objectRef", {})
            if (about.get("resource"), about.get("name")) == ("pods", "audited") and event[
                "verb"
            ] == "create":
                found: dict[str, str] = event["annotations"]
                return found
        return {}

    stage.cluster.wait_for("the audit event", annotations, seconds=20)
    found = annotations()
    pinned = {"field": "spec.containers[0].image", "image": WEB, "digest": digest("1")}
    assert json.loads(found[f"{PINNING}/pinned"]) == [pinned]
    assert found[f"{PINNING}/policy"] == found[f"{WEBHOOK}/policy"]
    assert f"{PINNING}/not-pinned" not in found
    mutated = [json.loads(value) for key, value in found.items() if key.startswith("mutation.webhook.")]
    assert [one["mutated"] for one in mutated if one["webhook"] == PINNING] == [True]


def notes(stage: PinningCluster) -> list[str]:
    """Return the notes of the Events about pinned images."""
    events = stage.get("events.events.k8s.io")["items"]
    return [event["note"] for event in events if event["reason"] == "ImagePinned"]


def test_pinned_image_creates_event(stage: PinningCluster) -> None:
    image = f"{HOST}/shop/seen:1"
    stage.push(image, "d")
    stage.run("seen", image)
    expected = f'spec.containers[0].image "{image}": {digest("d")}'
    stage.cluster.wait_for("the Event", lambda: expected in notes(stage), seconds=20)
    (event,) = (one for one in stage.get("events.events.k8s.io")["items"] if one["note"] == expected)
    about = {key: event["regarding"][key] for key in ("kind", "name")}
    assert (event["type"], event["action"], about) == (
        "Normal",
        "PinImages",
        {"kind": "Namespace", "name": NAMESPACE},
    )


def test_dry_run_shows_digest_and_has_no_side_effect(stage: PinningCluster) -> None:
    """The Event of the real Pod that follows shows that the one of the dry run would be there by then."""
    labels = {"outcome": "pinned", "dry_run": "true"}
    dry, wet = f"{HOST}/shop/dry:1", f"{HOST}/shop/wet:1"
    stage.push(dry, "d")
    stage.push(wet, "e")
    before = stage.server.metric(MUTATIONS, **labels)
    shown = json.loads(stage.run("dry", dry, "--dry-run=server", "--output=json"))
    assert shown["spec"]["containers"][0]["image"] == f"{dry}@{digest('d')}"
    assert "NotFound" in stage.kubectl("get", "pod", "dry")
    stage.wait_for("the dry run to be counted", MUTATIONS, before + 1, **labels)
    stage.run("wet", wet)
    stage.cluster.wait_for("the Event", lambda: any(wet in note for note in notes(stage)), seconds=20)
    assert [note for note in notes(stage) if dry in note] == []
    assert stage.server.metric("swr_trust_events_total", outcome="failed") == 0


# Without a call of /mutate.


def test_update_without_new_images_is_not_sent_to_mutating_webhook(stage: PinningCluster) -> None:
    """A match condition skips the update. The next Pod shows that a call would have been counted by then."""
    image = f"{HOST}/shop/exempt:2"
    before = stage.server.metric(MUTATIONS)
    stage.run("labeled", image)
    stage.wait_for("the Pod", MUTATIONS, before + 1)
    assert stage.kubectl("label", "pod", "labeled", "a=b") == "pod/labeled labeled"
    stage.run("after-label", WEB)
    stage.wait_for("the next Pod", MUTATIONS, before + 2)


@pytest.fixture(scope="module")
def strict(stage: PinningCluster) -> PinningCluster:
    """Return the cluster with a namespace for both webhooks and one without the mutating webhook."""
    ca = stage.server.certificate.ca
    for namespace in (STRICT, BARE):
        stage.cluster.make_namespace(namespace)
    configuration = f"pinning-{NAMESPACE}"
    stage.cluster.register_webhook(stage.server.url, ca, [NAMESPACE, STRICT, BARE], configuration)
    stage.cluster.register_mutating_webhook(stage.server.url, ca, [NAMESPACE, STRICT], configuration)
    stage.cluster.wait_for("/validate", lambda: "denied" in stage.run("probe", UNTRUSTED, namespace=BARE))
    dry = ("--dry-run=server", "--output=json")
    stage.cluster.wait_for("/mutate", lambda: PINNED_WEB in stage.run("probe", WEB, *dry, namespace=STRICT))
    return stage


def test_rule_that_requires_digests_is_satisfied_by_pinning(strict: PinningCluster) -> None:
    assert strict.run("required", WEB, namespace=STRICT) == "pod/required created"
    assert strict.image("required", namespace=STRICT) == PINNED_WEB


def test_rule_that_requires_digests_denies_tag_without_mutating_webhook(strict: PinningCluster) -> None:
    assert strict.run("required", WEB, namespace=BARE) == (
        f'{DENIED}spec.containers[0].image "{WEB}": this namespace requires images pinned to a digest, '
        "and no webhook pinned it. Try again. If the problem persists, contact your cluster administrators."
    )
    assert strict.run("with-digest", PINNED_WEB, namespace=BARE) == "pod/with-digest created"


def test_unreachable_mutating_webhook_admits_by_tag_and_is_counted(stage: PinningCluster) -> None:
    """With ``failurePolicy: Fail``, the same configuration shows first that the API server uses it. The
    image of the probes is not trusted, so that they are not counted.
    """
    name, ca = "swr_trust_unpinned_images_total", stage.server.certificate.ca
    cluster = stage.cluster
    cluster.make_namespace(UNREACHED)
    cluster.register_webhook(stage.server.url, ca, [UNREACHED], UNREACHED)
    cluster.wait_for(
        "/validate",
        lambda: "denied" in stage.run("probe", UNTRUSTED, "--dry-run=server", namespace=UNREACHED),
    )
    url = f"https://127.0.0.1:{free_port()}"

    def probe() -> str:
        return stage.run("probe", UNTRUSTED, "--dry-run=server", namespace=UNREACHED)

    try:
        cluster.register_mutating_webhook(url, ca, [UNREACHED], UNREACHED, failurePolicy="Fail")
        failure = f'failed calling webhook "{PINNING}"'
        cluster.wait_for("the failure", lambda: failure in probe())
        cluster.register_mutating_webhook(url, ca, [UNREACHED], UNREACHED)
        cluster.wait_for("it to be ignored", lambda: probe() == untrusted(UNTRUSTED))
        before = stage.server.metric(name)
        assert stage.run("ignored", WEB, namespace=UNREACHED) == "pod/ignored created"
        assert stage.image("ignored", namespace=UNREACHED) == WEB
        stage.wait_for("the image to be counted", name, before + 1)
    finally:
        for kind in ("Mutating", "Validating"):
            cluster.kubectl("delete", f"{kind}WebhookConfiguration", UNREACHED, "--ignore-not-found")
