"""Interaction with other admission webhooks: one that changes images, a slow one, and one that denies.

The API server calls mutating webhooks first, one after another, and then all validating ones at the same time
(https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest

from tests.cluster.foreign import Answer, ForeignWebhook, patch
from tests.controlplane import WEBHOOK, ControlPlane
from tests.emulator.server import Emulator
from tests.support.serving import ServerProcess, make_certificate

HOST = "swr.cn-north-4.myhuaweicloud.com"
TRUSTED = f"{HOST}/shop/web:1.0"
UNTRUSTED = f"{HOST}/shop/web:2.0"
NAMESPACE = "beside"
CONFIGURATION = "swr-trust-beside"
DENIED = f'Error from server (Forbidden): admission webhook "{WEBHOOK}" denied the request: '
FIRST_IMAGE = "/spec/containers/0/image"


@dataclass
class ClusterSetup:
    """The webhook, registered for one namespace, and the API server that calls it."""

    cluster: ControlPlane
    server: ServerProcess
    emulator: Emulator

    def create(self, name: str, image: str) -> str:
        """Create a Pod and return kubectl's output."""
        return self.cluster.kubectl("run", name, f"--image={image}", "-n", NAMESPACE, check=False).strip()

    def images(self, name: str) -> list[str]:
        """Return the images of a Pod's containers."""
        spec = self.cluster.get("pod", name, "-n", NAMESPACE)["spec"]
        return [container["image"] for container in spec["containers"]]

    def decisions(self, name: str, until: str = "", seconds: float = 20.0) -> list[str]:
        """Return our decisions on a Pod; wait for the log to show one, or ``until``: it is written in batches."""
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            found = self._logged_decisions(name)
            if found and until in ("", found[-1]):
                break
            time.sleep(0.05)
        return self._logged_decisions(name)

    def _logged_decisions(self, name: str) -> list[str]:
        lines = self.server.log_lines()
        return [line["decision"] for line in lines if line.get("object") == name and "decision" in line]


@pytest.fixture(scope="module")
def stage(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterSetup]:
    """Return a cluster with ``failurePolicy: Fail`` and a timeout of three seconds for the webhook."""
    folder = tmp_path_factory.mktemp("beside")
    certificate = make_certificate(folder)
    with Emulator() as emulator, ServerProcess(folder, emulator.url, certificate) as server:
        control_plane.make_namespace(NAMESPACE)
        control_plane.register_webhook(
            server.url, certificate.ca, [NAMESPACE], CONFIGURATION, timeoutSeconds=3
        )
        stage = ClusterSetup(control_plane, server, emulator)
        control_plane.wait_for("our webhook", lambda: DENIED in stage.create("probe", UNTRUSTED))
        yield stage
        control_plane.kubectl("delete", "validatingwebhookconfiguration", CONFIGURATION)


class Register:
    """Registers other webhooks until the test ends."""

    def __init__(self, stage: ClusterSetup, folder: Path, registered: ExitStack) -> None:
        self._stage = stage
        self._folder = folder
        self._registered = registered

    def __call__(
        self, kind: Literal["Mutating", "Validating"], name: str, answer: Answer, **settings: Any
    ) -> ForeignWebhook:
        webhook = ForeignWebhook(self._stage.cluster, self._folder, name, kind, NAMESPACE, answer, **settings)
        return self._registered.enter_context(webhook)


@pytest.fixture
def register(stage: ClusterSetup, tmp_path: Path) -> Iterator[Register]:
    """Remove all registrations after the test, and end all faults of SWR."""
    with ExitStack() as registered:
        yield Register(stage, tmp_path, registered)
    stage.emulator.mend()


def untrusted(field: str) -> str:
    """Return the webhook's denial of an untrusted image, up to its remedy."""
    return (
        f'{DENIED}denied by image trust policy: {field} "{UNTRUSTED}": SWR does not mark this tag as trusted.'
    )


def rewriting(image: str) -> Answer:
    """Return a webhook that gives the first container another image."""
    return lambda _: patch({"op": "replace", "path": FIRST_IMAGE, "value": image})


def adding(section: str, image: str) -> Answer:
    """Return a webhook that adds a container, once."""

    def answer(request: dict[str, Any]) -> dict[str, Any]:
        present = request["object"]["spec"].get(section, [])
        if any(container["name"] == "added" for container in present):
            return {"allowed": True}
        container = {"name": "added", "image": image}
        path = f"/spec/{section}"
        return patch(
            {"op": "add", "path": f"{path}/-", "value": container}
            if present
            else {"op": "add", "path": path, "value": [container]}
        )

    return answer


# A webhook that changes images.


def test_image_rewritten_by_webhook_is_evaluated(stage: ClusterSetup, register: Register) -> None:
    """The image that the author wrote would have been trusted."""
    register("Mutating", "rewriting", rewriting(UNTRUSTED))
    assert stage.create("rewritten", TRUSTED).startswith(untrusted("spec.containers[0].image"))


def test_image_rewritten_to_trusted_one_is_admitted(stage: ClusterSetup, register: Register) -> None:
    """Some webhooks redirect images to a mirror."""
    register("Mutating", "mirroring", rewriting(TRUSTED))
    assert stage.create("mirrored", "nginx") == "pod/mirrored created"
    assert stage.images("mirrored") == [TRUSTED]


@pytest.mark.parametrize(
    ("section", "field"),
    [
        ("containers", "spec.containers[1].image"),
        ("initContainers", "spec.initContainers[0].image"),
    ],
)
def test_untrusted_container_added_by_webhook_is_denied(
    stage: ClusterSetup, register: Register, section: str, field: str
) -> None:
    """Service meshes and agents add sidecars."""
    register("Mutating", "adding", adding(section, UNTRUSTED))
    assert stage.create("sidecar", TRUSTED).startswith(untrusted(field))


def test_trusted_container_added_by_webhook_is_admitted(stage: ClusterSetup, register: Register) -> None:
    """The sidecar's image is evaluated like any other."""
    register("Mutating", "adding", adding("containers", TRUSTED))
    assert stage.create("meshed", TRUSTED) == "pod/meshed created"
    assert stage.images("meshed") == [TRUSTED, TRUSTED]


def test_change_by_reinvoked_webhook_is_evaluated(stage: ClusterSetup, register: Register) -> None:
    """With ``reinvocationPolicy: IfNeeded`` it is called again after a later webhook. This webhook is called
    once, afterwards.
    """

    def downgrade(request: dict[str, Any]) -> dict[str, Any]:
        containers = request["object"]["spec"]["containers"]
        last = len(containers) - 1
        if last == 0:
            return {"allowed": True}
        return patch({"op": "replace", "path": f"/spec/containers/{last}/image", "value": UNTRUSTED})

    first = register("Mutating", "a-downgrading", downgrade, reinvocationPolicy="IfNeeded")
    register("Mutating", "b-adding", adding("containers", TRUSTED))
    assert stage.create("reinvoked", TRUSTED).startswith(untrusted("spec.containers[1].image"))
    calls = [one for one in first.requests if one["name"] == "reinvoked"]
    assert [len(one["object"]["spec"]["containers"]) for one in calls] == [1, 2]
    assert stage.decisions("reinvoked") == ["deny"]


def test_image_is_evaluated_after_ignored_mutating_webhook_failure(
    stage: ClusterSetup, register: Register
) -> None:
    """The API server continues with the Pod as its author wrote it."""
    register("Mutating", "failing", lambda _: {"allowed": "neither"}, failurePolicy="Ignore")
    assert stage.create("ignored", TRUSTED) == "pod/ignored created"
    assert stage.create("ignored-too", UNTRUSTED).startswith(untrusted("spec.containers[0].image"))


# A slow one.


def after_our_decision(stage: ClusterSetup, decided: dict[str, bool]) -> Answer:
    """Return a webhook that allows a Pod only after ours has decided about it, or after 8 seconds."""

    def answer(request: dict[str, Any]) -> dict[str, Any]:
        name = request["name"]
        if name != "probe":
            decided[name] = bool(stage.decisions(name, seconds=8))
        return {"allowed": True}

    return answer


@pytest.mark.parametrize(
    ("name", "image", "expected"),
    [
        ("slow-trusted", TRUSTED, "pod/slow-trusted created"),
        ("slow-untrusted", UNTRUSTED, untrusted("spec.containers[0].image")),
    ],
)
def test_slow_validating_webhook_does_not_delay_decision(
    stage: ClusterSetup, register: Register, name: str, image: str, expected: str
) -> None:
    """It answers only after our decision: if they were called in turn, one of the two would time out."""
    decided: dict[str, bool] = {}
    register("Validating", "slow", after_our_decision(stage, decided))
    assert stage.create(name, image).startswith(expected)
    assert decided == {name: True}


def test_deadline_is_independent_of_slow_webhook(stage: ClusterSetup, register: Register) -> None:
    """SWR hangs: the webhook denies after its three seconds, although the other one has ten, and kubectl
    retries.
    """
    decided: dict[str, bool] = {}

    def answer(request: dict[str, Any]) -> dict[str, Any]:
        response = after_our_decision(stage, decided)(request)
        if request["name"] == "hanging":
            stage.emulator.mend()
        return response

    stage.emulator.state.set_tag("shop/hanging:1", is_trusted=True)
    register("Validating", "slow", answer)
    stage.emulator.break_with("hang", match="repos/hanging")
    assert stage.create("hanging", f"{HOST}/shop/hanging:1") == "pod/hanging created"
    assert decided == {"hanging": True}
    *denials, last = stage.decisions("hanging", until="allow")
    assert (set(denials), last) == ({"deny"}, "allow")


@pytest.mark.parametrize(("policy", "image"), [("Ignore", TRUSTED), ("Ignore", UNTRUSTED), ("Fail", TRUSTED)])
def test_unresponsive_webhook_does_not_change_decision(
    stage: ClusterSetup, register: Register, policy: str, image: str
) -> None:
    """Its own ``failurePolicy`` applies, and the error names it."""
    ended = threading.Event()

    def never(request: dict[str, Any]) -> dict[str, Any]:
        if request["name"] != "probe":
            ended.wait(20)
        return {"allowed": True}

    register("Validating", "silent", never, timeoutSeconds=1, failurePolicy=policy)
    try:
        output = stage.create(f"silent-{policy.lower()}", image)
    finally:
        ended.set()
    if policy == "Fail":
        assert 'failed calling webhook "silent.example.com"' in output
        assert stage.decisions("silent-fail") == ["allow"]
    elif image == UNTRUSTED:
        assert output.startswith(untrusted("spec.containers[0].image"))
    else:
        assert output == "pod/silent-ignore created"


# A webhook that denies, as Gatekeeper does.

GATEKEEPER = "[require-owner] you must provide labels: {owner}"
THEIRS = f'Error from server (Forbidden): admission webhook "gatekeeper.example.com" denied the request: {GATEKEEPER}'


def refuse(request: dict[str, Any]) -> dict[str, Any]:
    """Deny objects without an owner."""
    if "owner" in request["object"]["metadata"].get("labels", {}):
        return {"allowed": True, "warnings": ["[require-team] you should provide labels: {team}"]}
    return {"allowed": False, "status": {"code": 403, "reason": "Forbidden", "message": GATEKEEPER}}


def test_denial_by_other_webhook_is_shown_unchanged(stage: ClusterSetup, register: Register) -> None:
    """Its message is shown whole, and our log says that this webhook admitted."""
    register("Validating", "gatekeeper", refuse)
    assert stage.create("ownerless", TRUSTED) == THEIRS
    assert stage.decisions("ownerless") == ["allow"]


def test_denial_by_both_webhooks_shows_complete_message(stage: ClusterSetup, register: Register) -> None:
    """The API server shows one of them; our log has ours in both cases."""
    register("Validating", "gatekeeper", refuse)
    output = stage.create("both", UNTRUSTED)
    assert output == THEIRS or output.startswith(untrusted("spec.containers[0].image"))
    assert stage.decisions("both") == ["deny"]


def test_warning_of_other_webhook_is_shown_with_denial(stage: ClusterSetup, register: Register) -> None:
    """The other webhook admits with a warning and this one denies: kubectl shows both."""
    register("Validating", "gatekeeper", refuse)
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "owned", "namespace": NAMESPACE, "labels": {"owner": "shop"}},
        "spec": {"containers": [{"name": "main", "image": UNTRUSTED}]},
    }
    output = stage.cluster.kubectl("create", "-f", "-", stdin=pod, check=False)
    assert "Warning: [require-team] you should provide labels: {team}\n" in output
    assert f'{WEBHOOK}" denied the request: denied by image trust policy: spec.containers[0].image' in output
