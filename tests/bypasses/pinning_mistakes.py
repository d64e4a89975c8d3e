"""Mistakes in the pinning of images."""

from __future__ import annotations

from typing import Final

from tests.bypasses.mistakes import mistake

EVALUATOR: Final = "webhook/admission/evaluator.py"
PINNING: Final = "webhook/admission/pinning.py"
MUTATOR: Final = "webhook/admission/mutator.py"
MUTATION: Final = "webhook/admission/mutation.py"
T_MUTATOR: Final = "tests/unit/admission/test_mutator.py"
FUZZ: Final = "tests/fuzz/test_mutations.py"

PINNING_MISTAKES: Final = (
    mistake(
        "T57",
        "a trusted tag runs by its tag although the rule admits only digests",
        f"{T_MUTATOR}::test_denial_of_unpinned_image_names_the_cause",
        (EVALUATOR, "            if local.needs_digest and", "            if not local.reference and"),
    ),
    mistake(
        "T57",
        "a failed lookup admits a tag although the rule admits only digests",
        f"{T_MUTATOR}::test_unpinned_image_is_denied_while_lookup_failures_are_allowed",
        (
            EVALUATOR,
            "if local.needs_digest and self.enforced_effect(check) is not Effect.DENY:",
            "if local.needs_digest and check.finding is Finding.TRUSTED:",
        ),
    ),
    mistake(
        "T57",
        "an implied tag is left out beside the digest",
        f"{T_MUTATOR}::test_trusted_tag_gets_its_digest",
        (PINNING, 'f"{item.use.image}{implied}@', 'f"{item.use.image}@'),
    ),
    mistake(
        "T57",
        "a strict rule of several that may match does not pin",
        "tests/unit/policy/test_rules_and_digests.py::test_image_is_pinned_if_any_possible_rule_pins_it",
        (
            "webhook/policy/model.py",
            "any(self.pins(rule) for rule in candidates if self.mode_for(rule) is strictest)",
            "self.pins(first)",
        ),
    ),
    mistake(
        "T57",
        "an image volume is not pinned",
        f"{T_MUTATOR}::test_images_of_all_places_are_pinned",
        (
            MUTATOR,
            "        if uses is None or count",
            '        uses = [use for use in uses or () if "volumes" not in use.field]\n        if uses is None or count',
        ),
    ),
    mistake(
        "T57",
        "the digest of a tag that was pushed again since is pinned",
        "tests/http/test_mutations.py::test_pod_created_after_push_gets_new_digest_at_every_replica",
        (EVALUATOR, "self.policy.cache.pinned if matters else None", "None if query else 0.0"),
    ),
    mistake(
        "T57",
        "a cached record is current for as long as it is trusted",
        "tests/unit/trust/test_lookup.py::test_tag_is_looked_up_again_if_its_digest_must_be_current",
        (
            "webhook/trust/lookup.py",
            "longest = math.inf if request.max_age is None else request.max_age",
            "longest = math.inf",
        ),
    ),
    mistake(
        "T58",
        "an image that is not trusted gets the digest of its tag",
        f"{FUZZ}::test_patch_changes_image_strings_of_trusted_tags_only",
        (
            PINNING,
            "if item.check.finding is not Finding.TRUSTED or reference is None",
            "if reference is None",
        ),
    ),
    mistake(
        "T58",
        "an image is pinned that the rules then deny",
        f"{FUZZ}::test_mutation_never_turns_admission_into_denial_and_is_idempotent",
        (
            PINNING,
            "if query is None or pinned.lookup is None or pinned.key != (query.key, pin.digest):",
            "if query is None:",
        ),
    ),
    mistake(
        "T58",
        "an image is pinned that the rules then deny in a stricter mode",
        f"{T_MUTATOR}::test_pod_that_mode_of_its_tag_admits_is_not_denied_as_pinned",
        (
            PINNING,
            "return STRICTEST_FIRST.index(pinned.mode) >= STRICTEST_FIRST.index(written.mode)",
            "return True",
        ),
    ),
    mistake(
        "T58",
        "a patch replaces the image of another container",
        f"{FUZZ}::test_patch_changes_image_strings_of_trusted_tags_only",
        (
            MUTATION,
            '.replace("]", "").replace(".", "/")',
            '.replace("]", "").replace(".", "/").replace("1", "0")',
        ),
    ),
    mistake(
        "T58",
        "an update keeps the digest of another tag",
        f"{T_MUTATOR}::test_update_keeps_digest_unless_its_author_changes_image",
        (PINNING, "if replace(running, digest=None) == written else", "if running.path == written.path else"),
    ),
    mistake(
        "T58",
        "an update keeps one of two digests of the same place",
        f"{T_MUTATOR}::test_digest_of_ambiguous_place_is_not_kept",
        (
            "webhook/admission/extraction.py",
            "uses[use.place] = None if use.place in uses else use",
            "uses[use.place] = use",
        ),
    ),
    mistake(
        "T58",
        "a creation keeps the digest of an old object that it cannot have",
        f"{T_MUTATOR}::test_old_object_of_a_creation_does_not_count",
        (MUTATOR, '        if request.operation == "UPDATE":\n', "        if request.operation:\n"),
    ),
    mistake(
        "T58",
        "a mirror Pod is changed",
        f"{T_MUTATOR}::test_anything_but_a_pod_stays_as_it_is",
        (
            MUTATOR,
            "if target is not TargetKind.POD or",
            "if target not in (TargetKind.POD, TargetKind.MIRROR_POD) or",
        ),
    ),
    mistake(
        "T58",
        "the template of a workload is changed",
        f"{T_MUTATOR}::test_anything_but_a_pod_stays_as_it_is",
        (
            MUTATOR,
            "if target is not TargetKind.POD or",
            "if target not in (TargetKind.POD, TargetKind.WORKLOAD) or",
        ),
    ),
    mistake(
        "T58",
        "an internal error makes the call fail",
        f"{T_MUTATOR}::test_internal_error_leaves_pod_as_it_is",
        (
            MUTATOR,
            '        except Exception:\n            logger.exception("failed to pin',
            '        except KeyError:\n            logger.exception("failed to pin',
        ),
    ),
    mistake(
        "C2",
        "images that wait for /mutate do not count",
        f"{T_MUTATOR}::test_images_of_both_calls_count_in_one_limit",
        (MUTATOR, "end = self._awaited.enter(len(uses), deadline)", "end = deadline"),
        (MUTATOR, "            self._awaited.leave(len(uses))", "            pass"),
    ),
)
