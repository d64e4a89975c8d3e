"""Mistakes in the decision and in the answer."""

from __future__ import annotations

from typing import Final

from tests.bypasses.mistakes import mistake

VALIDATOR: Final = "webhook/admission/validator.py"
SELECTION: Final = "webhook/admission/selection.py"
EVALUATOR: Final = "webhook/admission/evaluator.py"
REVIEWS: Final = "webhook/server/reviews.py"
T_VALIDATOR: Final = "tests/unit/admission/test_validator.py"
T_EVALUATOR: Final = "tests/unit/admission/test_evaluator.py"
T_REVIEW: Final = "tests/unit/admission/test_review.py"
T_MEMORY: Final = "tests/bypasses/test_cache.py"
T_SWR: Final = "tests/bypasses/test_hostile_swr.py"
T_PROTOCOL: Final = "tests/bypasses/test_protocol.py"
FUZZ_REVIEWS: Final = "tests/fuzz/test_reviews.py"
FUZZ_REFERENCES: Final = "tests/fuzz/test_references.py"
OBJECT: Final = f"{T_VALIDATOR}::test_metadata_does_not_make_object_trusted"
TABLE: Final = f"{T_EVALUATOR}::test_each_image_has_one_finding_and_one_effect"
_IGNORED: Final = "if target is TargetKind.IGNORED or"
_TRUST_OWNER: Final = (
    "if request.object and request.object.metadata and request.object.metadata.{what}:\n"
    "            return Decision.allow(target)\n        " + _IGNORED
)

DECISION_MISTAKES: Final = (
    mistake(
        "T07 T04",
        "an update is evaluated like a creation",
        f"{T_VALIDATOR}::test_update_is_evaluated_for_changed_images_only",
        (SELECTION, 'request.operation == "UPDATE"', 'request.operation == "NEVER"'),
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
        (SELECTION, "        return None, 0\n", "        return [], 0\n"),
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
        "an unnecessary use of break-glass is not recorded",
        f"{T_VALIDATOR}::test_break_glass_is_recorded_even_if_not_needed",
        (
            VALIDATOR,
            "        if break_glass is not None:\n            used",
            "        if break_glass is not None and effect is Effect.DENY:\n            used",
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
        "T30",
        "a new policy reuses decisions of the old one",
        f"{T_MEMORY}::test_decision_of_old_policy_is_not_reused",
        (EVALUATOR, "if evaluator is None or evaluator.policy is not policy:", "if evaluator is None:"),
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
        "T34",
        "a namespace's name may be megabytes long",
        f"{T_REVIEW}::test_too_long_request_names_are_bad_request",
        ("webhook/admission/request.py", "msgspec.Meta(max_length=MAX_NAME)", "msgspec.Meta(min_length=0)"),
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
            "            exempt = CheckResult(Finding.EXEMPT)\n",
            "            if parsed.query is not None:\n"
            "                self._answers.look_up([LookupRequest(parsed.query, None, namespace)], deadline=Deadline.after(5))\n"
            "            exempt = CheckResult(Finding.EXEMPT)\n",
        ),
    ),
    mistake(
        "T30",
        "an exemption that has ended still applies to images evaluated before",
        f"{T_EVALUATOR}::test_exemption_expiry_is_checked_for_cached_image",
        (
            EVALUATOR,
            "if not self.policy.has_expiring_exemption(namespace, local.reference, pause):",
            "if local:",
        ),
    ),
    mistake(
        "T31",
        "cached checks of one use of an image apply to any use",
        f"{T_EVALUATOR}::test_cached_checks_apply_to_equal_uses_only",
        (
            EVALUATOR,
            'self._remembered(use.image, namespace, use.template, use.pull_policy == "Always")',
            "self._remembered(use.image)",
        ),
    ),
    mistake(
        "T34",
        "the cache of local checks has no bound",
        f"{T_MEMORY}::test_parse_and_match_caches_are_bounded",
        (
            EVALUATOR,
            "lru_cache(maxsize=MAX_CACHED)(lambda *_: _Remembered())",
            "lru_cache(maxsize=None)(lambda *_: _Remembered())",
        ),
    ),
    mistake(
        "T34",
        "the local checks of images of any length are cached",
        f"{T_EVALUATOR}::test_oversized_image_string_is_not_cached",
        (
            EVALUATOR,
            "        if len(use.image) > MAX_CACHED_LENGTH:\n            return _Remembered()\n",
            "",
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
        "an image without a lookup result is left out",
        f"{T_MEMORY}::test_missing_lookup_result_denies",
        (EVALUATOR, "zip(uses, checks, answers, strict=True)", "zip(uses, checks, answers, strict=False)"),
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
        "T46",
        "an unknown namespace is skipped",
        f"{T_PROTOCOL}::test_every_review_is_answered_with_its_uid",
        (VALIDATOR, _IGNORED, "if not request.namespace or target is TargetKind.IGNORED or"),
    ),
    mistake(
        "T50",
        "an untrusted image that a lenient mode admits is not counted",
        f"{T_PROTOCOL}::test_admitted_untrusted_image_is_counted",
        (EVALUATOR, "return Effect.WARN if mode is Mode.WARN else Effect.AUDIT", "return Effect.ALLOW"),
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
        (SELECTION, "    if count > MAX_EXTRACTED:", "    if count < 0:"),
    ),
    mistake(
        "T31",
        "an audit assumes that a node runs the current image of a tag",
        "tests/unit/audit/test_scanning.py::test_node_with_another_digest_is_reported",
        (
            "webhook/audit/drift.py",
            "if not current or running == current:",
            "if not current or running != current:",
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
)
