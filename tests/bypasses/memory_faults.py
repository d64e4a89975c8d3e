"""The mistakes by which requests take more memory than their share: faults A4, C1 and C2."""

from __future__ import annotations

from typing import Final

from tests.bypasses.connection_faults import CONNECTIONS, CONVERSATION, TABLE
from tests.bypasses.mistakes import mistake

HEADS: Final = "webhook/server/heads.py"
BODIES: Final = "webhook/server/request_bodies.py"
REQUEST: Final = "webhook/admission/request.py"
T_HEADS: Final = "tests/unit/server/test_heads.py"
T_BODIES: Final = "tests/unit/server/test_request_bodies.py"
T_RECORDS: Final = "tests/http/test_records.py"
_KEPT_BODY: Final = ("webhook/server/exchange.py", 'body, self.body = self.body, b""', "body = self.body")
_SILENT: Final = (CONNECTIONS, "if self._empty_records > MAX_EMPTY_RECORDS:", "if self._empty_records < 0:")

MEMORY_FAULTS: Final = (
    mistake(
        "C2",
        "a body is kept beside the decoded review",
        "tests/unit/server/test_app.py::test_body_is_dropped_before_review_waits",
        _KEPT_BODY,
    ),
    mistake(
        "C2",
        "an idle connection keeps the body of its last request",
        "tests/http/test_memory.py::test_idle_connection_after_large_request_keeps_no_body",
        _KEPT_BODY,
        (
            CONVERSATION,
            "request = self._read_request(head)",
            "request = self.request = self._read_request(head)",
        ),
    ),
    mistake(
        "C2",
        "bodies have no budget",
        "tests/unit/server/test_body_budget.py::test_bytes_over_budget_are_rejected",
        (
            "webhook/server/body_budget.py",
            "if not is_first or small > self._small_left or large > self._large_left:",
            "if False:",
        ),
    ),
    mistake(
        "C2",
        "a small body that waits evicts another that waits",
        "tests/unit/server/test_body_budget.py::test_only_stalled_partial_body_is_evicted",
        ("webhook/server/body_budget.py", "if lease.small and last <= since)", "if lease.small)"),
    ),
    mistake(
        "C2",
        "the first bytes of a body need a share of the budget, too",
        "tests/unit/server/test_body_budget.py::test_beginning_of_body_is_always_accepted",
        (
            "webhook/server/body_budget.py",
            "beginning = min(size, BEGINNING - self.beginning)",
            "beginning = 0",
        ),
    ),
    mistake(
        "C2",
        "a complete body counts as one that stalls",
        "tests/http/test_bodies.py::test_small_reviews_waiting_for_swr_do_not_abort_connections",
        (CONVERSATION, "            self._lease.arrived()\n", ""),
    ),
    mistake(
        "C2",
        "the wait for the body budget does not count to a review's time",
        "tests/unit/server/test_app.py::test_body_read_time_is_deducted_from_review_deadline",
        (
            "webhook/server/reviews.py",
            "Deadline(request.began + time_to_decide",
            "Deadline(time.monotonic() + time_to_decide",
        ),
    ),
    mistake(
        "C2",
        "a body without room in the budget makes the call fail",
        "tests/unit/server/test_app.py::test_truncated_body_is_denied_with_uid",
        (
            "webhook/server/reviews.py",
            "    if is_truncated:\n        review = read_beginning(body, BUSY)\n",
            "    if is_truncated:\n        review = None\n",
        ),
    ),
    mistake(
        "C2",
        "the decoded object is kept while its review waits",
        "tests/unit/admission/test_validator.py::test_decoded_objects_are_released_before_review_waits",
        ("webhook/admission/validator.py", "        request.keep_identity()\n", ""),
    ),
    mistake(
        "C2",
        "annotations are decoded and kept while their review waits",
        "tests/http/test_bodies.py::test_many_element_reviews_waiting_for_swr_stay_within_memory_limit",
        ("webhook/admission/validator.py", "        request.keep_identity()\n", ""),
        (
            REQUEST,
            "    annotations: msgspec.Raw = _NULL\n",
            "    annotations: dict[str, str] | None = None\n",
        ),
        (
            REQUEST,
            "value: str | None = _decoder_of_annotation(key).decode(self.annotations).value",
            "value: str | None = (self.annotations or {}).get(key)",
        ),
    ),
    mistake(
        "C2",
        "any number of images is awaited",
        "tests/unit/admission/test_validator.py::test_review_of_many_images_does_not_wait_beyond_image_limit",
        (
            "webhook/admission/selection.py",
            "if count > FEW and self._count > MAX_AWAITED else",
            "if count < 0 else",
        ),
    ),
    mistake(
        "C2",
        "any number of images is awaited, detected by the memory",
        "tests/http/test_bodies.py::test_many_image_reviews_waiting_for_swr_stay_within_memory_limit",
        (
            "webhook/admission/selection.py",
            "if count > FEW and self._count > MAX_AWAITED else",
            "if count < 0 else",
        ),
    ),
    mistake(
        "C2",
        "waiting reviews may take all connections",
        "tests/http/test_connection_limits.py::test_waiting_reviews_leave_connections_for_others",
        (TABLE, "return self._in_flight >= self._places * CROWDED", "return False"),
    ),
    mistake(
        "C2",
        "a review waits although too many already do",
        "tests/unit/server/test_app.py::test_review_that_may_not_wait_has_expired_deadline",
        ("webhook/server/reviews.py", "            deadline = Deadline.after(0)\n", "            pass\n"),
    ),
    mistake(
        "C2",
        "a body waits for the budget as long as its call may take, or longer",
        "tests/http/test_connection_limits.py::test_body_waiting_for_budget_is_denied_before_call_timeout",
        (CONVERSATION, "self._lease.expect_answer_within(time_to_decide(query))", "pass"),
    ),
    mistake(
        "C2",
        "the same for its lease",
        "tests/unit/server/test_body_budget.py::test_body_waits_for_half_of_its_time_at_most",
        ("webhook/server/body_budget.py", "min(WAIT, seconds / 2)", "WAIT"),
    ),
    mistake(
        "C2",
        "a review that waits keeps long strings of four bytes a character",
        "tests/unit/admission/test_validator.py::test_long_strings_are_not_kept_while_review_waits",
        (
            "webhook/admission/selection.py",
            "[shorten(use) for use in uses[:MAX_IMAGES]]",
            "uses[:MAX_IMAGES]",
        ),
    ),
    mistake(
        "C2",
        "the same for the user",
        "tests/unit/admission/test_validator.py::test_long_strings_are_not_kept_while_review_waits",
        (
            "webhook/admission/request.py",
            "truncate(self.user_info.username, MAX_TEXT)",
            "self.user_info.username",
        ),
    ),
    mistake(
        "C1",
        "elements are not counted before they are decoded",
        "tests/unit/admission/test_bounds.py::test_body_with_too_many_elements_is_unreadable_but_keeps_uid",
        (
            "webhook/admission/bounds.py",
            "        if self.elements > MAX_ELEMENTS:\n            return f",
            "        if self.elements < 0:\n            return f",
        ),
    ),
    mistake(
        "A4",
        "only the interpreter limits the nesting of an object",
        "tests/unit/admission/test_bounds.py::test_nesting_limit_does_not_depend_on_python_version",
        ("webhook/admission/bounds.py", "if self.deepest > MAX_DEPTH else", "if self.deepest < 0 else"),
    ),
    mistake(
        "C1",
        "commas in strings count as elements",
        "tests/unit/admission/test_bounds.py::test_large_legitimate_object_is_accepted",
        ("webhook/admission/bounds.py", "[within_string::2]", ""),
    ),
    mistake(
        "C1 A4",
        "the end of a chunk also ends a string",
        "tests/unit/admission/test_bounds.py::test_counted_depth_and_elements_equal_those_of_document",
        ("webhook/admission/bounds.py", "within_string = self._quotes % 2", "within_string = 0"),
    ),
    mistake(
        "C1",
        "TLS records without data neither count nor yield",
        f"{T_RECORDS}::test_endless_tls_key_updates_do_not_stall_loop",
        _SILENT,
        (CONNECTIONS, "if now - self._busy_since > MAX_BUSY_SECONDS:", "if now < 0:"),
    ),
    mistake(
        "C1",
        "TLS records without data yield but do not count",
        f"{T_RECORDS}::test_endless_tls_key_updates_do_not_stall_loop",
        _SILENT,
    ),
    mistake(
        "C1",
        "few TLS records without data are allowed for all requests of a connection",
        f"{T_RECORDS}::test_client_with_occasional_key_updates_is_served",
        (
            CONNECTIONS,
            "        self.idle = True\n        self._empty_records = 0\n",
            "        self.idle = True\n",
        ),
    ),
    mistake(
        "C1",
        "a handshake has any size",
        "tests/unit/server/test_connections.py::test_handshake_size_is_limited",
        (CONNECTIONS, "if size > MAX_HANDSHAKE:", "if size < 0:"),
    ),
    mistake(
        "C2",
        "header fields have no total limit while they arrive",
        "tests/http/test_heads.py::test_unterminated_request_heads_stay_within_memory_budget",
        (
            HEADS,
            "if length >= 0 and len(data) - length > MAX_HEAD + len(END):",
            "if len(data) > MAX_FIELDS * MAX_FIELD:",
        ),
    ),
    mistake(
        "C2",
        "header fields that arrive at once have no total limit",
        f"{T_HEADS}::test_total_size_of_header_fields_is_limited",
        (HEADS, "if len(data) - line.end() > MAX_HEAD:", "if not data:"),
    ),
    mistake(
        "C2",
        "trailer fields have no total limit",
        f"{T_BODIES}::test_total_size_of_trailers_is_limited",
        (BODIES, "if size > MAX_HEAD:", "if size < 0:"),
    ),
    mistake(
        "C2",
        "a waiting review keeps its request head",
        f"{T_HEADS}::test_unused_fields_are_dropped",
        (
            HEADS,
            "    return Head(\n",
            "    Head.__repr__ = lambda _: repr(fields)  # type: ignore[method-assign]\n    return Head(\n",
        ),
    ),
    mistake(
        "C2",
        "each byte of a body is an object",
        f"{T_BODIES}::test_small_pieces_are_joined",
        (BODIES, "if len(data) >= wanted or self.has_ended():", "if data or self.has_ended():"),
    ),
    mistake(
        "C2",
        "a review that waits for the budget is evicted by a new connection",
        "tests/http/test_connection_limits.py::test_body_waiting_for_budget_is_not_evicted",
        (
            CONVERSATION,
            "        connections.begin(connection)\n        try:\n            return",
            "        connections._in_flight += 1\n        try:\n            return",
        ),
    ),
    mistake(
        "C2",
        "the policy is copied for each namespace",
        "tests/unit/policy/test_pattern_index.py::test_memoized_matches_use_little_memory_per_namespace",
        (
            "webhook/policy/model.py",
            "    known: bool = False\n    rules: int = 0\n",
            "    known: bool = False\n    index: object = None\n    rules: int = 0\n",
        ),
        (
            "webhook/policy/model.py",
            "            scope.known = True\n",
            "            scope.known = True\n"
            "            scope.index = PatternIndex(rule.images for rule in self.rules)\n",
        ),
    ),
)
