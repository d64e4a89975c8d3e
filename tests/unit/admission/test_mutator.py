"""Mutations: which images of a request get their digest, and which stay as they are."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from tests.support.builders import (
    DIGEST,
    HOST,
    NOW,
    OTHER_DIGEST,
    SOON,
    FakeAnswers,
    container,
    exemption,
    pod,
    policy,
    request,
    rule,
)
from tests.support.json_patch import apply_patch, patch_of
from webhook.admission import selection
from webhook.admission.evaluator import FEW
from webhook.admission.mutation import Mutation, NotPinned, Outcome
from webhook.admission.mutator import Mutator
from webhook.admission.request import AdmissionRequest
from webhook.admission.review import write_mutation
from webhook.admission.selection import AwaitedImages
from webhook.admission.validator import Validator
from webhook.deadlines import Deadline
from webhook.errors import Fault, LookupTimeout, RegistryUnavailable
from webhook.policy.model import BreakGlass, Policy
from webhook.trust.lookup import Found, LookupRequest, LookupResult, Origin
from webhook.trust.records import TrustRecord, TrustStatus

TRUSTED = f"{HOST}/shop/web:1"
PINNED = f"{TRUSTED}@{DIGEST}"
MOVED = f"{TRUSTED}@{OTHER_DIGEST}"
UNTRUSTED = f"{HOST}/shop/web:2"
LATEST = f"{HOST}/shop/job"
PINS = policy(pin_digests=True)
FACTS: dict[str, Any] = {
    "shop/web:1": TrustStatus.TRUSTED,
    "shop/web:2": TrustStatus.UNTRUSTED,
    "shop/job:latest": TrustStatus.TRUSTED,
    "shop/old:1": Found(
        TrustRecord(TrustStatus.TRUSTED, NOW - 900, DIGEST), Origin.STALE, RegistryUnavailable("down")
    ),
    "shop/bare:1": TrustRecord(TrustStatus.TRUSTED, NOW),
    "shop/slow:1": LookupTimeout("late", fault=Fault.REGISTRY),
    **{f"shop/many:{number}": TrustStatus.TRUSTED for number in range(300)},
}


def mutator(current: Policy = PINS, answers: FakeAnswers | None = None) -> Mutator:
    """Return a mutator under a policy."""
    return Mutator(lambda: current, answers or FakeAnswers(FACTS), clock=lambda: NOW)


def mutate(
    obj: Any, current: Policy = PINS, answers: FakeAnswers | None = None, **rest: Any
) -> tuple[Any, Mutation]:
    """Return an object as the API server stores it after the mutation, and the mutation."""
    mutation = mutator(current, answers).mutate(request(obj, **rest), SOON)
    response = json.loads(write_mutation("u", mutation))["response"]
    assert response["allowed"] is True
    return apply_patch(obj, patch_of(response)), mutation


def images_of(obj: Any) -> list[str]:
    """Return the images of a Pod's containers."""
    return [item["image"] for item in obj["spec"]["containers"]]


@pytest.mark.parametrize(
    ("written", "stored"),
    [
        (TRUSTED, PINNED),
        (f"{HOST.upper()}/shop/web:1", f"{HOST.upper()}/shop/web:1@{DIGEST}"),
        (LATEST, f"{LATEST}:latest@{DIGEST}"),
        (f"{LATEST}:latest", f"{LATEST}:latest@{DIGEST}"),
        (f"{HOST}/shop/old:1", f"{HOST}/shop/old:1@{DIGEST}"),
    ],
    ids=["tag", "host in capitals", "no tag is latest", "latest", "stale trust during an outage"],
)
def test_trusted_tag_gets_its_digest(written: str, stored: str) -> None:
    """The rest of the text stays, for people."""
    assert images_of(mutate(pod(written))[0]) == [stored]


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        (UNTRUSTED, "untrusted"),
        (f"{HOST}/shop/none:1", "missing"),
        (f"{HOST}/shop/slow:1", "unknown"),
        (f"{HOST}/shop/bare:1", "no-digest"),
    ],
)
def test_image_that_cannot_be_pinned_stays_with_reason(written: str, reason: str) -> None:
    """``/validate`` decides about it."""
    stored, mutation = mutate(pod(written))
    assert images_of(stored) == [written]
    assert mutation.outcome is Outcome.UNCHANGED
    assert mutation.not_pinned == (NotPinned("spec.containers[0].image", written, reason),)


@pytest.mark.parametrize(
    ("written", "current"),
    [
        ("nginx", PINS),
        ("nginx", policy(pin_digests=True, unmanaged_registries="allow")),
        (TRUSTED, policy(pin_digests=True, exemptions=(exemption("all", ["**"]),))),
        (PINNED, PINS),
        (MOVED, PINS),
        (f"{HOST}/shop/web@{DIGEST}", policy(pin_digests=True, digest_only="resolve")),
        (f"{HOST}/shop/WEB:1", PINS),
        (DIGEST, PINS),
        ("", PINS),
        (TRUSTED, policy()),
        (TRUSTED, policy(pin_digests=True, rules=(rule("r", pin_digests=False),))),
        (TRUSTED, policy(rules=(rule("r", namespaces=["else"], pin_digests=True),))),
        (TRUSTED, policy(pin_digests=True, rules=(rule("r", require_pull_always=True),))),
    ],
    ids=[
        "unmanaged",
        "unmanaged and allowed",
        "exempt",
        "pinned",
        "pinned to another digest",
        "digest alone",
        "invalid",
        "image ID",
        "empty",
        "off",
        "off by rule",
        "on by a rule of another namespace",
        "denied by a requirement of the rule",
    ],
)
def test_image_that_is_not_to_be_pinned_is_not_looked_up(written: str, current: Policy) -> None:
    """Its lookup, if it needs one, is the work of ``/validate``."""
    answers = FakeAnswers(FACTS)
    stored, mutation = mutate(pod(written), current, answers)
    assert images_of(stored) == [written]
    assert (mutation.outcome, mutation.not_pinned, answers.asked) == (Outcome.UNCHANGED, (), [])
    assert mutation.annotations == {}


def test_rule_turns_pinning_on_for_its_images() -> None:
    """The policy's own value applies to all other images."""
    current = policy(rules=(rule("r", [f"{HOST}/shop/web"], pin_digests=True),))
    stored, _ = mutate(pod(TRUSTED, LATEST), current)
    assert images_of(stored) == [PINNED, LATEST]


def test_images_of_all_places_are_pinned() -> None:
    """Init containers and image volumes are pulled, too."""
    obj = pod(
        TRUSTED,
        initContainers=[container(TRUSTED, "i")],
        volumes=[{"name": "v", "image": {"reference": TRUSTED}}, {"name": "w", "emptyDir": {}}],
    )
    stored, mutation = mutate(obj)
    assert [pin.use.field for pin in mutation.pins] == [
        "spec.containers[0].image",
        "spec.initContainers[0].image",
        "spec.volumes[0].image.reference",
    ]
    assert json.dumps(stored).replace(f"@{DIGEST}", "") == json.dumps(obj)


def test_debug_container_is_pinned() -> None:
    """``kubectl debug`` adds it through the subresource."""
    obj = pod(TRUSTED, ephemeralContainers=[container(TRUSTED, "debug")])
    stored, _ = mutate(obj, old=pod(TRUSTED), operation="UPDATE", subresource="ephemeralcontainers")
    assert images_of(stored) == [TRUSTED]
    assert stored["spec"]["ephemeralContainers"][0]["image"] == PINNED


def workload(image: str) -> dict[str, Any]:
    return {"metadata": {"name": "web"}, "spec": {"template": {"spec": {"containers": [container(image)]}}}}


@pytest.mark.parametrize(
    ("obj", "rest"),
    [
        (workload(TRUSTED), {"resource": ("apps", "v1", "deployments"), "kind": "Deployment"}),
        (pod(TRUSTED), {"operation": "DELETE"}),
        (pod(TRUSTED), {"operation": "UPDATE", "subresource": "status"}),
        (pod(TRUSTED), {"resource": ("", "v2", "pods")}),
        (None, {}),
        ({"spec": 5}, {}),
        (
            {
                "metadata": {"name": "web", "annotations": {"kubernetes.io/config.mirror": "x"}},
                "spec": {"nodeName": "n1", "containers": [container(TRUSTED)]},
            },
            {"user": "system:node:n1", "groups": ["system:nodes"]},
        ),
    ],
    ids=["workload", "deletion", "status", "unknown version", "no object", "unreadable", "mirror Pod"],
)
def test_anything_but_a_pod_stays_as_it_is(obj: Any, rest: dict[str, Any]) -> None:
    """Templates keep what their authors wrote. The kubelet would replace a changed mirror Pod."""
    answers = FakeAnswers(FACTS)
    _, mutation = mutate(obj, answers=answers, **rest)
    assert (mutation.outcome, mutation.pins, answers.asked) == (Outcome.UNCHANGED, (), [])


def test_pod_with_too_many_images_stays_as_it_is() -> None:
    """``/validate`` denies it."""
    stored, mutation = mutate(pod(*[f"{HOST}/shop/many:{number}" for number in range(201)]))
    assert mutation == Mutation(annotations={"error": "too-many-images"})
    assert "@" not in json.dumps(stored)


def test_pod_of_forty_images_is_pinned_within_limit_of_annotation() -> None:
    """The audit annotation names twenty of them and counts the rest."""
    images = [f"{HOST}/shop/many:{number}" for number in range(40)]
    stored, mutation = mutate(pod(*images))
    assert images_of(stored) == [f"{image}@{DIGEST}" for image in images]
    listed, _, rest = mutation.annotations["pinned"].partition("}]")
    assert len(json.loads(f"{listed}}}]")) == 20
    assert rest == " and 20 more"


# Updates.


@pytest.mark.parametrize(
    ("old", "new", "stored"),
    [
        (TRUSTED, TRUSTED, TRUSTED),
        (UNTRUSTED, TRUSTED, PINNED),
        (PINNED, TRUSTED, PINNED),
        (MOVED, TRUSTED, MOVED),
        (f"{UNTRUSTED}@{DIGEST}", UNTRUSTED, f"{UNTRUSTED}@{DIGEST}"),
        (f"{LATEST}:latest@{DIGEST}", LATEST, f"{LATEST}:latest@{DIGEST}"),
        (f"{UNTRUSTED}@{DIGEST}", TRUSTED, PINNED),
        (PINNED, UNTRUSTED, UNTRUSTED),
        (f"{HOST}/shop/web@{DIGEST}", TRUSTED, PINNED),
        (f"nginx:1@{DIGEST}", "nginx:1", "nginx:1"),
        (f"not//an:image@{DIGEST}", TRUSTED, PINNED),
    ],
    ids=[
        "unchanged",
        "changed",
        "same tag",
        "same tag that has moved",
        "same tag that is no longer trusted",
        "same implied tag",
        "another tag",
        "another tag that is not trusted",
        "digest alone before",
        "not pinned by the policy",
        "unreadable before",
    ],
)
def test_update_keeps_digest_unless_its_author_changes_image(old: str, new: str, stored: str) -> None:
    """``kubectl apply`` of an unchanged manifest writes the tag again, and must change nothing."""
    assert images_of(mutate(pod(new), old=pod(old), operation="UPDATE")[0]) == [stored]


def test_kept_digest_is_not_looked_up() -> None:
    """An update that changes nothing works while SWR is down."""
    answers = FakeAnswers(FACTS)
    _, mutation = mutate(pod(TRUSTED), answers=answers, old=pod(MOVED), operation="UPDATE")
    assert ([pin.is_kept for pin in mutation.pins], answers.asked) == ([True], [])


@pytest.mark.parametrize(
    "current",
    [
        policy(pin_digests=True, rules=(rule("r", require_pull_always=True),)),
        policy(pin_digests=True, exemptions=(exemption("all"),)),
    ],
    ids=["requirement of a later rule", "later exemption"],
)
def test_digest_is_kept_under_later_policy(current: Policy) -> None:
    """The Pod runs, and its author has changed nothing."""
    assert images_of(mutate(pod(TRUSTED), current, old=pod(MOVED), operation="UPDATE")[0]) == [MOVED]


def test_digest_is_not_kept_if_pinning_is_off() -> None:
    """The tag that the author wrote counts again."""
    assert images_of(mutate(pod(TRUSTED), policy(), old=pod(MOVED), operation="UPDATE")[0]) == [TRUSTED]


@pytest.mark.parametrize("before", [(MOVED, PINNED), (PINNED, MOVED)])
def test_digest_of_ambiguous_place_is_not_kept(before: tuple[str, str]) -> None:
    """Two containers of one name: which of them was this one?"""
    old, new = pod(), pod()
    old["spec"]["containers"] = [container(image) for image in before]
    new["spec"]["containers"] = [container(TRUSTED)]
    assert images_of(mutate(new, old=old, operation="UPDATE")[0]) == [PINNED]


def test_digest_is_not_kept_beside_other_change_of_the_use() -> None:
    """``/validate`` evaluates the image in any case, so it must have a current digest."""
    old, new = pod(), pod()
    old["spec"]["containers"] = [container(MOVED)]
    new["spec"]["containers"] = [container(TRUSTED, imagePullPolicy="Always")]
    assert images_of(mutate(new, old=old, operation="UPDATE")[0]) == [PINNED]


def test_second_container_of_a_name_is_pinned_beside_kept_one() -> None:
    """A second call for the result must find nothing to do."""
    old, new = pod(), pod()
    old["spec"]["containers"] = [container(MOVED)]
    new["spec"]["containers"] = [container(TRUSTED), container(LATEST)]
    stored, _ = mutate(new, old=old, operation="UPDATE")
    assert images_of(stored) == [MOVED, f"{LATEST}:latest@{DIGEST}"]


def test_digest_of_another_container_is_not_kept() -> None:
    """The image of a place is that of the same list and name."""
    old, new = pod(), pod()
    old["spec"]["containers"] = [container(MOVED, "other")]
    new["spec"]["containers"] = [container(TRUSTED, "main")]
    assert images_of(mutate(new, old=old, operation="UPDATE")[0]) == [PINNED]


def test_old_object_of_a_creation_does_not_count() -> None:
    """There is none; a sender that is not the API server may write one."""
    assert images_of(mutate(pod(TRUSTED), old=pod(MOVED))[0]) == [PINNED]


# Rules that would judge the pinned image in another way.


@pytest.mark.parametrize(
    "current",
    [
        policy(
            pin_digests=True,
            rules=(rule("tag", [f"{HOST}/shop/web:1"]), rule("all", require_pull_always=True)),
        ),
        policy(pin_digests=True, rules=(rule("tag", [f"{HOST}/shop/web:1"], mode="audit"),)),
    ],
    ids=["stricter rule that may match", "stricter mode without the rule"],
)
def test_image_that_rules_would_judge_otherwise_stays(current: Policy) -> None:
    """Pinning must never turn an admitted Pod into a denied one."""
    stored, mutation = mutate(pod(TRUSTED), current)
    assert images_of(stored) == [TRUSTED]
    assert [item.reason for item in mutation.not_pinned] == ["rules"]


def test_image_whose_digest_is_exempt_is_pinned() -> None:
    """The pinned image is admitted without a lookup, also under a rule that admits only digests."""
    current = policy(
        pin_digests=True,
        rules=(rule("r", require_digest=True),),
        exemptions=(exemption("digest", [f"{HOST}/shop/web@{DIGEST}"]),),
    )
    stored, _ = mutate(pod(TRUSTED), current)
    assert images_of(stored) == [PINNED]
    assert validate(stored, current) == ""


def test_image_of_stricter_mode_is_pinned_to_digest_of_weaker_rule() -> None:
    """A weaker mode never denies what the stricter one admits."""
    weaker = rule("digest", [f"{HOST}/shop/web@{DIGEST}"], mode="audit")
    stored, _ = mutate(pod(TRUSTED), policy(pin_digests=True, rules=(weaker,)))
    assert images_of(stored) == [PINNED]


# With the validating webhook.


def validate(obj: Any, current: Policy, answers: FakeAnswers | None = None, **rest: Any) -> str:
    """Return the message of a denial, ``""`` if the object is admitted."""
    decision = Validator(lambda: current, answers or FakeAnswers(FACTS), clock=lambda: NOW).validate(
        request(obj, **rest), SOON
    )
    return "" if decision.allowed else decision.message


STRICT = policy(pin_digests=True, rules=(rule("r", require_digest=True),))


def test_pinned_pod_satisfies_require_digest() -> None:
    """The author wrote the tag alone."""
    stored, _ = mutate(pod(TRUSTED), STRICT)
    assert images_of(stored) == [PINNED]
    assert validate(stored, STRICT) == ""


@pytest.mark.parametrize(
    ("image", "current", "message"),
    [
        (
            TRUSTED,
            STRICT,
            f'denied by image trust policy: spec.containers[0].image "{TRUSTED}": this namespace requires '
            "images pinned to a digest, and no webhook pinned it. Try again. If the problem persists, contact "
            "your cluster administrators.",
        ),
        (
            UNTRUSTED,
            STRICT,
            f'denied by image trust policy: spec.containers[0].image "{UNTRUSTED}": SWR does not mark this tag '
            "as trusted. Mark this tag as trusted in SWR, or use a tag that already is.",
        ),
        (
            TRUSTED,
            policy(rules=(rule("r", require_digest=True),)),
            f'denied by image trust policy: spec.containers[0].image "{TRUSTED}": this namespace requires '
            "images pinned to a digest. Write name:tag@sha256:..., with the digest that SWR shows for the tag. "
            "With pinDigests, the webhook writes it.",
        ),
        (
            MOVED,
            PINS,
            f'denied by image trust policy: spec.containers[0].image "{MOVED}": the pinned digest is not the '
            "digest of this tag in SWR. If you wrote the tag alone, it has just been moved: try again. "
            "Otherwise pin the digest that SWR shows for the tag.",
        ),
    ],
    ids=["not pinned", "not trusted", "pinning is off", "moved"],
)
def test_denial_of_unpinned_image_names_the_cause(image: str, current: Policy, message: str) -> None:
    """An image that is not trusted keeps its own cause: pinning cannot help it."""
    assert validate(pod(image), current) == message


def test_unpinned_image_is_denied_while_lookup_failures_are_allowed() -> None:
    """With ``requireDigest``, no image is admitted by its tag, not even during an outage of SWR."""
    current = policy(pin_digests=True, on_lookup_failure="allow", rules=(rule("r", require_digest=True),))
    down = FakeAnswers({"shop/web:1": RegistryUnavailable("down")})
    assert "no webhook pinned it" in validate(pod(TRUSTED), current, down)


def test_template_by_tag_is_admitted_if_its_pods_are_pinned() -> None:
    """A warning on each Deployment would ask for a digest that the webhook writes."""
    rest: dict[str, Any] = {"resource": ("apps", "v1", "deployments"), "kind": "Deployment"}
    pins = policy(pin_digests=True, workloads="enforce", rules=(rule("r", require_digest=True),))
    without = policy(workloads="enforce", rules=(rule("r", require_digest=True),))
    assert validate(workload(TRUSTED), pins, **rest) == ""
    assert "requires images pinned to a digest" in validate(workload(TRUSTED), without, **rest)


@pytest.mark.parametrize("mode", ["audit", "warn"])
@pytest.mark.parametrize(
    "fact",
    [TrustStatus.UNTRUSTED, RegistryUnavailable("down"), TrustRecord(TrustStatus.TRUSTED, NOW, OTHER_DIGEST)],
)
def test_pod_that_mode_of_its_tag_admits_is_not_denied_as_pinned(
    mode: str, fact: TrustStatus | TrustRecord | RegistryUnavailable
) -> None:
    """The rule does not match the pinned image, and the answer of SWR changes before ``/validate``."""
    current = policy(pin_digests=True, rules=(rule("dev", [f"{HOST}/shop/web:1"], mode=mode),))
    stored, _ = mutate(pod(TRUSTED), current)
    assert validate(stored, current, FakeAnswers({"shop/web:1": fact})) == ""


def test_break_glass_does_not_stop_pinning() -> None:
    """A trusted image beside the one that needs break-glass is pinned as usual."""
    current = policy(pin_digests=True, break_glass=BreakGlass(users=frozenset({"dev"})))
    obj = pod(TRUSTED, UNTRUSTED)
    obj["metadata"]["annotations"] = {"swr-trust/break-glass": "incident 7"}
    stored, _ = mutate(obj, current)
    assert images_of(stored) == [PINNED, UNTRUSTED]
    assert validate(stored, current) == ""


# Failures.


class Broken(FakeAnswers):
    """Fails as no lookup may."""

    def look_up(self, questions: Sequence[LookupRequest], deadline: Deadline) -> list[LookupResult]:
        raise RuntimeError("broken")


def test_internal_error_leaves_pod_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    """``/validate`` decides, and the error is in the log."""
    stored, mutation = mutate(pod(TRUSTED), answers=Broken({}))
    assert images_of(stored) == [TRUSTED]
    assert (mutation.outcome, mutation.annotations) == (Outcome.ERROR, {"error": "crash"})
    assert "failed to pin images" in caplog.text


class Spy:
    """Records the outcomes; fails if it is told to."""

    def __init__(self, *, fails: bool = False) -> None:
        self.seen: list[Outcome] = []
        self._fails = fails

    def observe_mutation(self, request: AdmissionRequest, mutation: Mutation, seconds: float) -> None:
        if self._fails:
            raise RuntimeError
        self.seen.append(mutation.outcome)


def test_observers_see_each_mutation_even_if_one_fails() -> None:
    """As for decisions."""
    spy = Spy()
    it = Mutator(lambda: PINS, FakeAnswers(FACTS), [Spy(fails=True), spy], clock=lambda: NOW)
    it.mutate(request(pod(TRUSTED)), SOON)
    it.skip_as_busy(request(pod(TRUSTED)))
    assert spy.seen == [Outcome.PINNED, Outcome.BUSY]


def test_images_of_both_calls_count_in_one_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fault C2: otherwise twice as many images could be awaited, and their memory is limited."""
    monkeypatch.setattr(selection, "MAX_AWAITED", 2 * FEW)
    waited: list[bool] = []
    awaited = AwaitedImages()
    many = pod(*[f"{HOST}/shop/many:{number}" for number in range(FEW + 1)])

    class Nested(FakeAnswers):
        def look_up(self, questions: Sequence[LookupRequest], deadline: Deadline) -> list[LookupResult]:
            waited.append(not deadline.expired)
            if len(waited) == 1:
                validator.validate(request(many), SOON)
            return super().look_up(questions, deadline)

    answers = Nested(FACTS)
    validator = Validator(lambda: PINS, answers, clock=lambda: NOW, awaited=awaited)
    Mutator(lambda: PINS, answers, clock=lambda: NOW, awaited=awaited).mutate(request(many), SOON)
    assert waited == [True, False]
