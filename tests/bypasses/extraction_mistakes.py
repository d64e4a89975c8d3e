"""Mistakes in reading a review and in finding its images."""

from __future__ import annotations

from typing import Final

from tests.bypasses.mistakes import mistake

EXTRACTION: Final = "webhook/admission/extraction.py"
VALIDATOR: Final = "webhook/admission/validator.py"
OBJECTS: Final = "webhook/admission/objects.py"
REVIEW: Final = "webhook/admission/review.py"
T_VALIDATOR: Final = "tests/unit/admission/test_validator.py"
T_EXTRACTION: Final = "tests/unit/admission/test_extraction.py"
T_REVIEW: Final = "tests/unit/admission/test_review.py"
T_PROTOCOL: Final = "tests/bypasses/test_protocol.py"
FUZZ_REVIEWS: Final = "tests/fuzz/test_reviews.py"
ANYWHERE: Final = f"{T_VALIDATOR}::test_untrusted_image_in_any_place_is_denied"
OBJECT: Final = f"{T_VALIDATOR}::test_metadata_does_not_make_object_trusted"
MIRROR: Final = f"{T_EXTRACTION}::test_mirror_pod_is_accepted_from_its_own_node_only"
_IGNORED: Final = "if target is TargetKind.IGNORED or"
_TRUST_OWNER: Final = (
    "if request.object and request.object.metadata and request.object.metadata.{what}:\n"
    "            return Decision.allow(target)\n        " + _IGNORED
)

EXTRACTION_MISTAKES: Final = (
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
        "T43",
        "an object that nests too deeply makes the call fail",
        f"{T_REVIEW}::test_too_deeply_nested_object_is_unreadable_but_keeps_uid",
        (REVIEW, 'request = read_beginning(body, f"it {what}")', "request = None"),
    ),
    # The same kind of mistake, found by random inputs.
    mistake(
        "T01 T02",
        "only the first two containers of a list are evaluated",
        f"{FUZZ_REVIEWS}::test_generated_request_does_not_admit_untrusted_image",
        (EXTRACTION, "enumerate(containers or ())\n", "enumerate((containers or ())[:2])\n"),
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
)
