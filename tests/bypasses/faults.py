"""Mistakes behind the faults that testers found, each with the test that detects it (see ``defences.py``)."""

from __future__ import annotations

from typing import Final

from tests.bypasses.connection_faults import CONNECTION_FAULTS, CONNECTIONS, WORKER
from tests.bypasses.defences import LOOKUP, mistake
from tests.bypasses.review_faults import REVIEW_FAULTS
from tests.bypasses.trust_faults import TRUST_FAULTS

LIMITER: Final = "webhook/trust/limiter.py"
START: Final = "webhook/__main__.py"
PATCHING: Final = "webhook/patching.py"
SCHEDULER: Final = "webhook/server/scheduler.py"
HEADS: Final = "webhook/server/heads.py"
REQUEST: Final = "webhook/admission/request.py"

T_APP: Final = "tests/unit/server/test_app.py"
T_SCHEDULER: Final = "tests/unit/server/test_scheduler.py"
T_BURSTS: Final = "tests/http/test_request_bursts.py"
T_PATCHING: Final = "tests/http/test_patching.py"
T_HEADS: Final = "tests/unit/server/test_heads.py"
T_RECORDS: Final = "tests/http/test_records.py"

_SLEEPS: Final = (
    LIMITER,
    "sleep: Callable[[float], None] | None = None,",
    "sleep: Callable[[float], None] | None = time.sleep,",
)
_SILENT: Final = (CONNECTIONS, "if self._empty_records > MAX_EMPTY_RECORDS:", "if self._empty_records < 0:")
_IMPORTS_FIRST: Final = (
    (
        START,
        "    patch()\n",
        "    import webhook.trust.limiter\n    patch()\n",
    ),
    (PATCHING, "    if early:\n", "    if early is None:\n"),
)

FAULTS: Final = (
    *TRUST_FAULTS,
    *REVIEW_FAULTS,
    mistake(
        "A1",
        "a default argument keeps an original that the patch replaces",
        f"{T_PATCHING}::test_source_keeps_no_unpatched_originals",
        _SLEEPS,
    ),
    mistake(
        "A1",
        "the product is imported before the patch",
        f"{T_PATCHING}::test_patch_after_import_of_webhook_raises_error",
        _IMPORTS_FIRST[1],
    ),
    mistake(
        "A1",
        "the former program: imported first, with a blocking call",
        f"{T_PATCHING}::test_running_program_keeps_no_unpatched_originals",
        _SLEEPS,
        *_IMPORTS_FIRST,
    ),
    mistake(
        "A1",
        "the same, detected by a client that waits beside it",
        f"{T_PATCHING}::test_pod_with_many_uncached_images_does_not_delay_others",
        _SLEEPS,
        *_IMPORTS_FIRST,
    ),
    mistake(
        "C2",
        "a body is kept beside the decoded review",
        "tests/unit/server/test_connections.py::test_completely_read_body_is_released",
        ("webhook/server/connections.py", "            self.drop()\n", "            pass\n"),
    ),
    mistake(
        "C2",
        "an idle connection keeps the body of its last request",
        "tests/http/test_memory.py::test_idle_connection_after_large_request_keeps_no_body",
        (WORKER, "request.body.drop()  # the application may have left it unread", "pass"),
    ),
    mistake(
        "C2",
        "bodies have no budget",
        "tests/unit/server/test_body_budget.py::test_bytes_over_budget_are_rejected",
        (
            "webhook/server/body_budget.py",
            "if is_first and not short_of_small and large <= self._large_left:",
            "if True:",
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
        (WORKER, "        lease.arrived()\n", ""),
    ),
    mistake(
        "C2",
        "the wait for the body budget does not count to a review's time",
        "tests/unit/server/test_app.py::test_body_read_time_is_deducted_from_review_deadline",
        (
            "webhook/server/reviews.py",
            "Deadline(began + time_to_decide",
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
            "webhook/admission/validator.py",
            "if count > FEW and self._awaited > MAX_AWAITED else",
            "if count < 0 else",
        ),
    ),
    mistake(
        "C2",
        "any number of images is awaited, detected by the memory",
        "tests/http/test_bodies.py::test_many_image_reviews_waiting_for_swr_stay_within_memory_limit",
        (
            "webhook/admission/validator.py",
            "if count > FEW and self._awaited > MAX_AWAITED else",
            "if count < 0 else",
        ),
    ),
    mistake(
        "C2",
        "waiting reviews may take all connections",
        "tests/http/test_connection_limits.py::test_waiting_reviews_leave_connections_for_others",
        (WORKER, "return len(self._in_flight) >= most", "return False"),
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
        (WORKER, "        lease.expect_answer_within(time_to_decide(request.query))\n", ""),
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
            "webhook/admission/validator.py",
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
        "C3",
        "a body is scanned without a yield",
        "tests/unit/admission/test_bounds.py::test_body_check_yields_after_each_piece",
        ("webhook/admission/bounds.py", "split_into_pieces(body, PIECE)", "[body]"),
    ),
    mistake(
        "C3",
        "the same, detected by the loop of the process",
        "tests/http/test_loop.py::test_event_under_load_does_not_stall_loop",
        ("webhook/admission/bounds.py", "split_into_pieces(body, PIECE)", "[body]"),
        ("webhook/admission/bounds.py", "        if self._quotes > _MAX_QUOTES:", "        if not piece:"),
    ),
    mistake(
        "C3",
        "only bodies of 256 KiB and more yield to the loop",
        "tests/unit/server/test_app.py::test_large_body_that_waits_too_long_is_denied_with_uid",
        ("webhook/server/reviews.py", "LARGE: Final = 32 * 1024", "LARGE: Final = 256 * 1024"),
    ),
    mistake(
        "C3",
        "a large body is read without a pause",
        "tests/unit/server/test_app.py::test_large_body_read_yields_to_loop",
        (
            "webhook/server/reviews.py",
            "is_truncated=is_truncated, pause=self._large_work.pause)",
            "is_truncated=is_truncated, pause=no_pause)",
        ),
    ),
    mistake(
        "C3",
        "the results of many lookups are evaluated without a yield",
        "tests/unit/admission/test_evaluator.py::test_results_of_many_lookups_are_evaluated_in_turn",
        (
            "webhook/admission/evaluator.py",
            "self._large_work is None or not answers or len(pending) <= FEW",
            "True",
        ),
    ),
    mistake(
        "C3",
        "every rule is compared with every image",
        "tests/unit/policy/test_pattern_index.py::test_index_compares_few_of_many_patterns",
        (
            "webhook/policy/pattern_index.py",
            'self._of_host.add(f"{pattern.domain}/{path}", (pattern, held))',
            'self._of_any_host.add("*", (pattern, held))',
        ),
    ),
    mistake(
        "C3",
        "a thousand images of one object are evaluated",
        "tests/unit/admission/test_validator.py::test_request_that_cannot_be_evaluated_is_treated_by_mode",
        ("webhook/admission/validator.py", "MAX_IMAGES: Final = 200", "MAX_IMAGES: Final = 5000"),
        ("webhook/admission/validator.py", "MAX_EXTRACTED: Final = 1000", "MAX_EXTRACTED: Final = 5000"),
    ),
    mistake(
        "C3",
        "many images are evaluated without a yield",
        "tests/unit/admission/test_evaluator.py::test_many_images_are_evaluated_in_pieces",
        ("webhook/admission/evaluator.py", "if len(uses) > FEW:", "if not uses:"),
    ),
    mistake(
        "A1",
        "the former program, on a real API server",
        "tests/cluster/test_author.py::test_untrusted_image_among_many_uncached_ones_is_not_admitted",
        _SLEEPS,
        *_IMPORTS_FIRST,
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
        (HEADS, "self.max_buffer_headers = MAX_HEAD", "self.max_buffer_headers = MAX_FIELDS * MAX_FIELD"),
    ),
    mistake(
        "C2",
        "header fields that arrive at once have no total limit",
        f"{T_HEADS}::test_total_size_of_header_fields_is_limited",
        (HEADS, "if len(data) > MAX_HEAD:", "if not data:"),
    ),
    mistake(
        "C2",
        "trailer fields have no total limit",
        f"{T_HEADS}::test_total_size_of_trailers_is_limited",
        (HEADS, "if len(data) > MAX_HEAD:", "if len(data) > MAX_HEAD and not from_trailer:"),
    ),
    mistake(
        "C2",
        "a waiting review keeps its request head",
        f"{T_HEADS}::test_unused_headers_and_trailers_are_dropped",
        (HEADS, " if field[0] in KEPT", ""),
    ),
    mistake(
        "C2",
        "a review that waits for the budget is evicted by a new connection",
        "tests/http/test_connection_limits.py::test_body_waiting_for_budget_is_not_evicted",
        (
            WORKER,
            "        self._waiting.remove(connection)\n        self._in_flight.add(request)\n        try:\n            return",
            "        self._in_flight.add(request)\n        try:\n            return",
        ),
    ),
    mistake(
        "C3",
        "the page of metrics is rendered for each reader",
        f"{T_APP}::test_metrics_page_is_cached_for_frequent_requests",
        ("webhook/server/app.py", "Response(exposition.read(),", "Response(render(),"),
    ),
    mistake(
        "C3",
        "the page of metrics is rendered at any cost",
        "tests/unit/telemetry/test_kept_page.py::test_frequent_reads_return_cached_page",
        ("webhook/telemetry/kept_page.py", "if self._allowed >= 1:", "if self._make:"),
    ),
    mistake(
        "C3",
        "a request starts even if the loop has not polled its sockets for long",
        f"{T_SCHEDULER}::test_simultaneous_wakeups_are_spread_over_many_passes",
        (SCHEDULER, "if self._clock() - self._polled_at > ITERATION_BUDGET:", "if self._polled_at < 0:"),
    ),
    mistake(
        "C3",
        "all waiting requests share one queue",
        f"{T_SCHEDULER}::test_queues_of_greenlets_are_served_round_robin",
        (SCHEDULER, "self._queues[reason].append(waiter)", "self._queues[0].append(waiter)"),
    ),
    mistake(
        "C3",
        "a review that is woken runs at once",
        f"{T_SCHEDULER}::test_woken_review_takes_turn_without_lock",
        (LOOKUP, "        self._checkpoint()\n", ""),
    ),
    mistake(
        "C3",
        "a pipelined request runs at once",
        f"{T_BURSTS}::test_burst_of_small_requests_does_not_stall_loop",
        (WORKER, "scheduler.checkpoint(WaitReason.ARRIVED)", "pass"),
        (WORKER, "scheduler.wait(WaitReason.PIPELINED)", "pass"),
    ),
    mistake(
        "C3",
        "handshakes do not yield to the loop",
        f"{T_BURSTS}::test_burst_of_handshakes_does_not_stall_loop",
        (WORKER, "self.service.scheduler.checkpoint(WaitReason.HANDSHAKE)", "None"),
    ),
    mistake(
        "C3",
        "a handshake yields after OpenSSL's work",
        "tests/unit/server/test_connections.py::test_handshake_does_not_start_before_its_turn",
        (
            CONNECTIONS,
            "                checkpoint()\n",
            "                self._try_handshake()\n                checkpoint()\n",
        ),
    ),
    mistake(
        "C3",
        "a connection that was aborted in the queue gets its handshake",
        "tests/unit/server/test_connections.py::test_handshake_aborted_in_queue_does_not_start",
        (
            CONNECTIONS,
            "            if self.aborted:\n                raise ConnectionResetError\n",
            "",
        ),
    ),
    mistake(
        "C3",
        "a handshake that waited too long in the queue is done",
        "tests/unit/server/test_connections.py::test_handshake_timed_out_in_queue_does_not_start",
        (
            CONNECTIONS,
            "                checkpoint()\n                self._left()\n",
            "                checkpoint()\n",
        ),
    ),
    mistake(
        "C3",
        "rules are indexed only by the first component of a path",
        "tests/unit/policy/test_pattern_index.py::test_index_compares_few_of_many_patterns",
        (
            "webhook/policy/pattern_index.py",
            'self._of_host.add(f"{pattern.domain}/{path}", (pattern, held))',
            'self._of_host.add(f"{pattern.domain}/{pattern.components[0]}*", (pattern, held))',
        ),
    ),
    mistake(
        "C3",
        "the namespaces of equal rules are compared for each rule",
        "tests/unit/policy/test_pattern_index.py::test_index_compares_few_of_many_namespace_globs",
        (
            "webhook/policy/pattern_index.py",
            "self._globs.add(glob, (glob, held))",
            'self._globs.add("*", (glob, held))',
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
    mistake(
        "C3",
        "long work of few images does not yield",
        "tests/unit/admission/test_evaluator.py::test_long_evaluation_of_few_images_is_done_in_pieces",
        (
            "webhook/admission/time_slices.py",
            "no_pause if work is None else self._timer.pause",
            "no_pause",
        ),
    ),
    mistake(
        "C3",
        "the comparisons of one image do not yield",
        "tests/unit/admission/test_evaluator.py::test_long_evaluation_of_few_images_is_done_in_pieces",
        (
            "webhook/admission/evaluator.py",
            "self._evaluate_locally(use, namespace, now, slices.pause)",
            "self._evaluate_locally(use, namespace, now, no_pause)",
        ),
    ),
    mistake(
        "C3",
        "comparisons for the warm-up do not yield",
        "tests/unit/admission/test_evaluator.py::test_background_evaluation_yields_to_reviews",
        (
            "webhook/admission/evaluator.py",
            "self._evaluate_locally(use, namespace, now, timer.pause)",
            "self._evaluate_locally(use, namespace, now, no_pause)",
        ),
    ),
    mistake(
        "C3",
        "long work resumes before other requests run",
        "tests/unit/admission/test_evaluator.py::test_long_evaluation_yields_to_other_reviews",
        ("webhook/admission/time_slices.py", "            self._work.pause()\n", ""),
    ),
    mistake(
        "C3",
        "comparisons continue after the deadline of a review",
        "tests/unit/admission/test_evaluator.py::test_evaluation_beyond_deadline_is_aborted_and_denied",
        ("webhook/admission/time_slices.py", "if self._end.expired:", "if not self._end:"),
    ),
    *CONNECTION_FAULTS,
)
