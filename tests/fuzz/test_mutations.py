"""No mutation changes anything but image strings, or the decision on a Pod to a denial."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.effort import seeds, thorough
from tests.fuzz.inputs import Requests, damaged, enclose
from tests.fuzz.oracle import GOOD, HOSTS, TRUSTED
from tests.support.builders import NOW, SOON, FakeAnswers, exemption, policy, rule
from tests.support.json_patch import apply_patch, patch_of
from webhook.admission.mutation import Outcome
from webhook.admission.mutator import Mutator
from webhook.admission.review import read_review, write_mutation
from webhook.admission.validator import Validator
from webhook.errors import BadReviewError, RegistryUnavailable
from webhook.policy.model import Policy
from webhook.trust.records import TrustRecord, TrustStatus

RECORD = TrustRecord(TrustStatus.TRUSTED, NOW, GOOD)
FACTS: dict[str, Any] = {
    "shop/web:1": RECORD,
    "shop/tools/web:1": RECORD,
    "shop/web:2": TrustStatus.UNTRUSTED,
}
ANSWERS = FakeAnswers(FACTS)
LATER = (
    ANSWERS,
    FakeAnswers(dict.fromkeys(FACTS, TrustStatus.UNTRUSTED)),
    FakeAnswers(dict.fromkeys(FACTS, RegistryUnavailable("down"))),
)
"""What ``/validate`` may learn after the mutation: the same, lost trust, or nothing."""
PINS = policy(pin_digests=True)
TAGS = tuple(image for image in TRUSTED if "@" not in image)


def mutate(request: dict[str, Any], current: Policy = PINS) -> list[dict[str, Any]] | None:
    """Return the operations of the patch for a raw request, ``None`` for a failed call."""
    try:
        read = read_review(enclose(request))
    except BadReviewError:
        return None
    mutation = Mutator(lambda: current, ANSWERS, clock=lambda: NOW).mutate(read, SOON)
    assert mutation.outcome is not Outcome.ERROR, "the mutator crashed"
    response = json.loads(write_mutation(read.uid, mutation))["response"]
    assert (response["uid"], response["allowed"]) == (read.uid, True)
    return patch_of(response)


def is_admitted(request: dict[str, Any], current: Policy, answers: FakeAnswers = ANSWERS) -> bool:
    """Return whether ``/validate`` admits a raw request."""
    validator = Validator(lambda: current, answers, clock=lambda: NOW)
    return validator.validate(read_review(enclose(request)), SOON).allowed


def texts(value: Any) -> Iterator[str]:
    """Yield the image strings of a Pod: every text of the keys ``image`` and ``reference``."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key in ("image", "reference") and isinstance(inner, str):
                yield inner
            else:
                yield from texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from texts(inner)


def without_images(value: Any) -> Any:
    """Return a copy of a Pod with all image strings replaced by the same text."""
    if isinstance(value, dict):
        return {
            key: "-" if key in ("image", "reference") and isinstance(inner, str) else without_images(inner)
            for key, inner in value.items()
        }
    return [without_images(inner) for inner in value] if isinstance(value, list) else value


def is_trusted_tag(image: str) -> bool:
    """Whether an image is a trusted tag, written as in the list."""
    host, slash, rest = image.partition("/")
    return bool(slash) and host.lower() in HOSTS and rest in TAGS


def requests() -> Iterator[dict[str, Any]]:
    """Yield generated requests, most of them about Pods."""
    for seed in seeds(20):
        maker = Requests(Random(seed))
        for _ in range(20):
            yield maker.make()


def test_patch_changes_image_strings_of_trusted_tags_only() -> None:
    """Everything else is the same, byte for byte."""
    pinned = 0
    for request in requests():
        operations = mutate(request)
        if not operations:
            continue
        before = request["object"]
        after = apply_patch(before, operations)
        assert json.dumps(without_images(after)) == json.dumps(without_images(before))
        old = set(texts(request.get("oldObject")))
        for was, now in zip(texts(before), texts(after), strict=True):
            if was != now:
                pinned += 1
                # A kept image is that of the old object, whose host may be written in another case.
                assert now in old or (now == f"{was}@{GOOD}" and is_trusted_tag(was))
    assert pinned > 100


def test_every_new_trusted_tag_of_a_created_pod_is_pinned() -> None:
    """Unless the Pod cannot be read: then it is denied."""
    seen = 0
    for request in requests():
        is_pod = request["resource"]["resource"] == "pods" and request["subResource"] == ""
        if not is_pod or request["operation"] != "CREATE" or not is_admitted(request, PINS):
            continue
        after = apply_patch(request["object"], mutate(request) or [])
        if "kubernetes.io/config.mirror" not in json.dumps(after):
            seen += 1
            assert not [image for image in texts(after) if is_trusted_tag(image)]
    assert seen > 100


POLICIES = (
    PINS,
    policy(pin_digests=True, digest_only="resolve", unmanaged_registries="allow"),
    policy(pin_digests=True, rules=(rule("tag", [f"{HOSTS[0]}/shop/web:*"]), rule("r", require_digest=True))),
    policy(
        pin_digests=True,
        rules=(rule("tag", ["**:1"]), rule("always", require_pull_always=True)),
    ),
    policy(
        rules=(
            rule("off", [f"{HOSTS[0]}/shop/web:*"], pin_digests=False),
            rule("on", mode="warn", pin_digests=True),
        )
    ),
    policy(pin_digests=True, exemptions=(exemption("e", [f"**@{GOOD}"]),)),
    policy(pin_digests=True, rules=(rule("tag", ["**:1"], mode="audit"),)),
    policy(pin_digests=True, on_lookup_failure="allow", rules=(rule("tag", ["**:1"], mode="warn"),)),
)


def test_mutation_never_turns_admission_into_denial_and_is_idempotent() -> None:
    """Under rules with tags, digests, modes and requirements, also if SWR's answer has changed since. The API
    server may call it again.
    """
    for number, request in enumerate(requests()):
        current = POLICIES[number % len(POLICIES)]
        operations = mutate(request, current)
        if not operations:
            continue
        mutated = copy.deepcopy(request)
        mutated["object"] = apply_patch(request["object"], operations)
        for answers in LATER:
            assert is_admitted(mutated, current, answers) or not is_admitted(request, current, answers)
        assert mutate(mutated, current) == []


@thorough
@given(damaged())
def test_damaged_body_does_not_crash_mutator(body: bytes) -> None:
    """It is mutated as it can be read, or not at all."""
    try:
        read = read_review(body)
    except BadReviewError:
        return
    mutation = Mutator(lambda: PINS, ANSWERS, clock=lambda: NOW).mutate(read, SOON)
    assert mutation.outcome is not Outcome.ERROR


@thorough
@given(st.text(max_size=40))
def test_patch_of_any_container_name_names_the_same_place(name: str) -> None:
    """A path is made of list and index, never of a name."""
    obj = {"spec": {"containers": [{"name": name, "image": f"{HOSTS[0]}/shop/web:1"}]}}
    request = Requests(Random(0)).make() | {
        "object": obj,
        "oldObject": None,
        "operation": "CREATE",
        "subResource": "",
        "kind": {"group": "", "version": "v1", "kind": "Pod"},
        "resource": {"group": "", "version": "v1", "resource": "pods"},
    }
    operations = mutate(request)
    assert operations is not None
    assert [item["path"] for item in operations] == ["/spec/containers/0/image"] * 2
