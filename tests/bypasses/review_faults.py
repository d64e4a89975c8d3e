"""The mistakes behind faults in reading and evaluating reviews."""

from __future__ import annotations

from typing import Final

from tests.bypasses.mistakes import mistake

EXTRACTION: Final = "webhook/admission/extraction.py"
REVIEW: Final = "webhook/admission/review.py"
REQUEST: Final = "webhook/admission/request.py"

DEADLINES: Final = "webhook/deadlines.py"
PROCESS: Final = "webhook/app/webhook_process.py"

T_EXTRACTION: Final = "tests/unit/admission/test_extraction.py"
T_BEGINNING: Final = (
    "tests/unit/admission/test_review.py::test_beginning_of_review_is_scanned_once_up_to_limit"
)
T_UNREAD: Final = "tests/unit/admission/test_request.py::test_unused_fields_are_not_decoded"
T_REQUEST: Final = "tests/unit/admission/test_request.py::test_kept_identity_is_truncated_by_bytes"
T_NAMES: Final = "tests/unit/admission/test_review.py::test_too_long_request_names_are_bad_request"
_BY_CHARACTERS: Final = (
    (REQUEST, "text[: size if text.isascii() else size // 4]", "text[:size]"),
    (EXTRACTION, "if not image.isascii() and len(image) > MAX_NON_ASCII_LENGTH:", "if not image:"),
)
LANE: Final = "webhook/trust/registry_queue.py"
T_LOST: Final = "tests/unit/trust/test_registry_queue.py::test_abandoned_lookups_are_ended_in_batches"

REVIEW_FAULTS: Final = (
    mistake(
        "C3",
        "a review that never ran is denied without waiting its turn",
        "tests/unit/server/test_scheduler.py::test_simultaneous_timeouts_of_large_work_are_spread_over_passes",
        (DEADLINES, "                self._checkpoint()\n", "                pass\n"),
    ),
    mistake(
        "C3",
        "the same, detected by the loop of the process",
        "tests/http/test_bodies.py::test_burst_of_expired_reviews_does_not_stall_loop",
        (PROCESS, "LargeWork(checkpoint)", "LargeWork()"),
    ),
    mistake(
        "C3",
        "the first bytes are scanned again for each attempt",
        T_BEGINNING,
        (REVIEW, "structure.add(body[looked:start])", "structure.add(body[:start])"),
    ),
    mistake(
        "C3",
        "the first bytes may be 128 KiB",
        T_BEGINNING,
        (REVIEW, "_MAX_BEGINNING: Final = 32 * 1024", "_MAX_BEGINNING: Final = 128 * 1024"),
    ),
    mistake(
        "C3",
        "the first bytes of a malformed review are read without a yield",
        "tests/unit/admission/test_review.py::test_broken_review_yields_before_second_read",
        (REVIEW, "    pause()\n    request = read_beginning(", "    request = read_beginning("),
    ),
    mistake(
        "C3",
        "annotations are decoded before one is read",
        T_UNREAD,
        (REQUEST, "annotations: msgspec.Raw = _NULL", "annotations: dict[str, str] | None = None"),
        (REQUEST, ".decode(self.annotations).value", ".decode(msgspec.json.encode(self.annotations)).value"),
    ),
    mistake(
        "C3",
        "any number of groups and owners is decoded",
        T_UNREAD,
        (REQUEST, "if len(written) > MAX_LIST:", "if not written:"),
    ),
    mistake(
        "C2",
        "object fields are truncated by characters, not bytes",
        T_REQUEST,
        _BY_CHARACTERS[0],
    ),
    mistake(
        "C2",
        "images and the names of their containers are truncated by characters",
        "tests/unit/admission/test_validator.py::test_bytes_kept_per_image_while_review_waits_are_bounded",
        *_BY_CHARACTERS,
    ),
    mistake(
        "C2",
        "ten controllers are kept",
        T_REQUEST,
        (
            REQUEST,
            "controller=_shorten_owner(owner) if owner is not None else None",
            "written_owners=meta.written_owners",
        ),
        (
            REQUEST,
            "return [self.controller] if self.controller is not None else []",
            "return _read_list(self.written_owners, _owners_decoder)",
        ),
    ),
    mistake(
        "C2",
        "names may have twice the length of the longest",
        T_NAMES,
        (REQUEST, "msgspec.Meta(max_length=MAX_NAME)", "msgspec.Meta(max_length=2 * MAX_NAME)"),
    ),
    mistake(
        "C2",
        "invalid characters are removed from an image",
        f"{T_EXTRACTION}::test_overlong_image_is_shortened_to_identifiable_part",
        (EXTRACTION, "image[:half] + ELLIPSIS + image[-half:]", "image[:half] + image[-half:]"),
    ),
    mistake(
        "C2",
        "the same, found without a table",
        f"{T_EXTRACTION}::test_shortening_does_not_create_valid_reference",
        (EXTRACTION, "image[:half] + ELLIPSIS + image[-half:]", "image[:half] + image[-half:]"),
    ),
    mistake(
        "C3",
        "all abandoned lookups are ended without a yield",
        T_LOST,
        (LANE, "with self._abandoning.piece(Deadline.after(self.settings.timeout)):", "if turn:"),
    ),
    mistake(
        "C3",
        "the abandoned lookups of one namespace, and refreshes, are ended without a yield",
        "tests/unit/trust/test_registry_queue.py::test_abandoned_refreshes_are_ended_in_batches",
        (LANE, "while pending_lookups and len(abandoned) < MAX_ABANDONED:", "while flights:"),
    ),
)
