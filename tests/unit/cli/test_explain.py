"""``swr-trust explain``: why a workload is denied, from the objects that its developer may read."""

from __future__ import annotations

import json
from typing import Any

import pytest

import webhook.cli.explain
from tests.unit.cluster.lists import FakeLists, owned_by
from webhook.cli.explain import parse_target
from webhook.cli.main import main
from webhook.errors import ClusterError

IMAGE = "swr.cn-north-4.myhuaweicloud.com/shop/web:2.0"
DENIAL = (
    f'denied by image trust policy: spec.containers[0].image "{IMAGE}": SWR does not mark this tag as '
    "trusted. Mark this tag as trusted in SWR, or use a tag that already is."
)
API_SERVER = f'Error creating: admission webhook "pods.swr-trust.svc" denied the request: {DENIAL}'
APPS = "/apis/apps/v1/namespaces/shop"
EVENTS = "/api/v1/namespaces/shop/events"
Output = pytest.CaptureFixture[str]


def event(message: str, kind: str = "ReplicaSet", name: str = "web-1", **rest: Any) -> dict[str, Any]:
    """Return a Warning of a controller."""
    return {
        "involvedObject": {"kind": kind, "name": name},
        "reason": "FailedCreate",
        "message": message,
        "lastTimestamp": "2026-11-24T12:00:00Z",
        "count": 7,
        **rest,
    }


def deployment(image: str = IMAGE, /, **status: Any) -> dict[str, Any]:
    """Return a Deployment with two desired Pods."""
    return {
        "metadata": {"name": "web"},
        "spec": {"replicas": 2, "template": {"spec": {"containers": [{"name": "web", "image": image}]}}},
        "status": status,
    }


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> FakeLists:
    """Return a Deployment whose ReplicaSet's Pods are denied."""
    replica_set = {"metadata": {"name": "web-1", **owned_by("Deployment", "web")}, "spec": {"replicas": 2}}
    api = FakeLists({f"{APPS}/replicasets": [replica_set], EVENTS: [event(API_SERVER)]})
    api.objects[f"{APPS}/deployments/web"] = deployment()
    monkeypatch.setattr(webhook.cli.explain, "connect", lambda *_: api)
    return api


def explain(target: str = "shop/web") -> int:
    """Run the command."""
    return main(["explain", target])


def test_denied_deployment_is_explained(cluster: FakeLists, capsys: Output) -> None:
    """The image, the reason, the advice, and the source with its time; exit code 1."""
    assert explain() == 1
    assert capsys.readouterr().out == (
        "Deployment shop/web, 0 of 2 Pods ready\n"
        f"  image {IMAGE}\n"
        "\n"
        "Its Pods are denied because of an image:\n"
        f'  denied by image trust policy: spec.containers[0].image "{IMAGE}": SWR does not mark this tag as trusted.\n'
        "  Mark this tag as trusted in SWR, or use a tag that already is.\n"
        "\n"
        "Reported by ReplicaSet/web-1, 7 times, last at 2026-11-24T12:00:00Z.\n"
    )


def test_explain_reads_only_objects_of_role_view(cluster: FakeLists) -> None:
    """No Secrets, nothing outside of the namespace, no webhook configurations."""
    explain()
    assert set(cluster.calls) == {f"{APPS}/deployments/web", f"{APPS}/replicasets", EVENTS}


def test_condition_is_used_if_events_are_gone(cluster: FakeLists, capsys: Output) -> None:
    """Events are kept for an hour, the condition for as long as it holds."""
    cluster.collections[EVENTS] = []
    condition = {"type": "ReplicaFailure", "status": "True", "message": API_SERVER}
    cluster.objects[f"{APPS}/deployments/web"] = deployment(conditions=[condition])
    assert explain() == 1
    assert "Reported by Deployment/web." in capsys.readouterr().out


def test_chinese_denials_are_found(cluster: FakeLists, capsys: Output) -> None:
    """The language is the policy's."""
    cluster.collections[EVENTS] = [
        event(
            f'denied the request: 镜像信任策略拒绝：spec.containers[0].image "{IMAGE}"：SWR 未将该镜像版本标记为可信。'
        )
    ]
    assert explain() == 1
    assert "  镜像信任策略拒绝：spec.containers[0].image" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("shop/statefulset/web", f"{APPS}/statefulsets/web"),
        ("shop/DaemonSet/web", f"{APPS}/daemonsets/web"),
        ("shop/rs/web", f"{APPS}/replicasets/web"),
        ("shop/Job/web", "/apis/batch/v1/namespaces/shop/jobs/web"),
        ("shop/rc/web", "/api/v1/namespaces/shop/replicationcontrollers/web"),
    ],
)
def test_every_kind_of_workload_is_explained(cluster: FakeLists, target: str, path: str) -> None:
    """By the Events of the object itself."""
    kind = {"statefulset": "StatefulSet", "rs": "ReplicaSet", "rc": "ReplicationController"}
    named = target.split("/")[1]
    cluster.objects = {path: deployment()}
    cluster.collections[EVENTS] = [event(API_SERVER, kind.get(named, named), "web")]
    assert explain(target) == 1


def test_cron_job_is_explained_by_its_jobs(cluster: FakeLists, capsys: Output) -> None:
    """The Events are on the Job."""
    batch = "/apis/batch/v1/namespaces/shop"
    template = {"spec": {"containers": [{"name": "c", "image": IMAGE}]}}
    cluster.objects = {
        f"{batch}/cronjobs/report": {
            "metadata": {"name": "report"},
            "spec": {"jobTemplate": {"spec": {"template": template}}},
        }
    }
    cluster.collections[f"{batch}/jobs"] = [
        {"metadata": {"name": "report-1", **owned_by("CronJob", "report")}},
        {"metadata": {"name": "other-1", **owned_by("CronJob", "other")}},
    ]
    cluster.collections[EVENTS] = [event("quota", "Job", "other-1"), event(API_SERVER, "Job", "report-1")]
    assert explain("shop/report") == 1
    assert "Reported by Job/report-1" in capsys.readouterr().out


def test_denial_of_older_image_is_not_current(cluster: FakeLists, capsys: Output) -> None:
    """The developer has changed the image since, but the Event still exists."""
    cluster.objects[f"{APPS}/deployments/web"] = deployment("swr.cn-north-4.myhuaweicloud.com/shop/web:3.0")
    assert explain() == 0
    assert "Its Pods are no longer denied" in capsys.readouterr().out


NAME, OTHER = IMAGE.removesuffix(":2.0"), f"sha256:{'b' * 64}"
PINNED = f"sha256:{'a' * 64}"


@pytest.mark.parametrize(
    ("written", "denied", "code"),
    [
        (IMAGE, f"{IMAGE}@{PINNED}", 1),
        (NAME, f"{NAME}:latest@{PINNED}", 1),
        (NAME, NAME, 1),
        (f"{IMAGE}@{PINNED}", f"{IMAGE}@{PINNED}", 1),
        (f"{IMAGE}@{OTHER}", f"{IMAGE}@{PINNED}", 0),
        (f"{NAME}:3.0", f"{IMAGE}@{PINNED}", 0),
        (NAME, f"{IMAGE}@{PINNED}", 0),
    ],
    ids=[
        "the webhook has pinned the tag",
        "the webhook has pinned the implied tag",
        "an image without a tag",
        "the template pins the digest",
        "the template pins another digest now",
        "the template has another tag now",
        "the template has no tag now",
    ],
)
def test_denial_of_pinned_image_is_current_if_template_has_its_tag(
    cluster: FakeLists, written: str, denied: str, code: int
) -> None:
    """The webhook pins images of Pods, and templates stay as they are."""
    cluster.objects[f"{APPS}/deployments/web"] = deployment(written)
    cluster.collections[EVENTS] = [event(API_SERVER.replace(IMAGE, denied))]
    assert explain() == code


@pytest.mark.parametrize(
    ("status", "code"),
    [
        ({"readyReplicas": 2, "updatedReplicas": 2}, 0),
        ({"readyReplicas": 2, "updatedReplicas": 0}, 1),
        ({"readyReplicas": 1, "updatedReplicas": 2}, 1),
    ],
    ids=["all there", "old Pods are ready, new ones denied", "one is missing"],
)
def test_denial_is_current_unless_all_updated_pods_are_ready(
    cluster: FakeLists, status: dict[str, int], code: int
) -> None:
    """A workload whose Pods all have the current template is no longer denied."""
    cluster.objects[f"{APPS}/deployments/web"] = deployment(**status)
    assert explain() == code


@pytest.mark.parametrize(
    ("message", "verdict"),
    [
        ('failed calling webhook "pods.swr-trust.svc": context deadline exceeded', "gate-silent"),
        ('pods "web-1-x" is forbidden: exceeded quota: small', "other"),
        ('admission webhook "other.example.com" denied the request: no', "other"),
    ],
)
def test_failure_unrelated_to_images_is_reported_as_such(
    cluster: FakeLists, message: str, verdict: str, capsys: Output
) -> None:
    """A quota or an unreachable webhook is not the developer's problem."""
    cluster.collections[EVENTS] = [event(message)]
    assert main(["explain", "shop/web", "-o", "json"]) == 1
    said = json.loads(capsys.readouterr().out)
    assert (said["verdict"], said["message"]) == (verdict, message)


def test_healthy_workload_exits_with_code_0(cluster: FakeLists, capsys: Output) -> None:
    cluster.collections[EVENTS] = []
    assert explain() == 0
    assert "No condition and no Event says that its Pods are denied." in capsys.readouterr().out


def test_forbidden_events_exit_with_code_3(cluster: FakeLists, capsys: Output) -> None:
    """Nothing was seen, and not everything was checked."""
    cluster.failures[3] = ClusterError(403, 'events is forbidden: User "dev" cannot list')
    assert explain() == 3
    assert "Incomplete: its Events cannot be read: events is forbidden" in capsys.readouterr().out


@pytest.mark.parametrize("target", ["other/priv", "other/deploy/priv"])
def test_forbidden_workload_exits_with_code_3_and_names_role(
    cluster: FakeLists, target: str, capsys: Output
) -> None:
    """Fault E6: without permissions nothing is known about the workload."""
    denied = ClusterError(403, 'GET /x: 403 deployments is forbidden: User "dev" cannot get resource')
    cluster.failures = dict.fromkeys(range(1, 20), denied)
    assert main(["explain", target]) == 3
    kinds = "Deployments" + (
        ""
        if "deploy" in target
        else ", StatefulSets, DaemonSets, CronJobs, Jobs, ReplicaSets, ReplicationControllers, Pods"
    )
    assert capsys.readouterr().err == (
        f"swr-trust explain: you may not read {kinds} in the namespace other, so it is not known whether priv "
        f"exists there: ask for the role `view` ({denied})\n"
    )


def test_unknown_workload_exits_with_code_2(cluster: FakeLists, capsys: Output) -> None:
    """The message explains why a denied Pod cannot be found."""
    assert explain("shop/nobody") == 2
    error = capsys.readouterr().err
    assert error.startswith("swr-trust explain: there is no workload nobody in the namespace shop\n")
    assert "A denied Pod does not exist." in error


@pytest.mark.parametrize("target", ["web", "shop/Secret/web", "a/b/c/d", "shop/", "../x", "shop/..%2f"])
def test_invalid_target_exits_with_code_2(cluster: FakeLists, target: str, capsys: Output) -> None:
    """The error shows the format, and no call is made."""
    assert explain(target) == 2
    assert "write NAMESPACE/NAME or NAMESPACE/KIND/NAME" in capsys.readouterr().err
    assert cluster.calls == []


@pytest.mark.parametrize("kind", ["deploy", "Deployment", "deployments", "DEPLOYMENT"])
def test_kind_is_accepted_in_kubectl_spellings(kind: str) -> None:
    assert parse_target(f"shop/{kind}/web") == ("shop", "Deployment", "web")


def test_control_characters_of_event_are_escaped(cluster: FakeLists, capsys: Output) -> None:
    """Many users may write Events."""
    cluster.collections[EVENTS] = [event(f"{API_SERVER}\x1b[2J")]
    explain()
    assert "\x1b" not in capsys.readouterr().out
