"""An SWR that lies, hangs, floods or redirects, and the whole answer to the API server."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.bypasses.full_stack import asked_at, run_concurrently, wire_stack
from tests.emulator.server import Emulator
from tests.support.builders import HOST, exemption, rule
from webhook.admission.decision import Decision
from webhook.registries import RegistryTable
from webhook.trust.settings import LookupSettings

WEB = f"{HOST}/shop/web:1.0"
FIRST = "sha256:" + "1" * 64
SECOND = "sha256:" + "2" * 64


def finding(response: dict[str, Any]) -> str:
    """Return finding and reason of the first image, from the audit annotations."""
    text: str = response["auditAnnotations"]["findings"]
    kind = text.partition('"finding":"')[2].partition('"')[0]
    reason = text.partition('"reason":"')[2].partition('"')[0]
    return f"{kind}/{reason}" if reason else kind


SAYS = [
    ("web:1.0", True, "trusted"),
    ("web:2.0", False, "untrusted"),
    ("web:9", False, "missing"),
    ("odd:text", False, "untrusted"),
    ("odd:one", False, "untrusted"),
    ("odd:null", False, "untrusted"),
    ("odd:absent", False, "untrusted"),
    ("odd:list", False, "untrusted"),
    ("tools/migrate:2024.11", True, "trusted"),
    ("nosuch:1", False, "missing"),
]


@pytest.mark.parametrize(("image", "allowed", "expected"), SAYS, ids=[case[0] for case in SAYS])
def test_only_json_true_is_trusted(
    emulator: Emulator, tmp_path: Path, image: str, allowed: bool, expected: str
) -> None:
    """Over HTTP as in memory (T35, T22)."""
    response = wire_stack(emulator.url, tmp_path).decide(f"{HOST}/shop/{image}")
    assert (response["allowed"], finding(response)) == (allowed, expected)


LIES = [
    ("another tag", {"tag": "2.0"}, "unknown/malformed"),
    ("no tag", {"tag": None}, "unknown/malformed"),
    ("another image", {"path": f"{HOST}/shop/other:1.0"}, "unknown/malformed"),
    ("another organisation", {"path": f"{HOST}/evil/web:1.0"}, "unknown/malformed"),
    ("text for true", {"is_trusted": "true"}, "untrusted"),
]


@pytest.mark.parametrize(("answer", "expected"), [case[1:] for case in LIES], ids=[case[0] for case in LIES])
def test_response_about_other_image_is_not_accepted(
    emulator: Emulator, tmp_path: Path, answer: dict[str, Any], expected: str
) -> None:
    """A proxy may mix up answers (T36)."""
    emulator.state.set_tag("shop/web:1.0", is_trusted=True, answer=answer)
    response = wire_stack(emulator.url, tmp_path, on_lookup_failure="allow").decide(WEB)
    assert (response["allowed"], finding(response)) == (False, expected)


def test_server_certificate_of_unknown_ca_is_rejected(tmp_path: Path) -> None:
    """TLS is verified, and no configuration key disables that (T36)."""
    ca = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("127.0.0.1").configure_cert(context)
    known = tmp_path / "ca.pem"
    ca.cert_pem.write_to_path(known)
    with Emulator(context=context) as emulator:
        stranger = wire_stack(emulator.url, tmp_path).decide(WEB)
        assert (stranger["allowed"], finding(stranger), emulator.calls()) == (False, "unknown/unavailable", 0)
        trusting = RegistryTable.of([asked_at(emulator.url, tmp_path, ca_file=str(known))])
        assert wire_stack(emulator.url, tmp_path, registries=trusting).decide(WEB)["allowed"]


def test_redirect_is_not_followed(emulator: Emulator, tmp_path: Path) -> None:
    """Only SWR ever receives the credential and answers for SWR (T37)."""
    with Emulator() as elsewhere:
        emulator.break_with("redirect", body=f"{elsewhere.url}/v2/manage/namespaces/shop/repos/web/tags/1.0")
        response = wire_stack(emulator.url, tmp_path, on_lookup_failure="allow").decide(WEB)
        assert (response["allowed"], finding(response)) == (False, "unknown/malformed")
        assert elsewhere.calls() == 0


LATE = "did not answer in time"
BROKE = "the connection broke"
FLOODS = [
    ("huge", {}, "malformed", "the answer is larger than 262144 bytes"),
    ("gzip", {}, "malformed", "the answer is compressed although the request does not allow it"),
    ("trickle-body", {"latency": 0.05}, "timeout", LATE),
    ("trickle-headers", {"latency": 0.05}, "timeout", LATE),
    ("hang", {}, "timeout", LATE),
    ("reset", {}, "unavailable", BROKE),
    ("cut", {}, "unavailable", BROKE),
    ("garbage", {}, "unavailable", BROKE),
]


@pytest.mark.parametrize(("kind", "values", "reason", "detail"), FLOODS, ids=[case[0] for case in FLOODS])
def test_endless_response_is_aborted_at_deadline(
    emulator: Emulator, tmp_path: Path, kind: str, values: dict[str, Any], reason: str, detail: str
) -> None:
    """It is aborted and denied, and another image is not delayed (T38, T40)."""
    emulator.break_with(kind, match="/web/", **values)
    # A call that fails by itself must do so on a busy machine, too.
    timeout = 1.5 if reason == "timeout" else 15.0
    gate = wire_stack(
        emulator.url,
        tmp_path,
        lookup=LookupSettings(timeout=timeout, retries=0, concurrency=2, calls_per_second=1000.0),
    )
    # The first call of all proves the credential; until then the others wait for it.
    assert gate.decide(f"{HOST}/shop/log:3")["allowed"]
    decisions: dict[str, Decision] = {}

    def look_up(image: str) -> None:
        decisions[image] = gate.decision(image)

    run_concurrently([lambda: look_up(WEB), lambda: look_up(f"{HOST}/shop/api:1.4")])
    check = decisions[WEB].results[0].check
    assert (decisions[WEB].allowed, check.reason) == (False, reason)
    assert check.failure is not None
    assert detail in check.failure.detail
    assert decisions[f"{HOST}/shop/api:1.4"].allowed


STATUSES = [
    (401, '{"errors":[{"errorCode":"SVCSTG.SWR.4010000"}]}', "unknown/unauthorized", 403),
    (401, '{"errors":[{"errorCode":"SVCSTG.SWR.4011064"}]}', "unknown/forbidden", 403),
    (403, "", "unknown/forbidden", 403),
    (404, '{"error_code":"APIGW.0101"}', "unknown/unavailable", 503),
    (404, "<html>", "unknown/malformed", 403),
    (404, '{"errors":[{"errorCode":"SVCSTG.SWR.4040115"}]}', "missing", 403),
    (429, "", "unknown/throttled", 429),
    (500, "", "unknown/unavailable", 503),
    (503, "", "unknown/unavailable", 503),
    (200, "<html>welcome</html>", "unknown/malformed", 403),
]


@pytest.mark.parametrize(("status", "body", "expected", "code"), STATUSES)
def test_each_failure_status_has_own_reason_and_denies(
    emulator: Emulator, tmp_path: Path, status: int, body: str, expected: str, code: int
) -> None:
    """Missing, forbidden, unauthorized and unavailable are distinguished, and all are denied (T39)."""
    emulator.break_with("status", status=status, body=body)
    response = wire_stack(emulator.url, tmp_path).decide(WEB)
    assert (response["allowed"], finding(response), response["status"]["code"]) == (False, expected, code)


LENIENT = [("unknown/unavailable", 500, True), ("unknown/forbidden", 403, False)]


@pytest.mark.parametrize(("expected", "status", "allowed"), LENIENT)
def test_lenient_policy_admits_only_during_outages(
    emulator: Emulator, tmp_path: Path, expected: str, status: int, allowed: bool
) -> None:
    """``onLookupFailure: allow`` is about outages (T39)."""
    emulator.break_with("status", status=status)
    response = wire_stack(emulator.url, tmp_path, on_lookup_failure="allow").decide(WEB)
    assert (response["allowed"], finding(response)) == (allowed, expected)


def test_image_of_other_region_is_looked_up_in_its_region(emulator: Emulator, tmp_path: Path) -> None:
    """The same name in another region is another image (T21)."""
    other = "swr.cn-south-1.myhuaweicloud.com"
    with Emulator() as south:
        south.state.set_tag("shop/web:1.0", is_trusted=False)
        registries = RegistryTable.of(
            [
                asked_at(emulator.url, tmp_path),
                asked_at(south.url, tmp_path, hosts=(other,), region="cn-south-1"),
            ]
        )
        gate = wire_stack(emulator.url, tmp_path, registries=registries)
        assert gate.decide(WEB)["allowed"]
        assert not gate.decide(f"{other}/shop/web:1.0")["allowed"]
        assert (emulator.calls("/web/"), south.calls("/web/")) == (1, 1)


def test_nested_repository_is_sent_with_dollar_separators(emulator: Emulator, tmp_path: Path) -> None:
    """The path of ``a/b/c`` contains ``a$b$c``, which no author can write (T22)."""
    emulator.state.set_tag("shop/a/b/c:1", is_trusted=True)
    gate = wire_stack(emulator.url, tmp_path)
    assert gate.decide(f"{HOST}/shop/a/b/c:1")["allowed"]
    assert not gate.decide(f"{HOST}/shop/a$b/c:1")["allowed"]
    assert emulator.state.calls == {"/v2/manage/namespaces/shop/repos/a$b$c/tags/1": 1}


HOSTILE = [
    "..",
    "a/../../../v2/secrets",
    "%2e%2e/web",
    "web?x=1",
    "web#x",
    "web\n",
    "web\0",
    "WEB",
    "wеb",  # noqa: RUF001 - a Cyrillic letter is the point
    "x" * 300,
]


@pytest.mark.parametrize("name", HOSTILE, ids=[ascii(name[:20]) for name in HOSTILE])
def test_hostile_name_is_denied_without_call(emulator: Emulator, tmp_path: Path, name: str) -> None:
    """It is denied before any call (T23)."""
    response = wire_stack(emulator.url, tmp_path).decide(f"{HOST}/shop/{name}:1.0")
    assert (response["allowed"], emulator.calls()) == (False, 0)


def test_pinned_digest_must_match_tag(emulator: Emulator, tmp_path: Path) -> None:
    """The node pulls the digest, regardless of the tag (T26)."""
    gate = wire_stack(emulator.url, tmp_path)
    assert gate.decide(f"{WEB}@{FIRST}")["allowed"]
    response = gate.decide(f"{WEB}@{SECOND}")
    assert (response["allowed"], finding(response)) == (False, "digest-mismatch")


def test_digest_only_image_requires_all_tags_trusted(emulator: Emulator, tmp_path: Path) -> None:
    """It is never read as ``latest``; it is denied, or admitted if every tag of the digest is trusted
    (T25).
    """
    emulator.state.set_tag("shop/web:latest", is_trusted=True, digest=SECOND)
    by_digest = f"{HOST}/shop/web@"
    assert finding(wire_stack(emulator.url, tmp_path).decide(by_digest + FIRST)) == "invalid/digest-only"
    gate = wire_stack(emulator.url, tmp_path, digest_only="resolve")
    assert gate.decide(by_digest + FIRST)["allowed"]
    assert finding(gate.decide(by_digest + SECOND)) == "untrusted"
    assert finding(gate.decide(by_digest + "sha256:" + "0" * 64)) == "missing"


def test_exempt_image_is_admitted_while_swr_is_down(emulator: Emulator, tmp_path: Path) -> None:
    """It costs no call (T42)."""
    emulator.break_with("reset")
    gate = wire_stack(emulator.url, tmp_path, exemptions=(exemption("shop", [f"{HOST}/shop/**"]),))
    assert gate.decide(WEB)["allowed"]
    assert emulator.calls() == 0


def test_audit_and_warn_modes_admit_untrusted_image(emulator: Emulator, tmp_path: Path) -> None:
    """The response of each mode, over HTTP (T50)."""
    image = f"{HOST}/shop/web:2.0"
    watching = wire_stack(emulator.url, tmp_path, rules=(rule("all", mode="audit"),))
    response = watching.decide(image)
    assert (response["allowed"], response["auditAnnotations"]["decision"], "warnings" in response) == (
        True,
        "audit",
        False,
    )
    warned = wire_stack(emulator.url, tmp_path, rules=(rule("all", mode="warn"),)).decide(image)
    assert (warned["allowed"], len(warned["warnings"])) == (True, 1)
