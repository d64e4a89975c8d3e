"""Responses to the API server, from the webhook in its own process."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.emulator.server import Emulator
from tests.support.builders import HOST, UID, pod, review
from tests.support.serving import ServerProcess, make_certificate

TRUSTED, UNTRUSTED = f"{HOST}/shop/web:1.0", f"{HOST}/shop/web:2.0"
JSON = {"Content-Type": "application/json"}
POLICY = """\
rules:
  - {name: watched, namespaces: [watched], images: ["**"], mode: audit}
  - {name: warned, namespaces: [warned], images: ["**"], mode: warn}
exemptions:
  - {name: sandbox, namespaces: ["sandbox-*"], images: ["**"], reason: nothing of worth runs there}
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Return one webhook for the whole module."""
    folder = tmp_path_factory.mktemp("protocol")
    with Emulator() as emulator, ServerProcess(folder, emulator.url, make_certificate(folder), POLICY) as it:
        yield it


def post(server: ServerProcess, body: bytes, headers: dict[str, str] = JSON) -> tuple[int, Any]:
    """Return status and decoded body of a call to ``/validate``."""
    status, answer = server.send("POST", "/validate?timeout=10s", body, headers)
    return status, json.loads(answer)


def envelope(**changes: Any) -> bytes:
    """Return a review with changed top-level fields."""
    return json.dumps({**json.loads(review(pod(TRUSTED))), **changes}).encode()


BROKEN = [
    ("no JSON", b"{", JSON, 400),
    ("no text", b"\xff\xfe", JSON, 400),
    ("nothing", b"", JSON, 400),
    ("a list", b"[]", JSON, 400),
    ("another version", envelope(apiVersion="admission.k8s.io/v1beta1"), JSON, 400),
    ("another kind", envelope(kind="Pod"), JSON, 400),
    ("no request", envelope(request=None), JSON, 400),
    ("no uid", review(pod(TRUSTED), uid=""), JSON, 400),
    ("a uid that is no text", review(pod(TRUSTED), uid=5), JSON, 400),
    ("another type", review(pod(TRUSTED)), {"Content-Type": "text/plain"}, 415),
    ("no type", review(pod(TRUSTED)), {}, 415),
    ("too large", b" " * (7 * 2**20 + 1), JSON, 413),
    ("nested", b'{"apiVersion":' + b"[" * 100_000, JSON, 400),
]


@pytest.mark.parametrize(
    ("body", "headers", "status"), [case[1:] for case in BROKEN], ids=[case[0] for case in BROKEN]
)
def test_call_without_valid_review_gets_error(
    server: ServerProcess, body: bytes, headers: dict[str, str], status: int
) -> None:
    """The answer is never ``allowed``, so that the failure policy decides (T44)."""
    answered, answer = post(server, body, headers)
    assert (answered, list(answer)) == (status, ["error"])


ANSWERED: list[tuple[str, bytes, bool, int]] = [
    ("trusted", review(pod(TRUSTED)), True, 0),
    ("untrusted", review(pod(UNTRUSTED)), False, 403),
    ("deleted", review(None, old=pod(UNTRUSTED), operation="DELETE"), True, 0),
    ("dry run", review(pod(UNTRUSTED), dryRun=True), False, 403),
    ("no object", review(None), False, 403),
    ("an object of the wrong shape", review({"spec": {"containers": [{"image": 1}]}}), False, 403),
    ("a kind of tomorrow", review({}, resource=("x.io", "v1", "things"), kind="Thing"), False, 403),
    ("exempt by the name of its namespace", review(pod(UNTRUSTED), namespace="sandbox-1"), True, 0),
    ("a namespace with nearly that name", review(pod(UNTRUSTED), namespace="my-sandbox-1"), False, 403),
    ("a namespace that is not told", review(pod(UNTRUSTED), namespace=""), False, 403),
    ("watched", review(pod(UNTRUSTED), namespace="watched"), True, 0),
]


@pytest.mark.parametrize(
    ("body", "allowed", "code"), [case[1:] for case in ANSWERED], ids=[case[0] for case in ANSWERED]
)
def test_every_review_is_answered_with_its_uid(
    server: ServerProcess, body: bytes, allowed: bool, code: int
) -> None:
    """The answer has status 200 and a decision, regardless of the content (T43, T44, T46)."""
    status, answer = post(server, body)
    response = answer["response"]
    assert (status, answer["apiVersion"], answer["kind"]) == (200, "admission.k8s.io/v1", "AdmissionReview")
    assert (response["uid"], response["allowed"]) == (UID, allowed)
    assert response.get("status", {}).get("code", 0) == code


def test_namespace_label_does_not_admit_untrusted_image(server: ServerProcess) -> None:
    """A user who may edit a namespace may label it: only its name counts (T45)."""
    labels = {"swr-trust/ignore": "true", "kubernetes.io/metadata.name": "sandbox-1"}
    obj = pod(UNTRUSTED)
    obj["metadata"]["labels"] = labels
    obj["metadata"]["namespace"] = "sandbox-1"
    _, answer = post(server, review(obj, namespace="shop", namespaceObject={"metadata": {"labels": labels}}))
    assert answer["response"]["allowed"] is False


def test_largest_object_is_evaluated(server: ServerProcess) -> None:
    """An update near the limit of the API server contains its object twice (T44)."""
    old, new = pod(TRUSTED), pod(UNTRUSTED)
    for obj in (old, new):
        obj["metadata"]["annotations"] = {f"a{n}": "x" * 100_000 for n in range(30)}
    body = review(new, old=old, operation="UPDATE")
    assert len(body) > 6_000_000
    _, answer = post(server, body)
    assert answer["response"]["allowed"] is False


@pytest.mark.parametrize("size", [7, 20, 39])
def test_too_large_object_is_denied_with_its_uid(server: ServerProcess, size: int) -> None:
    """Each ``<`` of a Pod takes six bytes in a review, so its author can make one too large (T43, T44)."""
    obj = pod(UNTRUSTED)
    obj["spec"]["containers"][0]["args"] = ["<" * (size * 2**20 // 6 + 1)]
    body = review(obj).replace(b"<", b"\\u003c")
    status, answer = post(server, body)
    assert (status, answer["response"]["uid"], answer["response"]["allowed"]) == (200, UID, False)
    assert answer["response"]["status"]["message"] == (
        "denied by image trust policy: the object cannot be evaluated: the review is larger than 7 MiB. "
        "Contact your cluster administrators."
    )


def test_dry_run_is_counted_without_break_glass(server: ServerProcess) -> None:
    """It is evaluated and counted as a dry run, without any other effect (T44)."""
    before = server.metric("swr_trust_break_glass_total")
    post(server, review(pod(UNTRUSTED), dryRun=True))
    assert server.metric("swr_trust_admission_requests_total", dry_run="true") >= 1
    assert server.metric("swr_trust_break_glass_total") == before


@pytest.mark.parametrize(
    ("namespace", "decision", "effect", "warnings"),
    [("watched", "audit", "record", 0), ("warned", "warn", "warn", 1)],
)
def test_admitted_untrusted_image_is_counted(
    server: ServerProcess, namespace: str, decision: str, effect: str, warnings: int
) -> None:
    """A mode that admits must still report (T50)."""

    def counted() -> tuple[float, float]:
        return (
            server.metric("swr_trust_admission_requests_total", decision=decision),
            server.metric("swr_trust_image_findings_total", finding="untrusted", effect=effect),
        )

    before = counted()
    _, answer = post(server, review(pod(UNTRUSTED), namespace=namespace))
    response = answer["response"]
    assert (response["allowed"], len(response.get("warnings", []))) == (True, warnings)
    assert response["auditAnnotations"]["decision"] == decision
    assert counted() == (before[0] + 1, before[1] + 1)
