"""Mistakes that would open a bypass, each with the test that detects it.

A mistake is an edit of the source: it removes a defense, or adds a shortcut that other admission webhooks
really had. ``make defences`` applies each of them to a copy of the repository and requires that its test
fails there. The suite checks that the edits still fit the source, and that every case of
``docs/threat-model.md`` has one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

EXTRACTION: Final = "webhook/admission/extraction.py"
VALIDATOR: Final = "webhook/admission/validator.py"
EVALUATOR: Final = "webhook/admission/evaluator.py"
OBJECTS: Final = "webhook/admission/objects.py"
DECISION: Final = "webhook/admission/decision.py"
REVIEW: Final = "webhook/admission/review.py"
MODEL: Final = "webhook/policy/model.py"
REFERENCE: Final = "webhook/images/reference.py"
PATTERNS: Final = "webhook/images/patterns.py"
REGISTRIES: Final = "webhook/registries.py"
ANSWERS: Final = "webhook/swr/answers.py"
CLIENT: Final = "webhook/swr/client.py"
LISTS: Final = "webhook/swr/tag_lists.py"
TREES: Final = "webhook/cli/yaml_nodes.py"
NAMING: Final = "webhook/swr/naming.py"
TRANSPORT: Final = "webhook/swr/transport.py"
CACHE: Final = "webhook/trust/cache.py"
LOOKUP: Final = "webhook/trust/lookup.py"
FACTS: Final = "webhook/trust/replication.py"
SNAPSHOT: Final = "webhook/trust/snapshot.py"
SNAPSHOTS: Final = "webhook/cluster/snapshots.py"
RECORDS: Final = "webhook/trust/records.py"
REVIEWS: Final = "webhook/server/reviews.py"
RECORDING: Final = "webhook/app/decision_recorder.py"

T_VALIDATOR: Final = "tests/unit/admission/test_validator.py"
T_EVALUATOR: Final = "tests/unit/admission/test_evaluator.py"
T_EXTRACTION: Final = "tests/unit/admission/test_extraction.py"
T_REVIEW: Final = "tests/unit/admission/test_review.py"
T_REFERENCE: Final = "tests/unit/images/test_reference.py"
T_PATTERNS: Final = "tests/unit/images/test_patterns.py"
T_ANSWERS: Final = "tests/unit/swr/test_answers.py"
T_CLIENT: Final = "tests/unit/swr/test_client.py"
T_LISTS: Final = "tests/unit/swr/test_tag_lists.py"
T_CLI: Final = "tests/unit/cli/test_review.py"
T_MEMORY: Final = "tests/bypasses/test_cache.py"
T_SWR: Final = "tests/bypasses/test_hostile_swr.py"
T_CACHE: Final = "tests/unit/trust/test_cache.py"
T_FACTS: Final = "tests/unit/trust/test_replication.py"
T_SNAPSHOT: Final = "tests/unit/trust/test_snapshot.py"
T_KEPT: Final = "tests/contract/test_snapshot.py"
T_PROTOCOL: Final = "tests/bypasses/test_protocol.py"
FUZZ_REVIEWS: Final = "tests/fuzz/test_reviews.py"
FUZZ_ANSWERS: Final = "tests/fuzz/test_answers.py"
FUZZ_REFERENCES: Final = "tests/fuzz/test_references.py"
FUZZ_CONFIGURATION: Final = "tests/fuzz/test_configuration.py"

ANYWHERE: Final = f"{T_VALIDATOR}::test_untrusted_image_in_any_place_is_denied"
OBJECT: Final = f"{T_VALIDATOR}::test_metadata_does_not_make_object_trusted"
TABLE: Final = f"{T_EVALUATOR}::test_each_image_has_one_finding_and_one_effect"
MIRROR: Final = f"{T_EXTRACTION}::test_mirror_pod_is_accepted_from_its_own_node_only"


@dataclass(frozen=True, slots=True)
class Edit:
    """A piece of source that occurs once in ``path``, and its replacement."""

    path: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Mistake:
    """A wrong implementation of one of ``cases``, and the test (``path::name``) that then fails."""

    cases: tuple[str, ...]
    mistake: str
    test: str
    edits: tuple[Edit, ...]


def mistake(cases: str, what: str, test: str, *edits: tuple[str, str, str]) -> Mistake:
    """Return a mistake; ``cases`` are separated by spaces, an edit is path, old and new text."""
    return Mistake(tuple(cases.split()), what, test, tuple(Edit(*edit) for edit in edits))


_IGNORED: Final = "if target is TargetKind.IGNORED or"
_TRUST_OWNER: Final = (
    "if request.object and request.object.metadata and request.object.metadata.{what}:\n"
    "            return Decision.allow(target)\n        " + _IGNORED
)

MISTAKES: Final = (
    mistake(
        "T01 T02",
        "init containers and native sidecars are not evaluated",
        ANYWHERE,
        (EXTRACTION, "return spec.containers, spec.init_containers,", "return spec.containers, None,"),
    ),
    mistake(
        "T03",
        "ephemeral containers are not evaluated",
        ANYWHERE,
        (EXTRACTION, "spec.init_containers, spec.ephemeral_containers", "spec.init_containers, None"),
    ),
    mistake(
        "T03",
        "the subresource that kubectl debug uses is not evaluated",
        f"{T_EXTRACTION}::test_requests_are_classified",
        (EXTRACTION, 'frozenset({"status",', 'frozenset({"ephemeralcontainers", "status",'),
    ),
    mistake(
        "T04",
        "a debug container is denied because of another image of its Pod",
        f"{T_EXTRACTION}::test_only_added_container_is_evaluated",
        (EXTRACTION, "    if not old:\n        return uses\n", "    return uses\n"),
    ),
    mistake(
        "T05",
        "image volumes are not evaluated",
        ANYWHERE,
        (EXTRACTION, "        if volume.image is not None:", "        if volume.image is volume:"),
    ),
    mistake(
        "T06",
        "an update is not evaluated",
        f"{T_VALIDATOR}::test_update_is_evaluated_for_changed_images_only",
        (
            EXTRACTION,
            'IGNORED_OPERATIONS: Final = frozenset({"DELETE",',
            'IGNORED_OPERATIONS: Final = frozenset({"UPDATE", "DELETE",',
        ),
    ),
    mistake(
        "T06",
        "an image counts as known anywhere in the old object",
        f"{T_EXTRACTION}::test_swapped_images_are_evaluated",
        (
            EXTRACTION,
            "if before.get(use.place) != (use.image, use.pull_policy)]",
            "if (use.image, use.pull_policy) not in before.values()]",
        ),
    ),
    mistake(
        "T07 T04",
        "an update is evaluated like a creation",
        f"{T_VALIDATOR}::test_update_is_evaluated_for_changed_images_only",
        (VALIDATOR, 'request.operation == "UPDATE"', 'request.operation == "NEVER"'),
    ),
    mistake(
        "T08",
        "an update that scales down is never evaluated",
        f"{T_VALIDATOR}::test_image_change_with_scale_down_is_evaluated",
        (OBJECTS, '    node_name: str = ""\n', '    node_name: str = ""\n    replicas: int | None = None\n'),
        (
            VALIDATOR,
            _IGNORED,
            "if request.old_object and request.object and request.object.spec and request.old_object.spec and (\n"
            "            request.object.spec.replicas < request.old_object.spec.replicas\n        ):\n"
            "            return Decision.allow(target)\n        " + _IGNORED,
        ),
    ),
    mistake(
        "T09",
        "an object that is being deleted is not evaluated",
        OBJECT,
        (
            OBJECTS,
            '    uid: str = ""\n\n\nclass Container',
            '    uid: str = ""\n    deletionTimestamp: str | None = None\n\n\nclass Container',
        ),
        (OBJECTS, 'class ObjectMeta(msgspec.Struct, rename="camel")', "class ObjectMeta(msgspec.Struct)"),
        (VALIDATOR, _IGNORED, _TRUST_OWNER.format(what="deletionTimestamp")),
    ),
    mistake(
        "T10",
        "a workload with zero replicas is not evaluated",
        f"{T_VALIDATOR}::test_deployment_with_zero_replicas_is_evaluated",
        (OBJECTS, '    node_name: str = ""\n', '    node_name: str = ""\n    replicas: int | None = None\n'),
        (
            VALIDATOR,
            _IGNORED,
            "if request.object and request.object.spec and request.object.spec.replicas == 0:\n"
            "            return Decision.allow(target)\n        " + _IGNORED,
        ),
    ),
    mistake(
        "T11",
        "a placeholder is admitted in a Pod, too",
        TABLE,
        (EVALUATOR, "if use.template and use.image in PLACEHOLDERS:", "if use.image in PLACEHOLDERS:"),
    ),
    mistake(
        "T11",
        "a placeholder in a template is denied",
        f"{T_EVALUATOR}::test_placeholder_in_template_causes_warning_only",
        (EVALUATOR, "if use.template and use.image in PLACEHOLDERS:", "if not use.image and not use.place:"),
    ),
    mistake(
        "T12",
        "an unknown kind is admitted",
        f"{T_VALIDATOR}::test_request_that_cannot_be_evaluated_is_treated_by_mode",
        (VALIDATOR, "if target is TargetKind.UNKNOWN:", "if target is None:"),
        (VALIDATOR, _IGNORED, "if target in (TargetKind.IGNORED, TargetKind.UNKNOWN) or"),
    ),
    mistake(
        "T12",
        "an object without a Pod spec has no image and is admitted",
        f"{T_VALIDATOR}::test_request_that_cannot_be_evaluated_is_treated_by_mode",
        (VALIDATOR, "        return None, 0\n", "        return [], 0\n"),
    ),
    mistake(
        "T12 T25",
        "no rule applies to an invalid reference",
        f"{T_VALIDATOR}::test_unreadable_image_does_not_bypass_strict_rule",
        (MODEL, "self._index.catching_all & scope.rules", "0"),
    ),
    mistake(
        "T13 T15",
        "the owner references of a Pod are trusted",
        OBJECT,
        (VALIDATOR, _IGNORED, _TRUST_OWNER.format(what="owner_references")),
    ),
    mistake(
        "T14",
        "an empty list of owners counts as approved owners",
        OBJECT,
        (VALIDATOR, _IGNORED, _TRUST_OWNER.format(what="owner_references == []")),
    ),
    mistake(
        "T16",
        "a finding in an annotation of the Pod is trusted",
        OBJECT,
        (
            VALIDATOR,
            _IGNORED,
            _TRUST_OWNER.format(what='annotation("swr-trust/verified")'),
        ),
    ),
    mistake(
        "T17",
        "any user may use break-glass",
        f"{T_VALIDATOR}::test_break_glass_of_unauthorized_user_is_ignored",
        (
            MODEL,
            "        return username in self.users or",
            "        return True or username in self.users or",
        ),
    ),
    mistake(
        "T17",
        "an unnecessary use of break-glass is not recorded",
        f"{T_VALIDATOR}::test_break_glass_is_recorded_even_if_not_needed",
        (
            VALIDATOR,
            "        if break_glass is not None:\n            used",
            "        if break_glass is not None and effect is Effect.DENY:\n            used",
        ),
    ),
    mistake(
        "T18",
        "the annotation alone makes a mirror Pod",
        MIRROR,
        (EXTRACTION, '        and user.username == f"system:node:{pod.spec.node_name}"\n', ""),
    ),
    mistake(
        "T18",
        "a node may mirror Pods of another node",
        MIRROR,
        (
            EXTRACTION,
            'user.username == f"system:node:{pod.spec.node_name}"',
            'user.username.startswith("system:node:")',
        ),
    ),
    mistake(
        "T19",
        "a registry is recognized by a prefix of its host",
        TABLE,
        (
            REGISTRIES,
            "self._by_host.get(reference.domain, ())",
            "[r for h, all_of in self._by_host.items() if reference.domain.startswith(h) for r in all_of]",
        ),
    ),
    mistake(
        "T19",
        "a pattern's host is compared by its suffix without the dot",
        f"{T_PATTERNS}::test_patterns_match_whole_components",
        (PATTERNS, "suffix = self.domain[1:]", "suffix = self.domain[2:]"),
    ),
    mistake(
        "T20",
        "a pattern is compared by a prefix of the path",
        f"{T_PATTERNS}::test_patterns_match_whole_components",
        (PATTERNS, '"".join(f"{parent}/" for parent in parents) if', '"/".join(parents) if'),
    ),
    mistake(
        "T20",
        "a name without a host is not Docker Hub's",
        f"{T_PATTERNS}::test_patterns_match_whole_components",
        (REFERENCE, '        if "/" not in path:\n            path = f"{OFFICIAL_NAMESPACE}/{path}"\n', ""),
    ),
    mistake(
        "T21",
        "an unknown region is looked up in the first one",
        TABLE,
        (
            REGISTRIES,
            "                return registry\n        return None",
            "                return registry\n        return self.registries[0]",
        ),
    ),
    mistake(
        "T22",
        "a dollar sign is sent in the path, where it means a slash",
        f"{T_SWR}::test_nested_repository_is_sent_with_dollar_separators",
        (
            REFERENCE,
            '_PATH_COMPONENT: Final = re.compile(r"[a-z0-9]+',
            '_PATH_COMPONENT: Final = re.compile(r"[a-z0-9$]+',
        ),
        (NAMING, '_REST: Final = r"[a-z0-9]*', '_REST: Final = r"[a-z0-9$]*'),
    ),
    mistake(
        "T23",
        "names are validated by SWR only",
        f"{T_SWR}::test_hostile_name_is_denied_without_call",
        (
            REFERENCE,
            '_PATH_COMPONENT: Final = re.compile(r"[a-z0-9]+',
            '_PATH_COMPONENT: Final = re.compile(r"[^/]+',
        ),
        (NAMING, '_REST: Final = r"[a-z0-9]*', '_REST: Final = r"[^/]*'),
    ),
    mistake(
        "T24",
        "the port is not part of the host",
        TABLE,
        (
            REGISTRIES,
            "self._by_host.get(reference.domain, ())",
            'self._by_host.get(reference.domain.replace(":444", ""), ())',
        ),
    ),
    mistake(
        "T24",
        "an internal address is recognized without configuration",
        TABLE,
        (
            REGISTRIES,
            "self._by_host.get(reference.domain, ())",
            'self._by_host.get(reference.domain, self.registries if ":20202" in reference.domain else ())',
        ),
    ),
    mistake(
        "T25",
        "a digest without a tag is read as latest",
        f"{T_SWR}::test_digest_only_image_requires_all_tags_trusted",
        (REFERENCE, "    if tag is None and not at:", "    if tag is None:"),
    ),
    mistake(
        "T25",
        "a digest is trusted if one of its tags is, although another is not",
        f"{T_CLIENT}::test_digest_is_trusted_if_all_its_tags_are",
        (
            CLIENT,
            "trusted = all(tag.trusted for tag in holders)",
            "trusted = any(entry.trusted for entry in holders)",
        ),
    ),
    mistake(
        "T26",
        "a trusted tag is admitted with any digest",
        f"{T_EVALUATOR}::test_each_lookup_result_has_one_finding",
        (
            EVALUATOR,
            "case TrustStatus.TRUSTED if reference.digest in (None, record.digest):",
            "case TrustStatus.TRUSTED if reference:",
        ),
    ),
    mistake(
        "T27",
        "the last matching rule applies",
        TABLE,
        (
            MODEL,
            "self._index.rules.match(reference, scope.rules, pause=pause)",
            "self._index.rules.match(reference, scope.rules, 0, pause)",
        ),
        (
            MODEL,
            "for position in positions_in(possible)]",
            "for position in [*positions_in(possible)][-1:]]",
        ),
    ),
    mistake(
        "T28",
        "using a record extends its time",
        f"{T_MEMORY}::test_revoked_image_is_denied_after_cache_trusted",
        (
            CACHE,
            "            return record if self._is_fresh(record, self.settings.trusted) else None\n",
            "            from dataclasses import replace\n\n"
            "            if self._is_fresh(record, self.settings.trusted):\n"
            "                self._trusted[key] = replace(record, fetched_at=self._clock())\n"
            "                return record\n"
            "            return None\n",
        ),
    ),
    mistake(
        "T28",
        "the cache ignores the digest of a tag",
        f"{T_MEMORY}::test_cached_record_does_not_apply_to_other_digest",
        (LOOKUP, "if request.pinned is None or record.status is not TrustStatus.TRUSTED:", "if record:"),
        (
            EVALUATOR,
            "case TrustStatus.TRUSTED if reference.digest in (None, record.digest):",
            "case TrustStatus.TRUSTED if reference:",
        ),
    ),
    mistake(
        "T29",
        "a refusal is cached as long as trust",
        f"{T_MEMORY}::test_newly_trusted_image_is_admitted_after_cache_refused",
        (
            CACHE,
            "self._is_fresh(record, self.settings.refused)",
            "self._is_fresh(record, self.settings.trusted)",
        ),
    ),
    mistake(
        "T29",
        "a failed lookup is cached like an answer",
        f"{T_MEMORY}::test_failed_lookup_is_not_cached",
        (
            LOOKUP,
            "            if self._pending.get(pending.query.key) is pending:",
            "            if pending.failure is None and self._pending.get(pending.query.key) is pending:",
        ),
    ),
    mistake(
        "T30",
        "a new policy reuses decisions of the old one",
        f"{T_MEMORY}::test_decision_of_old_policy_is_not_reused",
        (VALIDATOR, "if evaluator is None or evaluator.policy is not policy:", "if evaluator is None:"),
    ),
    mistake(
        "T30",
        "registries of the same host share cached records",
        f"{T_MEMORY}::test_redefined_registry_starts_with_empty_cache",
        (
            RECORDS,
            "return (self.registry.key, self.organization",
            "return (self.registry.name, self.organization",
        ),
    ),
    mistake(
        "T31",
        "a node may use a cached image of a tag although a rule forbids it",
        TABLE,
        (
            EVALUATOR,
            'if rule is not None and rule.require_pull_always and use.pull_policy != "Always":',
            "if rule is use:",
        ),
    ),
    mistake(
        "T32",
        "the cache key is the repository without the tag",
        f"{T_MEMORY}::test_concurrent_requests_get_own_results",
        (
            RECORDS,
            "return (self.registry.key, self.organization, self.repository, what)",
            'return (self.registry.key, self.organization, self.repository, "")',
        ),
    ),
    mistake(
        "T33",
        "concurrent lookups of one image are not merged",
        f"{T_MEMORY}::test_concurrent_lookups_of_one_image_make_one_call",
        (
            LOOKUP,
            "        pending = self._pending.get(key)\n        if pending is None:",
            "        pending = self._pending.get(key)\n        if True:",
        ),
    ),
    mistake(
        "T34",
        "the cache of records has no bound",
        f"{T_MEMORY}::test_cache_size_is_bounded",
        (CACHE, "TLRUCache(maxsize=self.settings.max_entries,", "TLRUCache(maxsize=10**9,"),
    ),
    mistake(
        "T34",
        "the cache of matches has no bound",
        f"{T_MEMORY}::test_parse_and_match_caches_are_bounded",
        (MODEL, "lru_cache(maxsize=MAX_REMEMBERED)", "lru_cache(maxsize=None)"),
    ),
    mistake(
        "T34",
        "a namespace's name may be megabytes long",
        f"{T_REVIEW}::test_too_long_request_names_are_bad_request",
        ("webhook/admission/request.py", "msgspec.Meta(max_length=MAX_NAME)", "msgspec.Meta(min_length=0)"),
    ),
    mistake(
        "T35",
        "any truthy value is trust",
        f"{T_SWR}::test_only_json_true_is_trusted",
        (
            ANSWERS,
            "TrustStatus.TRUSTED if answer.is_trusted is True else",
            "TrustStatus.TRUSTED if answer.is_trusted else",
        ),
    ),
    mistake(
        "T36",
        "an answer about another tag is accepted",
        f"{T_SWR}::test_response_about_other_image_is_not_accepted",
        (ANSWERS, "if answer.tag != query.tag:", "if answer.tag is query:"),
    ),
    mistake(
        "T36",
        "an answer about another image is accepted",
        f"{T_SWR}::test_response_about_other_image_is_not_accepted",
        (ANSWERS, 'answer.path.partition("/")[2] != image:', "not answer.path:"),
    ),
    mistake(
        "T36",
        "certificates are not verified",
        f"{T_SWR}::test_server_certificate_of_unknown_ca_is_rejected",
        (
            "webhook/tls_contexts.py",
            "    context.minimum_version",
            "    context.check_hostname = False\n    context.verify_mode = ssl.CERT_NONE\n"
            "    context.minimum_version",
        ),
    ),
    mistake(
        "T37",
        "a redirect is followed",
        f"{T_SWR}::test_redirect_is_not_followed",
        (
            TRANSPORT,
            "            redirect=False,\n            retries=False,",
            "            redirect=True,\n            retries=3,",
        ),
    ),
    mistake(
        "T38",
        "an answer has no size limit",
        f"{T_SWR}::test_endless_response_is_aborted_at_deadline",
        (TRANSPORT, "if size > request.max_answer:", "if size < 0:"),
    ),
    mistake(
        "T38",
        "only a single read has a timeout, not the call",
        f"{T_SWR}::test_endless_response_is_aborted_at_deadline",
        (
            TRANSPORT,
            "            with timeout_at(Deadline(deadline.at + _GRACE)):",
            "            if request is not None:",
        ),
    ),
    mistake(
        "T39",
        "any 404 means that the image does not exist",
        f"{T_SWR}::test_each_failure_status_has_own_reason_and_denies",
        (ANSWERS, "    if not numbers:\n", "    if numbers == codes:\n"),
    ),
    mistake(
        "T39",
        "another account's image counts as an outage",
        f"{T_SWR}::test_lenient_policy_admits_only_during_outages",
        ("webhook/errors.py", "return self.fault is Fault.REGISTRY and self.transient", "return True"),
    ),
    mistake(
        "T40",
        "a lookup that is not finished in time is trusted",
        f"{T_MEMORY}::test_review_with_hanging_lookup_is_denied_at_deadline",
        (
            EVALUATOR,
            "return CheckResult(Finding.UNKNOWN, failure.reason, failure=failure)\n            case Found",
            "return CheckResult(Finding.TRUSTED)\n            case Found",
        ),
    ),
    mistake(
        "T40",
        "a review waits until the lookup ends",
        f"{T_MEMORY}::test_review_with_hanging_lookup_is_denied_at_deadline",
        (LOOKUP, "pending.wait(deadline.remaining())", "pending.wait(60)"),
    ),
    mistake(
        "T41",
        "the images of a Pod are looked up one after the other",
        f"{T_MEMORY}::test_images_of_pod_are_looked_up_concurrently",
        (
            EVALUATOR,
            "found = self._answers.look_up(list(lookups.values()), deadline)",
            "found = [a for q in lookups.values() for a in self._answers.look_up([q], deadline)]",
        ),
    ),
    mistake(
        "T42",
        "exempt images are looked up, too",
        f"{T_MEMORY}::test_exempt_image_is_not_looked_up",
        (
            EVALUATOR,
            "            return _Pending(use, reference, None, exemption, CheckResult(Finding.EXEMPT))\n",
            "            if parsed.query is not None:\n"
            "                self._answers.look_up([LookupRequest(parsed.query, None, namespace)], deadline=Deadline.after(5))\n"
            "            return _Pending(use, reference, None, exemption, CheckResult(Finding.EXEMPT))\n",
        ),
    ),
    mistake(
        "T43",
        "an internal exception is passed to the web server",
        f"{T_VALIDATOR}::test_internal_error_is_denied_if_any_rule_enforces",
        (VALIDATOR, "            decision = _crash(evaluator, request, target)\n", "            raise\n"),
    ),
    mistake(
        "T43",
        "an internal error admits",
        f"{T_VALIDATOR}::test_internal_error_is_denied_if_any_rule_enforces",
        (
            VALIDATOR,
            "    if effect is Effect.DENY:\n        return Decision.deny(target, message, status",
            "    if effect is Effect.DENY and status is not INTERNAL_ERROR:\n"
            "        return Decision.deny(target, message, status",
        ),
    ),
    mistake(
        "T44",
        "an old version of the protocol is read as the new one",
        f"{T_PROTOCOL}::test_call_without_valid_review_gets_error",
        (REVIEW, "if review.api_version != API_VERSION:", "if not review.api_version:"),
    ),
    mistake(
        "T44",
        "an object of the wrong shape makes the call fail",
        f"{T_PROTOCOL}::test_every_review_is_answered_with_its_uid",
        (
            REVIEW,
            "        return _read_loosely(body, str(error), pause)",
            "        raise BadReviewError(400, str(error)) from None",
        ),
    ),
    mistake(
        "T45",
        "a label decides whether an object is evaluated",
        f"{T_PROTOCOL}::test_namespace_label_does_not_admit_untrusted_image",
        (
            OBJECTS,
            '    uid: str = ""\n\n\nclass Container',
            '    uid: str = ""\n    labels: dict[str, str] | None = None\n\n\nclass Container',
        ),
        (
            VALIDATOR,
            _IGNORED,
            _TRUST_OWNER.format(what='labels and "swr-trust/ignore" in request.object.metadata.labels'),
        ),
    ),
    mistake(
        "T46",
        "an unknown namespace is skipped",
        f"{T_PROTOCOL}::test_every_review_is_answered_with_its_uid",
        (VALIDATOR, _IGNORED, "if not request.namespace or target is TargetKind.IGNORED or"),
    ),
    mistake(
        "T46",
        "a glob matches any part of a namespace's name",
        f"{T_PROTOCOL}::test_every_review_is_answered_with_its_uid",
        (
            "webhook/policy/pattern_index.py",
            "self._globs.add(glob, (glob, held))",
            'self._globs.add("*" + glob, ("*" + glob, held))',
        ),
    ),
    mistake(
        "T50",
        "an untrusted image that a lenient mode admits is not counted",
        f"{T_PROTOCOL}::test_admitted_untrusted_image_is_counted",
        (EVALUATOR, "return Effect.WARN if mode is Mode.WARN else Effect.AUDIT", "return Effect.ALLOW"),
    ),
    mistake(
        "T43",
        "an object that nests too deeply makes the call fail",
        f"{T_REVIEW}::test_too_deeply_nested_object_is_unreadable_but_keeps_uid",
        (REVIEW, 'request = read_beginning(body, f"it {what}")', "request = None"),
    ),
    mistake(
        "T43 T44",
        "an object that is too large makes the call fail",
        f"{T_PROTOCOL}::test_too_large_object_is_denied_with_its_uid",
        (
            REVIEWS,
            "    if review is None:\n        raise BadReviewError(413",
            "    if review:\n        raise BadReviewError(413",
        ),
    ),
    mistake(
        "T41",
        "a Pod of tens of thousands of images delays all other reviews",
        f"{T_VALIDATOR}::test_request_that_cannot_be_evaluated_is_treated_by_mode",
        (VALIDATOR, "        if count > MAX_IMAGES:", "        if not policy:"),
        (VALIDATOR, "    if count > MAX_EXTRACTED:", "    if count < 0:"),
    ),
    mistake(
        "T31",
        "an audit assumes that a node runs the current image of a tag",
        "tests/unit/audit/test_scanning.py::test_node_with_another_digest_is_reported",
        ("webhook/audit/scanning.py", "and running != current:", "and running == current:"),
    ),
    # The same kind of mistake, found by random inputs.
    mistake(
        "T01 T02",
        "only the first two containers of a list are evaluated",
        f"{FUZZ_REVIEWS}::test_generated_request_does_not_admit_untrusted_image",
        (EXTRACTION, "enumerate(containers or ()):", "enumerate((containers or ())[:2]):"),
    ),
    mistake(
        "T05",
        "an image volume beside an ordinary one is not evaluated",
        f"{FUZZ_REVIEWS}::test_generated_request_does_not_admit_untrusted_image",
        (
            EXTRACTION,
            "        if volume.image is not None:",
            "        if volume.image is not None and index == 0:",
        ),
    ),
    mistake(
        "T06",
        "every image of the old object counts as known",
        f"{FUZZ_REVIEWS}::test_generated_request_does_not_admit_untrusted_image",
        (
            EXTRACTION,
            "if before.get(use.place) != (use.image, use.pull_policy)]",
            "if (use.image, use.pull_policy) not in before.values()]",
        ),
    ),
    mistake(
        "T12",
        "an unreadable object counts as one without images",
        f"{FUZZ_REVIEWS}::test_generated_request_does_not_admit_untrusted_image",
        (
            REVIEW,
            "        request.unreadable = why\n",
            "        request.object = _object_decoder.decode(b'{\"spec\":{}}')\n",
        ),
    ),
    mistake(
        "T26",
        "a pinned digest is not compared",
        f"{FUZZ_REVIEWS}::test_generated_request_does_not_admit_untrusted_image",
        (
            EVALUATOR,
            "case TrustStatus.TRUSTED if reference.digest in (None, record.digest):",
            "case TrustStatus.TRUSTED if reference:",
        ),
    ),
    mistake(
        "T19",
        "white space and a scheme are removed from an image",
        f"{FUZZ_REFERENCES}::test_image_is_trusted_only_on_exact_match",
        (
            EVALUATOR,
            "reference = parse_reference(image)",
            'reference = parse_reference(image.strip().removeprefix("http://"))',
        ),
    ),
    mistake(
        "T20",
        "an exemption is compared as a prefix",
        f"{FUZZ_REFERENCES}::test_exemption_covers_only_matching_images",
        (PATTERNS, '"".join(f"{parent}/" for parent in parents) if', '"/".join(parents) if'),
        # The index of patterns would not even find it.
        (
            "webhook/policy/pattern_index.py",
            'self._of_host.add(f"{pattern.domain}/{path}", (pattern, held))',
            'self._of_any_host.add("*", (pattern, held))',
        ),
    ),
    mistake(
        "T23",
        "a name may contain anything but a slash",
        f"{FUZZ_REFERENCES}::test_parsed_reference_round_trips",
        (
            REFERENCE,
            '_PATH_COMPONENT: Final = re.compile(r"[a-z0-9]+',
            '_PATH_COMPONENT: Final = re.compile(r"[^/]+',
        ),
    ),
    mistake(
        "T35",
        "every truthy value is trust",
        f"{FUZZ_ANSWERS}::test_only_exact_response_is_trusted",
        (
            ANSWERS,
            "TrustStatus.TRUSTED if answer.is_trusted is True else",
            "TrustStatus.TRUSTED if answer.is_trusted else",
        ),
    ),
    mistake(
        "T36",
        "an answer about any tag is accepted",
        f"{FUZZ_ANSWERS}::test_only_exact_response_is_trusted",
        (ANSWERS, "if answer.tag != query.tag:", "if answer.tag is query:"),
    ),
    mistake(
        "T25",
        "one trusted tag of a digest is enough",
        f"{FUZZ_ANSWERS}::test_digest_is_trusted_only_by_complete_list",
        (
            CLIENT,
            "trusted = all(tag.trusted for tag in holders)",
            "trusted = any(entry.trusted for entry in holders)",
        ),
    ),
    mistake(
        "T50",
        "an unknown mode is lenient",
        f"{FUZZ_CONFIGURATION}::test_changed_configuration_is_rejected_or_applied_as_written",
        (
            "webhook/policy/schema.py",
            '_Mode = Literal["enforce", "warn", "audit"]',
            '_Mode = Literal["enforce", "warn", "audit", "Enforce", "off"]',
        ),
        (
            "webhook/policy/compiling.py",
            "        mode=Mode(model.mode),\n",
            '        mode=Mode(model.mode if model.mode in list(Mode) else "audit"),\n',
        ),
    ),
    mistake(
        "T52",
        "the signature of a snapshot is not verified",
        f"{T_KEPT}::test_invalid_snapshot_is_ignored_and_replaced",
        (SNAPSHOT, "if not hmac.compare_digest(", "if False and not hmac.compare_digest("),
    ),
    mistake(
        "T52",
        "the signature of a snapshot is verified after it is decompressed",
        f"{T_SNAPSHOT}::test_forged_snapshot_is_not_decompressed",
        (
            SNAPSHOT,
            "    if not hmac.compare_digest(",
            "    list(map(_unpack, _split(body)))\n    if not hmac.compare_digest(",
        ),
    ),
    mistake(
        "T52",
        "a snapshot is decompressed without a limit",
        f"{T_SNAPSHOT}::test_authentic_zip_bomb_is_rejected_with_little_memory",
        (SNAPSHOT, "unpacker.decompress(frame, MAX_FRAME)", "unpacker.decompress(frame)"),
    ),
    mistake(
        "T52",
        "records of a snapshot are fresh while SWR is available",
        f"{T_KEPT}::test_snapshot_is_not_used_while_swr_answers",
        (
            CACHE,
            "        record = _find(self._trusted, key)\n",
            "        record = _find(self._trusted, key) or self._imported.get(key)\n",
        ),
    ),
    mistake(
        "T52",
        "a snapshot extends trust",
        f"{T_KEPT}::test_records_older_than_stale_if_error_are_dropped",
        (
            CACHE,
            "TrustRecord(TrustStatus.TRUSTED, entry.at, entry.digest)",
            "TrustRecord(TrustStatus.TRUSTED, self._clock(), entry.digest)",
        ),
        (
            CACHE,
            "if not -MAX_CLOCK_SKEW <= age < self.settings.stale_if_error:",
            "if not -MAX_CLOCK_SKEW <= age:",
        ),
        (SNAPSHOTS, "now - scope.stale_if_error, now + MAX_CLOCK_SKEW", "0.0, now + MAX_CLOCK_SKEW"),
    ),
    mistake(
        "T52",
        "a snapshot from the future is accepted",
        f"{T_KEPT}::test_records_from_future_are_ignored",
        (
            CACHE,
            "if not -MAX_CLOCK_SKEW <= age < self.settings.stale_if_error:",
            "if age >= self.settings.stale_if_error:",
        ),
        (
            CACHE,
            "return -MAX_CLOCK_SKEW <= self._clock() - record.fetched_at < life",
            "return self._clock() - record.fetched_at < life",
        ),
    ),
    mistake(
        "T52",
        "a snapshot is used for a registry with another definition",
        f"{T_KEPT}::test_records_of_redefined_registry_are_kept_and_not_used",
        (SNAPSHOTS, " if entry.key[0] in scope.registries\n", "\n"),
        (RECORDS, "return (self.registry.key, self.organization", 'return ("", self.organization'),
    ),
    mistake(
        "T53",
        "revoked trust is not replicated",
        f"{T_KEPT}::test_refusal_reaches_all_replicas",
        (
            CACHE,
            "            if had_trust:\n                self._tombstones[key] = record.fetched_at\n",
            "",
        ),
        (CACHE, "            self._tombstones[key] = last_refusal\n", ""),
    ),
    mistake(
        "T53",
        "older trust of another replica undoes a refusal",
        f"{T_KEPT}::test_refusal_wins_over_older_trust_written_later",
        (CACHE, "if last_refusal >= entry.at - MAX_CLOCK_SKEW:", "if last_refusal >= entry.at + 1e9:"),
    ),
    mistake(
        "T53",
        "a refusal that revoked trust is evicted by a flood of others",
        f"{T_CACHE}::test_refusals_beyond_limit_do_not_evict_tombstones",
        (
            CACHE,
            "last_refusal = max(_peek(self._tombstones, key) or -math.inf, refused_at)",
            "last_refusal = refused_at",
        ),
    ),
    mistake(
        "T53",
        "the last writer wins",
        f"{T_FACTS}::test_older_trust_does_not_override_stored_refusal",
        (FACTS, "return trust if trust.at > loss.at + MAX_CLOCK_SKEW else loss", "return other"),
    ),
    mistake(
        "T53",
        "a clock that is ahead wins over a refusal",
        f"{T_FACTS}::test_newer_entry_wins_and_refusal_wins_within_clock_skew",
        (FACTS, "trust.at > loss.at + MAX_CLOCK_SKEW", "trust.at > loss.at"),
    ),
    mistake(
        "T54",
        "the tag list of a repository is read again for each digest",
        f"{T_LISTS}::test_tag_list_is_cached_for_some_seconds",
        (LISTS, "            if known is not None:\n                return known\n", ""),
    ),
    mistake(
        "T54",
        "concurrent lookups of digests each read the list",
        f"{T_LISTS}::test_concurrent_callers_share_tag_list_read",
        (LISTS, "self._reads.call(repository, ", "self._reads.call(object(), "),
    ),
    mistake(
        "T54",
        "any number of tag lists is read at a time",
        f"{T_LISTS}::test_concurrent_tag_list_reads_are_limited",
        (LISTS, "threading.BoundedSemaphore(MAX_AT_ONCE)", "threading.BoundedSemaphore(1000)"),
    ),
    mistake(
        "T54",
        "a record from a tag list is as new as its lookup, not as the list",
        f"{T_LISTS}::test_another_digest_is_answered_from_cached_tag_list",
        (
            CLIENT,
            "TrustRecord(TrustStatus.MISSING, found.read_at)",
            "TrustRecord(TrustStatus.MISSING, self._clock())",
        ),
    ),
    mistake(
        "T55",
        "a merge key is a key like any other",
        f"{T_CLI}::test_yaml_aliases_and_merge_keys_are_resolved",
        (TREES, "if key.tag == _MERGE:", 'if key.value == "":'),
    ),
    mistake(
        "T55",
        "the first of two keys counts",
        f"{T_CLI}::test_last_of_duplicate_keys_is_used",
        (TREES, "entries[key.value] = value", "entries.setdefault(key.value, value)"),
    ),
    mistake(
        "T55",
        "a merge on which parsers differ is accepted",
        f"{T_CLI}::test_unreadable_manifest_is_named_with_file_and_line",
        (TREES, "if twice is not None:", "if not merged:"),
        (TREES, "entries.update(merged)", "entries = merged | entries"),
    ),
)
